"""Clients that play a script, and short words for what a loop needs and leaves."""

import copy
import json

from safeloop.breaker import CircuitBreaker
from safeloop.loop import AgentLoop
from safeloop.spec import SpecResult
from safeloop.tools import Permission, ToolRegistry

SILENT = {"output_fn": lambda _: None}


def spec_of(session, **more):
    return SpecResult("audit one page", "render scripts", "a report is printed", session, **more)


def breaker(turns=5, tokens=15_000):
    return CircuitBreaker(turns, tokens, **SILENT)


def loop_of(ledger, client, *, spec=None, turns=5, tokens=15_000, **more):
    return AgentLoop(spec or spec_of("s"), breaker(turns, tokens), ledger, client, **more)


def text(words):
    return {"type": "text", "text": words}


def thinking(thought, signature="c2lnbmF0dXJl"):
    return {"type": "thinking", "thinking": thought, "signature": signature}


def call(name="note", arguments=None, call_id="toolu_1"):
    return {"type": "tool_use", "id": call_id, "name": name, "input": {} if arguments is None else arguments}


def usage(input_tokens=10, output_tokens=5, **more):
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, **more}


def reply(*blocks, stop_reason="end_turn", counts=None, **more):
    """A reply as a plain mapping; a string is a text block."""
    content = [text(block) if isinstance(block, str) else block for block in blocks]
    return {"content": content, "stop_reason": stop_reason, "usage": usage() if counts is None else counts, **more}


class Player:
    """Any client: plays replies, raises exceptions, calls functions of the request; the last one is repeated."""

    def __init__(self, *script):
        self._script = script
        self.asked = []
        self.messages = self

    def create(self, **request):
        self.asked.append(copy.deepcopy(request))
        step = self._script[min(len(self.asked), len(self._script)) - 1]
        if callable(step) and not isinstance(step, type):
            step = step(request)
        if isinstance(step, BaseException):
            raise step
        return step


class Counting(Player):
    """The same, with a counter: a number, an exception, a function of the request, or any object."""

    def __init__(self, counted, *script):
        super().__init__(*script)
        self.counted = counted
        self.counts = 0

    def count_tokens(self, **request):
        self.counts += 1
        counted = self.counted(request) if callable(self.counted) else self.counted
        if isinstance(counted, BaseException):
            raise counted
        return {"input_tokens": counted}


def noting(ran):
    """A registry of three tools; each notes in `ran` that it ran."""
    registry = ToolRegistry()

    @registry.tool(permission=Permission.READ)
    def look(what: str = "") -> str:
        ran.append(("look", what))
        return f"seen {what}"

    @registry.tool(permission=Permission.WRITE)
    def note(what: str = "") -> str:
        ran.append(("note", what))
        return f"noted {what}"

    @registry.tool(permission=Permission.READ)
    def fail() -> str:
        ran.append(("fail", ""))
        raise ValueError("password=hunter2")

    return registry


def kinds(ledger, session="s"):
    return [row.kind for row in ledger.rows(session)]


def rows_of(ledger, kind, session="s"):
    return [row for row in ledger.rows(session) if row.kind == kind]


def only(ledger, kind, session="s"):
    found = rows_of(ledger, kind, session)
    assert len(found) == 1, f"{len(found)} {kind} rows in {kinds(ledger, session)}"
    return found[0]


def content_of(ledger, commitment):
    return ledger.read_content(commitment)


def messages_of(ledger, intent):
    """The messages that an intent's request was made of, read back from content."""
    manifest = json.loads(ledger.read_content(intent.data["request"]))
    return [json.loads(ledger.read_content(commitment)) for commitment in manifest]
