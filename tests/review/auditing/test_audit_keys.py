"""What a ledger's own rows say of keys: it can take trust away, and never gives any."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.ledger import Draft, Row, ed25519, seal, sshsig
from safeloop.ledger.allowed_signers import AllowedSigner
from safeloop.ledger.keys import KeyFolder, SigningKey
from safeloop.ledger.ledger import Ledger
from safeloop.ledger.note import Checkpoint, Verifier, sign_checkpoint
from safeloop.ledger.policy import Policy
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.rows import NO_ROW, encode_body, sealed_row
from safeloop.ledger.succession import Role, name_key, rotation
from safeloop.ledger.trust import Trust, load_trust
from safeloop.ledger.upkeep.revocation import revoke
from safeloop.ledger.upkeep.rotation import rotate
from safeloop.review.auditing.audit import audit
from safeloop.review.auditing.findings import Finding, Rule, finding
from safeloop.review.auditing.keyring import Keyring
from tests.ledger.making import add, turn

ORIGIN = "safeloop.local/x"
OLD, NEW, THIRD, LOG, LATER = (SigningKey.ephemeral() for _ in range(5))


def trust(*writers: SigningKey, logs: tuple[SigningKey, ...] = (LOG,)) -> Trust:
    pinned = {key.key_id: AllowedSigner(("w",), sshsig.PublicKey(sshsig.PLAIN, key.public)) for key in writers}
    policy = Policy({ORIGIN: tuple(Verifier(ORIGIN, key.public) for key in logs)}, {}, {}, None)
    return Trust(policy, pinned, (), (), None, Path("t"), is_self=False)


class Rows:
    """Rows at growing positions, by whoever is named; what they chain to is not the keyring's question."""

    def __init__(self, *writers: SigningKey, logs: tuple[SigningKey, ...] = (LOG,)) -> None:
        self.keyring = Keyring(trust(*(writers or (OLD, NEW, THIRD)), logs=logs))
        self.idx = -1

    def row(self, writer: SigningKey, draft: Draft | None = None, origin: str = ORIGIN) -> Row:
        self.idx += 1
        body = encode_body(draft or turn(), ledger=origin, n=0, prev=NO_ROW, at="2026-11-21T00:00:00.000000Z",
                           writer=writer.key_id)
        return sealed_row(self.idx, body, writer.sign(seal.pae(body)))

    def __call__(self, writer: SigningKey, data: dict[str, Any] | None = None, session: str = "ledger") -> list[Finding]:
        draft = None if data is None else Draft(session, "key", data)
        return list(self.keyring.follow(self.row(writer, draft)))


def rotated(new: SigningKey, old: SigningKey, *, origin: str = ORIGIN, role: Role = Role.WRITER,
            by: SigningKey | None = None, **changes: Any) -> dict[str, Any]:
    return {**rotation(name_key(role, new.public, origin), origin, old.key_id, (by or new).sign), **changes}


def revoked(key: SigningKey, size: int | None, role: Role = Role.WRITER, **changes: Any) -> dict[str, Any]:
    text = name_key(role, key.public, ORIGIN).text
    return {"event": "revoke", "key": text, "proof": None, "not_after_size": size, "checkpoint": None, **changes}


def adopted(note: str, key: str = "") -> dict[str, Any]:
    return {"event": "adopt", "key": key or Verifier(ORIGIN, LOG.public).vkey, "proof": None, "not_after_size": None,
            "checkpoint": note}


def only(found: list[Finding], rule: Rule, words: str) -> Finding:
    (one,) = found
    assert one.rule is rule and words in one.message, one.message
    assert one.rule.sentence and one.remedy
    return one


def test_a_rotation_and_what_the_new_key_signs_after_it_is_right() -> None:
    rows = Rows()
    for found in (rows(OLD), rows(OLD, rotated(NEW, OLD)), rows(NEW), rows(NEW, rotated(THIRD, NEW)), rows(THIRD)):
        assert found == []


def test_a_writer_that_signs_after_its_own_rotation_is_found_at_each_row() -> None:
    rows = Rows()
    rows(OLD, rotated(NEW, OLD))
    for number in (2, 3):
        one = only(rows(OLD), Rule.KEY, f"is signed by writer {OLD.key_id[:8]}, which row 1 replaced by")
        assert one.row == number
    assert rows(NEW) == []


