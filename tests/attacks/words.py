"""Attacks on what people signed, and signatures of one type offered as another."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from safeloop.ledger import seal, sshsig
from safeloop.ledger.note import Verifier
from safeloop.ledger.sshsig import PLAIN, PublicKey
from safeloop.ledger.trust import REVIEW_NAMESPACE
from safeloop.review.attesting.attestation import parse_statement, statement
from tests.attacks.attack import meets
from tests.attacks.scene import ALICE, Hand, Keys, public, replace
from tests.review.attacks import set_head

ATTESTATION = 13


def told(hand: Hand) -> dict[str, Any]:
    """Return the data of the true attestation."""
    found: dict[str, Any] = hand.body(ATTESTATION)["data"]
    return found


def attest(hand: Hand, **changes: Any) -> None:
    """Append an attestation of the writer's making to alpha, with the true one's data but for these."""
    alpha = hand.body(14)
    hand.rows.append(hand.seal(
        alpha | {"n": alpha["n"] + 1, "prev": hand.leaf(14), "kind": "attestation", "data": told(hand) | changes}
    ))
    hand.write()


@meets(keys=Keys.BOTH, words="1 attestation not signed by a reviewer pinned")
def an_attestation_is_signed_by_a_stranger_in_the_reviewers_name(hand: Hand) -> None:
    words = told(hand)["statement"].encode()
    attest(hand, signature=sshsig.sign(Ed25519PrivateKey.generate(), REVIEW_NAMESPACE, words))


@meets("attestation:20", keys=Keys.BOTH, words="does not verify")
def an_attestation_is_forged_under_the_reviewers_own_key(hand: Hand) -> None:
    words = told(hand)["statement"].encode()
    forged = sshsig.sign(Ed25519PrivateKey.generate(), REVIEW_NAMESPACE, words)
    blob = sshsig.parse_armor(forged)
    true = sshsig.parse_armor(told(hand)["signature"])
    attest(hand, signature=sshsig.render_armor(true[:-64] + blob[-64:]))


@meets("attestation:20", keys=Keys.BOTH, words="another session than its row")
def an_attestation_is_moved_to_another_session(hand: Hand) -> None:
    hand.rows.append(hand.appended(kind="attestation", data=told(hand)))
    hand.write()


@meets("attestation:20", keys=Keys.BOTH, words="another ledger than its row")
def an_attestation_of_another_ledger_is_brought_in(hand: Hand) -> None:
    moved = replace(parse_statement(told(hand)["statement"].encode()), ledger="example.org/log")
    words = statement(moved)
    attest(hand, statement=words.decode(), signature=sshsig.sign(hand.scene.reviewer, REVIEW_NAMESPACE, words))


@meets("attestation:20", keys=Keys.BOTH, words="another notes than its row")
def words_are_put_into_a_reviewers_mouth(hand: Hand) -> None:
    attest(hand, notes="and all that follows, too")


@meets("attestation:20", keys=Keys.BOTH, words="another decision than its row")
def a_reject_is_recorded_as_an_accept(hand: Hand) -> None:
    words = statement(replace(parse_statement(told(hand)["statement"].encode()), decision="reject"))
    attest(hand, statement=words.decode(), signature=sshsig.sign(hand.scene.reviewer, REVIEW_NAMESPACE, words))


@meets("attestation:20", keys=Keys.BOTH, words="does not verify")
def the_text_of_a_statement_is_changed(hand: Hand) -> None:
    words = statement(replace(parse_statement(told(hand)["statement"].encode()), notes="all is well"))
    attest(hand, statement=words.decode(), notes="all is well")


@meets("attestation:20", keys=Keys.BOTH, words="not in its canonical form")
def a_statement_has_a_key_twice(hand: Hand) -> None:
    words = told(hand)["statement"].replace('"decision":"accept"', '"decision":"reject","decision":"accept"')
    attest(hand, statement=words, signature=sshsig.sign(hand.scene.reviewer, REVIEW_NAMESPACE, words.encode()))


# Signatures of one type offered as another: one key in both roles, so that only the form can tell them apart.


def one_key(hand: Hand) -> None:
    """Pin the log key as a writer too, as an operator who reuses a key would."""
    hand.pin(writers=f"careless {PublicKey(PLAIN, hand.log.public).openssh}")


@meets("encoding:20", keys=Keys.LOG, words="no pinned writer signed these bytes")
def a_signed_note_is_offered_as_a_row(hand: Hand) -> None:
    one_key(hand)
    text, _, line = hand.scene.kept.partition("\n\n")
    hand.rows.append((f"{text}\n".encode(), b64decode(line.split(" ")[2])[4:]))
    hand.write()


@meets("head", keys=Keys.LOG, words="the checkpoint's signature does not verify")
def a_rows_signature_is_offered_as_a_heads(hand: Hand) -> None:
    one_key(hand)
    text = hand.scene.kept.partition("\n\n")[0] + "\n"
    log = Verifier(hand.scene.origin, hand.log.public)
    line = b64encode(log.key_hash + hand.log.sign(seal.pae(text.encode()))).decode()
    set_head(hand.path, f"{text}\n— {log.name} {line}\n")


@meets("signature:20", keys=Keys.BOTH)
def the_signature_of_a_bare_body_is_offered_as_a_rows(hand: Hand) -> None:
    body, _ = hand.appended()
    hand.rows.append((body, hand.writer.sign(body)))
    hand.write()


@meets("signature:20", keys=Keys.BOTH)
def a_signature_of_another_payload_type_is_offered_as_a_rows(hand: Hand) -> None:
    body, _ = hand.appended()
    kind = b"application/vnd.in-toto+json"
    hand.rows.append((body, hand.writer.sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body))))
    hand.write()


@meets("signature:20", keys=Keys.BOTH)
def an_ssh_signature_of_a_body_is_offered_as_a_rows(hand: Hand) -> None:
    body, _ = hand.appended()
    hand.rows.append((body, hand.writer.sign(sshsig.signed_data(REVIEW_NAMESPACE, body))))
    hand.write()


@meets("attestation:20", keys=Keys.BOTH, words="does not verify")
def a_rows_signature_is_offered_as_an_attestations(hand: Hand) -> None:
    words = told(hand)["statement"].encode()
    shape = sshsig.parse_armor(sshsig.sign(hand.scene.reviewer, REVIEW_NAMESPACE, words))
    attest(hand, signature=sshsig.render_armor(shape[:-64] + hand.scene.reviewer.sign(seal.pae(words))))


@meets("attestation:20", keys=Keys.BOTH, words="namespace")
def an_approval_is_offered_as_an_attestation(hand: Hand) -> None:
    words = told(hand)["statement"].encode()
    attest(hand, signature=sshsig.sign(hand.scene.reviewer, "safeloop-approval", words))


@meets(keys=Keys.BOTH, words="1 attestation not signed by a reviewer pinned")
def the_operator_attests_with_the_writer_key(hand: Hand) -> None:
    """The auditor even has the operator's key among the reviewers: it never counts as one."""
    own = operator_key(hand)
    hand.pin(reviewers=f'{ALICE} namespaces="{REVIEW_NAMESPACE}" {public(own)}')
    attest(hand, signature=sshsig.sign(own, REVIEW_NAMESPACE, told(hand)["statement"].encode()))


def operator_key(hand: Hand) -> Ed25519PrivateKey:
    """Return the writer key itself, for whoever holds it."""
    assert hand.writer
    key = load_pem_private_key((hand.scene.victim.keys / "writer.pem").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key

