"""`verify` alone with hostile input: no ledger, no network, no home, nothing written, never a hang or a traceback."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from tests.cli.program import Program

SITE = """
import os, sys

def refuse(event, arguments):
    network = event.startswith("socket.") and event not in ("socket.gethostname",)
    writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if network or writing or event.startswith(("sqlite3.", "subprocess.", "os.mkdir", "os.remove", "os.rename")):
        os.write(2, f"refused: {event} {arguments!r}\\n".encode())
        os._exit(99)

sys.addaudithook(refuse)
"""
LONGEST_S = 10


@pytest.fixture
def alone(auditor: Program, proved: Program) -> Program:
    """The auditor's machine, where whatever is more than reading ends the process at once."""
    (auditor.folder / "r.tlog-proof").write_text(proved("receipt", "latest").out)
    (auditor.folder / "site").mkdir()
    (auditor.folder / "site/sitecustomize.py").write_text(SITE)
    auditor.more["PYTHONPATH"] = str(auditor.folder / "site")
    auditor.more["PYTHONDONTWRITEBYTECODE"] = "1"
    auditor.is_measured = False
    return auditor


def test_the_guard_of_these_tests_bites(alone: Program) -> None:
    for act in ("import socket; socket.create_connection(('127.0.0.1', 9))", "open('x', 'w')", "import sqlite3; sqlite3.connect('x')"):
        assert alone.shell(f'python -c "{act}"').code == 99


@pytest.mark.parametrize("home", ["", "/nonexistent", "/dev/null", "file", None])
@pytest.mark.parametrize("path", ["r.tlog-proof", "kept", "out"])
def test_a_proof_is_verified_by_reading_it_and_the_pins_and_nothing_else(
    alone: Program, home: str | None, path: str
) -> None:
    (alone.folder / "file").touch()
    unset = "-u HOME" if home is None else ""
    env = {} if home is None else {"HOME": home}
    done = alone.shell(f"ulimit -f 0; exec env {unset} -u LANG safeloop verify {path} --trust pins", env=env)
    assert (done.code, done.err) == (0, "")
    assert done.out.rstrip().endswith(f"{path}: {'release' if path == 'out' else 'checkpoint' if path == 'kept' else 'receipt'} verified")


def test_it_reads_where_nothing_can_be_written(alone: Program) -> None:
    if os.geteuid() == 0:
        mount = "mount --bind . . && mount -o remount,bind,ro . && cd . && touch x"
        if "Read-only file system" not in alone.shell(f"unshare -m bash -c '{mount}'").err:
            pytest.skip("no mount can be made here")
        command = "mount --bind . . && mount -o remount,bind,ro . && cd $PWD && safeloop verify out --trust pins"
        done = alone.shell(f"unshare -m bash -c '{command}'")
    else:
        for folder, _, names in os.walk(alone.folder, topdown=False):
            for name in names:
                Path(folder, name).chmod(0o500 if Path(folder).name == "bin" else 0o400)
            Path(folder).chmod(0o500)
        done = alone("verify", "out", "--trust", "pins")
        for folder, _, _ in os.walk(alone.folder):
            Path(folder).chmod(0o700)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("out: release verified\n")


def fifo(folder: Path) -> str:
    os.mkfifo(folder / "x")
    return "x"


def loop(folder: Path) -> str:
    (folder / "x").symlink_to("x")
    return "x"


def dangling(folder: Path) -> str:
    (folder / "x").symlink_to("nowhere")
    return "x"


def listening(folder: Path) -> str:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "x"))
    return "x"


def binary(folder: Path) -> str:
    (folder / "x").write_bytes(bytes(range(256)) * 3_000)
    return "x"


def huge(folder: Path) -> str:
    with (folder / "x").open("wb") as file:
        file.truncate(1 << 40)
    return "x"


