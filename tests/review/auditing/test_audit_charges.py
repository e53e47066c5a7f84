"""Tables of charges that say something else than the rows: programs reserve by them, so an audit compares them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.review.attacks import Victim, found, make, raw, rebuild


def messages(victim: Victim, **how: str) -> list[str]:
    return [each.message for each in victim.audit(**how).findings]  # type: ignore[arg-type]


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    made, _, _ = make(tmp_path)
    assert found(made.audit()) == []
    return made


def change(victim: Victim, statement: str) -> None:
    with raw(victim.path) as sql:
        assert sql.execute(statement).rowcount > 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [("UPDATE hour SET tokens = tokens - 1", "99 tokens, and its rows add up to 100"),
     ("UPDATE hour SET microusd = -5", "-5 microusd, and its rows add up to 0"),
     ("UPDATE hour SET sessions = 0", "0 sessions, and its rows add up to 2"),
     ("DELETE FROM hour", "it is not listed")],
)
def test_an_hour_that_is_misstated_is_found_with_both_figures(victim: Victim, statement: str, said: str) -> None:
    change(victim, statement)
    report = victim.audit()
    assert found(report) == [("derived", None)]
    assert report.findings[0].message.startswith("table hour misstates 2")
    assert said in report.findings[0].message
    assert report.rows_standing == 10, "the rows themselves stand"


def test_an_hour_of_which_no_row_tells_is_found(victim: Victim) -> None:
    change(victim, "INSERT INTO hour VALUES ('1999-01-01T00', -500, 0, 0)")
    assert messages(victim) == ["table hour lists 1 hour of which no row tells"]


@pytest.mark.parametrize(
    "row", ["('beta', 99, NULL, '2026-11-21T07', 5, NULL)", "('beta', 2, 4, '2026-11-21T07', 5, 0)"]
)
def test_an_intent_that_is_said_to_be_open_and_is_not_is_found(victim: Victim, row: str) -> None:
    change(victim, f"INSERT INTO held VALUES {row}")
    assert found(victim.audit()) == [("derived", None)]
    assert "table held misstates 1 intent, the first at n" in messages(victim)[0]


def test_an_open_intent_that_is_hidden_is_found(victim: Victim) -> None:
    rows = victim.sealed()
    rebuild(victim, [*rows[:-2]], log=victim.log)  # the last session has its intent, and no more
    assert found(victim.audit()) == []
    change(victim, "UPDATE held SET tokens = 0")
    assert "table held misstates 1 intent, the first at n 2" in messages(victim)[0]
    change(victim, "DELETE FROM held")
    assert found(victim.audit()) == [("derived", None)]


def test_one_session_is_judged_without_the_sums_of_all(victim: Victim) -> None:
    change(victim, "UPDATE hour SET tokens = 0")
    assert messages(victim, session="alpha") == []


def test_what_is_new_is_judged_with_the_sums_of_all(victim: Victim) -> None:
    head = victim.head()
    change(victim, "UPDATE hour SET tokens = 0")
    assert found(victim.audit(since=head)) == [("derived", None)]


def test_where_a_row_is_not_shown_nothing_is_said_of_sums(victim: Victim) -> None:
    change(victim, "UPDATE hour SET tokens = 0")
    rows = victim.sealed()
    bad = [(body, bytes(64)) if at == 3 else (body, sig) for at, (body, sig) in enumerate(rows)]
    rebuild(victim, bad, log=victim.log)
    change(victim, "UPDATE hour SET tokens = 0")
    assert ("derived", None) not in found(victim.audit())
