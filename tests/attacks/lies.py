"""Lies of an operator who holds every key: the record is whole, and the rows themselves tell that the loop broke its word."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop.ledger import sshsig
from safeloop.ledger.keys import SigningKey
from safeloop.ledger.sshsig import PLAIN, PublicKey
from safeloop.ledger.trust import REVIEW_NAMESPACE
from safeloop.review.attesting.attestation import parse_statement, statement
from safeloop.review.releasing.policy import ReleasePolicy
from tests.attacks.attack import meets
from tests.attacks.scene import NO_PREV, ROWS, Hand, Keys, public, replace
from tests.attacks.words import attest, told

BOB = "bob@example.org"


def tell(hand: Hand, number: int, **changes: Any) -> None:
    """Tell a row of beta otherwise, and sign everything after it anew."""
    hand.rewrite(number, data=hand.body(number)["data"] | changes)
    hand.write()


@meets("promise:16", keys=Keys.BOTH, words="raises the ceiling on tokens to 50,000, and its spec row promises 40,000")
def a_session_is_opened_under_looser_ceilings_than_were_promised(hand: Hand) -> None:
    tell(hand, 16, ceilings={"turns": 8, "tokens": 50_000})


@meets("ceiling:17", keys=Keys.BOTH, words="granted beyond the token_ceiling of 40,000")
def a_request_is_granted_beyond_the_ceiling(hand: Hand) -> None:
    tell(hand, 17, reserved_tokens=40_001)


@meets("reservation:17", keys=Keys.BOTH, words="max_tokens 1,025 is above wanted_max_tokens 1,024")
def a_request_asks_for_more_than_was_wanted(hand: Hand) -> None:
    tell(hand, 17, max_tokens=1_025)


@meets("intent:18", keys=Keys.BOTH, words="turn 1 names no intent")
def a_reply_had_no_intent_before_it(hand: Hand) -> None:
    """The close row is made to fit: the reservation was never settled."""
    hand.rewrite(18, data=hand.body(18)["data"] | {"intent": None, "attempt": None})
    tell(hand, 19, total_tokens=hand.body(17)["data"]["reserved_tokens"] + 80)


@meets("charge:18", keys=Keys.BOTH, words="charges 1 tokens, and its usage is 80")
def a_reply_is_charged_less_than_it_used(hand: Hand) -> None:
    hand.rewrite(18, data=hand.body(18)["data"] | {"token_delta": 1})
    tell(hand, 19, total_tokens=1)


@meets("totals:19", keys=Keys.BOTH, words="states total_tokens 1, and its rows add up to 80")
def a_close_row_adds_up_otherwise_than_its_session(hand: Hand) -> None:
    tell(hand, 19, total_tokens=1)


@meets("outcome:19", keys=Keys.BOTH, words="states breached, and there is no breach row")
def a_close_row_claims_a_breach_that_never_was(hand: Hand) -> None:
    tell(hand, 19, outcome="breached")


@meets("closed:20", keys=Keys.BOTH, words="intent after the session was closed as completed")
def work_goes_on_after_the_close(hand: Hand) -> None:
    hand.rows.append(hand.appended(kind="intent", data=hand.body(17)["data"] | {"turn": 2}))
    hand.write()


def released(hand: Hand, session_end: int, attestations: list[str], policy: ReleasePolicy) -> None:
    """Append a release of alpha after the row with this number."""
    end = hand.body(session_end)
    data = hand.body(14)["data"] | {"attestations": attestations, "policy": policy.canonical}
    hand.rows.append(hand.seal(
        end | {"n": end["n"] + 1, "prev": hand.leaf(session_end), "kind": "release", "data": data}
    ))
    hand.write()


@meets("release:20", keys=Keys.BOTH, words="0 of 1 accepts that count")
def a_release_rests_on_nobodys_word(hand: Hand) -> None:
    released(hand, 14, [], ReleasePolicy())


@meets("release:21", "release:21", keys=Keys.BOTH, words="is not pinned as a key of alice@example.org")
def a_release_rests_on_the_word_of_a_stranger(hand: Hand) -> None:
    attest(hand, signature=sshsig.sign(Ed25519PrivateKey.generate(), REVIEW_NAMESPACE, told(hand)["statement"].encode()))
    released(hand, 20, [hand.leaf(20)], ReleasePolicy())


@meets("release:21", "release:21", keys=Keys.BOTH, words="row 20 is a reject")
def a_release_goes_out_against_a_reject(hand: Hand) -> None:
    rejected = replace(parse_statement(told(hand)["statement"].encode()), decision="reject")
    words = statement(rejected)
    attest(hand, decision="reject", statement=words.decode(),
           signature=sshsig.sign(hand.scene.reviewer, REVIEW_NAMESPACE, words))
    released(hand, 20, [hand.leaf(20)], ReleasePolicy())


@meets("release:21", "release:21", keys=Keys.BOTH, words="1 of 2 accepts that count|does not stand")
def one_key_under_two_names_is_counted_twice(hand: Hand) -> None:
    """The auditor has pinned the one key for both names, and the policy asks for two people."""
    hand.pin(reviewers=f'{BOB} namespaces="{REVIEW_NAMESPACE}" {public(hand.scene.reviewer)}')
    true = hand.body(13)["data"]
    words = statement(replace(parse_statement(true["statement"].encode()), reviewer=BOB, stated_at="2099-01-01T00:00:00.000000Z"))
    data = true | {
        "reviewer": BOB, "statement": words.decode(),
        "signature": sshsig.sign(hand.scene.reviewer, REVIEW_NAMESPACE, words),
    }
    end = hand.body(14)
    hand.rows.append(hand.seal(end | {"n": end["n"] + 1, "prev": hand.leaf(14), "kind": "attestation", "data": data}))
    released(hand, 20, [hand.leaf(13), hand.leaf(20)], ReleasePolicy(accepts=2))


@meets("key:20", keys=Keys.BOTH, words="has no proof that writer .* took part")
def a_rotation_names_a_key_that_never_took_part(hand: Hand) -> None:
    key = PublicKey(PLAIN, SigningKey.ephemeral().public).openssh
    data = {"event": "rotate", "key": key, "proof": "A" * 86 + "==", "not_after_size": None, "checkpoint": None}
    hand.rows.append(hand.appended(session="ledger", n=0, prev=NO_PREV, kind="key", data=data))
    hand.write()


@meets("key:20", keys=Keys.BOTH, words="revokes a key from row 26 on, which is after itself")
def a_revocation_is_put_off(hand: Hand) -> None:
    key = PublicKey(PLAIN, hand.stranger.public).openssh
    data = {"event": "revoke", "key": key, "proof": None, "not_after_size": ROWS + 6, "checkpoint": None}
    hand.rows.append(hand.appended(session="ledger", n=0, prev=NO_PREV, kind="key", data=data))
    hand.write()
