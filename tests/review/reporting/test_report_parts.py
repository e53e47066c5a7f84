"""What a page is made of, without a browser: rows as text, figures, the limit, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from safeloop.errors import NotAttested, ProofError, SessionNotFoundError, SettingError, VerificationError
from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.review.reporting import report as report_module
from safeloop.review.reporting.evidence import Keys, ledger_data
from safeloop.review.reporting.figures import ceiling, steps
from safeloop.review.reporting.ledger import glance_at
from safeloop.review.reporting.markup import exact, table, words
from safeloop.review.reporting.report import Digested, ledger_report, session_report
from safeloop.review.reporting.rows import StoredRow, body_text, cells_of, row_html
from safeloop.spec import Ceilings
from tests.review.attacks import set_body, unguarded
from tests.review.reporting.conftest import Made
from tests.review.reporting.made import NOW, page_of_ledger, page_of_session
from tests.review.sessions import SessionBuilder, completed, paper


def test_words_of_others_are_escaped_and_made_visible() -> None:
    assert words("<b a=\"'\">&\u202e\n\\") == "&lt;b a=&quot;&#x27;&quot;&gt;&amp;\\u{202e}\\u{a}\\\\"
    assert exact("<\u202e\"\n&") == "&lt;\u202e\"\n&amp;"


@pytest.mark.parametrize(("body", "form", "text"), [
    (b'{"a":"\xc3\xa9"}', "exact", '{"a":"é"}'),
    ('{"a":"\u202e\\n"}'.encode(), "escaped", '{"a":"\\u{202e}\\\\n"}'),
    (b"\n{}", "escaped", "\\u{a}{}"),
    (b"a\rb", "escaped", "a\\u{d}b"),
    (b"\xff", "base64", base64.b64encode(b"\xff").decode()),
    ("text", "base64", ""),
])
def test_a_body_stands_in_the_page_so_that_it_comes_out_again(body: object, form: str, text: str) -> None:
    assert body_text(body) == (form, text)


def test_a_row_that_cannot_be_read_is_shown_as_that() -> None:
    for stored in (StoredRow.of(4, b"{", bytes(64)), StoredRow.of(4, "text", None)):
        assert cells_of(stored) == ("5", "", "unreadable", "", "")
        assert 'id="row-5" data-index="4"' in row_html(stored)


def test_steps_are_the_turns_and_what_each_was_charged() -> None:
    session = paper().spec().open().turn(tokens=10).tool().intent(reserved=500).attempt(charged=7)
    session.turn(tokens=30).close()
    found = steps(session.rows)
    assert [(step.turn, step.tokens, step.total_tokens, step.milliseconds) for step in found] == [
        (0, 0, 0, 0), (1, 10, 10, 53), (2, 37, 47, 70),
    ]
    assert found[1].happened == ("intent", "turn end_turn", "call write_file", "tool write_file")
    assert found[2].happened[-1] == "close completed" and not found[2].is_priced
    assert steps(()) == ()
    assert (ceiling(session.rows, "tokens"), ceiling(session.rows, "microusd"), ceiling((), "tokens")) == (40_000, None, None)


def test_a_failed_tool_is_said_to_have_failed() -> None:
    session = paper().spec().open().turn().tool(error="Denied").breach()
    assert {"tool write_file FAIL", "breach turn_ceiling FAIL"} <= {word for step in steps(session.rows) for word in step.happened}


def test_a_table_without_rows_has_its_heading() -> None:
    assert table("None", ("A", "B"), ()).count("<th ") == 2


def test_a_session_that_is_open_has_no_page(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db", keys=tmp_path / "keys")
    session = SessionBuilder(ledger).spec().open().turn()
    ledger.close()
    trust = load_trust(tmp_path / "keys" / "self")
    with pytest.raises(NotAttested):
        page_of_session(tmp_path / "l.db", trust, session.session)
    with pytest.raises(SessionNotFoundError):
        page_of_session(tmp_path / "l.db", trust, "nobody")


@pytest.fixture
def altered(tmp_path: Path) -> tuple[Path, SessionBuilder]:
    ledger = Ledger(tmp_path / "l.db", keys=tmp_path / "keys")
    session = completed(ledger)
    ledger.close()
    return tmp_path / "l.db", session


def test_a_session_that_does_not_verify_is_not_rendered(altered: tuple[Path, SessionBuilder]) -> None:
    path, session = altered
    set_body(path, 3, session.rows[3].body.replace(b"100", b"101"))
    with pytest.raises(VerificationError):
        page_of_session(path, load_trust(path.parent / "keys" / "self"), session.session)


def test_a_damaged_tree_gives_an_error_and_no_page(altered: tuple[Path, SessionBuilder]) -> None:
    path, session = altered
    with unguarded(path) as sql:
        sql.execute("UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND idx = 0")
    with pytest.raises(ProofError, match=r"row 3 of .* cannot be proved"):
        page_of_session(path, load_trust(path.parent / "keys" / "self"), session.session)


def test_a_ledger_that_does_not_verify_has_a_page_that_says_so(altered: tuple[Path, SessionBuilder]) -> None:
    path, _ = altered
    set_body(path, 3, b"{")
    with unguarded(path) as sql:
        sql.execute("UPDATE head SET note = 'nothing'")
    text = page_of_ledger(path, load_trust(path.parent / "keys" / "self"))
    assert '<p class="alarm">When the page was made, safeloop audit said: record FAIL' in text
    assert "No figures: " in text or "Sessions by outcome" in text
    assert "unreadable" in text and re.search('<pre id="head-note"[^>]*>nothing</pre>', text)


def test_more_rows_than_a_page_holds_are_refused_with_the_way_on(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "MOST_ROWS", 12)
    assert page_of_session(made.path, made.trust, made.sessions[0])
    with pytest.raises(SettingError, match=r"has 13 rows or more, and a page holds 12 at most") as refused:
        page_of_ledger(made.path, made.trust)
    assert refused.value.hint.startswith("safeloop report SESSION")
    monkeypatch.setattr(report_module, "MOST_ROWS", 11)
    with pytest.raises(SettingError, match="12 rows, and a page holds 11"), LedgerReader(made.path) as reader:
        session_report(reader, made.trust, made.sessions[0], made.path, NOW)


def test_more_bytes_than_a_page_holds_are_refused_with_the_way_on(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    with LedgerReader(made.path) as reader:
        sizes = [len(body) for _, body, _ in reader.rows() if isinstance(body, bytes)]
    monkeypatch.setattr(report_module, "MOST_BYTES", sum(sizes))
    assert page_of_ledger(made.path, made.trust)
    monkeypatch.setattr(report_module, "MOST_BYTES", sum(sizes) - 1)
    with pytest.raises(SettingError, match="has bodies of more than the .* bytes that a page holds") as refused:
        page_of_ledger(made.path, made.trust)
    assert refused.value.hint.startswith("safeloop report SESSION")
    monkeypatch.setattr(report_module, "MOST_BYTES", sum(sizes[:12]) - 1)
    with pytest.raises(SettingError, match="session .* has bodies of more than the"):
        page_of_session(made.path, made.trust, made.sessions[0])
    monkeypatch.undo()
    monkeypatch.setattr(report_module, "MOST_FRAME_BYTES", 1_000)
    with pytest.raises(SettingError, match=r"the frame of session .* bytes, and a page holds 1,000 at most"):
        page_of_session(made.path, made.trust, made.sessions[0])


def test_many_findings_and_many_sessions_are_cut_and_the_cut_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safeloop.review.reporting import ledger as ledger_page

    monkeypatch.setattr(ledger_page, "_MOST_SESSIONS", 1)
    monkeypatch.setattr(ledger_page, "_MOST_FINDINGS", 2)
    ledger = Ledger(tmp_path / "l.db", keys=tmp_path / "keys")
    sessions = [completed(ledger) for _ in range(2)]
    ledger.close()
    for session in sessions:
        for row in session.rows[3:5]:
            set_body(tmp_path / "l.db", row.idx, row.body + b" ")
    text = page_of_ledger(tmp_path / "l.db", load_trust(tmp_path / "keys" / "self"))
    assert "1 more session among the rows below." in text
    assert "more are not listed: safeloop audit lists them." in text


def test_a_forged_position_of_a_leaf_does_not_make_a_page_of_nothing(made: Made) -> None:
    leaves = [(0, b"a" * 32), (3, "text"), (2**60, b"b" * 32)]
    text = "".join(ledger_data("o", made.trust, [], leaves))
    assert text.count("null") < 60_000
    assert Keys.of(made.trust, None) == Keys((), Keys.of(made.trust, "o").writers, ())


def test_rows_that_cannot_be_read_leave_the_page_without_figures(altered: tuple[Path, SessionBuilder]) -> None:
    path, session = altered
    set_body(path, session.last.idx, session.last.body.replace(b'"outcome":"completed"', b'"outcome":"complete"'))
    with LedgerReader(path) as reader:
        found = glance_at(reader, NOW)
    assert isinstance(found, str) and found.startswith("row 12 cannot be read: ")


def test_a_session_without_a_ceiling_of_tokens_has_nothing_left_to_show(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.db", keys=tmp_path / "keys")
    session = SessionBuilder(ledger).spec(ceilings=Ceilings(turns=3)).open(ceilings={"turns": 3}).turn(tokens=5).close()
    ledger.close()
    text = page_of_session(tmp_path / "l.db", load_trust(tmp_path / "keys" / "self"), session.session)
    assert "<td>-</td>" in text and "Ceilings: none of tokens, none of cost" in text
    assert "<desc id=\"chart-tokens-text\">5, without a ceiling, after 2 steps;" in text


def test_a_ledger_without_rows_has_a_page(tmp_path: Path) -> None:
    Ledger(tmp_path / "l.db", keys=tmp_path / "keys").close()
    trust = load_trust(tmp_path / "keys" / "self")
    text = page_of_ledger(tmp_path / "l.db", trust)
    assert "record FAIL" in text and '<details class="row"' not in text


def test_figures_that_cannot_be_had_are_not_made_up(altered: tuple[Path, SessionBuilder], made: Made) -> None:
    path, session = altered
    set_body(path, session.last.idx, session.last.body.replace(b'"outcome":"completed"', b'"outcome":"complete"'))
    assert "No figures: row 12 cannot be read: " in page_of_ledger(path, load_trust(path.parent / "keys" / "self"))
    assert "No figures: " not in made.ledger


class Busy(LedgerReader):
    """A ledger to which somebody appends a session each time its head is read."""

    def head(self) -> str | None:
        live_through_a_session(self.path)
        return super().head()


def live_through_a_session(path: Path) -> None:
    ledger = Ledger(path, keys=path.parent / "keys")
    SessionBuilder(ledger).spec().open().turn().close()
    ledger.close()


def test_verdict_figures_rows_and_head_are_of_one_state_whatever_is_appended_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    live_through_a_session(path)
    with Busy(path) as reader:
        with ledger_report(reader, load_trust(tmp_path / "keys" / "self"), None, NOW) as done:
            text = b"".join(done.pieces()).decode()
        assert reader.size() > 5
    assert (done.rows, done.holds) == (5, True)
    assert "safeloop audit said: record PASS, 5 rows stand" in text
    assert "1, 0 of them released" in text
    assert text.count('<details class="row"') == 5
    assert re.search(r'<pre id="head-note"[^>]*>[^\n]+\n5\n', text)


def test_the_digest_of_a_page_is_that_of_all_its_pieces_and_known_after_the_last() -> None:
    page = Digested([b"one ", b"two"])
    assert page.sha256 == hashlib.sha256(b"").hexdigest()
    assert list(page) == [b"one ", b"two"]
    assert page.sha256 == hashlib.sha256(b"one two").hexdigest()
