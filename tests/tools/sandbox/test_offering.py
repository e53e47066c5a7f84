"""A sandbox is offered where its probe passes, and nowhere else; without one the error says what to install."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from safeloop.errors import SettingError
from safeloop.tools.sandbox import Bubblewrap, Limits, Places, SandboxMissing, bwrap, fault_of, find_sandbox, finding
from safeloop.tools.sandbox.cgroup import group_in, own_parent
from safeloop.tools.sandbox.probe import PROBE_LIMITS, faults
from safeloop.tools.sandbox.watching import DiskWatch, memory_of_tree

from .conftest import SMALL, Inside, sandbox_or_skip
from .engine import engine

HELD: dict[str, Any] = {
    "user": 65533, "status": {"CapEff": "0", "CapBnd": "0", "NoNewPrivs": "1"}, "environment": ["PATH"],
    "first_environment": [], "interfaces": ["lo"], "reached": [], "seen": [], "writable": [], "staging": True,
    "temporary": PROBE_LIMITS.temporary_bytes, "shared": 0, "descriptors": [0, 1, 2], "namespaces": False, "memory": False,
    "processes": PROBE_LIMITS.processes,
}  # fmt: skip


def test_what_holds_has_no_faults() -> None:
    assert faults(HELD, PROBE_LIMITS) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"user": 0}, "it runs with privileges"),
        ({"status": HELD["status"] | {"CapEff": "1"}}, "it runs with privileges"),
        ({"status": HELD["status"] | {"CapBnd": "1ffffffffff"}}, "it runs with privileges"),
        ({"status": HELD["status"] | {"NoNewPrivs": "0"}}, "it runs with privileges"),
        ({"interfaces": ["lo", "eth0"]}, "it has a network: eth0"),
        ({"reached": ["IPv4"]}, "it has a network: IPv4"),
        ({"seen": ["/x"]}, "it sees files outside"),
        ({"writable": ["/", "/dev"]}, "it can write to /, /dev"),
        ({"namespaces": True}, "it can make namespaces"),
        ({"staging": False}, "it cannot write to its staging folder"),
        ({"environment": ["SSH_AUTH_SOCK"]}, "it sees the caller's environment"),
        ({"first_environment": ["ANTHROPIC_API_KEY"]}, "it sees the caller's environment"),
        ({"descriptors": [0, 1, 2, 3]}, "it holds descriptors of the caller"),
        ({"temporary": 1 << 40}, "its /tmp or /dev/shm has no limit"),
        ({"shared": 1 << 40}, "its /tmp or /dev/shm has no limit"),
        ({"processes": PROBE_LIMITS.processes + 1}, "its processes are not limited"),
        ({"memory": True}, "its memory is not limited"),
    ],
)
def test_each_thing_that_a_program_could_do_is_a_fault(change: dict[str, Any], said: str) -> None:
    assert faults(HELD | change, PROBE_LIMITS) == (said,)


def test_a_machine_without_either_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bwrap, "SEARCHED", str(tmp_path))
    monkeypatch.setattr(finding, "SEARCHED", str(tmp_path))
    with pytest.raises(SandboxMissing) as refused:
        find_sandbox()
    assert f"bwrap: not in {bwrap.SEARCHED}: bwrap" in str(refused.value)
    assert f"docker: not in {bwrap.SEARCHED}" in str(refused.value)
    assert "apt-get install bubblewrap" in refused.value.hint
    assert isinstance(refused.value, SettingError)


def test_a_bwrap_that_cannot_make_namespaces_is_not_offered_and_why_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("sh", "prlimit", "setpriv", "unshare", "mount", "env"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o755)
    monkeypatch.setattr(bwrap, "SEARCHED", str(tmp_path))
    fault = fault_of(_Unprobed())
    assert fault is not None
    assert "No permissions to create a new namespace" in fault


class _Unprobed(Bubblewrap):
    """The same backend, whose probe has no answer yet: objects of another class never compare equal."""


class _UnprobedEither(Bubblewrap):
    """And once more."""


def test_where_bwrap_works_at_all_ours_passes_its_probe() -> None:
    """Or a fence of ours that broke would only skip the tests that look for it."""
    if bwrap.missing_programs():
        pytest.skip(f"not installed: {', '.join(bwrap.missing_programs())}")
    user = [] if os.geteuid() else ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "--"]
    plain = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/", "true"]
    control = subprocess.run([*user, *plain], capture_output=True, text=True, cwd="/")
    if control.returncode:
        pytest.skip(f"no bwrap here, with whatever flags: {control.stderr.strip()}")
    assert fault_of(Bubblewrap(own_parent())) is None


def test_the_probe_is_made_once_a_process(tmp_path: Path) -> None:
    class Counted(Bubblewrap):
        times = 0

        def run(self, *arguments: Any) -> Any:
            Counted.times += 1
            return super().run(*arguments)

    first = fault_of(Counted())
    assert fault_of(Counted()) == first
    assert Counted.times == 1


def test_a_user_without_privileges_has_the_same_sandbox(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("this is one already, so the other tests are this test")
    sandbox_or_skip("bwrap")
    inside = Inside(Bubblewrap(), tmp_path)
    for folder in (inside.places.staging, inside.workspace, *list(tmp_path.parents)[:-2], tmp_path):
        folder.chmod(folder.stat().st_mode | 0o755)
    os.chown(inside.places.staging, 4321, 4321)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"it raised"
        try:
            os.setgroups([])
            os.setresgid(4321, 4321, 4321)
            os.setresuid(4321, 4321, 4321)
            fault = fault_of(_UnprobedEither())
            found = inside.command("sh", "-c", "id -u; touch made")
            said = repr((fault, found.stdout)).encode()
        finally:
            os.write(write, said)
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as file:
        assert file.read() == b"(None, b'4321\\n')"
    assert (inside.places.staging / "made").stat().st_uid == 4321


def test_the_probe_refuses_an_engine_that_says_nothing_readable(tmp_path: Path) -> None:
    program = engine(tmp_path)
    program.write_text("#!/bin/sh\necho hello\n")
    from safeloop.tools.sandbox import Docker

    assert fault_of(Docker(program)) == "the probe's program said nothing that can be read"
    program.write_text("#!/bin/sh\necho 'it broke' >&2\nexit 9\n")
    assert fault_of(Docker(program, "other")) == "the probe's program did not end well (exited, 9): it broke"


def hierarchy(folder: Path, handed_on: str, own: str) -> tuple[Path, Path]:
    """A folder that looks like a hierarchy of version 2, and what the kernel would say of this process's group."""
    (folder / "user.slice" / "mine.scope").mkdir(parents=True)
    for group in (folder, folder / "user.slice"):
        (group / "cgroup.subtree_control").write_text(handed_on)
        (group / "cgroup.procs").write_text("")
    (folder / "own").write_text(own)
    return folder, folder / "own"


