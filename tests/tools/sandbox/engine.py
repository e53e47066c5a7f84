"""An executable that stands for Docker's client and engine: it refuses flags that Docker does not have, or that would
open the container, and then runs the program outside any container, so only harmless ones are for it.

As with the real one, what runs is not the client's child: killing the client leaves it running, until `docker rm`.
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = '''#!{python} -S
import json, os, signal, subprocess, sys, time
HERE = {here!r}
VALUED = ("name", "hostname", "pull", "network", "memory", "memory-swap", "cpus", "pids-limit", "cap-drop", "security-opt",
          "ipc", "shm-size", "tmpfs", "user", "ulimit", "log-driver", "workdir", "env", "mount", "entrypoint")
BARE = ("rm", "interactive", "init", "read-only")
NEEDED = {{"network": "none", "cap-drop": "ALL", "security-opt": "no-new-privileges", "pull": "never"}}

def fail(reason):
    sys.stderr.write("docker: " + reason + "\\n")
    sys.exit(125)

def log(entry):
    with open(HERE + "/calls", "a") as file:
        file.write(json.dumps(entry) + "\\n")

arguments = sys.argv[1:]
log(arguments)
if dict(os.environ).keys() - {{"LC_CTYPE"}}:
    fail("the client was given an environment")
if arguments[0] == "rm":
    assert arguments[1:3] == ["--force", "--volumes"], arguments
    try:
        os.killpg(int(open(HERE + "/" + arguments[3]).read()), signal.SIGKILL)
    except (OSError, ValueError):
        sys.exit(1)
    sys.exit(0)
assert arguments[0] == "run", arguments
flags, mounts, at = {{}}, [], 1
while arguments[at] != "--":
    name, equals, value = arguments[at][2:].partition("=")
    if not arguments[at].startswith("--") or (name not in VALUED if equals else name not in BARE):
        fail("unknown flag: " + arguments[at])
    flags[name] = value
    if name == "mount":
        mounts.append(value)
    at += 1
for name, value in NEEDED.items():
    if flags.get(name) != value:
        fail("--" + name + " must be " + value)
for name in ("rm", "interactive", "init", "read-only", "memory", "cpus", "pids-limit", "tmpfs", "user"):
    if name not in flags:
        fail("--" + name + " is missing")
if flags["user"].split(":")[0] == "0" or "noexec" not in flags["tmpfs"] or "size=" not in flags["tmpfs"]:
    fail("it is open")
image, command = arguments[at + 1], arguments[at + 2:]
if image == "no-such-image":
    fail("No such image: no-such-image")
places = {{}}
for mount in mounts:
    parts = dict(part.partition("=")[::2] for part in mount.strip('"').replace('","', ",").split(",") if part != "readonly")
    places[parts["target"]] = parts["source"].strip('"')
started = subprocess.Popen(command, cwd=places[flags["workdir"]], start_new_session=True)
with open(HERE + "/" + flags["name"], "w") as file:
    file.write(str(started.pid))
sys.exit(started.wait() % 256)
'''


def engine(folder: Path) -> Path:
    """Make the executable in a folder, where it also writes how it was called."""
    program = folder / "docker"
    program.write_text(SOURCE.format(python=sys.executable, here=str(folder)))
    program.chmod(0o755)
    return program
