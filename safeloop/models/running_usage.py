"""The usage of a reply that is still coming, from all that its server says of it: pure."""

from __future__ import annotations

from typing import Any


class RunningUsage:
    """Counts that are totals of the reply so far: a later one replaces an earlier one, but never by less.

    A server that answers twice in one stream states two usages that are not totals. Content after a usage of the whole
    reply, and then one whose output has not grown, is such a pair: no usage is believed.

    Args:
        output: Name of the count of output tokens.
    """

    def __init__(self, output: str) -> None:
        self._output = output
        self._is_whole = False
        self._closed_at: object = None
        self._is_contradicted = False
        self.stated: dict[str, Any] | None = None
        """What was stated, merged; None where nothing was."""

    @property
    def of_the_whole(self) -> dict[str, Any] | None:
        """The usage of the whole reply; None where only a part's was stated, which would charge too little."""
        return self.stated if self._is_whole and not self._is_contradicted else None

    def grow(self) -> None:
        """Note that content came: what was stated before is not the whole reply's."""
        self._is_whole = False

    def take(self, usage: object, *, is_whole: bool) -> None:
        """Take what is stated now; `is_whole` where the reply's end has come. What is no object is no usage."""
        earlier = self.stated
        self.stated = _merged(earlier or {}, usage) if isinstance(usage, dict) else {}
        if not is_whole:
            return
        output = usage.get(self._output) if isinstance(usage, dict) else None
        went_on = not self._is_whole and self._closed_at is not None
        self._is_contradicted = self._is_contradicted or (went_on and not _is_more(output, self._closed_at))
        self._is_whole, self._closed_at = True, output


def _is_more(count: object, earlier: object) -> bool:
    return type(count) is int and type(earlier) is int and count > earlier


def _merged(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    merged = dict(earlier)
    for name, count in later.items():
        before = earlier.get(name)
        if type(count) is int and type(before) is int and count >= 0:
            merged[name] = max(before, count)
        elif count is not None or name not in merged:
            merged[name] = count
    return merged
