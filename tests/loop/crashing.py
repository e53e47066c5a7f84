"""Lives of a session, each killed without warning at its n-th step: `python -m tests.loop.crashing`.

A job (see `graveyard`) names the server, the ledger, the keys, the file that the effects of a tool go to, the steps at
which the first life, the second, ... ends, and the files that its criteria want.
"""

import contextlib
import gc
import tempfile
from functools import partial
from pathlib import Path

from safeloop.errors import Suspended
from safeloop.ledger import Ledger
from safeloop.loop import AgentLoop
from safeloop.models.anthropic import AnthropicClient, AnthropicMessages
from safeloop.spec import Criterion
from safeloop.tools import ToolRegistry, file_tools
from tests.loop.graveyard import Steps, serve
from tests.loop.playing import breaker, spec_of
from tests.servers.anthropic_server import AnthropicServer

TASK = "do it"


def tools_of(effects, step=lambda: None):
    """Three tools: one that must not run twice, one that may, and one that only reads."""

    def tools(staging):
        registry = ToolRegistry()

        @registry.tool(permission="write")
        def send(what: str) -> str:
            step()
            with Path(effects).open("a") as file:
                file.write(f"{what}\n")
            step()
            return f"sent {what}"

        for tool in file_tools(None, staging):
            registry.add(tool)
        return registry

    return tools


def loop_at(ledger, url, effects, step=lambda: None, session="s", criteria=()):
    client = AnthropicClient(api_key="k", base_url=url)
    return AgentLoop(
        spec_of(session, criteria=criteria), breaker(6, 60_000), ledger, client, tools=tools_of(effects, step),
        sleep_fn=lambda _: None,
    )


def live(job, last, *, resumes):
    """One life of the session, in this process, until the step at which it dies."""
    steps = Steps(last)
    for owner, name in ((Ledger, "append"), (AnthropicMessages, "create")):
        steps.around(owner, name)
    criteria = tuple(Criterion(name, name) for name in job.get("wanted", ()))
    loop = loop_at(Ledger(job["path"]), job["url"], job["effects"], steps.take, criteria=criteria)
    with contextlib.suppress(Suspended):
        loop.resume() if resumes else loop.run(TASK)


def rehearse():
    """Play a session to its end, so that what the SDK imports only when it is used is there for every life."""
    with tempfile.TemporaryDirectory() as folder, AnthropicServer(["done"]) as server:
        with contextlib.closing(Ledger(Path(folder, "l.db"), keys=Path(folder, "keys"))) as ledger:
            loop_at(ledger, server.url, Path(folder, "effects")).run(TASK)
    gc.collect()
    gc.freeze()


def lives_of(job):
    """Return the first life, which runs the session, and those that resume it."""
    return [partial(live, job, last, resumes=number > 0) for number, last in enumerate(job["kills"])]


if __name__ == "__main__":
    rehearse()
    serve(lives_of)
