"""Names of models: which of them can be one model, and which are two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from safeloop.errors import SettingError
from safeloop.ledger.visible import visible
from safeloop.review.model_names import parts_of


def parse_aliases(text: str | None) -> dict[str, str]:
    """Read `short=claude-sonnet-5-5,other=...`: what the operator says that a name stands for.

    Raises:
        SettingError: A part of it is no pair, or one name stands for two.
    """
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        name, equals, model = (each.strip() for each in part.partition("="))
        if not part.strip():
            continue
        if not (name and equals and model) or found.setdefault(name, model) != model:
            raise SettingError(f"model_aliases: {visible(part, 60)!r} is not one name=model", hint="safeloop config")
    return found


def is_same_model(one: str, two: str, aliases: Mapping[str, str]) -> bool:
    """Say whether two names can be of one model: equal, or one of them without the date that the other has.

    Two dates are two models, and so are two names that only the operator can know to be one (`aliases`).
    """
    (stem, date), (other_stem, other_date) = (parts_of(aliases.get(name, name)) for name in (one, two))
    return stem == other_stem and (date == other_date or "" in (date, other_date))


def classes_of(names: Iterable[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Return for each name the one by which its model is compared: names that can be one model have the same.

    A name without a date stands for each of the dates that are there: then these are compared together.
    """
    by_stem: dict[str, dict[str, list[str]]] = {}
    for name in names:
        stem, date = parts_of(aliases.get(name, name))
        by_stem.setdefault(stem, {}).setdefault(date, []).append(name)
    found = {}
    for stem, dates in by_stem.items():
        for date, listed in dates.items():
            common = stem if "" in dates or len(dates) == 1 else f"{stem}-{date}"
            found.update(dict.fromkeys(listed, common))
    return found
