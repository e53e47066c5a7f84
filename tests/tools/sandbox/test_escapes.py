"""Ways out of a sandbox, each tried for real; what is planted outside must stay unseen and unchanged.

A fence that is broken must cost a test and not the machine: what is tried would be harmless outside. A device is opened
and not written to, a signal goes to a victim of our own, a mount to a folder that only a sandbox has.
"""

from __future__ import annotations

import ctypes
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from safeloop.tools.clean import ToolError
from safeloop.tools.sandbox import Ended

from .conftest import Inside

CANARY = "canary-5e1f7c"


def test_the_folders_outside_are_not_there(inside: Inside, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "writer.pem").write_text(CANARY)
    found = inside.python(f"""
import os, pathlib
for path in ({str(keys)!r}, {str(tmp_path)!r}, "/root", "/home", "/var", "/etc/shadow", "/etc/ssh", "/run", "/sys", "/mnt"):
    print(path, os.path.exists(path))
for root in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/proc/2/cwd"):
    print(root, os.path.exists(root + {str(keys)!r}))
""")
    assert found.exit_status == 0, found.stderr
    assert b"True" not in found.stdout


def test_the_callers_environment_is_in_no_process(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "SSH_AUTH_SOCK", "SAFELOOP_KEYS", "HOME"):
        monkeypatch.setenv(name, CANARY)
    found = inside.command(
        "sh", "-c", "env; for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/*/mountinfo; do cat $f; done"
    )
    assert found.exit_status == 0
    assert b"PATH=" in found.stdout  # something was read
    assert CANARY.encode() not in found.stdout
    assert b"SSH_AUTH_SOCK" not in found.stdout
    first = inside.command("cat", "/proc/1/environ")
    assert first.stdout == b""


def test_no_other_process_can_be_seen_signalled_or_traced(inside: Inside) -> None:
    victim = subprocess.Popen(["sleep", "60"], start_new_session=True, user=None if os.geteuid() else 65533)
    try:
        found = inside.python(f"""
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
seen = [p for p in os.listdir("/proc") if p.isdigit()]
print("seen", len(seen))
for kill in (lambda: os.kill({victim.pid}, signal.SIGKILL), lambda: os.killpg({victim.pid}, signal.SIGKILL)):
    try: kill(); print("KILLED")
    except OSError: pass
print("traced", libc.ptrace(16, {victim.pid}, 0, 0), libc.ptrace(16, {os.getpid()}, 0, 0))
print("still")
""")
        assert b"still" in found.stdout
        assert b"KILLED" not in found.stdout
        assert int(found.stdout.split()[1]) < 8
        assert b"traced -1 -1" in found.stdout
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_nothing_is_written_outside_staging_tmp_and_shm(inside: Inside) -> None:
    (inside.workspace / "kept.txt").write_text("kept")
    (inside.workspace / "kept.txt").chmod(0o666)
    found = inside.python("""
import os
for path in ("/x", "/usr/x", "/etc/x", "/dev/x", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/workspace/x",
             "/workspace/kept.txt", "/sys/x", "/staging/../x", "/proc/sys/user/max_user_namespaces", "/dev/mem", "/dev/sda", "/dev/vda"):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT)); print("WROTE", path)
    except OSError: pass
for call in (lambda: os.truncate("/workspace/kept.txt", 0), lambda: os.rename("/workspace/kept.txt", "/workspace/y"), lambda: os.chmod("/workspace/kept.txt", 0),
             lambda: os.link("/workspace/kept.txt", "/staging/link"), lambda: os.mknod("/staging/dev", 0o60666, os.makedev(8, 0)),
             lambda: os.chown("/staging", 0, 0), lambda: os.setuid(0)):
    try: call(); print("DID", call)
    except OSError: pass
open("/staging/out.txt", "w").write("mine")
print("done")
""")
    assert found.stdout == b"done\n", found.stdout + found.stderr
    assert (inside.workspace / "kept.txt").read_text() == "kept"
    assert sorted(path.name for path in inside.workspace.iterdir()) == ["kept.txt"]
    assert [path.name for path in inside.places.staging.iterdir()] == ["out.txt"]


