"""Names of models: a date behind a name is that model, and everything else is another."""

from __future__ import annotations

import pytest

from safeloop.review.model_names import is_as_asked, parts_of


@pytest.mark.parametrize(("asked", "answered"), [
    ("gpt-4o", "gpt-4o"), ("gpt-4o", "gpt-4o-2024-08-06"), ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"), ("claude-sonnet-4-5", "claude-sonnet-4-5@20250929"),
    ("claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219"), ("claude-opus-4-0", "claude-opus-4-20250514"),
    ("gpt-4o-2024-08-06", "gpt-4o-20240806"), ("", ""),
])
def test_the_same_name_and_its_version_of_a_date_are_what_was_asked(asked: str, answered: str) -> None:
    assert is_as_asked(asked, answered)


@pytest.mark.parametrize(("asked", "answered"), [
    ("gpt-4o", "gpt-4o-mini"), ("gpt-4o", "gpt-4o-mini-2024-07-18"), ("gpt-4o", "gpt-4o-latest"),
    ("claude-sonnet-4", "claude-sonnet-4-5"), ("claude-sonnet-4", "claude-sonnet-4-5-20250929"),
    ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"), ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20251001"),
    ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-latest"), ("gpt-4o-2024-08-06", "gpt-4o-2024-08-07"),
    ("claude-3-7-sonnet-latest", "claude-3-7-sonnet"), ("claude-3-7-sonnet-latest", "claude-3-5-sonnet-20241022"),
    ("gpt-4", "gpt-4-0613"), ("gpt-4o", "gpt-4o-20240806-ft"), ("gpt-4o", "gpt-4o20240806"), ("gpt-4o", "gpt-4o-"),
    ("m", "m-20241306"), ("m", "m-20240800"), ("m", "m-20240832"), ("m", "m-19991231"), ("m", "m-2024-0806"),
    ("m", "m-202408-06"), ("m", "m-20240806\n"), ("m", "m-２０２４０８０６"), ("gpt", "GPT"), ("", "-20240806"),
])
def test_anything_else_is_another_model(asked: str, answered: str) -> None:
    assert not is_as_asked(asked, answered)


def test_a_name_is_taken_apart_at_its_last_date_only() -> None:
    assert parts_of("m-20240101-20250929") == ("m-20240101", "20250929")
    assert parts_of("m-2024-08-06") == ("m", "20240806")
    assert parts_of("m-latest") == parts_of("m-0") == parts_of("m") == ("m", "")
    assert parts_of("-20240806") == ("-20240806", "")
