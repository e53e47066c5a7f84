"""A ledger or a key that cannot be used: one error that says which and what helps, exit code 14, and nothing lost."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.program import Done, Program
from tests.ledger.making import private_mounts

# Root reads and writes what it likes; without this capability it is held to the permissions of files.
PLAIN_USER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search",
              "--inh-caps=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()  # fmt: skip
MOUNTS = pytest.mark.skipif(not private_mounts(), reason="this process may not mount anything")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    made = Program.at(tmp_path / "p")
    assert made("init").code == 0
    return made


def refused(done: Done, *said: str, code: int = 14) -> None:
    """One error with a hint, no traceback, nothing on stdout."""
    assert (done.code, done.out) == (code, ""), done
    lines = done.err.splitlines()
    assert [line for line in lines if line.startswith("error:")] == lines[:1], done.err
    assert lines[1].startswith("hint: ") and len(lines) == 2, done.err
    for words in said:
        assert words in done.err, done.err


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }  # fmt: skip


def tutorial(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE ledger (id INTEGER PRIMARY KEY, session_id TEXT, turn_count INTEGER)")
        connection.execute("INSERT INTO ledger VALUES (1, 's', 1)")
    connection.close()


def another_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    os.chdir(path.parent)  # a socket's path has an end
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


NOT_LEDGERS: list[tuple[str, Callable[[Path], object], str]] = [
    ("a folder", lambda path: path.mkdir(), "is a folder, not a ledger"),
    ("no database", lambda path: path.write_bytes(b"Dear diary, today I was not a database. " * 99), "is not a database"),
    ("an empty file", lambda path: path.write_bytes(b""), "hint: "),
    ("another program's", another_program, "is another program's database, not a ledger"),
    ("the tutorial's", tutorial, "is a ledger of the tutorial: unsigned, and left as it is"),
    ("half a header", lambda path: path.write_bytes(b"SQLite format 3\0"), "is not a"),
    ("a pipe", fifo, "is not a regular file"),
    ("a socket", unix_socket, "is not a regular file"),
    ("a link to nothing", lambda path: path.symlink_to("nowhere"), "there is no ledger at"),
    ("a link to itself", lambda path: path.symlink_to(path.name), "cannot be reached"),
]


@pytest.mark.parametrize(("what", "make", "said"), NOT_LEDGERS, ids=[what for what, _, _ in NOT_LEDGERS])
def test_what_is_no_ledger_is_refused_and_left_as_it_is(
    program: Program, what: str, make: Callable[[Path], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(program.folder)
    (program.folder / "d").mkdir()
    path = program.folder / "d" / "x.db"
    make(path)
    before = digest(program.folder / "d") if path.is_file() else {}
    for command in (("log",), ("run", "--spec-file", "job.toml", "--task", "x", "--script", "writes.json")):
        refused(program(*command, "--ledger", str(path)), said)
    if path.is_file():
        assert digest(program.folder / "d") == before
    assert not list((program.folder / "d").glob("x.sessions")), "no lock beside what is no ledger"


def test_init_makes_no_ledger_over_what_is_something_else(program: Program) -> None:
    for make, said in ((tutorial, "of the tutorial"), (another_program, "another program's")):
        path = program.folder / f"{make.__name__}.db"
        make(path)
        before = path.read_bytes()
        refused(program("init", "--ledger", str(path)), said)
        assert path.read_bytes() == before


def test_no_other_command_than_init_makes_a_ledger(program: Program) -> None:
    script = ("--task", "x", "--script", "writes.json")
    commands = (("inbox",), ("close", "x"), ("spec", "--file", "job.toml"), ("run", "x", *script),
                ("run", "--spec-file", "job.toml", *script), ("release", "x", "--to", "out"),
                ("ledger", "adopt", "--checkpoint", "job.toml"))  # fmt: skip
    for command in commands:
        refused(program(*command, "--ledger", "new.db"), "there is no ledger at", "hint: safeloop init --ledger")
    done = program("audit", "--ledger", "new.db")
    refused(done, "there is no ledger at", "hint: safeloop audit --ledger PATH")
    assert "safeloop init" not in done.err
    assert not list(program.folder.glob("new*"))


def test_a_ledger_that_is_gone_is_not_started_afresh(program: Program) -> None:
    program.job()
    for path in program.folder.glob("ledger*.db*"):
        path.unlink()
    for command in (("init",), ("spec", "--file", "job.toml"), ("run", "--spec-file", "job.toml", "--task", "x",
                                                                "--script", "writes.json")):  # fmt: skip
        done = program(*command)
        assert done.code == 14
        assert "ledger.db" in done.err
    refused(program("init"), "is gone or empty; a fresh one would forget what was spent", "restore it from a backup")
    assert not (program.folder / "ledger.db").exists()


def test_an_older_copy_is_not_written(program: Program) -> None:
    program.job()
    for path in program.folder.glob("ledger*.db"):
        shutil.copy(path, f"{path}.old")
    program.job()
    for path in program.folder.glob("ledger*.db-*"):
        path.unlink()
    for path in program.folder.glob("ledger*.old"):
        path.rename(path.with_suffix(""))
    refused(program.job(), "an older file, or its end is cut off", "one of fewer rows is never adopted")
    (program.folder / "kept.txt").write_text(program("checkpoint").out)
    refused(program("ledger", "adopt", "--checkpoint", "kept.txt"), "but 20 were signed", "restore the newest file")
    assert program("audit").code == 11


@pytest.mark.parametrize("name", ["ledger.db", "ledger.content.db"])
def test_a_read_only_file_is_not_written_and_can_be_read(program: Program, name: str) -> None:
    program.job()
    before = program.rows()
    (program.folder / name).chmod(0o400)
    done = program("run", "--quiet", *RUN[1:], under=PLAIN_USER)
    assert (done.code, done.out, done.err.count("error:")) == (14, "", 1), done
    assert f"{name} is read-only; nothing of this was recorded" in done.err
    assert program("audit", "--quiet", under=PLAIN_USER).out == ""
    assert [row for row in program.rows() if row["kind"] != "spec"] == before[1:], "no row without its content"


def test_a_read_only_folder_is_read_and_judged(program: Program) -> None:
    program.job()
    session = program.rows()[-1]["session"]
    store = program.folder / "store"
    store.mkdir()
    for path in program.folder.glob("ledger*.db"):
        shutil.copy(path, store)
    store.chmod(0o500)
    for command in (("log",), ("review", session), ("inbox",)):
        done = program(*command, "--ledger", "store/ledger.db", under=PLAIN_USER)
        assert done.code == 0, done.err
    assert sorted(path.name for path in store.iterdir()) == ["ledger.content.db", "ledger.db"]
    store.chmod(0o700)


@MOUNTS
def test_a_full_disk_is_one_error_and_takes_no_row_with_it(program: Program) -> None:
    disk = program.folder / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=600k tmpfs {disk} || exit 99\n"
        "export SAFELOOP_LEDGER=disk/ledger.db\n"
        "safeloop init >&2 || exit 98\n"
        "safeloop run --quiet --spec-file job.toml --task x --script writes.json || exit 97\n"
        "cat /dev/zero > disk/ballast 2> /dev/null; truncate -s -80k disk/ballast\n"
        "for n in 1 2 3; do head -c 30000 /dev/zero | tr '\\0' x > task; "
        "safeloop run --quiet --spec-file job.toml --task-file task --script writes.json 2> said; cat said >&2; done\n"
        "rm disk/ballast; safeloop audit --quiet; echo audit $? >&2; safeloop log | wc -l; safeloop inbox\n"
    )
    done = subprocess.run(
        [*private_mounts(), "bash", "-c", script], cwd=program.folder, env=program.environment, capture_output=True,
        text=True, check=False, timeout=60,
    )
    assert done.stderr.count("error:") == 3, done
    assert done.stderr.count("the disk is full") + done.stderr.count("disk I/O error") >= 3
    assert "Traceback" not in done.stderr
    assert "audit 0" in done.stderr, "what was recorded before still stands"
    assert int(done.stdout.splitlines()[0]) >= 10


@pytest.mark.parametrize("limit", [60, 140])
def test_a_limit_on_the_size_of_files_is_one_error(program: Program, limit: int) -> None:
    """`ulimit -f` in 1 KiB blocks: the write fails in the middle of the run, wherever that is."""
    (program.folder / "task").write_text("x" * 60_000)
    seen = set()
    for _ in range(4):
        done = program.shell(
            f"unset COVERAGE_PROCESS_CONFIG COVERAGE_PROCESS_START; ulimit -f {limit}; "
            "safeloop run --quiet --spec-file job.toml --task-file task --script writes.json --tokens 90000"
        )
        assert "Traceback" not in done.err
        seen.add(done.code)
        if done.code:
            assert done.err.count("error:") == 1
            assert "hint:" in done.err
    assert seen <= {0, 14}
    assert 14 in seen
    assert program("audit").code == 0
    for item in program("inbox", "--json").json["waiting"]:
        if item["state"] == "open":
            assert program("close", item["session"]).code == 0
    assert program("audit").code == 0


KEYS = "home/.config/safeloop/keys"
RUN = ("run", "--spec-file", "job.toml", "--task", "x", "--script", "writes.json")


@pytest.mark.parametrize("name", ["writer.pem", "log.pem"])
def test_keys_that_cannot_be_trusted_sign_nothing(program: Program, name: str) -> None:
    key = program.folder / KEYS / name
    good = key.read_bytes()

    def attempt(*said: str) -> None:
        refused(program(*RUN), *said)
        assert program("log").code == 0, "whoever only reads needs no key"

    key.chmod(0o644)
    attempt(f"{name} can be read by others (mode 0644)", f"hint: chmod 600 {key}")
    key.chmod(0o600)
    key.write_bytes(b"not a key")
    attempt(f"{name} is not a private key in PEM form")
    key.unlink()
    attempt("has no keys for it", "point SAFELOOP_KEYS")
    key.mkdir()
    attempt(name)
    key.rmdir()
    for algorithm, more, said in (("ed25519", "-aes256 -pass pass:x", "is encrypted"), ("ed448", "", "is not Ed25519")):
        made = program.shell(f"openssl genpkey -algorithm {algorithm} {more} -out {key} && chmod 600 {key}")
        assert made.code == 0, made.err
        attempt(said)
        key.unlink()
    key.write_bytes(good)
    key.chmod(0o600)
    assert program(*RUN).code == 0


def test_keys_of_another_ledger_sign_nothing(program: Program) -> None:
    other = {"SAFELOOP_KEYS": str(program.folder / "other")}
    refused(program(*RUN, env=other), "has no keys for it")
    assert program("init", "--ledger", "second.db", env=other).code == 0
    refused(program(*RUN, env=other), "was not signed by the log key of this key folder", "hint: point SAFELOOP_KEYS")
    assert program.kinds() == []


def test_a_lost_key_folder_is_not_made_again(program: Program) -> None:
    program.job()
    shutil.rmtree(program.folder / "home")
    for command in (RUN, ("init",), ("spec", "--file", "job.toml")):
        refused(program(*command), "has no keys for it", "lost keys come back from a backup only")
    assert not (program.folder / "home").exists()
    for command in (("key", "list"), ("trust", "show"), ("receipt", "latest")):
        refused(program(*command))
    audited = program("audit")
    assert (audited.code, "self is not a trust folder" in audited.out) == (11, True), "by nobody's keys nothing stands"


def test_a_reviewer_who_is_none_cannot_be_added(program: Program) -> None:
    (program.folder / "empty.pub").write_text("")
    (program.folder / "binary.pub").write_bytes(b"\xff\xfe\0")
    assert program.shell("ssh-keygen -q -t rsa -b 2048 -N '' -f rsa").code == 0
    for name in ("empty.pub", "binary.pub", "nowhere.pub", "home", "rsa", "job.toml"):
        done = program("trust", "add-reviewer", "alice@example.org", name)
        assert done.code in (2, 14), (name, done)
        assert done.err.startswith("error: ") and done.err.count("error:") == 1
    assert program("trust", "show", "--json").json["reviewers"] == []
