"""Spec files: the definition of done in git, for a job that cron runs.

TOML, closed: a key that is not known is refused and not skipped, because a misspelt ceiling that is ignored
is no ceiling. Every error names the file and the key.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safeloop.errors import SpecError
from safeloop.ledger import visible
from safeloop.spec.answers import Question, refusal_of_spec
from safeloop.spec.ceilings import Ceilings
from safeloop.spec.criteria import Criterion, require_criteria
from safeloop.spec.grant import ToolGrant
from safeloop.spec.result import SpecDraft, to_row
from safeloop.spec.units import microusd_of, milliseconds_of
from safeloop.spec.wording import article, did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

Given = TypeVar("Given")
Made = TypeVar("Made")

LONGEST_FILE = 1_000_000
"""Bytes of a spec file, inclusive."""

_ANSWERS = tuple(question.value for question in Question)
_KEYS = (*_ANSWERS, "ceilings", "tools", "criteria")
_CEILINGS = ("turns", "tokens", "cost_usd", "time_s", "tool_calls", "errors", "repeats")


def read_spec_file(path: str | Path) -> SpecDraft:
    """Read a spec file.

    Raises:
        SpecError: It is missing, unreadable, a folder, too long, or `parse_spec` refuses what it says.
    """
    where = visible(str(path), 300)
    try:
        with Path(path).open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
    except FileNotFoundError:
        raise SpecError(f"{where}: there is no such spec file", hint="check --spec-file") from None
    except IsADirectoryError:
        raise SpecError(f"{where}: is a folder, not a spec file", hint="name the file within it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"{where}: cannot be read: {reason}", hint="check who may read it") from None
    return parse_spec(data, where)


def parse_spec(data: bytes, where: str) -> SpecDraft:
    """Read the bytes of a spec file.

    Args:
        data: TOML in UTF-8, at most `LONGEST_FILE` bytes; a byte order mark is skipped.
        where: The file's name, for errors.

    Raises:
        SpecError: Not TOML, an unknown or missing key, a wrong type, or answers that cannot stand.
    """
    document = _parsed(data, where)
    for key in document:
        if key not in _KEYS:
            raise SpecError(f"{where}: key {quoted(key)} is unknown", hint=did_you_mean(key, _KEYS))
    for key in _ANSWERS:
        if key not in document:
            raise SpecError(f"{where}: {key} is missing", hint=f'add {key} = "..."')
    answers = [document[key].strip() if isinstance(document[key], str) else document[key] for key in _ANSWERS]
    refusal = refusal_of_spec(*answers)
    if refusal is not None:
        raise SpecError(f"{where}: {refusal.question.value} {refusal.problem}", hint=refusal.hint)
    draft = SpecDraft(
        *answers,
        criteria=_criteria(document.get("criteria", []), where),
        ceilings=_at(f"{where}: ceilings", _ceilings, document.get("ceilings", {})),
        tools=_at(f"{where}: tools", ToolGrant.of_row, document.get("tools", {})),
    )
    _at(where, to_row, draft)
    return draft


def _parsed(data: bytes, where: str) -> dict[str, Any]:
    if len(data) > LONGEST_FILE:
        raise SpecError(f"{where}: has more than {LONGEST_FILE} bytes", hint="shorten it")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SpecError(f"{where}: is not UTF-8 at byte {error.start}", hint="save it as UTF-8") from None
    except RecursionError:
        raise SpecError(f"{where}: is nested too deeply", hint="one level of tables is enough") from None
    except ValueError as error:
        reason = visible(str(error), 200)
        raise SpecError(f"{where}: is not TOML: {reason}", hint='quote texts: key = "text"') from None


def _ceilings(table: object) -> Ceilings:
    if not isinstance(table, dict):
        raise SpecError(f"must be a table, not {article(table)}", hint="write them under a [ceilings] line")
    for key in table:
        if key not in _CEILINGS:
            raise SpecError(f"key {quoted(key)} is unknown", hint=did_you_mean(key, _CEILINGS))
    given = dict(table)
    if "cost_usd" in given:
        given["microusd"] = microusd_of("cost_usd", given.pop("cost_usd"))
    if "time_s" in given:
        given["elapsed_ms"] = milliseconds_of("time_s", given.pop("time_s"))
    return Ceilings(**given)


def _criteria(tables: object, where: str) -> tuple[Criterion, ...]:
    if not isinstance(tables, list):
        raise SpecError(
            f"{where}: criteria must be a list of tables, not {article(tables)}",
            hint="begin each criterion with a [[criteria]] line, in double brackets",
        )
    read = [
        _at(f"{where}: criteria {number}{_name_of(table)}", Criterion.of_row, table)
        for number, table in enumerate(tables, start=1)
    ]
    return _at(where, require_criteria, read)


def _name_of(table: object) -> str:
    name = table.get("name") if isinstance(table, dict) else None
    return f" {quoted(name)}" if isinstance(name, str) else ""


def _at(where: str, make: Callable[[Given], Made], value: Given) -> Made:
    """Make something of a value, and put the place before what the error says."""
    try:
        return make(value)
    except SpecError as error:
        raise SpecError(f"{where}: {error}", hint=error.hint) from None
