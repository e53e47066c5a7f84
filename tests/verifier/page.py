"""The tables of the page `format` that a program can read: the schema, the forms and the kinds."""

import re
from functools import cache
from pathlib import Path

PAGE = Path(__file__).parents[2] / "safeloop" / "docs" / "format.md"


@cache
def _fences(name: str) -> tuple[str, ...]:
    return tuple(re.findall(rf"^```{name}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))


def _statements(text: str) -> tuple[str, ...]:
    """Split at the semicolons that end a statement; those inside a trigger are followed by END."""
    return tuple(part.strip() for part in re.split(r";\n", text) if part.strip())


@cache
def schema() -> tuple[str, ...]:
    return next(_statements(text) for text in _fences("sql") if "CREATE TABLE row " in text)


@cache
def content_schema() -> tuple[str, ...]:
    return next(_statements(text) for text in _fences("sql") if "CREATE TABLE content " in text)


def _table(name: str) -> dict[str, str]:
    lines = [line.split(maxsplit=1) for line in _fences(name)[0].splitlines() if line.strip()]
    return {line[0]: line[1] for line in lines}


@cache
def forms() -> dict[str, str]:
    return _table("forms")


@cache
def kinds() -> dict[str, str]:
    return _table("kinds")
