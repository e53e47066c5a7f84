"""Which request goes on from which reply: what a reply did cost bounds all that came before it."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safeloop.breaker import Settled
from safeloop.loop.governing.asked import Asked
from safeloop.models import Reply

_KEPT = 16
_SENT_EACH_TIME = ("max_tokens", "stream", "metadata")  # what a model does not read


@dataclass(frozen=True, slots=True)
class _Paid:
    """A request whose reply is paid."""

    parameters: Mapping[str, Any]
    messages: tuple[Mapping[str, Any], ...]
    reply: Reply
    tokens: int


class Lineage:
    """The last requests of a session that were answered at a believable cost."""

    def __init__(self) -> None:
        self._paid: deque[_Paid] = deque(maxlen=_KEPT)
        self._by_id: dict[str, int] = {}
        self._guard = threading.Lock()

    def add(self, asked: Asked, reply: Reply) -> None:
        """Note that a request was answered."""
        if reply.usage is not None:
            with self._guard:
                self._paid.append(_Paid(_constant(asked), asked.request.messages, reply, reply.usage.total))
                name = _id_of(reply)
                self._by_id[name] = max(self._by_id.get(name, 0), reply.usage.total)

    def held(self, asked: Asked) -> int | None:
        """Return what a conversation has cost that the server holds: 0 if it holds none, None if that is not known.

        A reply was paid with all that came before it, so its tokens bound what is read again.
        """
        with self._guard:
            return self._by_id.get(asked.continues) if asked.continues else 0

    def before(self, asked: Asked) -> Settled | None:
        """Return the answered request that this one repeats and goes on from, if there is one.

        It repeats every message and parameter, then the reply's own blocks, and holds no other words of the
        assistant: what was not paid for yet is all in the messages of the user.
        """
        with self._guard:
            paid = tuple(self._paid)
        constant = _constant(asked)
        return next((
            Settled(len(one.messages), one.tokens) for one in reversed(paid)
            if constant == one.parameters and _goes_on(asked.request.messages, one)
        ), None)


def _id_of(reply: Reply) -> str:
    return str(json.loads(reply.raw).get("id", ""))


def _constant(asked: Asked) -> dict[str, Any]:
    return {name: value for name, value in asked.parameters.items() if name not in _SENT_EACH_TIME}


def _goes_on(messages: tuple[Mapping[str, Any], ...], paid: _Paid) -> bool:
    count = len(paid.messages)
    if len(messages) <= count or messages[:count] != paid.messages:
        return False
    answer, *more = messages[count:]
    return (
        answer.get("role") == "assistant" and _is_reply(answer.get("content"), paid.reply)
        and all(message.get("role") == "user" for message in more)
    )


def _is_reply(content: object, reply: Reply) -> bool:
    """Say whether a message gives a reply back, and nothing else; what is null in it does not count."""
    if isinstance(content, str):
        return content == reply.text
    if not isinstance(content, list):
        return False
    own = [_bare(block) for block in reply.content]
    given = iter(own)
    return all(any(_bare(block) == block_of_reply for block_of_reply in given) for block in content)


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _bare(item) for name, item in value.items() if item is not None}
    return [_bare(item) for item in value] if isinstance(value, list) else value
