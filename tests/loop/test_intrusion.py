"""What a run's own tools could do to it: reach the ledger's files or the keys, spend after the end, run it twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from safeloop.breaker import FREE, Bound, How, Place, Request, reserve
from safeloop.errors import ExitCode, LedgerError, SettingError
from safeloop.ledger import Ledger
from safeloop.ledger.content import JSON
from safeloop.loop import abandon_session
from safeloop.loop.closing import COMPLETED, SUSPENDED, Ending, Product, close_session
from safeloop.loop.place import lock_path, sessions_folder
from safeloop.loop.resuming import resume_session
from safeloop.spec import Ceilings
from safeloop.tools import ContainmentError, Permission, Root, ToolRegistry, file_tools
from tests.loop.playing import Player, call, kinds, loop_of, only, reply

HASH = "0" * 64
OTHER_WRITER = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], timeout=0)
other.execute("begin immediate")
"""
OTHER_RUN = """
import sys
from pathlib import Path
from safeloop.loop.lock import is_held
print(is_held(Path(sys.argv[1]), "it"))
"""


def calls(*blocks):
    return reply(*blocks, stop_reason="tool_use")


def reads(*names):
    wanted = [call("read_file", {"path": name}, f"toolu_{name}") for name in names]
    return Player(calls(*wanted), reply("done"))


def results_of(client):
    """What the model was told of its tool calls."""
    return [block["content"] for block in client.asked[1]["messages"][-1]["content"]]


def run_beside(tmp_path, ledger, client):
    """A program's own root, which the loop knows nothing of, around everything there is."""
    with Root(tmp_path) as everything:
        return loop_of(ledger, client, tools=lambda staging: file_tools(everything, staging)).run("do it")


def python(program, *arguments):
    return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)


def test_no_tool_opens_a_file_of_the_ledger_or_a_key_under_any_name(ledger, tmp_path):
    (tmp_path / "innocent.txt").hardlink_to(tmp_path / "ledger.db")
    (tmp_path / "plain.txt").hardlink_to(tmp_path / "keys" / "writer.pem")
    sides = [f"{name}{side}" for name in ("ledger.db", "ledger.content.db") for side in ("", "-wal", "-shm")]
    state = next((tmp_path / "keys").glob("*.state"))
    lock = lock_path(ledger.db_path, "s").relative_to(tmp_path)
    names = [*sides, "keys/writer.pem", f"keys/{state.name}", str(lock), "innocent.txt", "plain.txt"]
    client = reads(*names)
    run_beside(tmp_path, ledger, client)
    told = results_of(client)
    assert len(told) == len(names)
    for name, result in zip(names, told, strict=True):
        assert "belongs to a ledger, or to its keys" in result, name


def test_a_read_of_the_ledger_leaves_the_writers_lock_where_it_is(ledger, tmp_path):
    def look(view):
        with Root(tmp_path) as root:
            for name in ("ledger.db", "ledger.db-shm", "ledger.db-wal"):
                with pytest.raises(ContainmentError):
                    root.read(name, 10_000_000)
        tried = python(OTHER_WRITER, tmp_path / "ledger.db")
        assert "database is locked" in tried.stderr, tried
        return ()

    ledger.append(look)


def test_a_read_of_the_lock_file_leaves_the_session_locked(ledger, tmp_path):
    seen = []
    lock = lock_path(ledger.db_path, "s")

    def ask(_request):
        seen.append(python(OTHER_RUN, lock).stdout.strip())
        return reply("done")

    registry_reads = call("read_file", {"path": str(lock.relative_to(tmp_path))})
    run_beside(tmp_path, ledger, Player(calls(registry_reads), ask))
    assert seen == ["True"]


def test_a_file_of_the_ledger_is_never_replaced(ledger, tmp_path):
    before = (tmp_path / "ledger.db").stat().st_ino
    with Root(tmp_path) as root, pytest.raises(ContainmentError, match="belongs to a ledger"):
        root.write("ledger.db", b"x")
    assert (tmp_path / "ledger.db").stat().st_ino == before