@pytest.mark.parametrize(
    ("handed_on", "own", "where"),
    [
        ("cpu memory pids", "0::/user.slice/mine.scope\n", "user.slice"),
        ("memory pids", "0::/\n", ""),
        ("memory", "0::/user.slice/mine.scope\n", None),
        ("memory pids", "4:memory:/x\n", None),
        ("memory pids", "0::/gone/mine.scope\n", None),
        ("", "0::/\n", None),
    ],
)
def test_a_group_is_made_beside_our_own_where_its_parent_hands_on_what_is_needed(
    tmp_path: Path, handed_on: str, own: str, where: str | None
) -> None:
    found = own_parent(*hierarchy(tmp_path, handed_on, own))
    assert found == (None if where is None else tmp_path / where)


def test_a_group_that_lacks_a_limit_is_an_error_and_not_a_group_without_it(tmp_path: Path) -> None:
    # In a plain folder no `memory.max` appears in a new one, as where the controller was not handed on.
    with pytest.raises(FileNotFoundError), group_in(tmp_path, Limits()):
        raise AssertionError("entered without a limit")
    assert list(tmp_path.iterdir()) == []


def test_memory_of_a_tree_is_that_of_all_below_it() -> None:
    code = (
        "import os, sys\nchild = os.fork()\nx = bytearray(60 << 20)\nx[::4096] = b'x' * len(x[::4096])\n"
        "print(1, flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(["python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        found = memory_of_tree(process.pid)
        process.communicate()
    assert 110 << 20 < found < 200 << 20
    assert memory_of_tree(process.pid) == 0


def test_the_room_that_a_disk_lost_is_seen(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path, 50_000_000)
    assert not watch.crossed()
    with (tmp_path / "big").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 90_000_000)
        assert watch.crossed()


def test_places_are_looked_up_by_absolute_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Inside(sandbox_or_skip("bwrap"), tmp_path)
    (inside.workspace / "a").write_text("relative")
    monkeypatch.chdir(tmp_path)
    places = Places(Path("staging"), Path("workspace"))
    assert inside.sandbox.run(("cat", "/workspace/a"), b"", places, SMALL).stdout == b"relative"
