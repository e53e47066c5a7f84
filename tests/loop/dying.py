"""Lives of a session that destroys something, each killed without warning at its n-th step: `python -m tests.loop.dying`.

A job (see `graveyard`) names the ledger, the keys, the file that the effects go to, and the lives in order, each what it
does (`run`, `asked`: run with a person who approves at once, `approve`, `resume`) and the step at which it ends, 0 for
none.
"""

from contextlib import suppress
from functools import partial
from pathlib import Path

from safeloop.errors import LedgerError, NotAttested, Suspended
from safeloop.ledger import Ledger
from safeloop.loop.approving import Approvals
from safeloop.tools import ToolRegistry
from tests.loop.graveyard import Steps, serve
from tests.loop.playing import Player, call, loop_of, reply, spec_of
from tests.loop.reviewing import EVERYTHING, decide, signed


def tools_of(effects, step=lambda: None):
    registry = ToolRegistry()

    @registry.tool()
    def burn(what: str) -> str:
        step()
        with Path(effects).open("a") as file:
            file.write(f"{what}\n")
        step()
        return f"burnt {what}"

    return registry


def player(request):
    """A model that burns once, and then is done; what it says depends on nothing but the request."""
    has_burnt = any(message["role"] == "assistant" for message in request["messages"])
    return reply("done") if has_burnt else reply(call("burn", {"what": "page"}), stop_reason="tool_use")


def loop_at(ledger, effects, step=lambda: None, ask=None):
    return loop_of(
        ledger, Player(player), spec=spec_of("s", tools=EVERYTHING), tools=tools_of(effects, step),
        approvals=Approvals(ask=ask),
    )


def live(job, deed, last):
    steps = Steps(last)
    steps.around(Ledger, "append")
    ledger = Ledger(job["path"])
    with suppress(Suspended, NotAttested, LedgerError):
        if deed == "approve":
            decide(ledger, Path(job["keys"]))
        elif deed == "resume":
            loop_at(ledger, job["effects"], steps.take).resume()
        else:
            loop_at(ledger, job["effects"], steps.take, ask=signed if deed == "asked" else None).run("do it")


def lives_of(job):
    return [partial(live, job, deed, last) for deed, last in job["lives"]]


if __name__ == "__main__":
    serve(lives_of)
