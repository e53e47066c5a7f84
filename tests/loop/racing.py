"""One child of a family that races for its parent's calls of tools: `python -m tests.loop.racing FOLDER NAME`.

It begins when the file `go` is there, asks for three batches of two calls, each of which takes its time, and notes every
call that runs by a line in the file `ran`.
"""

import json
import os
import sys
import time
from pathlib import Path

from safeloop.ledger import Ledger
from safeloop.tools import Permission, ToolRegistry
from tests.loop.playing import Player, call, loop_of, reply, spec_of

PARENT = "parent"


def noting(ran: Path) -> ToolRegistry:
    registry = ToolRegistry()

    def note(what: str) -> str:
        with os.fdopen(os.open(ran, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as file:
            file.write(f"{what}\n")
        time.sleep(0.05)
        return f"noted {what}"

    registry.tool(permission=Permission.READ)(note)
    return registry


def main(folder: Path, name: str) -> None:
    batches = [
        reply(*(call("note", {"what": f"{name}-{at}-{n}"}, f"c{at}-{n}") for n in range(2)), stop_reason="tool_use")
        for at in range(3)
    ]
    ledger = Ledger(folder / "ledger.db", keys=folder / "keys", create=False)
    loop = loop_of(ledger, Player(*batches, reply("done")), spec=spec_of(name), turns=9, tokens=900_000,
                   tools=noting(folder / "ran"), parent=PARENT)
    print("ready", flush=True)
    while not (folder / "go").exists():
        time.sleep(0.001)
    result = loop.run("a part of it")
    print(json.dumps([result.outcome, result.breach_reason]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
