"""Names of models: which of them are one model, and which are two. Pure, and no table of names: only dates are known.

A provider writes a version as the name and a date: `claude-sonnet-4-5-20250929`, `name@20250929`, `gpt-4o-2024-08-06`.
What follows a name in any other way is another model: `gpt-4o-mini` is none of `gpt-4o`.
"""

from __future__ import annotations

import re
from typing import Final

_DATED: Final = re.compile(r"(.+?)[-@](20[0-9]{2})(-?)(0[1-9]|1[0-2])\3(0[1-9]|[12][0-9]|3[01])\Z")
_UNDATED: Final = re.compile(r"(.+?)-(?:latest|0)\Z")


def is_as_asked(asked: str, answered: str) -> bool:
    """Say whether the model that answered is the one that was asked: the same name, or its version of some date.

    `-latest`, and `-0` behind a number of models, ask for whatever date. Whoever asked for a date got that date or
    another model; an answer that does not say which is told, not taken for it.
    """
    if asked == answered:
        return True
    (stem, date), (other_stem, other_date) = parts_of(asked), parts_of(answered)
    return stem == other_stem and other_date != "" and date in ("", other_date)


def parts_of(name: str) -> tuple[str, str]:
    """Return a model's name without its date, and the date as `20250929`, empty if it has none."""
    dated, undated = _DATED.match(name), _UNDATED.match(name)
    if dated:
        return dated[1], dated[2] + dated[4] + dated[5]
    return (undated[1], "") if undated else (name, "")
