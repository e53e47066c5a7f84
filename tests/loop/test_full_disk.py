"""A disk that fills up in a run: what was acknowledged stays, and the error says what could not be done."""

import os

import pytest

from safeloop.ledger import Ledger
from safeloop.loop import abandon_session
from safeloop.spec import spend_of
from tests.loop.child import Child
from tests.loop.playing import kinds, only, rows_of

BEFORE = ["spec", "open", "intent", "turn", "intent"]


@pytest.mark.parametrize(("place", "left"), [("call", BEFORE), ("tool", [*BEFORE, "turn", "call"])])
def test_what_was_acknowledged_is_kept_and_the_error_says_what_to_do(tmp_path, place, left):
    path = tmp_path / "ledger.db"
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with Child("disk_fills", path, place, env=unmeasured) as child:  # coverage could not write its file either
        code, said = child.end()
    assert (code, said["raised"]) == (0, "LedgerError")
    assert str(tmp_path) in said["message"]
    assert any("closing failed" in note and "safeloop close s" in note for note in said["notes"])
    ledger = Ledger(path)
    assert kinds(ledger) == left
    charged = spend_of(ledger.rows("s")).tokens
    assert charged == 111 + (rows_of(ledger, "intent")[1].data["reserved_tokens"] if place == "call" else 15)
    for row in rows_of(ledger, "turn"):
        assert ledger.read_content(row.data["response"])
    assert abandon_session(ledger, "s").data["total_tokens"] == charged
    assert only(ledger, "close").data["outcome"] == "failed"