@pytest.mark.parametrize("name", ["keys", "ledger.sessions"])
def test_a_root_around_a_folder_of_the_ledger_gives_nothing_away(ledger, tmp_path, name):
    refused = []

    def look() -> str:
        with Root(tmp_path / name) as root:
            try:
                root.list()
            except ContainmentError as error:
                refused.append(str(error))
        return "x"

    registry = ToolRegistry()
    registry.tool(permission=Permission.READ)(look)
    loop_of(ledger, Player(calls(call("look")), reply("done")), tools=registry).run("do it")
    assert len(refused) == 1
    assert "belongs to a ledger" in refused[0]


@pytest.mark.parametrize("what", ["ledger", "keys", "key folder", "sessions", "link"])
def test_a_workspace_that_holds_the_ledger_or_its_keys_is_refused_before_anything_is_recorded(
    tmp_path, monkeypatch, what
):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "k").mkdir()
    monkeypatch.setenv("SAFELOOP_KEYS", str(tmp_path / "k" / "keys"))
    ledger = Ledger(tmp_path / "a" / "b" / "ledger.db")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    sessions_folder(ledger.db_path).mkdir()
    workspace = {
        "ledger": tmp_path / "a" / "b", "keys": tmp_path / "k", "key folder": tmp_path / "k" / "keys",
        "sessions": sessions_folder(ledger.db_path), "link": tmp_path / "link",
    }[what]
    with pytest.raises(SettingError, match="no tool may reach") as refused:
        loop_of(ledger, Player(reply("done")), workspace=workspace)
    assert "--ledger" in (refused.value.hint or "")
    assert ledger.rows("s") == ()


def test_a_workspace_of_its_own_beside_the_ledger_is_fine_and_so_is_one_that_is_not_there_yet(ledger, tmp_path):
    (tmp_path / "ws").mkdir()
    loop_of(ledger, Player(reply("done")), workspace=tmp_path / "nowhere")
    assert loop_of(ledger, Player(reply("done")), workspace=tmp_path / "ws").run("do it").success


def test_with_a_ledger_in_memory_the_key_folder_is_still_out_of_bounds(tmp_path, keys):
    keys.mkdir()
    with pytest.raises(SettingError, match="no tool may reach"):
        loop_of(Ledger(":memory:"), Player(reply("done")), workspace=tmp_path)


