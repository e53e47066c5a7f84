"""What a dry run answers: what would have been done, in place of doing it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safeloop.spec.dry_run import NOT_RUN
from safeloop.tools.clean import clean
from safeloop.tools.outcome import ToolOutcome

if TYPE_CHECKING:
    from safeloop.tools.registry import Tool

LONGEST_TEXT = 200
"""Characters of a text among the arguments that are repeated to the model, which has just written them."""

_SAID = (
    "[dry run: nothing was run, and nothing has changed]\n"
    "{tool} ({permission}) would have been called with {arguments}. Go on as if it had been; no tool will show it."
)


def rehearsed(tool: Tool, arguments: Any) -> ToolOutcome:
    """Return the outcome of a call that a dry run does not run; nothing that a model can write raises.

    Args:
        tool: One that writes or destroys.
        arguments: As the model wrote them; they fit the tool.
    """
    shown = json.dumps(_shortened(arguments), ensure_ascii=False, sort_keys=True)
    text = clean(_SAID.format(tool=tool.name, permission=tool.permission.value, arguments=shown)).text
    error = {"class": NOT_RUN, "message": "dry run: the call was not run"}
    return ToolOutcome(tool.name, tool.permission, text, passed=False, error=error, execution_time_ms=0)


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}… [{len(value)} characters]"
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    return [_shortened(item) for item in value] if isinstance(value, list) else value
