"""Releases to places that refuse: a full disk, a read-only one, another file system, a mount point. Real ones.

In pairs: what was refused left nothing at its place, and the same command completes it, with one row, once there is room.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.making import private_mounts, run_mounted

MOUNTS = pytest.mark.skipif(not private_mounts(), reason="this process may not mount anything")

STORY = """
import json, os, shutil, subprocess, sys
from pathlib import Path
from safeloop.errors import SafeloopError
from tests.faults.test_release_crash import Scene
disk, story = Path(sys.argv[1]), sys.argv[3]
scene = Scene(Path(sys.argv[2]))
scene.session = scene.accepted({"big.bin": os.urandom(300_000), "small.md": b"small"})

def tries(to, force=False, session=None):
    try:
        scene.release(to, force=force, session=session)
        told = ""
    except SafeloopError as error:
        told = f"{error.exit_code:d} {error.message} | {error.hint}"
    rows = len(scene.rows_for(to))
    print(json.dumps({"told": told, "rows": rows, "there": sorted(os.listdir(disk)), "at": os.path.isdir(to)}))

def mount(*words):
    subprocess.run(["mount", *words, str(disk)], check=True)

to = disk / "out"
if story == "full":
    tries(to)
    mount("-o", "remount,size=4m")
    tries(to)
elif story == "full, replacing":
    mount("-o", "remount,size=4m")
    tries(to, session=scene.accepted({"small.md": b"old"}))
    (disk / "ballast").write_bytes(os.urandom(3_800_000))
    tries(to, force=True)
    print(json.dumps({"kept": (to / "small.md").read_text(), "proof": (to / "release/frame.txt").is_file()}))
    (disk / "ballast").unlink()
    tries(to, force=True)
elif story == "read-only":
    mount("-o", "remount,ro")
    tries(to)
    mount("-o", "remount,rw,size=4m")
    tries(to)
elif story == "mount point":
    mount("-o", "remount,size=4m")
    tries(disk, force=True)
    scene.release(to, force=False)
    elsewhere = scene.out / "here"
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", str(to), str(elsewhere)], check=True)
    tries(elsewhere)
    tries(elsewhere, force=True)
    print(json.dumps({"kept": (elsewhere / "big.bin").is_file(), "left": sorted(os.listdir(scene.out))}))
"""


def play(story: str, folder: Path) -> list[dict[str, Any]]:
    (folder / "disk").mkdir()
    out = run_mounted(f"mount -t tmpfs -o size=128k tmpfs {folder}/disk", STORY, folder / "disk", folder / "scene", story)
    return [json.loads(line) for line in out.splitlines()]


@MOUNTS
def test_a_full_disk_keeps_nothing_and_room_on_it_completes_the_release_with_the_row_that_is_there(tmp_path: Path) -> None:
    full, roomy = play("full", tmp_path)
    assert full["told"].startswith("2 ") and "No space left on device" in full["told"]
    assert "the same command again" in full["told"]
    assert (full["rows"], full["there"]) == (1, [])
    assert (roomy["told"], roomy["rows"], roomy["there"]) == ("", 1, ["out"])


@MOUNTS
def test_a_disk_that_fills_while_a_release_is_replaced_leaves_the_old_one_whole(tmp_path: Path) -> None:
    first, full, kept, roomy = play("full, replacing", tmp_path)
    assert first["told"] == ""
    assert "No space left on device" in full["told"] and full["there"] == ["ballast", "out"]
    assert kept == {"kept": "old", "proof": True}
    assert (roomy["told"], roomy["there"], roomy["rows"]) == ("", ["out"], 1)


@MOUNTS
def test_a_read_only_place_is_refused_before_any_row_is_written(tmp_path: Path) -> None:
    refused, released = play("read-only", tmp_path)
    assert refused["told"].startswith("2 ") and "Read-only file system" in refused["told"]
    assert (refused["rows"], refused["there"]) == (0, [])
    assert (released["told"], released["rows"]) == ("", 1)  # another file system than the ledger's, too


@MOUNTS
def test_a_mount_point_is_never_replaced(tmp_path: Path) -> None:
    empty, bound, forced, kept = play("mount point", tmp_path)
    assert "no release of ours" in empty["told"] and empty["rows"] == 0
    assert "holds a release already" in bound["told"] and bound["rows"] == 0
    assert forced["told"].startswith("2 ") and "cannot be written" in forced["told"]
    assert kept == {"kept": True, "left": ["here"]}