def test_without_a_home_there_is_no_key_folder_to_keep_a_ledger_in_memory_from(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SAFELOOP_KEYS")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert loop_of(Ledger(":memory:"), Player(reply("done")), workspace=tmp_path).run("do it").success


def asked_of(ledger, turn=9, attempt=1):
    return reserve(
        ledger.append, Place("s", turn, attempt, HASH, 7), Request("m", "", (), (), 1_000), Bound(5, How.BOUND),
        Ceilings(), (ledger.content(b"[]", JSON),), price=FREE, final=True,
    )


def test_nothing_is_spent_on_a_session_that_is_closed(ledger):
    loop_of(ledger, Player(reply("done"))).run("do it")
    before = ledger.rows("s")
    with pytest.raises(LedgerError, match="session s is closed already: completed"):
        asked_of(ledger)
    with pytest.raises(LedgerError, match="session s is closed already"):
        close_session(ledger, "s", Ending(COMPLETED), Product(), (), elapsed_ms=1)
    assert ledger.rows("s") == before


def test_a_session_that_is_suspended_is_charged_only_when_it_was_resumed_and_can_be_closed(ledger):
    with pytest.raises(KeyboardInterrupt):
        loop_of(ledger, Player(KeyboardInterrupt())).run("do it")
    assert only(ledger, "close").data["outcome"] == SUSPENDED
    with pytest.raises(LedgerError, match="session s is suspended, in row 5"):
        asked_of(ledger)
    resume_session(ledger, "s")
    asked_of(ledger)
    close_session(ledger, "s", Ending(COMPLETED), Product(), (), elapsed_ms=1)
    with pytest.raises(LedgerError, match="closed already"):
        asked_of(ledger, turn=10)


def test_a_run_whose_session_was_closed_meanwhile_does_no_further_deed_and_asks_nothing_more(ledger):
    done = []
    registry = ToolRegistry()
    registry.register(
        name="deed", description="d", parameters={"type": "object"}, permission="write",
        handler=lambda: done.append(1) or "x",
    )

    def closing(_request):
        abandon_session(ledger, "s")
        return calls(call("deed"))

    client = Player(closing, reply("done"))
    with pytest.raises(LedgerError, match="closed already"):
        loop_of(ledger, client, tools=registry).run("do it")
    assert (len(client.asked), done, kinds(ledger).count("close")) == (1, [], 1)


@pytest.mark.parametrize("turn", [1, 2])
def test_one_attempt_at_a_turn_is_reserved_once(ledger, turn):
    def meddling(_request):
        asked_of(ledger, turn=2)
        return calls(call("nothing"))

    client = Player(meddling, reply("done"))
    if turn == 2:
        with pytest.raises(RuntimeError, match="attempt 1 at turn 2 of session s was made already, in row"):
            loop_of(ledger, client).run("do it")
        assert len(client.asked) == 1
    else:
        asked = []

        def again(_request):
            with pytest.raises(RuntimeError, match="attempt 2 at turn 1 of session s was made already"):
                asked_of(ledger, turn=1, attempt=2)
            asked.append(1)
            return reply("done")

        assert loop_of(ledger, Player(calls(call("nothing")), again)).run("do it").success
        assert asked == [1]


class Fork:
    """Forks once, where it is called; the child writes what stopped it to a file."""

    def __init__(self):
        self.child = None
        self.parent = os.getpid()

    def __call__(self, *_):
        if self.child is None:
            self.child = os.fork()
        return "x"


def forked(ledger, fork, tmp_path, client, **more):
    """Run in the parent and in the child; return the parent's result, and what the child's run raised."""
    said = tmp_path / "child.txt"
    try:
        result = loop_of(ledger, client, **more).run("do it")
        outcome = "ran on"
    except BaseException as error:  # the child must say whatever it was
        if os.getpid() == fork.parent:
            raise
        outcome = f"{type(error).__name__}: {error}"
    finally:
        if os.getpid() != fork.parent:
            said.write_text(outcome)
            os._exit(0)
    os.waitpid(fork.child, 0)
    return result, said.read_text()


@pytest.mark.parametrize("memory", [False, True])
def test_a_child_that_a_tool_forks_ends_where_the_handler_does(tmp_path, ledger, memory):
    ledger = Ledger(":memory:") if memory else ledger
    fork, went_on = Fork(), tmp_path / "went_on.txt"
    registry = ToolRegistry()
    registry.register(name="look", description="d", parameters={"type": "object"}, permission="read", handler=fork)
    try:
        result = loop_of(ledger, Player(calls(call("look")), reply("done")), tools=registry).run("do it")
    finally:
        if os.getpid() != fork.parent:
            went_on.write_text("the child ran on")
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(fork.child, 0)[1]) == ExitCode.UNEXPECTED
    assert (result.success, result.turns) == (True, 2)
    assert not went_on.exists()
    assert kinds(ledger).count("tool") == kinds(ledger).count("close") == 1


@pytest.mark.parametrize("where", ["client", "leaving"])
@pytest.mark.parametrize("memory", [False, True])
def test_a_child_that_is_forked_inside_a_run_cannot_go_on_with_it(tmp_path, ledger, where, memory):
    ledger = Ledger(":memory:") if memory else ledger
    fork, more = Fork(), {}
    sent = tmp_path / "sent.txt"

    def create(_request):
        with sent.open("a") as file:
            file.write(f"{os.getpid() == fork.parent}\n")
        if where == "client":
            fork()
        return calls(call("look")) if sent.read_text().count("\n") == 1 else reply("done")

    registry = ToolRegistry()
    registry.register(
        name="look", description="d", parameters={"type": "object"}, permission="read", handler=lambda: "x",
    )
    if where == "leaving":
        more["on_event"] = fork
    result, child = forked(ledger, fork, tmp_path, Player(create), tools=registry, **more)
    assert child == "RuntimeError: a forked child cannot go on with its parent's session"
    assert (result.success, result.turns) == (True, 2)
    assert sent.read_text() == "True\nTrue\n"
    assert kinds(ledger).count("intent") == kinds(ledger).count("turn") == 2
    assert kinds(ledger).count("close") == 1
