"""One session, audited alone: rows of others that take something from it count as they do in the full audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safeloop.ledger import seal, sshsig
from safeloop.ledger.allowed_signers import AllowedSigner
from safeloop.ledger.keys import SigningKey
from safeloop.ledger.rows import NO_ROW
from safeloop.ledger.succession import Role, name_key, rotation
from safeloop.ledger.trust import Trust
from tests.review.attacks import Victim, erase, found, gaps, make, rebuild, turn_data

OTHER = SigningKey.ephemeral()


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return make(tmp_path)[0]


def pins(victim: Victim) -> Trust:
    """The auditor's: the ledger's writer, and another one."""
    trust = victim.trust()
    other = AllowedSigner(("other",), sshsig.PublicKey(sshsig.PLAIN, OTHER.public))
    return replace(trust, writers=dict(trust.writers) | {OTHER.key_id: other})


def write(
    victim: Victim, kind: str, data: Mapping[str, Any], writer: SigningKey | None = None, session: str = "ledger",
    origin: str = "",
) -> None:
    """Append a row as somebody could who has a writer's key, the log's, and the file."""
    rows = victim.sealed()
    own = [(body, sealed) for body, sealed in zip(victim.bodies(), rows, strict=True) if body["session"] == session]
    key = writer or victim.writer
    body = {
        "at": "2026-11-21T07:27:00.123456Z", "data": dict(data), "kind": kind, "ledger": origin or victim.origin,
        "n": len(own), "prev": seal.leaf(*own[-1][1]).hex() if own else NO_ROW, "session": session, "v": 1,
        "writer": key.key_id,
    }
    rebuild(victim, [*rows, victim.seal(body, key)], log=victim.log)


def revocation(victim: Victim, key: SigningKey, size: int) -> dict[str, Any]:
    text = name_key(Role.WRITER, key.public, victim.origin).text
    return {"event": "revoke", "key": text, "proof": None, "not_after_size": size, "checkpoint": None}


def succession(victim: Victim, new: SigningKey, *, by: SigningKey | None = None) -> dict[str, Any]:
    named = name_key(Role.WRITER, new.public, victim.origin)
    return rotation(named, victim.origin, victim.writer.key_id, (by or new).sign)


def hand_turn(victim: Victim, writer: SigningKey, session: str = "gamma") -> None:
    response = victim.bodies()[3]["data"]["response"]
    write(victim, "turn", turn_data(response) | {"attempt": None, "intent": None}, writer, session)


def both(victim: Victim, session: str, trust: Trust) -> tuple[list[Any], list[Any]]:
    return found(victim.audit(session=session, trust=trust)), found(victim.audit(trust=trust))


def test_a_session_that_a_revoked_writer_signed_is_found(victim: Victim) -> None:
    write(victim, "key", revocation(victim, OTHER, 10))
    hand_turn(victim, OTHER)
    alone, full = both(victim, "gamma", pins(victim))
    assert alone == [("revoked", 12)]
    assert alone == full
    assert found(victim.audit(session="alpha", trust=pins(victim))) == []


def test_a_session_before_a_revocation_that_reaches_back_over_it_is_found(victim: Victim) -> None:
    hand_turn(victim, OTHER)
    write(victim, "key", revocation(victim, OTHER, 10))
    alone, full = both(victim, "gamma", pins(victim))
    assert alone == [("revoked", 12)]
    assert alone == full
    assert found(victim.audit(session="alpha", trust=pins(victim))) == []


def test_a_session_that_ended_before_its_writer_was_revoked_stands(victim: Victim) -> None:
    write(victim, "key", revocation(victim, victim.writer, 10), OTHER)
    report = victim.audit(session="alpha", trust=pins(victim))
    assert (found(report), report.rows, report.rows_standing) == ([], 5, 5)


def test_a_session_that_a_replaced_writer_signed_is_found(victim: Victim) -> None:
    write(victim, "key", succession(victim, OTHER))
    hand_turn(victim, victim.writer)
    alone, full = both(victim, "gamma", pins(victim))
    assert alone == [("key", 12)]
    assert alone == full


def test_a_writer_that_a_pinned_one_vouched_for_gets_the_better_remedy(victim: Victim) -> None:
    write(victim, "key", succession(victim, OTHER))
    hand_turn(victim, OTHER)
    (only,) = victim.audit(session="gamma").findings
    assert (str(only.rule), only.row) == ("writer", 12)
    assert "row 11, signed by a pinned writer, names this key as its successor" in only.remedy


@pytest.mark.parametrize(("harm", "rule"), [("signature", "signature"), ("writer", "writer"), ("ledger", "ledger"),
                                            ("form", "kind"), ("proof", "key")])
def test_a_key_row_whose_word_does_not_count_is_found_in_the_audit_of_any_session(
    victim: Victim, harm: str, rule: str
) -> None:
    trust = pins(victim)
    if harm == "proof":
        write(victim, "key", succession(victim, OTHER, by=SigningKey.ephemeral()))
    elif harm == "form":
        write(victim, "key", {"event": "dance"})
    else:
        write(victim, "key", revocation(victim, OTHER, 10), origin="safeloop.local/other" if harm == "ledger" else "")
    if harm == "signature":
        rows = victim.sealed()
        rebuild(victim, [*rows[:-1], (rows[-1][0], bytes(64))], log=victim.log)
    elif harm == "writer":
        only_other = {OTHER.key_id: trust.writers[OTHER.key_id]}
        trust = replace(trust, writers=only_other)
        assert (rule, 11) in found(victim.audit(session="alpha", trust=trust))
        return
    alone, full = both(victim, "alpha", trust)
    assert alone == [(rule, 11)]
    assert alone == full


def test_an_erase_row_by_a_revoked_writer_does_not_pass_in_the_audit_of_the_session_that_it_robs(
    victim: Victim,
) -> None:
    response = victim.bodies()[3]["data"]["response"]
    write(victim, "key", revocation(victim, victim.writer, 10), OTHER)
    erase(victim, "ledger", [response])
    alone, full = both(victim, "alpha", pins(victim))
    assert alone == [("revoked", 12)]
    assert set(alone) <= set(full)


def test_an_erase_row_of_another_ledger_excuses_nothing(victim: Victim, tmp_path: Path) -> None:
    response = victim.bodies()[3]["data"]["response"]
    erase(victim, "ledger", [response])
    honest = victim.audit(session="alpha")
    assert (found(honest), gaps(honest)) == ([], [("erased", 11)])
    bodies = victim.bodies()
    theirs = victim.seal(bodies[-1] | {"ledger": "safeloop.local/other"})
    rebuild(victim, [*victim.sealed()[:-1], theirs], log=victim.log)
    report = victim.audit(session="alpha")
    assert (found(report), gaps(report)) == ([("content", 4), ("ledger", 11)], [])


def test_an_erase_row_whose_word_does_not_count_concerns_only_the_session_that_it_would_rob(victim: Victim) -> None:
    erase(victim, "ledger", [victim.bodies()[3]["data"]["response"]])
    *rows, (body, _) = victim.sealed()
    rebuild(victim, [*rows, (body, bytes(64))], log=victim.log)
    assert found(victim.audit(session="beta")) == []
    assert found(victim.audit(session="alpha")) == [("content", 4)]
