"""The verifier in the page and the audit agree: on altered ledgers, on bodies, on keys, on the tree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from safeloop.errors import EncodingError, KeyUnusable
from safeloop.ledger import ed25519, encode
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.kinds import KINDS
from safeloop.ledger.rows import parse_row
from safeloop.ledger.sshsig import PLAIN, PublicKey
from safeloop.ledger.visible import escaped, has_unseen
from safeloop.review.reporting import page as page_module
from safeloop.review.reporting.rows import COST, TOKENS, WORD
from tests.attacks.attack import in_short
from tests.attacks.corpus import CORPUS
from tests.attacks.scene import ALPHA, NO_PREV, ROWS, Asks, Brings, Hand, Keys, Scene, make_scene
from tests.review.reporting.browser import Browser
from tests.review.reporting.conftest import Seen
from tests.review.reporting.made import page_of_ledger, page_of_session

VECTORS = Path(__file__).parents[2] / "vectors"
JUDGED = {"encoding", "signature", "writer", "revoked", "ledger", "chain", "missing", "tree", "head", "key", "empty"}
"""The rules of an audit that the page judges too; the others are about content, tables, and the loop's word."""

ALWAYS = (
    "a field is edited", "a field is edited and the tree rebuilt", "a field is edited and the row signed again",
    "a field is edited and row and head signed again", "a signature has another length", "a row is deleted",
    "a row is deleted and the gap closed", "a copy of a row is inserted", "a row is put before the first",
    "a row is put far beyond the last", "a session is removed", "the end is cut off", "every row is deleted",
)  # fmt: skip


def chosen() -> list[str]:
    """These, and a few that each rule meets, of those that leave a ledger of which a page can be made."""
    found = dict.fromkeys(ALWAYS)
    for rule in sorted(JUDGED - {"key", "revoked"}):
        met = [name for name, attack in CORPUS.items() if attack.refused is None and attack.asks is Asks.EVERYTHING
               and attack.brings is Brings.PINS and any(each.partition(":")[0] == rule for each in attack.expected)]
        found |= dict.fromkeys(met if rule == "head" else met[:2])
    return list(found)


CHOSEN = chosen()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"))


def accused(expected: tuple[str, ...]) -> list[int]:
    """The rows that the findings name, of those rules, rows that are not here aside."""
    pairs = [each.partition(":") for each in expected]
    return [int(row) for rule, _, row in pairs if rule in JUDGED - {"missing"} and row]


def test_there_are_attacks_of_every_sort() -> None:
    assert set(CHOSEN) <= set(CORPUS)
    rules = {each.partition(":")[0] for name in CHOSEN for each in CORPUS[name].expected}
    assert rules >= JUDGED - {"key", "revoked"}


@pytest.mark.parametrize("name", CHOSEN)
def test_an_altered_ledger_is_red_where_the_audit_says(scene: Scene, look: Callable[[str], Seen], name: str) -> None:
    scene.restore()
    attack = CORPUS[name]
    attack.carry_out(Hand(scene, attack.keys))
    text = page_of_ledger(scene.victim.path, scene.trust())
    assert "safeloop audit said: record FAIL" in text
    seen = look(text)
    rows = accused(attack.expected)
    assert seen.state == "bad", seen
    named = {row for row in rows if row <= scene_rows(text)}
    assert named <= set(seen.bad), seen
    if rows:
        assert float(min(seen.bad)) == float(min(rows)), seen  # the first that is accused is the same
    else:
        assert [row for row in seen.bad if row > 0] == [], seen  # what lies before the first is named by its place


def scene_rows(text: str) -> int:
    """The most rows that an attack in this corpus leaves; a number beyond is one that JavaScript cannot hold."""
    return text.count('<details class="row"')


def test_a_row_that_is_missing_is_named_first(scene: Scene, look: Callable[[str], Seen]) -> None:
    scene.restore()
    CORPUS["a row is deleted"].carry_out(Hand(scene, CORPUS["a row is deleted"].keys))
    seen = look(page_of_ledger(scene.victim.path, scene.trust()))
    assert (seen.title, seen.bad) == ("Not verified: row 8", [])


def test_a_row_with_another_number_in_its_session_is_found_though_all_keys_signed_it(
    scene: Scene, look: Callable[[str], Seen]
) -> None:
    scene.restore()
    hand = Hand(scene, Keys.BOTH)
    value = hand.body(19)
    value["n"] += 1
    hand.rows[18] = hand.seal(encode(value))
    hand.write()
    assert "chain:19" in in_short(scene.audit().findings)
    seen = look(page_of_ledger(scene.victim.path, scene.trust()))
    assert (seen.title, seen.bad) == ("Not verified: row 19", [19])


