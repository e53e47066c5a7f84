"""Sessions that programs of the caller's own lead: no command resumes them, and one sentence says how they end."""

from __future__ import annotations

from collections.abc import Collection

from safeloop.cli.sessions import short


def ending_words(led: Collection[str], names: tuple[str, ...]) -> str:
    """Say of such sessions how they go on, and how they end; empty if there are none.

    Args:
        led: Their ids.
        names: All ids that are shown beside them, for prefixes that stay unique.
    """
    if not led:
        return ""
    which = ", ".join(short(session, names) for session in sorted(led))
    return (
        f"no command can resume what a program of your own leads ({which}): start that program again, "
        "or end the session: safeloop close SESSION"
    )
