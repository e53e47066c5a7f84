"""Attacks on what holds the rows from outside: witnesses, earlier audits, keys that are pinned; and nothing to audit."""

from __future__ import annotations

import shutil
from base64 import b64decode, b64encode
from hashlib import sha256

from safeloop.errors import KeyUnusable, LedgerError, SessionNotFoundError
from safeloop.ledger import encode, seal, sshsig
from safeloop.ledger.merkle import Frontier
from safeloop.ledger.note import Checkpoint, Verifier, sign_checkpoint
from safeloop.ledger.sshsig import PLAIN, PublicKey
from safeloop.ledger.succession import Role, name_key, rotation
from safeloop.ledger.trust import REVIEW_NAMESPACE
from safeloop.review.attesting.attestation import parse_statement, statement
from tests.attacks.attack import meets
from tests.attacks.rows import WEAK, quicker
from tests.attacks.scene import BETA, NO_PREV, ROWS, Asks, Brings, Hand, Keys, replace
from tests.attacks.words import attest, operator_key, told
from tests.ledger.witnessing import ONE, SigningWitness
from tests.review.attacks import overwrite_root, set_body, set_head, unguarded

SINCE, TREE = Asks.SINCE, Asks.TREE
FITS_ALL = WEAK + bytes(32)
"""Under the weak key, the signature of every message."""
WHEN = (1_800_000_000).to_bytes(8)


def set_policy(hand: Hand, *lines: str, quorum: str = "none") -> None:
    """Have the auditor's policy say more, and perhaps demand a quorum."""
    file = hand.scene.pins / "policy"
    kept = [line for line in file.read_text().splitlines() if not line.startswith("quorum ")]
    file.write_text("\n".join([*kept, *lines, f"quorum {quorum}", ""]))


def demand(hand: Hand, witness: SigningWitness = ONE) -> None:
    """Have the auditor's policy demand that this witness has cosigned."""
    set_policy(hand, f"witness one {witness.vkey}", quorum="one")


# Witnesses.


@meets("witness", words="the policy demands the quorum one, and no checkpoint has cosignatures enough for it")
def the_witness_that_the_policy_demands_has_seen_nothing(hand: Hand) -> None:
    demand(hand)


@meets("witness", brings=Brings.CHECKPOINT, words="the cosignature of one does not verify")
def a_cosignature_of_an_earlier_head_is_put_under_a_later_one(hand: Hand) -> None:
    demand(hand)
    hand.scene.kept += ONE.line(hand.scene.audited)


@meets("witness", brings=Brings.CHECKPOINT, words="the cosignature of one does not verify")
def a_cosignature_is_given_a_later_time(hand: Hand) -> None:
    demand(hand)
    hand.scene.kept += ONE.line(hand.scene.kept, 1_800_000_000, signed_time=1_700_000_000)


@meets("witness", brings=Brings.CHECKPOINT, words="the cosignature of one does not verify")
def a_heads_signature_is_offered_as_a_cosignature(hand: Hand) -> None:
    """By the witness's own key, but over the bare note, as a log signs."""
    demand(hand)
    text = hand.scene.kept.partition("\n\n")[0] + "\n"
    hand.scene.kept += ONE.raw_line(WHEN + ONE.key.sign(text.encode()))


@meets("witness", keys=Keys.LOG, brings=Brings.CHECKPOINT, words="the cosignature of one does not verify")
def the_operator_cosigns_in_the_witnesss_name(hand: Hand) -> None:
    demand(hand)
    text = hand.scene.kept.partition("\n\n")[0] + "\n"
    signature = hand.log.sign(b"cosignature/v1\ntime 1800000000\n" + text.encode())
    hand.scene.kept += ONE.raw_line(WHEN + signature)


@meets("witness", brings=Brings.CHECKPOINT, words="no checkpoint has cosignatures enough for it")
def somebody_who_is_no_witness_cosigns(hand: Hand) -> None:
    demand(hand)
    hand.scene.kept += SigningWitness(99, "stranger.example").line(hand.scene.kept)


@meets(refused=KeyUnusable, words="the key of 'two' is already another witness's")
def one_witness_is_pinned_under_two_names(hand: Hand) -> None:
    again = SigningWitness(ONE.seed, "other.example")
    set_policy(hand, f"witness one {ONE.vkey}", f"witness two {again.vkey}", "group both all one two", quorum="both")


# Keys of small order, in every role: a writer's is among the rows.


def weak_line(name: str, kind: bytes, signature: bytes) -> tuple[str, str]:
    """Return a verifier key over the weak key, and the line by which it has signed every note."""
    key_hash = sha256(name.encode() + b"\n" + kind + WEAK).digest()[:4]
    vkey = f"{name}+{key_hash.hex()}+{b64encode(kind + WEAK).decode()}"
    return vkey, f"— {name} {b64encode(key_hash + signature).decode()}\n"