@pytest.mark.parametrize(
    "data",
    [
        rotated(NEW, OLD, by=THIRD), rotated(NEW, OLD, by=OLD), rotated(NEW, THIRD), rotated(NEW, OLD, proof="AAAA"),
        rotated(NEW, OLD) | {"proof": rotated(NEW, OLD, origin="safeloop.local/other")["proof"]},
        rotated(NEW, OLD) | {"proof": rotated(NEW, OLD, role=Role.LOG)["proof"]},
    ],
    ids=["another's", "the old key's", "another predecessor", "no signature", "another ledger", "another role"],
)
def test_a_proof_that_the_new_key_did_not_give_for_this_is_found_and_replaces_nobody(data: dict[str, Any]) -> None:
    rows = Rows()
    only(rows(OLD, data), Rule.KEY, "has no proof that writer")
    assert rows(OLD) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (rotated(OLD, OLD), "names the key that signed it"),
        (rotated(NEW, OLD, key="ssh-ed25519 AAAA"), "cannot be used"),
        (rotated(NEW, OLD, key="nonsense"), "cannot be used"),
        (rotated(NEW, OLD, key=rotated(NEW, OLD)["key"] + " x"), "cannot be used"),
        (rotated(NEW, OLD, key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), "small order"),
        (rotated(LATER, LOG, role=Role.LOG, key=Verifier("safeloop.local/y", LATER.public).vkey), "not of safeloop.local/x"),
        (rotated(NEW, OLD, not_after_size=3), "more than its proof"),
        (rotated(NEW, OLD, proof=None), "more than its proof"),
        (revoked(NEW, None), "bound"),
        (revoked(NEW, 0, proof="x"), "more than its bound"),
        (revoked(NEW, 9), "which is after itself"),
        (revoked(OLD, 0), "revokes the key that signed it"),
        (adopted("nonsense"), "no checkpoint"),
        (adopted(sign_checkpoint(Checkpoint("safeloop.local/y", 0, b"\0" * 32), Verifier("safeloop.local/y", LOG.public),
                                 LOG.sign)), "a checkpoint of 'safeloop.local/y'"),
        (adopted(sign_checkpoint(Checkpoint(ORIGIN, 2, b"\0" * 32), Verifier(ORIGIN, LOG.public), LOG.sign)),
         "2 rows, more than there were"),
        (adopted("x", rotated(NEW, OLD)["key"]), "more than a log key"),
    ],
)
def test_a_key_row_that_makes_no_sense_is_found(data: dict[str, Any], words: str) -> None:
    rows = Rows()
    only(rows(OLD, data), Rule.KEY, words)
    assert rows(OLD) == [], "and it has no effect"


def test_keys_are_spoken_of_in_the_ledgers_own_session_only() -> None:
    rows = Rows()
    only(rows(OLD, rotated(NEW, OLD), session="s"), Rule.KEY, "in session s")
    assert rows(OLD) == []


def test_a_key_row_of_another_form_is_left_to_the_rule_of_forms() -> None:
    rows = Rows()
    assert rows(OLD, {"event": "dance"}) == []


def test_a_key_that_was_replaced_never_comes_back() -> None:
    rows = Rows()
    rows(OLD, rotated(NEW, OLD))
    only(rows(NEW, rotated(OLD, NEW)), Rule.KEY, "again, which was replaced or revoked before")
    assert rows(NEW) == []


def test_an_adoption_by_an_earlier_checkpoint_is_right() -> None:
    note = sign_checkpoint(Checkpoint(ORIGIN, 0, b"\0" * 32), Verifier(ORIGIN, LOG.public), LOG.sign)
    assert Rows()(OLD, adopted(note)) == []


def test_a_log_key_follows_a_pinned_one_and_then_another() -> None:
    rows = Rows()
    assert rows(OLD, rotated(LATER, LOG, role=Role.LOG)) == []
    assert rows(OLD, rotated(THIRD, LATER, role=Role.LOG)) == []
    assert rows(OLD, revoked(LOG, 1, Role.LOG)) == []