@pytest.mark.parametrize(("change", "found"), [({}, "key:20"), ({"more": 1}, "kind:20"), ({"key": 7}, "kind:20")])
def test_a_key_row_that_revokes_its_own_writer_or_has_no_form_is_refused_as_by_the_audit(
    scene: Scene, look: Callable[[str], Seen], change: dict[str, object], found: str
) -> None:
    scene.restore()
    hand = Hand(scene, Keys.BOTH)
    own = PublicKey(PLAIN, KeyFolder(scene.victim.keys).writer().public).openssh
    data = {"event": "revoke", "key": own, "proof": None, "not_after_size": 5, "checkpoint": None} | change
    body = hand.body(1) | {"data": data, "kind": "key", "session": "ledger", "n": 0, "prev": NO_PREV}
    hand.rows.append(hand.seal(encode(body)))
    hand.write()
    assert in_short(scene.audit().findings) == (found,)
    seen = look(page_of_ledger(scene.victim.path, scene.trust()))
    assert (seen.title, seen.bad) == ("Not verified: row 20", [20])


@pytest.mark.parametrize(("bound", "found", "bad"), [
    (ROWS, (), []), (ROWS - 1, ("revoked:20",), [20]), (0, ("revoked:20",), [20]),
])
def test_a_writer_whom_another_revokes_from_a_row_on_after_which_rows_of_it_stand_is_found_as_by_the_audit(
    scene: Scene, look: Callable[[str], Seen], bound: int, found: tuple[str, ...], bad: list[int]
) -> None:
    scene.restore()
    hand = Hand(scene, Keys.BOTH)
    hand.pin(writers=f"second {PublicKey(PLAIN, hand.stranger.public).openssh}")
    revoked = PublicKey(PLAIN, hand.writer.public).openssh
    data = {"event": "revoke", "key": revoked, "proof": None, "not_after_size": bound, "checkpoint": None}
    body = hand.body(ROWS) | {"session": "ledger", "n": 0, "prev": NO_PREV, "kind": "key", "data": data}
    hand.rows.append(hand.seal(body | {"writer": hand.stranger.key_id}, hand.stranger))
    hand.write()
    assert in_short(scene.audit().findings) == found
    seen = look(page_of_ledger(scene.victim.path, scene.trust()))
    assert (seen.state, seen.bad) == ("bad" if bad else "own", bad), seen


def test_key_rows_that_an_audit_refuses_are_refused(scene: Scene, look: Callable[[str], Seen]) -> None:
    names = [name for name, attack in CORPUS.items() if attack.asks is Asks.EVERYTHING and attack.refused is None
             and any(each.partition(":")[0] in ("key", "revoked") for each in attack.expected)]
    assert len(names) > 5
    for name in names:
        scene.restore()
        CORPUS[name].carry_out(Hand(scene, CORPUS[name].keys))
        seen = look(page_of_ledger(scene.victim.path, scene.trust()))
        assert seen.bad == sorted(set(accused(CORPUS[name].expected))), (name, seen)


def test_nothing_done_is_nothing_found(scene: Scene, look: Callable[[str], Seen]) -> None:
    scene.restore()
    seen = look(page_of_ledger(scene.victim.path, scene.trust()))
    assert (seen.state, seen.bad, seen.good) == ("own", [], 19)


def test_an_attested_frame_is_said_to_be_the_one_that_was_attested(scene: Scene, look: Callable[[str], Seen]) -> None:
    scene.restore()
    text = page_of_session(scene.victim.path, scene.trust(), ALPHA)
    assert "The attestation of row 13 names the frame that is shown" in look(text).text
    other = text.replace("Audit this page", "Audit that page", 1)
    assert other != text
    seen = look(other)
    assert (seen.state, seen.title) == ("bad", "Not verified")


@pytest.fixture(scope="module")
def verifier(browser: Browser) -> Callable[[str], object]:
    """Evaluates an expression beside the verifier's own functions, in a page without any."""
    modules = [name for name in page_module._SCRIPTS if name != "page.js"]
    source = "\n".join(page_module._asset(name) for name in modules)
    page = browser.open("data:text/html,<title>empty</title>")
    # A data: address is no secure context, so that the functions that need no WebCrypto are tried here.
    return lambda expression: page.value(f"(() => {{ {source}\n return {expression}; }})()")


