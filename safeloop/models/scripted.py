"""A client that plays replies from a list: for examples, tests and a first run without a key."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from safeloop.errors import SettingError
from safeloop.models.reply import Reply, read_reply
from safeloop.models.shapes import plain

BYTES_PER_TOKEN: Final = 4
"""How many bytes of text a scripted token stands for: fewer tokens than bytes, so that no bound is passed."""

SCRIPT_MODEL: Final = "scripted"


class ScriptedClient:
    """Plays replies in order, one per request, and costs nothing.

    Args:
        replies: Each a message as a mapping, the text of a reply, an exception to raise, or anything else
            that `read_reply` reads. A mapping without `usage` gets an honest one; without `stop_reason`,
            `tool_use` where it calls a tool, else `end_turn`.
        played: How many of them were played before: a session that goes on does not begin again.
    """

    endpoint = "scripted"
    costs_nothing = True

    def __init__(self, replies: Iterable[object], *, played: int = 0) -> None:
        self._replies = tuple(replies)
        self._played = played
        self.calls: list[dict[str, Any]] = []
        """The parameters of every request so far, as they were then."""

    @classmethod
    def from_file(cls, path: str | Path, *, played: int = 0) -> ScriptedClient:
        """Read the replies from a JSON file: a list of messages and texts.

        Raises:
            SettingError: The file cannot be read, or is not such a list.
        """
        try:
            replies = json.loads(Path(path).read_text("utf-8"))
        except OSError as exc:
            raise SettingError(f"the script {path} cannot be read: {exc.strerror}") from exc
        except (ValueError, RecursionError) as exc:
            raise SettingError(f"the script {path} is not JSON: {exc}") from exc
        if not isinstance(replies, list):
            raise SettingError(f"the script {path} is not a list of replies")
        for number, reply in enumerate(replies, start=1):
            if not isinstance(reply, (dict, str)):
                raise SettingError(f"the script {path}: reply {number} is neither an object nor a text")
        return cls(replies, played=played)

    @property
    def messages(self) -> ScriptedClient:
        """The endpoint: this client."""
        return self

    def create(self, **parameters: Any) -> Reply:
        """Play the next reply.

        Raises:
            SettingError: The script has ended.
        """
        self.calls.append(copy.deepcopy(parameters))
        number = self._played + len(self.calls)
        if number > len(self._replies):
            raise SettingError(
                f"the script has {len(self._replies)} replies, and this is request {number}",
                hint="add a reply to the script (an unmet criterion is worked on again), or lower the turn limit",
            )
        reply = self._replies[number - 1]
        if isinstance(reply, BaseException) or (isinstance(reply, type) and issubclass(reply, BaseException)):
            raise reply
        if isinstance(reply, str):
            reply = {"content": [{"type": "text", "text": reply}]}
        if isinstance(reply, Mapping):
            reply = _completed(reply, parameters)
        return read_reply(reply)


def _completed(reply: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    message = {"type": "message", "role": "assistant", "model": SCRIPT_MODEL, **copy.deepcopy(dict(reply))}
    read = read_reply(message)
    if "stop_reason" not in message:
        message["stop_reason"] = "tool_use" if read.tool_calls else "end_turn"
    if "usage" not in message:
        wanted = parameters.get("max_tokens")
        most = wanted if isinstance(wanted, int) and wanted > 0 else 10**9
        message["usage"] = {
            "input_tokens": _tokens([parameters.get(name) for name in ("system", "messages", "tools")]),
            "output_tokens": min(most, _tokens(read.content)),
        }
    return message


def _tokens(value: object) -> int:
    return max(1, _text_bytes(plain(value)) // BYTES_PER_TOKEN)


def _text_bytes(value: object) -> int:
    """Bytes of all texts in a value, names of fields not counted."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, dict):
        return sum(_text_bytes(item) for item in value.values())
    return sum(_text_bytes(item) for item in value) if isinstance(value, list) else 0
