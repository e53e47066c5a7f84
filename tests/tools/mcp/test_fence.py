"""What a server's program can reach, and that nothing of it is left: in the sandbox, and where the operator wants none."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from safeloop.tools import ToolOutcome
from safeloop.tools.mcp import Server
from safeloop.tools.sandbox import Bubblewrap
from tests.cli.program import ROOT
from tests.tools.mcp.conftest import HERE, called, held, honest, hostile, interpreter_folders, sandboxed

Finder = Callable[[], Bubblewrap]
CANARY = "canary-5a1e"
SECONDS = 90_000_000 + os.getpid()  # of a sleep that can be told from those of other runs


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for temporary files that any user can reach, as `/tmp` is, and in which nobody else has any."""
    with tempfile.TemporaryDirectory(prefix="test-mcp-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def told(outcome: ToolOutcome) -> dict[str, dict[str, object]]:
    assert outcome.passed, outcome.result
    found: dict[str, dict[str, object]] = json.loads(outcome.result.partition("\n")[2].partition("\n[cut: ")[0])
    return found


def running_with(word: str) -> list[int]:
    """The processes that have a word on their command line."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            try:
                if word.encode() in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
            except OSError:
                continue
    return found


def there(word: str) -> bool:
    until = time.monotonic() + 10
    while not running_with(word) and time.monotonic() < until:
        time.sleep(0.05)
    return running_with(word) != []


def gone(word: str) -> bool:
    until = time.monotonic() + 10
    while running_with(word) and time.monotonic() < until:
        time.sleep(0.05)
    return running_with(word) == []


def test_a_server_sees_the_system_its_folders_and_the_workspace_and_no_canary(
    bwrap: Finder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, workspace = tmp_path / "keys", tmp_path / "workspace"
    for folder in (keys, workspace):
        folder.mkdir(mode=0o755)
        (folder / "file").write_text(CANARY if folder is keys else "work")
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    monkeypatch.setenv("SSH_AUTH_SOCK", f"/tmp/{CANARY}")
    paths = [str(keys), str(keys / "file"), str(tmp_path), str(Path.home() / ".ssh"), "/etc/passwd", "/proc/1/environ",
             "/proc/1/root/etc/shadow", "/run", "/workspace/file", "/"]
    server = sandboxed(environment=("GIVEN",))
    with held(server, sandbox=bwrap, workspace=workspace, variables={"GIVEN": "given", "OTHER": CANARY}) as registry:
        outcome = called(registry, "good__look_around", paths=paths)
        wrote = [called(registry, "good__write", path=path).passed
                 for path in ("/workspace/x", str(HERE / "x"), "/usr/x", "/staging/x", "/tmp/x")]
    assert CANARY not in outcome.result
    found = told(outcome)
    assert found["environment"]["GIVEN"] == "given"
    assert set(found["environment"]) <= {"PATH", "HOME", "TMPDIR", "LANG", "GIVEN", "PWD", "LC_CTYPE"}
    assert found["seen"].pop("/workspace/file") == "work"
    seen = found["seen"].pop("/")
    assert isinstance(seen, list) and {"usr", "proc", "workspace"} <= set(seen) and "home" not in seen
    assert found["seen"].pop("/proc/1/environ") in ("", "cannot: PermissionError")
    assert all(str(value).startswith("cannot: ") for value in found["seen"].values()), found["seen"]
    assert wrote == [False, False, False, True, True]
    assert found["user"] != 0


def test_a_server_in_the_sandbox_has_no_network(bwrap: Finder) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        code = f"import socket; socket.create_connection(('127.0.0.1', {listening.getsockname()[1]}), 2)"
        words = (sys.executable, "-c", f"import sys\ntry:\n {code}\nexcept OSError as error:\n sys.exit(str(error))")
        with pytest.raises(Exception, match="refused|unreachable"), held(
            Server("good", words, folders=interpreter_folders()), sandbox=bwrap
        ):
            pass


def test_nothing_of_a_server_is_left_afterwards_in_the_sandbox(
    bwrap: Finder, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with held(sandboxed(), sandbox=bwrap) as registry:
        assert called(registry, "good__spawn", seconds=SECONDS, argv=["/usr/bin/setsid", "/usr/bin/sleep"]).passed
        assert there(str(SECONDS)) and list(scratch.iterdir())
    assert gone(str(SECONDS))
    assert list(scratch.iterdir()) == []


def test_nothing_of_a_server_s_group_is_left_afterwards_outside_of_it() -> None:
    with held(honest()) as registry:
        assert called(registry, "good__spawn", seconds=SECONDS, argv=["/bin/sleep"]).passed
        assert there(str(SECONDS))
    assert gone(str(SECONDS))


def test_a_server_outside_of_the_sandbox_has_only_the_variables_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    with held(honest(environment=("GIVEN",)), variables={"GIVEN": "given"}) as registry:
        environment = told(called(registry, "good__look_around", paths=[]))["environment"]
    assert environment.pop("GIVEN") == "given"
    assert set(environment) <= {"LC_CTYPE"}  # which Python itself sets


def test_a_server_that_takes_too_much_memory_is_killed(bwrap: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    from safeloop.tools.mcp import program
    from safeloop.tools.sandbox import Limits

    monkeypatch.setattr(program, "LIMITS", Limits(time_s=60.0, memory_bytes=400 << 20))
    eats = "import json, sys, time\nsys.argv[1:] = ['plain']\nhold = []\n" + (HERE / "hostile.py").read_text().replace(
        'word = request["params"]["arguments"].get("word", "")', "[hold.append(b'x' * 10_000_000) for _ in range(100)]"
    )
    server = Server("bad", (sys.executable, "-c", eats), folders=interpreter_folders(), time_limit_s=20)
    with held(server, sandbox=bwrap) as registry:
        outcome = called(registry, "bad__echo", word="hi")
    assert outcome.error is not None and outcome.error["class"] == "ServerGone"


@pytest.mark.parametrize("is_sandboxed", [True, False])
def test_a_server_does_not_outlive_a_safeloop_that_is_killed(
    is_sandboxed: bool, request: pytest.FixtureRequest, tmp_path: Path, scratch: Path
) -> None:
    if is_sandboxed:
        request.getfixturevalue("bwrap")
    marker = f"marker-{os.getpid()}-{is_sandboxed}"
    program = f"""
import sys, time
from pathlib import Path
from safeloop.tools.mcp import Server
from safeloop.tools.sandbox import find_sandbox
from tests.tools.mcp.conftest import HERE, PYTHON, called, held, interpreter_folders
folders = (*interpreter_folders(), HERE) if {is_sandboxed} else ()
server = Server("bad", (PYTHON, str(HERE / "hostile.py"), "stays", "{marker}"), folders=folders,
                is_sandboxed={is_sandboxed})
with held(server, sandbox=find_sandbox) as registry:
    assert called(registry, "bad__echo", word="hi").passed
    Path("up").touch()
    time.sleep(60)
"""
    # What a killed process cannot take away stays in the test's own folder.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment)
    try:
        until = time.monotonic() + 30
        while not (tmp_path / "up").exists() and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)
        assert len(running_with(marker)) > 1
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert gone(marker)


def test_a_hostile_server_in_the_sandbox_is_gone_as_well(bwrap: Finder) -> None:
    server = sandboxed("hostile.py", "dies", time_limit_s=20)
    with held(server, sandbox=bwrap) as registry:
        outcome = called(registry, "good__echo", word="hi")
    assert outcome.error is not None and "is not there any more: it has ended" in outcome.error["message"]
    assert hostile("dies").is_sandboxed is False  # the others of this kind need no sandbox to be tried
