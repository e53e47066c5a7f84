"""Dry runs, as rows tell them: written by the loop, counted by breaker and audit, read by the review.

    open    software = "safeloop 1.0.0, dry run"
    tool    pass_fail = false, execution_time_ms = 0, error.class = "dry run"
    close   outcome = "failed", reason = "dry run: completed"

A dry run keeps no promise, because nothing of what was promised was done; so it ends as `failed`, which no policy
releases, in this version or in an older one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOT_RUN = "dry run"
"""The error class of a call that was answered with what would have been done; no exception can be named so."""

_MARK = ", dry run"


def marked(software: str) -> str:
    """Return the `software` of a dry run's `open` and `resume` rows."""
    return f"{software}{_MARK}"


def is_dry_run(opened: Mapping[str, Any]) -> bool:
    """Say whether a session was opened as a dry run, by the data of its `open` row."""
    return str(opened.get("software")).endswith(_MARK)


def is_not_run(data: Mapping[str, Any]) -> bool:
    """Say whether a call was only said to be run, by the data of its `tool` row: neither a failure nor a success."""
    error = data.get("error")
    return (
        data.get("pass_fail") is False and data.get("execution_time_ms") == 0
        and isinstance(error, Mapping) and error.get("class") == NOT_RUN
    )


def reason_of(came_to: str) -> str:
    """Return the `reason` of a dry run's last `close` row.

    Args:
        came_to: How the loop ended: `completed`, or the ceiling that stopped it.
    """
    return f"dry run: {came_to}"
