"""Whether a sandbox holds on this machine: a tiny program is run in it, and what that could do is judged.

A path is no proof: containers often forbid user namespaces, and an engine may be installed and not run.
"""

from __future__ import annotations

import json
import secrets
import socket
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeloop.ledger.visible import visible
from safeloop.tools.clean import ToolError
from safeloop.tools.removing import temporary_folder
from safeloop.tools.sandbox.limits import Ended, Limits, Places

if TYPE_CHECKING:
    from safeloop.tools.sandbox.backend import Sandbox

PROBE_LIMITS = Limits(
    time_s=20.0, memory_bytes=192 << 20, processes=24, temporary_bytes=8_000_000, file_bytes=1_000_000
)
_MEMORY_TRIED = 2 * PROBE_LIMITS.memory_bytes
_PROGRAM = Path(__file__).with_name("inside.py")
_SECRETS = {"SSH_AUTH_SOCK", "SAFELOOP_KEYS", "ANTHROPIC_API_KEY"}


@cache
def fault_of(sandbox: Sandbox) -> str | None:
    """Say why a sandbox cannot be offered on this machine, or None if it holds; the answer is kept for this process."""
    try:
        with temporary_folder("safeloop-probe-") as made:
            return _tried(sandbox, made)
    except ToolError as error:
        return error.message  # visible already
    except OSError as error:
        return visible(str(error), 500)


def _tried(sandbox: Sandbox, folder: Path) -> str | None:
    places = Places(folder / "staging", folder / "workspace")
    outside = folder / "outside"
    places.staging.mkdir()
    (folder / "workspace").mkdir()
    (folder / "workspace").chmod(0o755)
    outside.write_bytes(b"outside")
    abstract = f"safeloop-probe-{secrets.token_hex(8)}"
    with closing(socket.create_server(("127.0.0.1", 0))) as server, closing(socket.socket(socket.AF_UNIX)) as local:
        local.bind(f"\0{abstract}")
        local.listen()
        command = (
            "python3", "-", str(outside), str(server.getsockname()[1]), abstract,
            str(PROBE_LIMITS.processes * 2), str(_MEMORY_TRIED),
        )
        execution = sandbox.run(command, _PROGRAM.read_bytes(), places, PROBE_LIMITS)
    if execution.ended is not Ended.EXITED or execution.exit_status != 0:
        said = visible(execution.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2], 300)
        return f"the probe's program did not end well ({execution.ended.value}, {execution.exit_status}): {said}"
    try:
        facts = json.loads(execution.stdout)
    except ValueError:
        return "the probe's program said nothing that can be read"
    return "; ".join(faults(facts, PROBE_LIMITS)) or None


def faults(facts: dict[str, Any], limits: Limits) -> tuple[str, ...]:
    """Say each thing that a program in a sandbox must not be able to do, and could.

    Args:
        facts: What `inside.facts` found.
        limits: What it was held to.
    """
    status, ways = facts["status"], sorted({*facts["interfaces"], *facts["reached"]} - {"lo"})
    capabilities = int(status["CapEff"], 16) | int(status["CapBnd"], 16)
    room = max(facts["temporary"], facts["shared"])
    judged = {
        "it runs with privileges": facts["user"] == 0 or capabilities or status["NoNewPrivs"] != "1",
        f"it has a network: {', '.join(ways)}": ways,
        "it sees files outside": facts["seen"],
        f"it can write to {', '.join(facts['writable'])}": facts["writable"],
        "it can make namespaces": facts["namespaces"],
        "it cannot write to its staging folder": not facts["staging"],
        "it sees the caller's environment": _SECRETS & {*facts["environment"], *facts["first_environment"]},
        "it holds descriptors of the caller": facts["descriptors"] != [0, 1, 2],
        "its /tmp or /dev/shm has no limit": room > limits.temporary_bytes + (1 << 16),
        "its processes are not limited": facts["processes"] > limits.processes,
        "its memory is not limited": facts["memory"],
    }
    return tuple(fault for fault, holds in judged.items() if holds)