def test_a_link_to_the_outside_leads_to_the_inside(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text(CANARY)
    (inside.workspace / "way").symlink_to(tmp_path / "outside.txt")
    found = inside.command("sh", "-c", f"cat /workspace/way; ln -s {tmp_path} out; cat out/outside.txt; ls out/")
    assert found.exit_status != 0
    assert CANARY.encode() not in found.stdout


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_there_is_no_network_not_even_to_this_machine(inside: Inside, family: socket.AddressFamily) -> None:
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    if family == socket.AF_INET6 and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6, so there is no way out over it")
    with socket.create_server((address, 0), family=family) as server:
        server.settimeout(0.2)
        found = inside.python(f"""
import socket
print(sorted(name for _, name in socket.if_nameindex()))
for address in ({address!r}, "1.1.1.1", "169.254.169.254", "2606:4700:4700::1111"):
    try:
        socket.create_connection((address, {server.getsockname()[1]}), timeout=1); print("REACHED", address)
    except OSError: pass
try: socket.getaddrinfo("example.com", 80); print("RESOLVED")
except OSError: pass
""")
        with pytest.raises(TimeoutError):
            server.accept()
    assert found.stdout == b"['lo']\n", found.stdout


def test_unix_sockets_of_the_host_cannot_be_reached_by_name_or_by_path(inside: Inside, tmp_path: Path) -> None:
    abstract = f"safeloop-test-{os.getpid()}"
    path = inside.workspace / "agent.sock"
    short = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as placed:
        named.bind(f"\0{abstract}")
        named.listen()
        folder = os.open(inside.workspace, os.O_RDONLY)
        placed.bind(f"/proc/self/fd/{folder}/agent.sock")
        placed.listen()
        path.chmod(0o777)
        named.settimeout(0.2)
        placed.settimeout(0.2)
        os.mkfifo(inside.workspace / "pipe")
        (inside.workspace / "pipe").chmod(0o666)
        found = inside.python(f"""
import os, socket
for address in ("\\0{abstract}", "/workspace/agent.sock"):
    try:
        socket.socket(socket.AF_UNIX).connect(address); print("REACHED", address)
    except OSError: pass
print(os.stat("/workspace/pipe").st_mode & 0o170000 == 0o010000)
""")
        os.close(folder)
        for each in (named, placed):
            with pytest.raises(TimeoutError):
                each.accept()
    assert not short.exists()
    assert found.stdout == b"False\n", found.stdout + found.stderr


def test_more_sockets_than_can_be_shut_are_refused(inside: Inside) -> None:
    for number in range(101):
        os.mkfifo(inside.workspace / f"p{number}")
    with pytest.raises(ToolError, match="101 sockets, pipes and devices, more than 100"):
        inside.command("true")


def test_nothing_can_be_mounted_and_no_namespace_made(inside: Inside) -> None:
    found = inside.python("""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print([libc.mount(b"none", b"/staging", kind, flags, None) for kind, flags in ((b"tmpfs", 0), (b"proc", 0), (None, 32), (b"sysfs", 0))])
print(libc.umount2(b"/staging", 2), libc.mount(b"none", b"/workspace", None, 32 | 4096, None))
print([libc.unshare(flag) for flag in (0x10000000, 0x00020000, 0x40000000, 0x20000000)])
print(libc.chroot(b"/tmp"), libc.setns(0, 0))
""")
    assert found.stdout == b"[-1, -1, -1, -1]\n-1 -1\n[-1, -1, -1, -1]\n-1 -1\n", found.stdout


def test_only_harmless_devices_are_there(inside: Inside) -> None:
    found = inside.python("""
import os, stat
for here, folders, files in os.walk("/dev"):
    for name in files:
        mode = os.stat(os.path.join(here, name), follow_symlinks=False).st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode): print(name)
""")
    harmless = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
    assert set(found.stdout.decode().split()) <= harmless
    assert b"null" in found.stdout


def test_descriptors_of_the_caller_are_not_inherited(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(CANARY)
    descriptor = os.open(tmp_path / "secret", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        found = inside.python("import os\nprint(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])")
    finally:
        os.close(descriptor)
    assert found.stdout == b"[0, 1, 2]\n"


PUSH = """
import fcntl, os, termios
for path in ("/dev/tty", "/dev/stdin", "/dev/pts/0", "/proc/1/fd/0", "/dev/console"):
    try:
        with open(path, "r+b", buffering=0) as terminal:
            for letter in b"touch /tmp/pushed\\n":
                fcntl.ioctl(terminal, termios.TIOCSTI, bytes([letter]))
            print("PUSHED", path)
    except (OSError, ValueError): pass
try: fcntl.ioctl(0, termios.TIOCSTI, b"x"); print("PUSHED 0")
except OSError: pass
print("done")
"""


def test_no_keys_are_pushed_into_the_callers_terminal(inside: Inside) -> None:
    child, terminal = pty.fork()
    if child == 0:  # a process with a controlling terminal of its own, as a person has one
        try:
            found = inside.python(PUSH)
            os.write(1, b"<" + found.stdout.strip() + b">" + found.stderr)
        finally:
            os._exit(0)
    said = b""
    until = time.monotonic() + 20
    while b">" not in said and time.monotonic() < until:
        try:
            said += os.read(terminal, 1000)
        except OSError:
            break
    os.waitpid(child, 0)
    os.close(terminal)
    assert b"<done>" in said, said


def test_a_program_that_is_set_user_id_gains_nothing(inside: Inside) -> None:
    found = inside.command("sh", "-c", "cp /usr/bin/id own; chmod 6755 own; ./own; grep -i nonewprivs /proc/self/status")
    assert b"uid=0" not in found.stdout
    assert found.stdout.split()[-1] == b"1"


def test_system_v_memory_of_the_host_is_not_there(inside: Inside) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(0x5AFE, 4096, 0o1666)
    assert segment >= 0
    try:
        found = inside.python("import ctypes\nprint(ctypes.CDLL(None).shmget(0x5AFE, 4096, 0o666))")
    finally:
        libc.shmctl(segment, 0, None)
    assert found.stdout == b"-1\n"


def test_the_sandbox_ends_with_the_process_that_made_it(inside: Inside) -> None:
    if inside.sandbox.name != "bwrap":
        pytest.skip("an engine's containers outlive its clients; their own time limit is the caller's")
    made = set(Path(tempfile.gettempdir()).glob("safeloop-sandbox-*"))
    child = os.fork()
    if child == 0:
        inside.command("sh", "-c", "setsid sh -c 'while :; do date >> /staging/alive; sleep 0.05; done'")
        os._exit(0)
    alive = inside.places.staging / "alive"
    until = time.monotonic() + 10
    while not alive.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert alive.exists()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for left in set(Path(tempfile.gettempdir()).glob("safeloop-sandbox-*")) - made:
        shutil.rmtree(left, ignore_errors=True)  # empty: what was mounted there was so for that process alone
    time.sleep(0.3)
    size = alive.stat().st_size
    time.sleep(0.3)
    assert alive.stat().st_size == size


def test_a_program_that_is_not_there_is_a_result_and_not_an_error(inside: Inside) -> None:
    found = inside.command("no-such-program-at-all")
    assert (found.ended, found.exit_status) == (Ended.EXITED, 127)


if sys.platform != "linux":
    pytest.skip("sandboxes are Linux's", allow_module_level=True)
