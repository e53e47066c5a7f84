"""The verifier in the page, in a browser: a good page holds, and a copy that was tampered with turns red where it was."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop.ledger import Ledger
from safeloop.ledger.ed25519 import key_id
from safeloop.ledger.note import Verifier
from safeloop.ledger.trust import load_trust
from tests.review.reporting.browser import Browser
from tests.review.reporting.conftest import SETTLED, Made, Seen
from tests.review.reporting.made import body_of, data_of, page_of_ledger, row_html, with_data, with_row

Look = Callable[[str], Seen]
ROWS, OF_A_SESSION = 24, 12


def flipped(text: str) -> str:
    raw = bytearray(b64decode(text))
    raw[40] ^= 1
    return b64encode(raw).decode()


def edited(page: str, number: int) -> str:
    """One character of a body, which stays canonical."""
    return with_row(page, number, lambda text: text.replace('"at":"20', '"at":"21'))


def without(page: str, number: int) -> str:
    return page.replace(row_html(page, number), "")


def swapped(page: str, one: int, other: int) -> str:
    first, second = body_of(page, one), body_of(page, other)
    page = page.replace(f">{first}</pre>", ">HERE</pre>").replace(f">{second}</pre>", f">{first}</pre>")

    def change(data: dict) -> None:
        rows = data["rows"]
        rows[one - 1][1], rows[other - 1][1] = rows[other - 1][1], rows[one - 1][1]

    return with_data(page.replace(">HERE</pre>", f">{second}</pre>"), change)


def moved(page: str, one: int, other: int) -> str:
    """Two rows change places on the page, and are whole."""
    first, second = row_html(page, one), row_html(page, other)
    return page.replace(first, "HERE").replace(second, first).replace("HERE", second)


def cut(page: str, rows: int) -> str:
    """The last rows are gone from everywhere, and the count says so."""
    count = len(data_of(page)["rows"])
    for number in range(count - rows + 1, count + 1):
        page = without(page, number)

    def change(data: dict) -> None:
        data["rows"], data["count"] = data["rows"][:-rows], data["count"] - rows
        data["leaves"] = data["leaves"][:-rows]

    return with_data(page, change)


def another_writer(data: dict) -> None:
    data["writers"] = [b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()]


def another_signature(data: dict) -> None:
    data["rows"][8][1] = flipped(data["rows"][8][1])


def another_head(page: str) -> str:
    """The head claims one row less."""
    return page.replace(f"\n{ROWS}\n", f"\n{ROWS - 1}\n", 1)


def test_the_page_of_an_empty_ledger_is_not_verified(look: Look, tmp_path) -> None:
    Ledger(tmp_path / "empty.db", keys=tmp_path / "keys").close()
    seen = look(page_of_ledger(tmp_path / "empty.db", load_trust(tmp_path / "keys" / "self")))
    assert (seen.state, seen.title) == ("bad", "Not verified")
    assert seen.text.startswith("there is no row on this page (empty)")


def another_head_signature(page: str) -> str:
    return re.sub(r"(\n— \S+ )(\S+)(\n</pre>)", lambda match: match[1] + flipped(match[2]) + match[3], page)


def test_a_good_page_of_a_ledger_holds_by_its_own_keys_and_says_what_that_is_worth(made: Made, look: Look) -> None:
    seen = look(made.ledger)
    assert (seen.state, seen.bad, seen.good) == ("own", [], ROWS)
    assert "no root of trust" in seen.text and "Verified" not in seen.title


def test_a_good_page_of_a_session_holds_and_says_what_it_cannot_see(made: Made, look: Look) -> None:
    seen = look(made.session)
    assert (seen.state, seen.bad, seen.good) == ("own", [], OF_A_SESSION)
    assert "whether a later row of this one exists" in seen.text
    assert "No signed attestation on this page names the frame" in seen.text


TAMPERED: dict[str, tuple[Callable[[str], str], str, list[int]]] = {
    "a byte of a body": (lambda page: edited(page, 7), "Not verified: row 7", [7]),
    "a byte of a signature": (lambda page: with_data(page, another_signature), "Not verified: row 9", [9]),
    "a row is removed": (lambda page: without(page, 5), "Not verified: row 5", []),
    "two rows are swapped": (lambda page: swapped(page, 4, 18), "Not verified: row 4", [4, 18]),
    "two rows stand in another order": (lambda page: moved(page, 4, 18), "Not verified: row 4", [*range(4, 19)]),
    "the head's size": (another_head, "Not verified", []),
    "a bit of the head's signature": (another_head_signature, "Not verified", []),
    "the writer's key": (lambda page: with_data(page, another_writer), "Not verified: row 1", [*range(1, ROWS + 1)]),
    "the tail is cut off": (lambda page: cut(page, 3), "Not verified", []),
    "the data is emptied": (lambda page: re.sub(r'(id="safeloop-data">).*?(</script>)', r"\1\2", page, flags=re.S),
                            "Not verified", []),
    "the data has no rows": (lambda page: with_data(page, lambda data: data.update(rows=[], leaves=[], count=0)),
                             "Not verified: row 1", [*range(1, ROWS + 1)]),
    "every row is removed": (lambda page: cut(page, ROWS), "Not verified", []),
    "the head is removed": (lambda page: re.sub(r'(<pre id="head-note"[^>]*>).*?(</pre>)', r"\1\2", page, flags=re.S),
                            "Not verified", []),
    "the line of a row says something else": (
        lambda page: with_row(page, 4, lambda text: text.replace("100 tokens", "1 tokens")), "Not verified: row 4", [4]),
    "the count is another": (lambda page: with_data(page, lambda data: data.update(count=25)), "Not verified", []),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_ledger_page_turns_red_at_the_right_row(made: Made, look: Look, name: str) -> None:
    tamper, title, bad = TAMPERED[name]
    tampered = tamper(made.ledger)
    assert tampered != made.ledger
    seen = look(tampered)
    assert (seen.state, seen.title) == ("bad", title), seen
    if name == "two rows stand in another order":
        assert set(seen.bad) & {4, 18} and set(seen.bad) <= set(bad), seen
    else:
        assert seen.bad == bad, seen


def test_what_the_trust_folder_revokes_does_not_count(made: Made, look: Look) -> None:
    (log,) = (keys[0] for keys in made.trust.policy.logs.values())
    (writer,) = made.trust.writers
    seen = look(with_data(made.ledger, lambda data: data.update(revoked=[[writer, log.name, 20]])))
    assert (seen.state, seen.title, seen.bad) == ("bad", "Not verified: row 21", [21, 22, 23, 24])
    head = [key_id(log.public), log.name, ROWS - 1]
    seen = look(with_data(made.ledger, lambda data: data.update(revoked=[head])))
    assert (seen.state, seen.title, seen.bad) == ("bad", "Not verified", [])
    assert f"revoked for more than {ROWS - 1}" in seen.text
    head[2] = ROWS
    assert look(with_data(made.ledger, lambda data: data.update(revoked=[head]))).state == "own"


OF_SESSION: dict[str, tuple[Callable[[str], str], str, list[int]]] = {
    "a byte of a body": (lambda page: edited(page, 7), "Not verified: row 7", [7]),
    "a row is removed": (lambda page: without(page, 5), "Not verified: row 6", [6]),
    "a proof is of another row": (
        lambda page: with_data(page, lambda data: data["rows"][2].__setitem__(2, data["rows"][5][2])),
        "Not verified: row 3", [3]),
    "the frame says something else": (
        lambda page: page.replace("All is well.\n", "All is fine.\n", 1), "Not verified", []),
    "another session's id": (
        lambda page: with_data(page, lambda data: data.update(session="other")), "Not verified: row 1",
        [*range(1, OF_A_SESSION + 1)]),
    "nothing says which scope": (lambda page: with_data(page, lambda data: data.update(scope="x")), "Not verified", []),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_SESSION)
def test_a_tampered_session_page_turns_red_at_the_right_row(made: Made, look: Look, name: str) -> None:
    tamper, title, bad = OF_SESSION[name]
    tampered = tamper(made.session)
    assert tampered != made.session
    seen = look(tampered)
    assert (seen.state, seen.title, seen.bad) == ("bad", title, bad), seen


def test_a_pasted_key_is_what_the_head_is_held_against(made: Made, browser: Browser, tmp_path) -> None:
    file = tmp_path / "page.html"
    file.write_text(made.ledger, encoding="utf-8")
    page = browser.open(file.as_uri())

    def paste(text: str) -> Seen:
        page.value(f"document.getElementById('pins').value = {text!r}; document.getElementById('verify').click()")
        page.until("document.getElementById('verify').disabled === false && " + SETTLED)
        return Seen.of(page)

    (log,) = made.trust.policy.logs.values()
    seen = paste(f"# mine\nlog {log[0].vkey}\nquorum none")
    assert (seen.state, seen.title, seen.bad) == ("pinned", "Verified under the log key that you pasted", [])
    assert "no root of trust" not in seen.text and "The writers are those that the page carries" in seen.text
    writers = (made.trust.path / "writers").read_text()
    assert "those that you pasted too" in paste(f"{log[0].vkey}\n{writers}").text
    wrong = Verifier(log[0].name, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    seen = paste(wrong.vkey)
    assert (seen.state, seen.title) == ("bad", "Not verified")
    assert "no signature on the head by the key" in seen.text
    seen = paste(f"{log[0].vkey}\nme ssh-ed25519 {wrong_writer()}")
    assert (seen.state, seen.bad) == ("bad", [*range(1, ROWS + 1)])
    seen = paste("log nonsense")
    assert (seen.state, seen.title, seen.good) == ("bad", "Not verified", 0)
    assert "what you pasted cannot be used" in seen.text
    name, key_hash, key = log[0].vkey.split("+", 2)
    for unusable, why in (
        (f"{name}+{'0' * 8}+{key}", "its hash is not that of its name and key"),
        (vkey_of(name, bytes([1]) + bytes(31)), "point of small order"),
        (f"{name}+{key_hash}+{key[:-4]}", "no verifier key"),
        ("cert-authority me ssh-ed25519 AAAA", "not understood"),
        ("me ssh-ed25519 AAAA", "no usable Ed25519 key"),
    ):
        assert paste(unusable).state == "bad"
        assert why in page.value("document.getElementById('pins-error').textContent"), unusable
    seen = paste(vkey_of("another.example/log", log[0].public))
    assert seen.state == "bad" and "none of the log keys that you pasted is one of" in seen.text
    assert paste("").state == "own"
    page.close()


def vkey_of(name: str, raw: bytes) -> str:
    typed = b"\x01" + raw
    key_hash = hashlib.sha256(name.encode() + b"\n" + typed).hexdigest()[:8]
    return f"{name}+{key_hash}+{b64encode(typed).decode()}"


def wrong_writer() -> str:
    raw = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    return b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + raw).decode()


def test_without_javascript_the_page_says_that_nothing_was_verified_and_is_readable(
    made: Made, browser: Browser, tmp_path
) -> None:
    file = tmp_path / "page.html"
    file.write_text(made.session, encoding="utf-8")
    page = browser.open(file.as_uri(), script=False)
    page.call("Emulation.setScriptExecutionDisabled", value=False)  # to look; the page's own has been passed over
    assert page.value("document.getElementById('verdict').dataset.state") == "none"
    assert page.value("document.getElementById('verdict-title').innerText") == "Nothing was verified"
    assert page.value("document.getElementById('verify').offsetParent") is None  # no button that does nothing
    assert "safeloop frame v1" in page.value("document.getElementById('frame').innerText")
    assert page.value("document.querySelectorAll('details.row[data-state]').length") == 0
    page.close()


def test_a_browser_without_ed25519_says_that_nothing_was_verified(made: Made, browser: Browser, tmp_path) -> None:
    file = tmp_path / "page.html"
    file.write_text(made.ledger, encoding="utf-8")
    page = browser.open(
        file.as_uri(), before="SubtleCrypto.prototype.importKey = () => Promise.reject(new Error('unknown'))"
    )
    page.until("document.getElementById('verdict-text')?.textContent.includes('no WebCrypto Ed25519')")
    assert page.value("document.getElementById('verdict').dataset.state") == "none"
    assert page.value("document.querySelectorAll('details.row[data-state=good]').length") == 0
    page.close()


def test_printed_every_row_is_open_and_nothing_is_dark(made: Made, browser: Browser, tmp_path) -> None:
    file = tmp_path / "page.html"
    file.write_text(made.session, encoding="utf-8")
    page = browser.open(file.as_uri())
    heights = "[...document.querySelectorAll('details.row pre')].map((each) => each.checkVisibility() && each.offsetHeight)"
    assert not any(page.value(heights))
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.call("Emulation.setEmulatedMedia", features=dark)
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"
    page.call("Emulation.setEmulatedMedia", media="print", features=dark)
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.value("document.querySelectorAll('details.row pre').length") == OF_A_SESSION
    assert all(height > 20 for height in page.value("[...document.querySelectorAll('details.row pre')].map((each) => each.offsetHeight)"))
    page.close()


def test_a_mark_is_a_word_and_the_bad_row_is_open_with_its_reason(made: Made, browser: Browser, tmp_path) -> None:
    file = tmp_path / "page.html"
    file.write_text(edited(made.ledger, 7), encoding="utf-8")
    page = browser.open(file.as_uri())
    assert Seen.of(page).bad == [7]
    assert page.value("document.querySelector('#row-7 .mark').textContent") == "✗ bad"
    assert page.value("document.querySelector('#row-6 .mark').textContent") == "✓ good"
    assert page.value("document.querySelector('#row-7 .fault').textContent").startswith("Row 7 (signature): ")
    assert page.value("[...document.querySelectorAll('details.row')].filter((each) => each.open).length") == 1
    assert page.value("document.querySelector('#verdict-text a').getAttribute('href')") == "#row-7"
    page.close()


def test_the_keyboard_comes_to_the_contents_first_and_its_place_is_seen(made: Made, browser: Browser, tmp_path) -> None:
    file = tmp_path / "page.html"
    file.write_text(made.session, encoding="utf-8")
    page = browser.open(file.as_uri())
    Seen.of(page)
    seen = []
    for _ in range(4):
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        seen.append(page.value("document.activeElement.className || document.activeElement.id"))
        assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert seen == ["skip", "pins", "verify", "frame"]
    page.close()