def note_of_many_lines(folder: Path) -> str:
    text = (folder / "kept").read_text()
    line = text.rpartition("\n\n")[2]
    (folder / "x").write_text(text + line * ((1_000_000 - len(text)) // len(line.encode())))
    return "x"


def deep(folder: Path) -> str:
    (folder / "x").write_text("[" * 900_000)
    return "x"


def bundle(folder: Path) -> Path:
    shutil.copytree(folder / "out", folder / "x")
    return folder / "x"


def bundle_with_fifo(folder: Path) -> str:
    os.mkfifo(bundle(folder) / "release/receipts/row-99.tlog-proof")
    return "x"


def bundle_of_holes(folder: Path) -> str:
    with (bundle(folder) / "report.md").open("wb") as file:
        file.truncate(1 << 42)
    return "x"


def bundle_of_links(folder: Path) -> str:
    (bundle(folder) / "release/statement-9.json").symlink_to("/dev/zero")
    return "x"


def bundle_of_folders(folder: Path) -> str:
    deepest = bundle(folder)
    for _ in range(60):
        deepest = deepest / ("d" * 60)
        deepest.mkdir()
    return "x"


def bundle_of_bytes(folder: Path) -> str:
    place = bundle(folder)
    for path in (place / "release").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xff\x00\x1b[2J" * 1_000)
    return "x"


def bundle_of_brackets(folder: Path) -> str:
    place = bundle(folder)
    for path in (place / "release").rglob("*"):
        if path.is_file():
            path.write_text('{"a":[' * 100_000)
    return "x"


HOSTILE = [fifo, loop, dangling, listening, binary, huge, note_of_many_lines, deep, bundle_with_fifo, bundle_of_holes,
           bundle_of_links, bundle_of_folders, bundle_of_bytes, bundle_of_brackets]


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_hostile_input_gets_an_answer_soon_and_never_a_traceback(
    alone: Program, monkeypatch: pytest.MonkeyPatch, make
) -> None:
    monkeypatch.chdir(alone.folder)
    name = make(alone.folder)
    began = time.monotonic()
    done = alone("verify", name, "--trust", "pins")
    assert time.monotonic() - began < LONGEST_S
    said = done.out + done.err
    harmless = make is note_of_many_lines  # it is signed
    assert done.code == (0 if harmless else 11), said
    assert "Traceback" not in said and "\x1b" not in said and "Errno" not in said
    if done.code:
        assert "hint: " in said
    if (alone.folder / "x").is_dir():
        shutil.rmtree(alone.folder / "x")


@pytest.mark.parametrize("make", [fifo, loop, dangling, listening, binary, huge, deep], ids=lambda make: make.__name__)
def test_a_hostile_checkpoint_beside_a_proof_gets_an_answer_too(
    alone: Program, monkeypatch: pytest.MonkeyPatch, make
) -> None:
    monkeypatch.chdir(alone.folder)
    name = make(alone.folder)
    began = time.monotonic()
    done = alone("verify", "r.tlog-proof", "--trust", "pins", "--checkpoint", name)
    assert time.monotonic() - began < LONGEST_S
    assert done.code in (2, 11)
    assert "hint: " in done.out + done.err and "Traceback" not in done.err


def test_a_checkpoint_may_come_through_a_pipe(alone: Program) -> None:
    done = alone.shell("safeloop verify kept --trust pins --checkpoint <(sleep 0.5; cat kept; sleep 0.5)")
    assert (done.code, done.err) == (0, "")
    assert "it is the checkpoint 1 that you kept" in done.out


@pytest.mark.parametrize("make", [fifo, loop, listening, binary, huge, deep], ids=lambda make: make.__name__)
def test_a_project_file_in_the_folder_that_is_verified_cannot_hold_it_up(
    alone: Program, monkeypatch: pytest.MonkeyPatch, make
) -> None:
    monkeypatch.chdir(alone.folder)
    place = bundle(alone.folder) / "safeloop.toml"
    make(alone.folder / "site")
    (alone.folder / "site/x").rename(place)
    began = time.monotonic()
    done = alone.shell("cd x && safeloop verify . --trust ../pins")
    assert time.monotonic() - began < LONGEST_S
    assert done.code in (2, 11)
    assert "hint: " in done.out + done.err and "Traceback" not in done.err


@pytest.mark.parametrize("make", [fifo, loop, binary, huge, deep], ids=lambda make: make.__name__)
def test_pins_that_cannot_be_read_pin_nobody(alone: Program, monkeypatch: pytest.MonkeyPatch, make) -> None:
    monkeypatch.chdir(alone.folder)
    make(alone.folder / "site")
    (alone.folder / "site/x").replace(alone.folder / "pins/policy")
    began = time.monotonic()
    done = alone("verify", "r.tlog-proof", "--trust", "pins")
    assert time.monotonic() - began < LONGEST_S
    assert (done.code, done.out) == (14, "")
    assert "pins/policy" in done.err and "hint: " in done.err and "Traceback" not in done.err