@meets(refused=KeyUnusable, words="policy line .*: public key .* is a point of small order")
def a_small_order_key_is_pinned_as_a_log_and_signs_the_head(hand: Hand) -> None:
    """The tail is cut off, and nobody but the weak key has signed it."""
    vkey, line = weak_line(hand.scene.origin, b"\x01", FITS_ALL)
    set_policy(hand, f"log {vkey}")
    del hand.rows[14:]
    frontier = Frontier()
    for row in hand.rows:
        frontier.append(seal.leaf(*row))
    hand.write()
    set_head(hand.path, f"{Checkpoint(hand.scene.origin, 14, frontier.root()).text}\n{line}")


@meets(refused=KeyUnusable, brings=Brings.CHECKPOINT, words="policy line .*: public key .* is a point of small order")
def a_small_order_key_is_pinned_as_a_witness_and_cosigns(hand: Hand) -> None:
    vkey, line = weak_line("weak.example", b"\x04", WHEN + FITS_ALL)
    set_policy(hand, f"witness weak {vkey}", quorum="weak")
    hand.scene.kept += line


@meets(refused=KeyUnusable, keys=Keys.BOTH, words="reviewers line 2: public key .* is a point of small order")
def a_small_order_key_is_pinned_as_a_reviewer_and_attests(hand: Hand) -> None:
    name, key = "weak@example.org", operator_key(hand)
    wire = b"".join(len(part).to_bytes(4) + part for part in (b"ssh-ed25519", WEAK))
    hand.pin(reviewers=f'{name} namespaces="{REVIEW_NAMESPACE}" ssh-ed25519 {b64encode(wire).decode()}')
    words = statement(replace(parse_statement(told(hand)["statement"].encode()), reviewer=name))
    shape = sshsig.parse_armor(sshsig.sign(key, REVIEW_NAMESPACE, words))
    blob = shape.replace(key.public_key().public_bytes_raw(), WEAK)[:-64] + FITS_ALL
    attest(hand, reviewer=name, statement=words.decode(), signature=sshsig.render_armor(blob))


# Keys over time.


@meets("key:21", keys=Keys.BOTH, words="is signed by writer .*, which row 20 replaced by")
def a_writer_goes_on_after_another_took_its_place(hand: Hand) -> None:
    key = name_key(Role.WRITER, hand.stranger.public, hand.scene.origin)
    data = rotation(key, hand.scene.origin, hand.writer.key_id, hand.stranger.sign)
    tell_of_a_key(hand, data)


@meets("revoked:21", keys=Keys.BOTH, words="was revoked from row 20 on, by row 20")
def a_writer_goes_on_after_a_row_revoked_it(hand: Hand) -> None:
    own = PublicKey(PLAIN, hand.stranger.public).openssh
    hand.pin(writers=f"second {own}")
    data = {"event": "revoke", "key": PublicKey(PLAIN, hand.writer.public).openssh, "proof": None,
            "not_after_size": ROWS, "checkpoint": None}
    body = hand.body(ROWS) | {"session": "ledger", "n": 0, "prev": NO_PREV, "kind": "key", "data": data}
    hand.rows.append(hand.seal(body | {"writer": hand.stranger.key_id}, hand.stranger))
    say_more(hand)


def tell_of_a_key(hand: Hand, data: dict[str, object]) -> None:
    """Append the writer's row about a key, the first of the session `ledger`, and a row after it."""
    hand.rows.append(hand.appended(session="ledger", n=0, prev=NO_PREV, kind="key", data=data))
    say_more(hand)


def say_more(hand: Hand) -> None:
    """Append a row of the writer's to the session `ledger`, after its first."""
    data: dict[str, object] = {"hour": {}, "day": {}, "month": {}}
    hand.rows.append(hand.appended(session="ledger", n=1, prev=hand.leaf(len(hand.rows)), kind="limits", data=data))
    hand.write()


@meets("head", words="revoked for more than 14")
def the_head_is_signed_by_a_log_key_that_was_revoked(hand: Hand) -> None:
    hand.pin(revoked=f"{hand.scene.victim.log.key_id} {hand.scene.origin} 14")


@meets("head", keys=Keys.BOTH, words="whose last head was of 20: row 20 replaced it by")
def a_log_key_goes_on_after_another_took_its_place(hand: Hand) -> None:
    key = name_key(Role.LOG, hand.stranger.public, hand.scene.origin)
    data = rotation(key, hand.scene.origin, hand.log.key_id, hand.stranger.sign)
    tell_of_a_key(hand, data)


@meets("head", keys=Keys.BOTH, words="whose last head was of 19: row 20 revoked it from there on")
def a_log_key_goes_on_after_a_row_revoked_it(hand: Hand) -> None:
    own = name_key(Role.LOG, hand.log.public, hand.scene.origin).text
    data = {"event": "revoke", "key": own, "proof": None, "not_after_size": ROWS, "checkpoint": None}
    tell_of_a_key(hand, data)