def test_a_log_key_that_was_replaced_never_comes_back() -> None:
    rows = Rows()
    assert rows(OLD, rotated(LATER, LOG, role=Role.LOG)) == []
    only(rows(OLD, rotated(LOG, LATER, role=Role.LOG)), Rule.KEY, "again, which was replaced or revoked before")


def test_a_log_key_that_follows_no_known_one_is_found() -> None:
    only(Rows()(OLD, rotated(LATER, NEW, role=Role.LOG)), Rule.KEY, "has no proof that log key")
    only(Rows()(OLD, rotated(LOG, LOG, role=Role.LOG)), Rule.KEY, "has no proof that log key")
    only(Rows(logs=())(OLD, rotated(LATER, LOG, role=Role.LOG)), Rule.KEY, "the key that it replaced is not pinned")


def test_rows_of_a_revoked_key_are_found_before_and_after_the_revocation() -> None:
    rows = Rows()
    rows(OLD)
    rows(OLD)
    rows(NEW)
    words = f"revokes writer {OLD.key_id[:8]} from row 2 on, and rows by it stand there, the last of them row 2"
    only(rows(NEW, revoked(OLD, 1)), Rule.REVOKED, words)
    only(rows(OLD), Rule.REVOKED, "was revoked from row 2 on, by row 4")
    assert rows(NEW, revoked(OLD, 4))[0].rule is Rule.REVOKED, "a later, looser bound changes nothing"
    only(rows(OLD), Rule.REVOKED, "from row 2 on, by row 4")
    only(rows(NEW, rotated(OLD, NEW)), Rule.KEY, "replaced or revoked before")


def test_a_revoked_key_that_signed_before_its_bound_only_is_no_finding() -> None:
    rows = Rows()
    rows(OLD)
    assert rows(NEW, revoked(OLD, 1)) == []


def test_what_a_revoked_key_says_of_keys_does_not_count() -> None:
    rows = Rows()
    rows(OLD)
    rows(NEW, revoked(OLD, 1))
    only(rows(OLD, revoked(NEW, 0)), Rule.REVOKED, f"writer {OLD.key_id[:8]} was revoked")
    assert rows(NEW) == []


SIGNED = st.tuples(
    st.sampled_from([OLD, NEW, THIRD]),
    st.none() | st.none() | st.sampled_from([
        rotated(NEW, OLD), rotated(THIRD, NEW), revoked(OLD, 1), revoked(NEW, 2), revoked(THIRD, 0), rotated(NEW, OLD, proof=None),
    ]),
)


@given(signed=st.lists(SIGNED, min_size=1, max_size=12), parts=st.lists(st.integers(1, 4), min_size=12, max_size=12))
def test_rows_taken_in_together_are_judged_as_one_by_one(
    signed: list[tuple[SigningKey, dict[str, Any] | None]], parts: list[int]
) -> None:
    alone, together = Rows(), Rows()
    rows = [alone.row(key, None if data is None else Draft("ledger", "key", data)) for key, data in signed]
    one_by_one = [found for row in rows for found in alone.keyring.follow(row)]
    found: list[Finding] = []
    while rows:
        part, rows = rows[:parts[-1]], rows[parts.pop():]
        found += together.keyring.follow_all(part)
    assert found == one_by_one


def test_rows_of_a_replaced_writer_taken_in_together_are_each_found() -> None:
    rows = Rows()
    rows(OLD, rotated(NEW, OLD))
    found = list(rows.keyring.follow_all([rows.row(OLD), rows.row(OLD)]))
    assert [each.row for each in found] == [2, 3]


def test_only_a_vouched_for_writer_gets_the_better_remedy_and_stays_a_finding() -> None:
    rows = Rows(OLD)
    fault = finding(Rule.WRITER, "row 2: not pinned", row=2)
    assert rows.keyring.explain(fault, NEW.key_id) == fault
    rows(OLD, rotated(NEW, OLD))
    better = rows.keyring.explain(fault, NEW.key_id)
    assert replace(better, remedy="") == replace(fault, remedy="")
    assert "row 1, signed by a pinned writer, names this key" in better.remedy
    assert rows.keyring.explain(fault, THIRD.key_id) == fault
    other = finding(Rule.SIGNATURE, "row 2", row=2)
    assert rows.keyring.explain(other, NEW.key_id) == other


