"""What is said where a model asks for a key and there is none."""

from __future__ import annotations

from safeloop.errors import SettingError


def missing_key() -> SettingError:
    """Return the refusal of a client that would have nothing to identify itself with."""
    return SettingError(
        "no API key: ANTHROPIC_API_KEY is not set",
        hint="export ANTHROPIC_API_KEY=..., or try it without a key: safeloop demo",
    )
