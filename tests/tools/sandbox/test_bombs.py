"""Programs that take more than they were given: each is held to its limit, and nothing of it is left.

The bombs stop by themselves somewhere above the limit, so that a fence that is broken costs a test and not the machine.
"""

from __future__ import annotations

import resource
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from safeloop.tools.clean import ToolError
from safeloop.tools.limiting import TimedOut, within
from safeloop.tools.sandbox import Bubblewrap, Ended

from .conftest import SMALL, Inside

BEATS = "while :; do echo x >> /staging/beat; sleep 0.02; done"


def goes_on(file: Path) -> bool:
    """Whether somebody still writes to a file."""
    assert file.exists(), "it never began, so nothing was tried"
    before = file.stat().st_size
    time.sleep(0.4)
    return file.stat().st_size != before


def test_a_fork_bomb_is_held_and_ends_with_the_time_limit(inside: Inside) -> None:
    limits = replace(SMALL, time_s=2.0)
    found = inside.python(
        """
import os, time
while True:
    try:
        if os.path.exists("/staging/beat") and os.path.getsize("/staging/beat") > 200: time.sleep(60)
        if os.fork() == 0:
            with open("/staging/beat", "ab") as file: file.write(b"x")
    except OSError:
        time.sleep(0.01)
""",
        limits,
    )
    assert found.ended is Ended.TIME
    assert found.exit_status is None
    beats = (inside.places.staging / "beat").stat().st_size
    assert 4 < beats <= limits.processes
    assert found.execution_time_ms < 8_000
    assert not goes_on(inside.places.staging / "beat")


def test_a_fork_bomb_does_not_keep_another_program_from_starting(inside: Inside, tmp_path: Path) -> None:
    other = Inside(inside.sandbox, tmp_path.joinpath("other")) if (tmp_path / "other").mkdir() is None else inside
    # Each child only sleeps, so there are never more than 200.
    code = "import os, time\nfor _ in range(200):\n  try:\n    if os.fork() == 0: break\n  except OSError: pass\ntime.sleep(60)"
    bomb = threading.Thread(target=inside.python, args=(code,), kwargs={"limits": replace(SMALL, time_s=2.5)})
    bomb.start()
    time.sleep(0.7)
    found = other.command("sh", "-c", "echo fine | cat")
    bomb.join()
    assert found.stdout == b"fine\n", found.stderr


def test_one_process_cannot_have_more_memory_than_its_limit(inside: Inside) -> None:
    found = inside.python("taken = bytearray(300 << 20)\ntaken[::4096] = b'x' * len(taken[::4096])\nprint('HAD IT')")
    assert b"HAD IT" not in found.stdout
    assert found.exit_status != 0


def test_many_processes_cannot_have_more_memory_together(inside: Inside) -> None:
    found = inside.python("""
import os, time
for _ in range(12):
    if os.fork() == 0:
        taken = bytearray(100 << 20)
        taken[::4096] = b"x" * len(taken[::4096])
        time.sleep(30)
        os._exit(0)
time.sleep(5)
print("HAD IT ALL")
""")
    assert found.ended is Ended.MEMORY or b"HAD IT ALL" not in found.stdout
    assert found.execution_time_ms < 5_000


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_memory_cannot_be_had_as_files_either(inside: Inside, folder: str) -> None:
    found = inside.command("sh", "-c", f"for i in 1 2 3 4; do head -c 4000000 /dev/zero > {folder}/$i || exit 9; done; echo FILLED")
    assert b"FILLED" not in found.stdout
    assert b"No space left" in found.stderr


def test_a_flood_of_output_costs_no_memory_here_and_is_counted(inside: Inside) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = inside.command("sh", "-c", "yes flood & yes error >&2", limits=replace(SMALL, time_s=2.0))
    assert found.ended is Ended.TIME
    assert (len(found.stdout), len(found.stderr)) == (SMALL.output_bytes, SMALL.output_bytes)
    assert found.stdout_left_out > 10_000_000
    assert found.stderr_left_out > 10_000_000
    assert found.stdout.startswith(b"flood\nflood\n")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kilobytes


