"""Approvals that somebody with the writer key put into the ledger: nothing runs on them, and the audit names what did."""

import dataclasses
from datetime import UTC, datetime

import pytest

from safeloop.errors import EncodingError, NotAttested, Suspended
from safeloop.ledger import Draft, Ledger, sshsig
from safeloop.ledger.approval import Decision, parse_statement
from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.keys import read_pem
from safeloop.ledger.policy import Revocation
from safeloop.ledger.trust import load_trust, revoke
from safeloop.loop.approving import Approvals
from safeloop.tools.approvals import Answer, record
from tests.loop.playing import Player, call, only, reply, rows_of
from tests.loop.reviewing import (
    ALICE,
    BOB,
    EVE,
    PEOPLE,
    asks,
    decide,
    found,
    loop_with,
    pin,
    request_of,
    signed,
)


@pytest.fixture(autouse=True)
def reviewers(ledger, keys):
    pin(keys, ALICE, BOB)


def suspended(ledger, session="s"):
    burnt = []
    assert loop_with(ledger, burnt, asks(), session=session).run("do it").outcome == "suspended"
    return burnt


def resume(ledger, burnt, **more):
    return loop_with(ledger, burnt, Player(reply("done")), **more).resume()


def put(ledger, data, session="s"):
    """Record an approval as only a thief of the writer key can."""
    return ledger.append(lambda _: (Draft(session, "approval", data),))[0]


def row_data(one):
    return one.decision.row_data(one.signature)


def forgeries(ledger, keys):
    request = request_of(ledger)
    honest = row_data(signed(request))
    decision = request.decided("granted", ALICE, datetime.now(UTC).replace(year=2090))
    writer = read_pem(keys / "writer.pem")
    stranger = sshsig.sign(PEOPLE[EVE], "safeloop-approval", decision.statement)
    review = sshsig.sign(PEOPLE[ALICE], "safeloop-review", decision.statement)
    return {
        "unsigned": honest | {"signature": None},
        "longer": honest | {"expires_at": decision.expires_at},
        "another's name": honest | {"by": BOB},
        "another session": row_data(signed(request, session="t")) | {},
        "another ledger": row_data(signed(request, ledger="safeloop.local/other")),
        "a stranger": decision.row_data(stranger),
        "a review": decision.row_data(review),
        "the writer": decision.row_data(sshsig.sign(writer, "safeloop-approval", decision.statement)),
    }


NAMES = ["unsigned", "longer", "another's name", "another session", "another ledger", "a stranger", "a review", "the writer"]


@pytest.mark.parametrize("can_ask", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_on_a_forged_approval_and_a_real_one_still_counts(ledger, keys, name, can_ask):
    burnt = suspended(ledger)
    put(ledger, forgeries(ledger, keys)[name])
    if can_ask:
        approvals = Approvals(ask=lambda _: Answer.LEFT)
        assert resume(ledger, burnt, approvals=approvals).outcome == "suspended"
        assert "counts for nothing" in rows_of(ledger, "close")[-1].data["reason"]
    else:
        with pytest.raises(Suspended, match="counts for nothing"):
            resume(ledger, burnt)
    assert (burnt, rows_of(ledger, "tool")) == ([], [])
    decide(ledger, keys)
    assert resume(ledger, burnt).outcome == "completed"
    assert len(burnt) == 1
    assert found(ledger, keys) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_run_on_a_forged_approval_is_found_by_the_audit(ledger, keys, name):
    suspended(ledger)
    begun = only(ledger, "call")
    put(ledger, forgeries(ledger, keys)[name])
    result = ledger.content(b"burnt", "text/plain; charset=utf-8")
    shared = {key: begun.data[key] for key in ("turn", "call", "tool", "permission", "arguments")}
    tool = shared | {"result": result.commitment, "execution_time_ms": 3, "pass_fail": True, "error": None}
    resumed = {"after": ledger.rows("s")[-1].n, "in_doubt": [], "software": only(ledger, "open").data["software"]}
    ledger.append(lambda _: (Draft("s", "resume", resumed), Draft("s", "tool", tool, (result,))))
    assert found(ledger, keys) == [("approval", ledger.rows("s")[-1].id)]


def test_an_approval_is_not_moved_from_another_ledger_with_the_same_keys(ledger, keys, tmp_path):
    burnt = suspended(ledger)
    other = Ledger(tmp_path / "other.db")
    suspended(other)
    approval = signed(request_of(other))
    with pytest.raises(NotAttested, match="this decision was made for ledger"):
        record(ledger, approval, load_trust(keys / "self"))
    put(ledger, row_data(approval) | {"call": only(ledger, "call").leaf})
    with pytest.raises(Suspended, match="its statement is not about what its row states"):
        resume(ledger, burnt)
    assert burnt == []


def test_an_approval_that_is_put_in_twice_is_good_for_one_run(ledger, keys):
    burnt = []
    calls = [call("burn", {"what": "x"}, "a"), call("burn", {"what": "x"}, "b")]
    assert loop_with(ledger, burnt, asks(*calls)).run("do it").outcome == "suspended"
    decide(ledger, keys)
    put(ledger, only(ledger, "approval").data)
    assert resume(ledger, burnt).outcome == "suspended"
    put(ledger, rows_of(ledger, "approval")[0].data)
    with pytest.raises(Suspended, match="nobody has decided"):
        resume(ledger, burnt)
    assert len(burnt) == 1
    assert found(ledger, keys) == []


def test_a_revoked_reviewer_approves_nothing_from_that_size_on(ledger, keys):
    burnt = suspended(ledger)
    alice = key_id(PEOPLE[ALICE].public_key().public_bytes_raw())
    decide(ledger, keys)
    size = ledger.head()[0].size
    revoke(keys / "self", Revocation(alice, ledger.origin, size - 1))
    with pytest.raises(Suspended, match=f"is revoked for all rows after the first {size - 1}"):
        resume(ledger, burnt)
    with pytest.raises(NotAttested, match="is revoked"):
        decide(ledger, keys)
    decide(ledger, keys, by=BOB)
    assert resume(ledger, burnt).outcome == "completed"
    assert found(ledger, keys) == []
    assert len(burnt) == 1


def test_what_a_key_signed_before_it_was_revoked_still_counts(ledger, keys):
    burnt = suspended(ledger)
    decide(ledger, keys)
    alice = key_id(PEOPLE[ALICE].public_key().public_bytes_raw())
    revoke(keys / "self", Revocation(alice, ledger.origin, ledger.head()[0].size))
    assert resume(ledger, burnt).outcome == "completed"
    assert found(ledger, keys) == []


@pytest.mark.parametrize("changes", [
    {"decision": "expired"}, {"decision": "maybe"}, {"call": "0"}, {"by": None}, {"expires_at": None},
    {"decision": "refused"}, {"session": 5}, {"by": "a" * 300},
])
def test_only_the_statement_of_a_decision_is_read_as_one(changes):
    honest = Decision(ALICE, "0" * 64, "granted", "2026-11-22T00:00:00.000000Z", "safeloop.local/1", "s")
    assert parse_statement(honest.statement) == honest
    with pytest.raises(EncodingError, match="not the statement of an approval"):
        parse_statement(dataclasses.replace(honest, **changes).statement)
    with pytest.raises(EncodingError, match="exactly by, call"):
        parse_statement(honest.statement.replace(b'"by"', b'"bz"'))
