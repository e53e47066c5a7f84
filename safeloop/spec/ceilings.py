"""Ceilings: the hard limits of a session, as a spec sets them and as rows hold them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from safeloop.errors import SpecError
from safeloop.spec.counts import require_count
from safeloop.spec.wording import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Hard limits of a session, each inclusive: spending exactly a ceiling is allowed. None is no ceiling.

    Args:
        turns: Requests that get their answer.
        tokens: Input, cache writes, cache reads and output together.
        microusd: Millionths of a US dollar.
        elapsed_ms: Milliseconds on a monotonic clock; suspended time does not count.
        tool_calls: Calls of tools.
        errors: Consecutive errors.
        repeats: Identical calls in a row.

    Raises:
        SpecError: A value is not an integer from 0 to 2**53 - 1. True and False are not integers here.
    """

    turns: int | None = None
    tokens: int | None = None
    microusd: int | None = None
    elapsed_ms: int | None = None
    tool_calls: int | None = None
    errors: int | None = None
    repeats: int | None = None

    def __post_init__(self) -> None:
        for name in NAMES:
            value = getattr(self, name)
            if value is not None:
                require_count(name, value)

    def left_s(self, elapsed_ms: int) -> float | None:
        """Return the seconds that the time ceiling leaves after so many milliseconds, from 0; None without one."""
        return None if self.elapsed_ms is None else max(0, self.elapsed_ms - elapsed_ms) / 1000

    def as_row(self) -> dict[str, int]:
        """The `ceilings` object of a `spec` or `open` row: only the ceilings that are set."""
        given = ((name, getattr(self, name)) for name in NAMES)
        return {name: value for name, value in given if value is not None}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Ceilings:
        """Read what `as_row` wrote; an unknown name or a null is a SpecError, never ignored."""
        for name, value in row.items():
            if name not in NAMES:
                raise SpecError(f"ceiling {quoted(name)} is unknown", hint=did_you_mean(name, NAMES))
            if value is None:
                raise SpecError(f"ceiling {name} is null", hint="leave the key out where there is no ceiling")
        return cls(**row)

    def tightened(self, other: Ceilings) -> Ceilings:
        """The smaller of both for each ceiling: a project file can tighten, never loosen."""
        return Ceilings(**{name: _smaller(getattr(self, name), getattr(other, name)) for name in NAMES})


NAMES = tuple(field.name for field in fields(Ceilings))
"""The names of all ceilings, in the order of the format."""


def _smaller(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
