"""Sessions that no loop leads, as rows tell them: written where a program of somebody's own is governed.

    open    software = "safeloop 1.0.0, govern"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MARK = ", govern"


def marked_led(software: str) -> str:
    """Return the `software` of the `open` row of a session that a program of the caller's own leads."""
    return f"{software}{_MARK}"


def is_led(opened: Mapping[str, Any]) -> bool:
    """Say whether a program of the caller's own leads a session, by the data of its `open` row; a dry run too."""
    return f"{_MARK}," in f"{opened.get('software')},"
