"""Programs that are run as processes of their own, to be signalled and killed: `python -m tests.loop.child ...`,
or forked from one that has all this imported.

Each says on its standard output when it has reached the place that the test waits for, and at the end what came of
the run, as one line of JSON.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import MappingProxyType

from safeloop.ledger import Ledger
from safeloop.loop import AgentLoop
from safeloop.loop.events import Closed, Replied, Waiting
from safeloop.loop.lock import held
from safeloop.tools import ToolRegistry, file_tools
from tests.forked import Forked
from tests.loop.playing import Player, breaker, call, loop_of, reply, spec_of, usage

ROOT = Path(__file__).parents[2]
LONGEST_S = 60


class Child:
    """One such process; the `with` block ends it. It is forked, unless it is begun in another environment."""

    def __init__(self, name, *arguments, env=None):
        words = (name, *map(str, arguments))
        if env is None:
            self.process = Forked("tests.loop.child", words, ROOT, os.environ, pipes=("stdout",), text=True)
        else:
            command = [sys.executable, "-m", "tests.loop.child", *words]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env)
        self._watchdog = threading.Timer(LONGEST_S, self.process.kill)

    def __enter__(self):
        self._watchdog.start()
        return self

    def __exit__(self, *_exc):
        self._watchdog.cancel()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def reach(self, place):
        """Wait until the program says that it is there."""
        line = self.process.stdout.readline().strip()
        assert line == place, f"it said {line!r}"
        return self

    def send(self, number):
        self.process.send_signal(number)
        return self

    def end(self):
        """Wait for the end; return the exit code, and what the program said of it."""
        out, _ = self.process.communicate(timeout=LONGEST_S)
        return self.process.returncode, json.loads(out.splitlines()[-1]) if out else None


def say(place):
    os.write(sys.stdout.fileno(), f"{place}\n".encode())  # a handler may say something while something is said


def slow(place, seconds, answer):
    """A step that says where it is and then takes its time."""

    def step(_=None):
        say(place)
        time.sleep(float(seconds))
        return answer

    return step


def call_takes(ledger, seconds, grace_s, stop_reason="max_tokens"):
    client = Player(slow("calling", seconds, reply("hm", stop_reason=stop_reason)))
    return loop_of(ledger, client, grace_s=float(grace_s)).run("do it")


def call_swallows(ledger):
    def stubborn(_):
        with contextlib.suppress(BaseException):
            slow("calling", 20, None)()
        return reply("hm", stop_reason="max_tokens")

    return loop_of(ledger, Player(stubborn), grace_s=0.2).run("do it")


def call_fails(ledger):
    def failing(_):
        slow("calling", 0.4, None)()
        raise ConnectionResetError("the signal hit it too")

    return loop_of(ledger, Player(failing)).run("do it")


def sdk_call(ledger, url, grace_s):
    from safeloop.models.anthropic import AnthropicClient

    loop = loop_of(ledger, AnthropicClient(api_key="k", base_url=url), grace_s=float(grace_s))
    say("calling")
    return loop.run("do it")


def tool_takes(ledger, seconds, grace_s, permission):
    registry = ToolRegistry()
    registry.register(name="work", description="d", parameters={"type": "object"}, permission=permission,
                      handler=slow("working", seconds, "ok"))
    client = Player(reply(call("work", {}, "a"), call("work", {}, "b"), stop_reason="tool_use"))
    return loop_of(ledger, client, tools=registry, grace_s=float(grace_s)).run("do it")


def listener_takes(ledger, event, stop_reason):
    kind = {"Replied": Replied, "Closed": Closed}[event]

    def listener(told):
        if isinstance(told, kind):
            say("listening")
            time.sleep(0.5)

    loop_of(ledger, Player(reply("hm", stop_reason=stop_reason)), on_event=listener, grace_s=5).run("do it")


def resumes(ledger, seconds):
    say("begun")
    return loop_of(ledger, Player(slow("calling", seconds, reply("done")))).resume()


def waits(ledger, seconds):
    class Busy(Exception):
        status_code = 429
        headers = MappingProxyType({"retry-after": seconds})

    def listener(event):
        if isinstance(event, Waiting):
            threading.Timer(0.3, say, ["waiting"]).start()

    return loop_of(ledger, Player(Busy()), on_event=listener).run("do it")


def own_handlers(ledger):
    signal.signal(signal.SIGTERM, lambda *_: say("mine"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    result = call_takes(ledger, 1.0, 5, "end_turn")
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return result


def in_thread(ledger):
    results = []
    thread = threading.Thread(target=lambda: results.append(call_takes(ledger, 0.6, 0.1, "end_turn")))
    thread.start()
    try:
        time.sleep(20)
    except KeyboardInterrupt:
        say("main")
    thread.join()
    return results[0]


def signalled_while_a_thread_starts(ledger):
    def unlucky(_):
        with threading._active_limbo_lock:  # held for a moment whenever a thread is started
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        return reply("hm", stop_reason="max_tokens")

    return loop_of(ledger, Player(unlucky)).run("do it")


def forked_in_tool(ledger):
    def work():
        child = os.fork()
        if child == 0:
            os.close(1)
            signal.alarm(LONGEST_S)
            signal.pause()  # it lives on, with copies of every descriptor, until the test is over
        say(str(child))
        return "ok"

    registry = ToolRegistry()
    registry.register(name="work", description="d", parameters={"type": "object"}, permission="read", handler=work)
    client = Player(reply(call("work"), stop_reason="tool_use"), reply("done"))
    return loop_of(ledger, client, tools=registry).run("do it")


def ends_its_fork(ledger):
    """A tool forks a worker, as multiprocessing does, and ends it with SIGTERM; then the run itself is interrupted."""

    def work():
        ready = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(LONGEST_S)
            os.write(ready[1], b".")
            signal.pause()
            os._exit(7)
        os.read(ready[0], 1)
        os.kill(child, signal.SIGTERM)
        say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        time.sleep(30)

    registry = ToolRegistry()
    registry.register(name="work", description="d", parameters={"type": "object"}, permission="read", handler=work)
    return loop_of(ledger, Player(reply(call("work"), stop_reason="tool_use")), tools=registry, grace_s=0.2).run("do it")


def dies(ledger, place):
    """Killed without warning in the second call, after its reply, or in a tool."""

    def die(_=None):
        os.kill(os.getpid(), signal.SIGKILL)

    registry = ToolRegistry()
    registry.register(name="work", description="d", parameters={"type": "object"}, permission="write", handler=die)
    first = reply("hm", stop_reason="max_tokens", counts=usage(100, 11))
    second = {"call": die, "turn": reply("hm", stop_reason="max_tokens"), "tool": reply(call("work"))}[place]
    said = []

    def listener(event):
        said.append(event)
        if place == "turn" and isinstance(event, Replied) and event.turn == 2:
            die()

    return loop_of(ledger, Player(first, second), tools=registry, on_event=listener).run("do it")


def works(ledger, session, turns, pause_s, tell=""):
    """A run of many turns, each with a tool that writes; tells of each request if it is asked to."""
    wanted = int(turns)

    def step(request):
        if tell:
            say("turn")
        time.sleep(float(pause_s))
        number = len(request["messages"])
        if number > 2 * wanted:
            return reply("done")
        arguments = {"path": "f.txt", "content": str(number)}
        return reply(call("write_file", arguments, f"toolu_{number}"), stop_reason="tool_use")

    say("begun")
    loop = AgentLoop(spec_of(session), breaker(10_000, 10**9), ledger, Player(step),
                     tools=lambda staging: file_tools(None, staging))
    return loop.run("do it")


def disk_fills(ledger, place):
    """No file may grow any more from the second call, or from a tool, on."""

    def fill(_=None):
        folder = Path(ledger.db_path).parent
        largest = max(path.stat().st_size for path in folder.glob("ledger.*") if path.is_file())
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
        return reply("paid for", stop_reason="max_tokens") if place == "call" else "x" * 40_000

    registry = ToolRegistry()
    registry.register(name="work", description="d", parameters={"type": "object"}, permission="write", handler=fill)
    first = reply("hm", stop_reason="max_tokens", counts=usage(100, 11))
    second = fill if place == "call" else reply(call("work"), stop_reason="tool_use")
    return loop_of(ledger, Player(first, second), tools=registry, tokens=200_000).run("do it")


def holds(_ledger, path):
    with held(Path(path), "it"):
        say("holding")
        signal.pause()


def prepare():
    importlib.import_module("safeloop.models.anthropic")  # the SDK takes most of a second to import


def main():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # where coverage measures, it has a handler of its own
    name, path, *arguments = sys.argv[1:]
    ledger = Ledger(path)
    try:
        result = globals()[name](ledger, *arguments)
    except BaseException as error:  # noqa: BLE001 - the test is told
        facts = {"raised": type(error).__name__, "signal": getattr(error, "signal", None), "message": str(error),
                 "notes": getattr(error, "__notes__", [])}
    else:
        facts = {"outcome": getattr(result, "outcome", None)}
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
