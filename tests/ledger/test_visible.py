"""Text from outside: made storable and seen, whatever it was."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.ledger import encode, parse
from safeloop.ledger.visible import escaped, has_unseen, unseen_escaped, visible

ANY_TEXT = st.text(st.characters())  # lone surrogates included
NASTY = st.text(st.sampled_from("ab\\é\u202e\0\ud800\U000e0041\U0001f600\n\u200b…[]"))
CUT = re.compile(r"…\[(\d+) bytes\]\Z")


def unescape(text: str) -> str:
    return re.sub(r"\\(?:\\|u\{([0-9a-f]+)\})", lambda m: chr(int(m[1], 16)) if m[1] else "\\", text)


@given(ANY_TEXT | NASTY, st.integers(32, 300))
def test_the_result_is_short_enough_and_any_row_can_hold_it(text: str, limit: int) -> None:
    shown = visible(text, limit)
    assert len(shown.encode()) <= limit
    assert parse(encode(shown)) == shown


@given(ANY_TEXT | NASTY)
def test_below_the_limit_nothing_is_lost(text: str) -> None:
    assert unescape(escaped(text)) == text
    assert unescape(escaped(text, keep_lines=True)) == text
    if len(escaped(text).encode()) <= 200:
        assert unescape(visible(text)) == text


@given(NASTY, NASTY)
def test_two_texts_that_fit_never_look_the_same(one: str, other: str) -> None:
    if max(len(escaped(text).encode()) for text in (one, other)) <= 200:
        assert (visible(one) == visible(other)) == (one == other)


@given(NASTY.filter(bool), st.integers(32, 300))
def test_a_cut_falls_between_characters_and_says_how_much_is_gone(seed: str, limit: int) -> None:
    text = seed * 100
    whole = escaped(text)
    if len(whole.encode()) <= limit:
        return
    shown = visible(text, limit)
    found = CUT.search(shown)
    assert found is not None
    kept = shown[: found.start()]
    assert whole.startswith(kept)
    assert len(whole.encode()) - len(kept.encode()) == int(found[1])
    assert text.startswith(unescape(kept)), "an escape was cut in the middle"
    following = escaped(text[len(unescape(kept))])
    reserved = len(f"…[{len(whole.encode())} bytes]".encode())
    assert len((kept + following).encode()) + reserved > limit, "more would have fitted"


def test_exactly_the_limit_is_not_cut_and_one_more_is() -> None:
    assert visible("a" * 200) == "a" * 200
    assert visible("é" * 100) == "é" * 100
    assert visible("a" * 201) == "a" * 186 + "…[15 bytes]"
    assert visible("\\" * 101).endswith("bytes]")


def test_every_control_surrogate_and_bidi_character_is_made_visible() -> None:
    steering = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        hidden = (
            unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
            or unicodedata.bidirectional(character) in steering
            or character in "\u200e\u200f\u061c\u200b\u2060\ufeff\u00ad"
        )
        if hidden:
            assert escaped(character) == f"\\u{{{code:x}}}"


@pytest.mark.parametrize("plain", ["abc XYZ 09", "naïve café", "日本語", "שלום", "\U0001f600", "a/b</script>&'\"", "…"])
def test_ordinary_writing_is_left_alone(plain: str) -> None:
    assert visible(plain) == plain


def test_lines_are_kept_only_where_asked() -> None:
    assert escaped("a\tb\nc\r\\") == r"a\u{9}b\u{a}c\u{d}" + "\\\\"
    assert escaped("a\tb\nc\r\\", keep_lines=True) == "a\tb\nc\\u{d}\\\\"


def test_a_terminal_cannot_be_steered() -> None:
    assert "\x1b" not in visible("\x1b]0;owned\x07\x9b2J\u202egnp.exe")


def test_a_flood_of_hidden_characters_is_cut_like_any_other() -> None:
    assert len(visible("\u202e" * 200_000).encode()) <= 200


@pytest.mark.parametrize("code", [0xFE00, 0xFE0F, 0x1BCA0, 0x1BCA3, 0x13430, 0x1345F])
def test_a_character_that_can_carry_a_hidden_text_is_shown(code: int) -> None:
    assert escaped(f"a{chr(code)}") == f"a\\u{{{code:x}}}"
    assert has_unseen(chr(code)) and not has_unseen("a\\b\n\t")


@given(ANY_TEXT | NASTY)
def test_what_was_escaped_before_is_not_escaped_again(text: str) -> None:
    assert unseen_escaped(escaped(text)) == escaped(text)
    assert not has_unseen(unseen_escaped(text))
    assert unseen_escaped("a\\b\x1b\n", keep_lines=True) == "a\\b\\u{1b}\n"
