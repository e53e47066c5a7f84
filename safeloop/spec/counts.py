"""Counts: the only numbers that a spec holds."""

from __future__ import annotations

from safeloop.errors import SpecError
from safeloop.spec.wording import article

LARGEST = 2**53 - 1
"""The largest integer that a row can hold."""


def require_count(name: str, value: object) -> int:
    """Return a count; refuse what is not an integer from 0 to `LARGEST`; True and False are not integers here.

    Raises:
        SpecError: Naming the count.
    """
    if type(value) is not int:
        raise SpecError(
            f"{name} must be a whole number, not {article(value)}", hint=f"write digits only: {name} = 8"
        )
    if not 0 <= value <= LARGEST:
        raise SpecError(
            f"{name} must be from 0 to {LARGEST}", hint=f"leave {name} out where there is to be no limit"
        )
    return value


def count_or_none(value: object) -> int | None:
    """The value, if it is an integer from 0; else None."""
    return value if type(value) is int and value >= 0 else None
