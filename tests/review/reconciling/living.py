"""Sessions that run side by side and die without warning: `python -m tests.review.reconciling.living`.

One process imports the SDK and forks a child for each life. It reads jobs as lines of JSON: the server, the ledger, the
keys, and for each session the step at which each of its lives ends. The n-th lives of all sessions run at the same
time; the first one runs the session, the others resume it. It answers with the exit statuses.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from safeloop.errors import SafeloopError
from safeloop.ledger import Ledger
from safeloop.loop import AgentLoop, Billing
from safeloop.models.anthropic import AnthropicClient, AnthropicMessages
from tests.loop.crashing import Steps
from tests.loop.playing import breaker, spec_of
from tests.servers.anthropic_server import AnthropicServer

LONGEST_S = 60
BILLING = Billing("wrkspc_01", "apikey_01")


def loop_at(ledger: Ledger, url: str, session: str, model: str = "claude-sonnet-5-5") -> AgentLoop:
    client = AnthropicClient(api_key="k", base_url=url, deadline_s=5)
    return AgentLoop(spec_of(session), breaker(8, 200_000), ledger, client, model, 200, sleep_fn=lambda _: None,
                     billing=BILLING, max_wait_s=3_600)  # fmt: skip


def live(job: dict[str, Any], session: str, last: int, *, resumes: bool) -> None:
    """One life of a session, in this process, until the step at which it dies."""
    steps = Steps(last)
    for owner, name in ((Ledger, "append"), (AnthropicMessages, "create")):
        steps.around(owner, name)
    with contextlib.closing(Ledger(Path(job["path"]), keys=job["keys"])) as ledger:
        loop = loop_at(ledger, job["url"], session)
        with contextlib.suppress(SafeloopError, RuntimeError):  # what went wrong is in the rows
            loop.resume() if resumes else loop.run("do it")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, AnthropicServer(["done"]) as server:
        with contextlib.closing(Ledger(Path(folder, "l.db"), keys=Path(folder, "keys"))) as ledger:
            loop_at(ledger, server.url, "s").run("rehearse")
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        statuses = []
        for number in range(max(map(len, job["kills"].values()))):
            children = [_born(job, session, kills[number], resumes=number > 0)
                        for session, kills in job["kills"].items() if number < len(kills)]  # fmt: skip
            statuses += [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(statuses), flush=True)


def _born(job: dict[str, Any], session: str, last: int, *, resumes: bool) -> int:
    child = os.fork()
    if child == 0:
        signal.alarm(LONGEST_S)
        try:
            live(job, session, last, resumes=resumes)
        except BaseException as error:  # noqa: BLE001 - the test is told
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


if __name__ == "__main__":
    main()
