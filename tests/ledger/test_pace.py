"""What an append keeps for the next one: quicker than the file, and never anything that the file does not say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from safeloop.errors import EncodingError
from safeloop.ledger import Draft, Ledger, Row, View
from safeloop.ledger import files as files_module
from tests.ledger.making import add, run, turn, verified_rows

ADD = "import sys; from tests.ledger.making import *; add(Ledger(sys.argv[1], keys=sys.argv[2]), 2, sys.argv[3])"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "l.db", keys=tmp_path / "keys")


def seen(ledger: Ledger, session: str = "s") -> tuple[Row, ...]:
    """Return what a rule sees of a session, and check that it is what the file says."""
    found: list[tuple[Row, ...]] = []

    def rule(view: View) -> list[Draft]:
        found.append(view.session(session))
        return []

    ledger.append(rule)
    assert found[0] == ledger.rows(session)
    return found[0]


def parsed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many rows are parsed from the file while a rule looks at its session."""
    count = 0
    real = files_module.parse_row

    def counted(idx: int, body: bytes, signature: bytes) -> Row:
        nonlocal count
        count += 1
        return real(idx, body, signature)

    with monkeypatch.context() as patch:
        patch.setattr(files_module, "parse_row", counted)
        ledger.append(lambda view: [Draft("", "", {}) for _ in view.session("s")][:0])
    return count


def test_a_rule_sees_every_row_of_its_own_process_without_reading_it_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(ledger, 3)
    assert parsed(ledger, monkeypatch) == 3
    for number in range(4, 8):
        add(ledger)
        add(ledger, 1, "other")
        assert len(seen(ledger)) == number
    assert parsed(ledger, monkeypatch) == 0
    ledger.close()


def test_a_rule_sees_what_another_process_has_committed(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(ledger, 3)
    assert len(seen(ledger)) == 3
    run(ADD, tmp_path / "l.db", tmp_path / "keys", "s")
    assert len(seen(ledger)) == 5
    run(ADD, tmp_path / "l.db", tmp_path / "keys", "other")
    assert parsed(ledger, monkeypatch) == 5, "another writer's commit makes what was kept worthless, whatever it was"
    ledger.close()


def test_a_row_that_was_rolled_back_is_not_seen_again(ledger: Ledger, tmp_path: Path) -> None:
    add(ledger, 2)
    before = seen(ledger)
    with pytest.raises(EncodingError):
        ledger.append(lambda _: [turn(), turn(), turn(turn=-1)])
    assert seen(ledger) == before

    def refused(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("safeloop.ledger.store.rows.RowStore.extend", refused)
        add(ledger)
    assert seen(ledger) == before
    add(ledger)
    assert len(seen(ledger)) == 3
    ledger.close()
    assert len(verified_rows(tmp_path / "l.db", tmp_path / "keys")) == 3


def test_who_changes_the_row_that_an_append_returned_changes_nothing_that_a_rule_sees(ledger: Ledger) -> None:
    add(ledger)
    seen(ledger)
    (row,) = add(ledger)
    row.data["token_delta"] = 0
    assert [one.data["token_delta"] for one in seen(ledger)] == [12, 12]


def test_only_the_last_few_sessions_are_kept(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    add(ledger, 3)
    seen(ledger)
    for number in range(8):
        add(ledger, 1, f"t{number}")
        seen(ledger, f"t{number}")
    assert parsed(ledger, monkeypatch) == 3
    monkeypatch.setattr(files_module, "_LONGEST_KEPT", 2)
    for number in range(8):
        seen(ledger, f"u{number}")
    assert [parsed(ledger, monkeypatch) for _ in range(2)] == [3, 3], "a long session is read each time"


def test_a_draft_that_changes_while_it_is_sealed_gives_one_row_and_not_two(tmp_path: Path) -> None:
    """Its check, its bytes and its row are of one and the same moment, whatever another thread does meanwhile."""
    ledger = Ledger(tmp_path / "l.db", keys=tmp_path / "keys")
    draft = turn(usage={"input": 1, "cache_write": 0, "cache_read": 0, "output": 1, "thinking": 0, "searches": 0})

    class Clock:
        """It is read between the check of a draft and its bytes."""

        def __call__(self) -> object:
            draft.data["usage"]["input"] = "many"
            draft.data["intruder"] = True  # type: ignore[index]
            return datetime.now(UTC)

    ledger._clock = Clock()  # type: ignore[assignment]
    (row,) = ledger.append(lambda _: [draft])
    assert row.data["usage"]["input"] == 1
    assert ledger.rows("s") == (row,)
    ledger.close()
    assert verified_rows(tmp_path / "l.db", tmp_path / "keys") == [row]
