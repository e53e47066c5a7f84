"""Attacks on single rows: bytes, signatures, keys, encodings, and what a row says of itself."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import partial
from pathlib import Path

from safeloop.errors import KeyUnusable
from safeloop.ledger import ed25519, encode
from tests.attacks.attack import add, meets
from tests.attacks.scene import BETA, NO_PREV, ROWS, Hand, Keys, without_prefix
from tests.review.attacks import rebuild, rewrite_schema, set_body, set_signature, unguarded

VECTORS = Path(__file__).parents[1] / "vectors"
WEAK = bytes.fromhex(json.loads((VECTORS / "small_order_keys.json").read_text())["public_keys_hex"][0])


def quicker(hand: Hand) -> bytes:
    """Return the body of row 18 with less time than was taken."""
    value = hand.body(18)
    value["data"]["execution_time_ms"] = 1
    return encode(value)


@meets("signature:18", words="row 18: signature does not verify under writer")
def a_field_is_edited(hand: Hand) -> None:
    set_body(hand.path, 17, quicker(hand))


@meets("tree", "signature:18", words="another root than the head signs")
def a_field_is_edited_and_the_tree_rebuilt(hand: Hand) -> None:
    hand.rows[17] = (quicker(hand), hand.rows[17][1])
    hand.write()


@meets("signature:18", keys=Keys.LOG)
def a_field_is_edited_and_the_head_signed_again(hand: Hand) -> None:
    hand.rows[17] = (quicker(hand), hand.rows[17][1])
    hand.write()


@meets("tree:18", keys=Keys.WRITER, words="row 18 is not the one that the head signs at this place")
def a_field_is_edited_and_the_row_signed_again(hand: Hand) -> None:
    body, signature = hand.seal(quicker(hand))
    set_body(hand.path, 17, body)
    set_signature(hand.path, 17, signature)


@meets("chain:19", keys=Keys.BOTH, words="its prev .* is not the leaf of the row before it in session beta")
def a_field_is_edited_and_row_and_head_signed_again(hand: Hand) -> None:
    hand.rows[17] = hand.seal(quicker(hand))
    hand.write()


@meets("signature:4")
def a_signature_is_set_to_zero(hand: Hand) -> None:
    set_signature(hand.path, 3, bytes(64))


@meets("encoding:4", words="the signature has 65 bytes, not 64")
def a_signature_has_another_length(hand: Hand) -> None:
    set_signature(hand.path, 3, hand.rows[3][1] + b"\0")


@meets("signature:4", words="signature does not verify")
def the_signature_of_another_row_is_put_under_a_row(hand: Hand) -> None:
    set_signature(hand.path, 3, hand.rows[4][1])


@meets("encoding:4", words="not stored as bytes")
def a_signature_is_stored_as_text(hand: Hand) -> None:
    rewrite_schema(hand.path, "row", lambda text: text.removesuffix(" STRICT"))
    with unguarded(hand.path) as sql:
        sql.execute("UPDATE row SET sig = 'words' WHERE idx = 3")
    rewrite_schema(hand.path, "row", lambda text: text + " STRICT")


# Keys.


@meets("writer:20", keys=Keys.LOG, words="writer .* is not pinned in")
def a_row_is_signed_by_a_key_that_nobody_pinned(hand: Hand) -> None:
    hand.rows.append(hand.seal(
        hand.body(ROWS) | {"n": 5, "prev": hand.leaf(ROWS), "writer": hand.stranger.key_id}, hand.stranger
    ))
    hand.write()


@meets("signature:20", keys=Keys.LOG)
def a_row_by_a_stranger_names_the_pinned_writer(hand: Hand) -> None:
    hand.rows.append(hand.seal(hand.body(ROWS) | {"n": 5, "prev": hand.leaf(ROWS)}, hand.stranger))
    hand.write()


@meets("head", *(f"writer:{number}" for number in range(1, ROWS + 1)), words="does not verify|no signature by the key")
def every_key_is_swapped_for_the_attackers_own(hand: Hand) -> None:
    for number in range(1, ROWS + 1):
        hand.rows[number - 1] = hand.seal(hand.body(number) | {"writer": hand.stranger.key_id}, hand.stranger)
    rebuild(hand.scene.victim, hand.rows, log=hand.stranger)


@meets("writer:20", keys=Keys.LOG)
def a_small_order_key_signs_a_row(hand: Hand) -> None:
    hand.rows.append((encode(small_order_body(hand)), WEAK + bytes(32)))
    hand.write()


@meets(refused=KeyUnusable, keys=Keys.LOG, words="writers line 2: public key .* is a point of small order")
def a_small_order_key_is_pinned_and_signs_a_row(hand: Hand) -> None:
    """Under this key one signature verifies for every message, in every common library."""
    wire = b"".join(len(part).to_bytes(4) + part for part in (b"ssh-ed25519", WEAK))
    hand.pin(writers=f"weak ssh-ed25519 {b64encode(wire).decode()}")
    hand.rows.append((encode(small_order_body(hand)), WEAK + bytes(32)))
    hand.write()


def small_order_body(hand: Hand) -> dict[str, object]:
    return hand.body(ROWS) | {"n": 5, "prev": hand.leaf(ROWS), "writer": ed25519.key_id(WEAK)}


@meets("revoked:20", keys=Keys.BOTH, words="writer .* was revoked from row 20 on")
def a_revoked_key_signs_a_row_and_backdates_it(hand: Hand) -> None:
    hand.rows.append(hand.appended(at="2020-01-01T00:00:00.000000Z", session="gamma", n=0, prev=NO_PREV, kind="spec",
                                   data=hand.body(15)["data"]))
    hand.write()
    hand.pin(revoked=f"{hand.writer.key_id} {hand.scene.origin} {ROWS}")


@meets("revoked:18", "revoked:19", words="was revoked from row 18 on")
def nothing_is_done_but_the_key_was_revoked_earlier(hand: Hand) -> None:
    hand.pin(revoked=f"{hand.scene.victim.writer.key_id} {hand.scene.origin} 17")


# Encodings: signed by the true writer and the true log, so that nothing but the strict parse can find them.


@meets("encoding:20", keys=Keys.BOTH, words="not canonical: duplicate .*signed by writer")
def a_key_is_there_twice(hand: Hand) -> None:
    body, _ = hand.appended()
    hand.rows.append(hand.seal(without_prefix(body, b'"turns":1', b'"turns":9,"turns":1')))
    hand.write()


def put(bomb: bytes, hand: Hand) -> None:
    hand.rows.append(hand.seal(bomb))
    hand.write()


for why, body in ((each["why"], each["body"]) for each in json.loads((VECTORS / "bad_bodies.json").read_text())):
    add(f"a body outside the format: {why}", partial(put, body.encode("utf-8", "surrogatepass")), "encoding:20",
        keys=Keys.BOTH)

for why, bomb in {
    "brackets": b"[" * 50_000, "objects": b'{"a":' * 9_000, "digits": b"1" * 59_000, "too many bytes": b'"' + b"a" * 70_000 + b'"',
    "nothing": b"", "a byte order mark": b"\xef\xbb\xbf{}", "half a character": b"\xc3", "another program's JSON": b'{"a": 1}',
}.items():
    add(f"a bomb in place of a body: {why}", partial(put, bomb), "encoding:20", keys=Keys.BOTH)


# What a row says of itself.


@meets("ledger:20", keys=Keys.BOTH, words="is of ledger example.org/log, not of")
def a_row_names_another_ledger(hand: Hand) -> None:
    hand.rows.append(hand.appended(ledger="example.org/log"))
    hand.write()


@meets("encoding:20", keys=Keys.BOTH, words="session is not of the format's form")
def a_session_takes_the_reserved_name(hand: Hand) -> None:
    hand.rows.append(hand.appended(session="latest", n=0, prev=NO_PREV))
    hand.write()


@meets("kind:20", keys=Keys.BOTH, words="a check row's pass_fail is missing, unknown or of another form")
def a_row_has_the_data_of_no_kind(hand: Hand) -> None:
    hand.rows.append(hand.appended(kind="check", data={"criterion": "x", "pass_fail": "yes", "detail": None}))
    hand.write()


@meets("open:20", keys=Keys.BOTH, words="opens session beta a second time")
def a_session_is_opened_twice(hand: Hand) -> None:
    hand.rows.append(hand.appended(kind="open", data=hand.body(16)["data"]))
    hand.write()


@meets("open:21", keys=Keys.BOTH, words="on a spec row that the session does not have")
def a_session_is_opened_on_the_promise_of_another(hand: Hand) -> None:
    hand.rows.append(hand.seal(hand.body(15) | {"session": "gamma"}))
    hand.rows.append(hand.seal(hand.body(16) | {"session": "gamma", "prev": hand.leaf(20)}))
    hand.write()


@meets(words="1 session ungoverned: gamma", keys=Keys.BOTH, gaps=("ungoverned",))
def a_session_is_never_opened(hand: Hand) -> None:
    data = hand.body(18)["data"] | {"intent": None, "attempt": None}
    hand.rows.append(hand.seal(hand.body(18) | {"session": "gamma", "n": 0, "prev": NO_PREV, "data": data}))
    hand.write()


@meets(keys=Keys.BOTH, words="kind telemetry is not known to this reader", gaps=("unknown:20",))
def a_row_of_a_later_kind_is_added(hand: Hand) -> None:
    hand.rows.append(hand.appended(kind="telemetry", data={"turn": "x"}))
    hand.write()


@meets(keys=Keys.BOTH, words="version 2 is not known to this reader", gaps=("unknown:20",))
def a_row_of_a_later_version_is_added(hand: Hand) -> None:
    put(encode({"v": 2, "session": BETA}), hand)


@meets("signature:20", keys=Keys.LOG, words="version 2 .* and no pinned writer signed these bytes")
def a_row_of_a_later_version_hides_that_nobody_signed_it(hand: Hand) -> None:
    hand.rows.append(hand.seal({"v": 2}, hand.stranger))
    hand.write()