# On a real ledger


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Ledger, KeyFolder]]:
    folder = KeyFolder(tmp_path / "keys")
    ledger = Ledger(tmp_path / "l.db", keys=folder)
    add(ledger, 2)
    yield ledger, folder
    ledger.close()


def findings(ledger: Ledger, pins: Trust) -> list[tuple[Rule, int | None]]:
    with LedgerReader(ledger.db_path) as reader:
        return [(each.rule, each.row) for each in audit(reader, pins, state=None).findings]


def test_a_rotated_ledger_passes_and_its_auditor_must_pin_the_new_keys(place: tuple[Ledger, KeyFolder]) -> None:
    ledger, folder = place
    before = load_trust(folder.self_trust)
    for role in Role:
        rotate(folder, role)
    assert findings(ledger, load_trust(folder.self_trust)) == []
    add(ledger)
    assert findings(ledger, load_trust(folder.self_trust)) == []
    assert findings(ledger, before) == [(Rule.HEAD, None), (Rule.WRITER, 4), (Rule.WRITER, 5)]
    with LedgerReader(ledger.db_path) as reader:
        remedies = {each.remedy for each in audit(reader, before, state=None).findings if each.rule is Rule.WRITER}
    assert all("row 3, signed by a pinned writer, names this key" in remedy for remedy in remedies)


def test_a_stolen_key_that_goes_on_signing_is_found_though_the_auditor_has_no_revocation(
    place: tuple[Ledger, KeyFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, folder = place
    stolen, log = folder.writer(), folder.log()
    done = rotate(folder, Role.WRITER)
    add(ledger)
    revoke(ledger.db_path, done.old, keys=folder)
    with ledger._files.use() as files, files.writing():  # the thief has the machine too: everything but the new key
        files.site = replace(files.site, writer=stolen, log=log)
    monkeypatch.setattr(type(ledger._site), "succeeded", lambda self, rows: self)
    add(ledger)
    (folder.self_trust / "revoked").unlink()
    pins = load_trust(folder.self_trust)
    assert findings(ledger, pins) == [(Rule.REVOKED, 6)]
    assert ed25519.key_id(stolen.public) == done.old


@pytest.mark.parametrize("what", ["rotated", "revoked"])
def test_a_former_log_key_signs_no_head_of_a_larger_tree(place: tuple[Ledger, KeyFolder], what: str) -> None:
    ledger, folder = place
    former = folder.log()
    rotate(folder, Role.LOG)
    if what == "revoked":
        revoke(ledger.db_path, former.key_id, keys=folder)
    bound, _ = ledger.head()
    add(ledger)
    pins = load_trust(folder.self_trust)
    later, _ = ledger.head()
    assert (bound.size, later.size) == ((3, 4) if what == "rotated" else (4, 5))
    assert findings(ledger, pins) == []
    with closing(sqlite3.connect(ledger.db_path, isolation_level=None)) as sql:
        sql.execute("UPDATE head SET note = ?", (sign_checkpoint(later, Verifier(later.origin, former.public), former.sign),))
    pins = replace(pins, revoked=())  # the auditor has heard of nothing: the rows say so
    assert findings(ledger, pins) == [(Rule.HEAD, None)]


def test_the_head_over_its_own_rotation_is_the_last_of_a_log_key() -> None:
    rows = Rows(logs=(LOG, LATER))
    rows(OLD)
    assert rows(OLD, rotated(LATER, LOG, role=Role.LOG)) == []
    assert list(rows.keyring.judge_head(ORIGIN, LOG.key_id, 2)) == []
    assert list(rows.keyring.judge_head(ORIGIN, LATER.key_id, 9)) == []
    assert list(rows.keyring.judge_head("safeloop.local/y", LOG.key_id, 9)) == []
    only(list(rows.keyring.judge_head(ORIGIN, LOG.key_id, 3)), Rule.HEAD, "row 2 replaced it by")
