"""Lives of a session, each killed without warning at its n-th step: `python -m tests.loop.crashing`.

One process imports the SDK and forks a child for each life, so that hundreds of deaths take seconds. It reads jobs as
lines of JSON: the server, the ledger, the keys, the file that the effects of a tool go to, and the steps at which the
first life, the second, ... ends, and the files that its criteria want. The first life runs the session, the others resume it. It answers each job with the
exit status of each life, as a line of JSON.
"""

import contextlib
import gc
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from safeloop.errors import Suspended
from safeloop.ledger import Ledger
from safeloop.loop import AgentLoop
from safeloop.models.anthropic import AnthropicClient, AnthropicMessages
from safeloop.spec import Criterion
from safeloop.tools import ToolRegistry, file_tools
from tests.loop.playing import breaker, spec_of
from tests.servers.anthropic_server import AnthropicServer

LONGEST_S = 60
TASK = "do it"


class Steps:
    """Counts steps, and dies at one of them."""

    def __init__(self, last):
        self.last, self.taken = last, 0

    def take(self):
        self.taken += 1
        if self.taken == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner, name):
        """Make what happens before and after a method a step each."""
        method = getattr(owner, name)

        def stepped(*arguments, **more):
            self.take()
            result = method(*arguments, **more)
            self.take()
            return result

        setattr(owner, name, stepped)


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
        spec_of(session, criteria=criteria), breaker(6, 60_000), ledger, client, tools=tools_of(effects, step), sleep_fn=lambda _: None
    )


def live(path, url, effects, last, *, resumes, wanted=()):
    """One life of the session, in this process, until the step at which it dies."""
    steps = Steps(last)
    for owner, name in ((Ledger, "append"), (AnthropicMessages, "create")):
        steps.around(owner, name)
    criteria = tuple(Criterion(name, name) for name in wanted)
    loop = loop_at(Ledger(path), url, effects, steps.take, criteria=criteria)
    with contextlib.suppress(Suspended):
        loop.resume() if resumes else loop.run(TASK)


def rehearse():
    """Play a session to its end, so that what the SDK imports only when it is used is there for every life."""
    with tempfile.TemporaryDirectory() as folder, AnthropicServer(["done"]) as server:
        with contextlib.closing(Ledger(Path(folder, "l.db"), keys=Path(folder, "keys"))) as ledger:
            loop_at(ledger, server.url, Path(folder, "effects")).run(TASK)
    gc.collect()
    gc.freeze()


def main():
    rehearse()
    for line in sys.stdin:
        job = json.loads(line)
        os.environ["SAFELOOP_KEYS"] = job["keys"]
        statuses = []
        for number, last in enumerate(job["kills"]):
            child = os.fork()
            if child == 0:
                signal.alarm(LONGEST_S)
                try:
                    live(job["path"], job["url"], job["effects"], last, resumes=number > 0, wanted=job.get("wanted", ()))
                except BaseException as error:  # noqa: BLE001 - the test is told
                    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                    os._exit(1)
                os._exit(0)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    main()