def test_output_up_to_the_limit_is_kept_whole(inside: Inside) -> None:
    found = inside.command("head", "-c", str(SMALL.output_bytes), "/dev/zero")
    assert (found.stdout, found.stdout_left_out) == (b"\0" * SMALL.output_bytes, 0)
    found = inside.command("head", "-c", str(SMALL.output_bytes + 1), "/dev/zero")
    assert (len(found.stdout), found.stdout_left_out) == (SMALL.output_bytes, 1)


@pytest.mark.parametrize(
    "leaving",
    [
        f"setsid sh -c '{BEATS}' </dev/null >/dev/null 2>&1 &",  # a session of its own
        f"( ( {BEATS} ) </dev/null >/dev/null 2>&1 & ) &",  # forked twice: its parent is gone
        f"nohup sh -c '{BEATS}' >/dev/null 2>&1 &",
        f"trap '' TERM HUP INT QUIT; ( {BEATS} ) &",
    ],
)
@pytest.mark.parametrize("after", ["exit 0", "sleep 60"])
def test_whatever_was_left_behind_ends_with_the_program(inside: Inside, leaving: str, after: str) -> None:
    found = inside.command("sh", "-c", f"{leaving} sleep 0.5; {after}", limits=replace(SMALL, time_s=1.0))
    assert found.ended is (Ended.EXITED if after == "exit 0" else Ended.TIME)
    assert found.execution_time_ms < 5_000
    assert not goes_on(inside.places.staging / "beat")


def test_a_file_cannot_grow_beyond_its_limit(inside: Inside) -> None:
    found = inside.command("sh", "-c", "head -c 20000000 /dev/zero > big")
    assert found.exit_status != 0
    assert (inside.places.staging / "big").stat().st_size == SMALL.file_bytes


def test_a_disk_cannot_be_filled_with_many_files_even_deleted_ones(inside: Inside) -> None:
    found = inside.python("""
import os
kept = []
for number in range(200):
    kept.append(open(f"/staging/{number}", "wb")); kept[-1].write(b"x" * 4_000_000); kept[-1].flush()
    os.unlink(f"/staging/{number}")
import time; time.sleep(5)
print("FILLED")
""", replace(SMALL, disk_bytes=30_000_000))  # of the file system: what others write counts too
    assert found.ended is Ended.DISK
    assert b"FILLED" not in found.stdout


def test_a_program_that_does_not_read_its_input_is_not_waited_for(inside: Inside) -> None:
    found = inside.command("true", stdin=b"x" * 3_000_000)
    assert (found.ended, found.exit_status) == (Ended.EXITED, 0)
    found = inside.command("sleep", "30", stdin=b"x" * 3_000_000, limits=replace(SMALL, time_s=0.5))
    assert found.ended is Ended.TIME


def test_input_arrives_whole_and_ends(inside: Inside) -> None:
    data = bytes(range(256)) * 4_000
    assert inside.command("wc", "-c", stdin=data).stdout.split() == [b"1024000"]
    assert inside.command("wc", "-c").stdout.split() == [b"0"]


def test_a_signal_and_an_exit_status_are_told_apart_where_they_can_be(inside: Inside) -> None:
    assert inside.command("sh", "-c", "kill -SEGV $$").signal == "SIGSEGV"
    assert inside.command("sh", "-c", "exit 7").exit_status == 7
    assert inside.command("sh", "-c", "exit 255").signal is None


def test_a_call_that_is_given_up_ends_its_program(inside: Inside) -> None:
    with pytest.raises(TimedOut):
        within(0.7, lambda: inside.command("sh", "-c", BEATS))
    time.sleep(0.5)
    assert not goes_on(inside.places.staging / "beat")


def test_a_folder_that_is_gone_is_an_error_and_nothing_ran(inside: Inside) -> None:
    inside.places.staging.rmdir()
    with pytest.raises(ToolError, match="the sandbox could not be made: .*No such file"):
        inside.command("true")


def test_no_descriptor_is_left_open_by_many_programs(inside: Inside) -> None:
    inside.command("true")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        inside.command("true")
    with pytest.raises(ToolError):
        Bubblewrap(Path("/proc/no-such-group")).run(("true",), b"", inside.places, SMALL)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