# Since an earlier audit.


@meets("tree:4", asks=SINCE, words="row 4 is not the one that the head signs at this place")
def a_row_that_was_audited_before_is_changed(hand: Hand) -> None:
    set_body(hand.path, 3, encode(hand.body(4) | {"at": "2020-01-01T00:00:00.000000Z"}))


@meets("checkpoint", keys=Keys.BOTH, asks=SINCE, words="the checkpoint to audit from, of 14 rows is of another history")
def what_was_audited_before_is_told_otherwise_and_signed_anew(hand: Hand) -> None:
    hand.rows[13] = hand.seal(hand.body(14) | {"at": "2030-01-01T00:00:00.000000Z"})
    hand.write()


@meets("signature:18", keys=Keys.LOG, asks=SINCE)
def what_is_new_since_an_earlier_audit_is_edited(hand: Hand) -> None:
    hand.rows[17] = (quicker(hand), hand.rows[17][1])
    hand.write()


@meets("checkpoint", "signature:18", keys=Keys.LOG, asks=SINCE, words="the checkpoint to audit from cannot be used: .*; every row")
def an_audit_that_never_was_is_named_as_the_earlier_one(hand: Hand) -> None:
    """With it nobody would look at the signatures before."""
    hand.rows[17] = (quicker(hand), hand.rows[17][1])
    hand.write()
    _, size, root = hand.scene.victim.head().splitlines()[:3]
    forged = Checkpoint(hand.scene.origin, int(size), b64decode(root))
    hand.scene.audited = sign_checkpoint(forged, Verifier(hand.scene.origin, hand.stranger.public), hand.stranger.sign)


@meets("checkpoint", asks=SINCE, words="the checkpoint to audit from, of 19 rows is ahead of the ledger, which has 14")
def an_older_file_is_put_back_after_an_audit(hand: Hand) -> None:
    hand.scene.audited = hand.scene.kept
    hand.path.write_bytes(hand.scene.earlier)


# Chains and tree alone, and one session alone.


@meets("tree:18", asks=TREE, words="row 18 is not the one that the head signs at this place")
def a_field_is_edited_before_an_audit_of_the_tree(hand: Hand) -> None:
    set_body(hand.path, 17, quicker(hand))


@meets("chain:8", "chain:9", keys=Keys.LOG, asks=TREE)
def two_rows_change_places_before_an_audit_of_the_tree(hand: Hand) -> None:
    hand.rows[7], hand.rows[8] = hand.rows[8], hand.rows[7]
    hand.write()


@meets("encoding:20", keys=Keys.BOTH, asks=TREE, words="its bytes do not say which session it is of, and where in it")
def a_row_without_a_session_is_put_in_before_an_audit_of_the_tree(hand: Hand) -> None:
    hand.rows.append(hand.seal(b'{"a":1}'))
    hand.write()


@meets("missing:15", asks=Asks.BETA, words="rows 15 to 19 are missing")
def the_session_that_is_asked_for_is_removed(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute("DELETE FROM row WHERE idx >= 14")


@meets(refused=SessionNotFoundError, keys=Keys.LOG, asks=Asks.BETA, words=f"no session {BETA} in")
def the_session_that_is_asked_for_is_removed_and_the_head_signed_again(hand: Hand) -> None:
    del hand.rows[14:]
    hand.write()


# Nothing to audit.


@meets("empty", keys=Keys.LOG, words="has no rows")
def the_ledger_is_made_empty_and_the_head_signed_again(hand: Hand) -> None:
    hand.rows.clear()
    hand.write()


@meets("file:1", words="nothing can be read from row 1 on")
def the_pages_of_the_rows_are_overwritten(hand: Hand) -> None:
    overwrite_root(hand.path, "row")


@meets(refused=LedgerError, words="is not|not a ledger|no ledger")
def a_letter_takes_the_place_of_the_ledger(hand: Hand) -> None:
    hand.path.write_text("Dear auditor, all was well.\n" * 100)


@meets(refused=KeyUnusable, words="is not a trust folder")
def the_trust_folder_is_not_there(hand: Hand) -> None:
    shutil.rmtree(hand.scene.pins)


@meets(refused=KeyUnusable, words="has no file policy")
def the_trust_folder_pins_no_log(hand: Hand) -> None:
    (hand.scene.pins / "policy").unlink()


@meets("trust", *(f"writer:{number}" for number in range(1, ROWS + 1)), words="pins no log of this origin")
def the_trust_folder_is_for_another_ledger(hand: Hand) -> None:
    other = Verifier("example.org/other", hand.stranger.public)
    (hand.scene.pins / "policy").write_text(f"log {other.vkey}\nquorum none\n")
    (hand.scene.pins / "writers").write_text(f"other {PublicKey(PLAIN, hand.stranger.public).openssh}\n")