def bodies() -> list[bytes]:
    good = [each["body"].encode() for each in json.loads((VECTORS / "rows.json").read_text())["rows"]]
    bad = [each["body"].encode() if "body" in each else bytes.fromhex(each["body_hex"])
           for each in json.loads((VECTORS / "bad_bodies.json").read_text())]
    changes = {
        b'"n":0': (b'"n":-0', b'"n":9007199254740991', b'"n":9007199254740992', b'"n":1.0', b'"n":1e1', b'"n":-1', b'"n":01'),
        b'"2026-11-21': (b'"2026-02-30', b'"0000-01-01', b'"2024-02-29', b'"2026-13-01'),
        b"T07:00:00": (b"T24:00:00", b"T23:59:60", b"T23:59:59"),
        b'"v":1': (b'"v":2', b'"v":true', b'"v":"1"'),
        b'"plain"': (b'"\\u0000"', b'"\\ud800"', b'"\\u001f"', b'"\\u001F"', b'"\\/"', b'"\x7f\xe2\x80\xa8"', b'"\xff"', b'"\\n"'),
        b'"none":null': (b'"none":' + b"[" * 14 + b"]" * 14, b'"none":' + b"[" * 15 + b"]" * 15, b'"__proto__":null'),
    }
    edited = [good[0].replace(old, new, 1) for old, news in changes.items() for new in news]
    return [*good, *bad, *edited]


def is_row(body: bytes) -> bool:
    try:
        parse_row(0, body, bytes(64))
    except EncodingError:
        return False
    return True


def test_every_body_of_the_vectors_is_judged_alike(verifier: Callable[[str], object]) -> None:
    found = bodies()
    judged = verifier(
        f"{json.dumps([list(body) for body in found])}.map((body) => {{"
        " try { parseBody(new Uint8Array(body)); return true; }"
        " catch (error) { if (error instanceof EncodingError) return false; throw error; } })"
    )
    assert judged == [is_row(body) for body in found]
    assert True in judged and judged.count(False) > 20


def test_small_order_keys_are_refused_and_others_are_not(verifier: Callable[[str], object]) -> None:
    small = json.loads((VECTORS / "small_order_keys.json").read_text())["public_keys_hex"]
    good = ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"]
    twice = (2**255 - 19 + 3).to_bytes(32, "little")  # the second encoding of a point of large order
    raw = [twice, *map(bytes.fromhex, [*small, *good])]
    judged = verifier(f"{json.dumps([list(key) for key in raw])}.map((key) => isAdmitted(new Uint8Array(key)))")
    assert judged == [is_admitted(key) for key in raw] == [False] * (len(small) + 1) + [True]


def is_admitted(raw: bytes) -> bool:
    try:
        ed25519.check_public_key(raw)
    except KeyUnusable:
        return False
    return True


def test_what_is_shown_escaped_is_read_back(verifier: Callable[[str], object]) -> None:
    texts = ["a\\b", "\\u{41}", "\u202e\u200b\x7f", "\\\\u{202e}", "plain", "\U000e0041 x", "\t\n\r"]
    assert verifier(f"{json.dumps([escaped(text) for text in texts])}.map(unescaped)") == texts


def test_the_same_characters_are_not_seen_and_are_written_alike(verifier: Callable[[str], object]) -> None:
    points = [point for point in range(0x110000) if has_unseen(chr(point))]
    ranges = [[point, end] for point in points if not has_unseen(chr(point - 1) if point else "a")
              for end in [next(each for each in range(point, 0x110001) if each == 0x110000 or not has_unseen(chr(each)))]]
    assert verifier(
        "(() => { const found = []; let start = null; for (let at = 0; at <= 0x110000; at++) {"
        " const is = at < 0x110000 && UNSEEN.test(String.fromCodePoint(at));"
        " if (is && start === null) start = at; if (!is && start !== null) { found.push([start, at]); start = null; } }"
        " return found; })()"
    ) == ranges
    texts = ["a\\b", "\u202e\u200b\x7f", "plain", "\U000e0041 é", "\t\n\r", "\U0001f600"]
    assert verifier(f"{json.dumps(texts)}.map(escaped)") == [escaped(text) for text in texts]


def test_both_sides_have_the_same_tables(verifier: Callable[[str], object]) -> None:
    assert verifier("[TOKENS, COST, WORD]") == [TOKENS, COST, WORD]
    assert set(verifier("KINDS")) == set(KINDS)
