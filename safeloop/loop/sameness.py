"""Whether a session would go on as what it was opened as: the same promise, model, tools and folder. Pure.

A session that goes on with another model or other tools is another session, and its reviewer would be told a story
about the first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from safeloop.errors import SettingError
from safeloop.ledger import Row, visible
from safeloop.loop.opening import Setting
from safeloop.spec import from_row
from safeloop.spec.dry_run import is_dry_run


def check_same(rows: tuple[Row, ...], workspace: str | None, setting: Setting) -> None:
    """Check that a session goes on as it was opened.

    Args:
        rows: Those of the session.
        workspace: The folder that its `open` row commits to, if any.
        setting: What it is to go on with.

    Raises:
        SettingError: It would not; the message says what changed.
    """
    opened = next(row for row in rows if row.kind == "open")
    changed = "; ".join(_changes(rows, opened, workspace, setting))
    if changed:
        raise SettingError(
            f"session {opened.session} cannot go on as another one: {changed}",
            hint=f"resume it with what it was opened with, or end it: safeloop close {opened.session}",
        )


def _changes(rows: tuple[Row, ...], opened: Row, workspace: str | None, setting: Setting) -> Iterator[str]:
    promise = next((row for row in rows if row.kind == "spec" and row.leaf == opened.data["spec"]), None)
    if promise is None or from_row(opened.session, promise.data) != setting.spec:
        yield "its spec is not the one that it was opened under"
    for what, before, now in (
        ("model", opened.data["model"], visible(setting.model)),
        ("endpoint", opened.data["endpoint"], visible(setting.endpoint)),
        ("workspace", workspace, None if setting.workspace is None else str(setting.workspace)),
    ):
        if before != now:
            yield f"its {what} was {visible(before or 'none', 80)}, and now it is {visible(now or 'none', 80)}"
    if is_dry_run(opened.data) != setting.is_dry_run:
        yield "it was no dry run, and now it is one" if setting.is_dry_run else "it was a dry run, and now it is none"
    before_tools, now_tools = _by_name(opened.data["tools"]), _by_name(setting.tools.pinned())
    for name in sorted(before_tools.keys() | now_tools.keys()):
        if name not in now_tools:
            yield f"its tool {name} is no longer there"
        elif name not in before_tools:
            yield f"there is a tool {name} that it did not have"
        elif before_tools[name] != now_tools[name]:
            yield f"its tool {name} has another permission or schema"


def _by_name(tools: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {tool["name"]: tool for tool in tools}
