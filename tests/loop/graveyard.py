"""Lives of a session, each in a process of its own that may be killed without warning at its n-th step.

One process imports everything and forks a child for each life, so that hundreds of deaths take seconds. It reads jobs
as lines of JSON and answers each with the exit statuses of its lives, as a line of JSON.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_S = 60


class Steps:
    """Counts steps, and dies at one of them."""

    def __init__(self, last):
        self.last, self.taken = last, 0

    def take(self):
        self.taken += 1
        if self.taken == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner, name):
        """Make what happens before and after a method a step each."""
        method = getattr(owner, name)

        def stepped(*arguments, **more):
            self.take()
            result = method(*arguments, **more)
            self.take()
            return result

        setattr(owner, name, stepped)


class Graveyard:
    """A process that serves jobs, as the tests speak to it."""

    def __init__(self, process):
        self._process = process

    def live(self, **job):
        """Return the exit status of each life of a job."""
        self._process.stdin.write(f"{json.dumps(job)}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def opened(module):
    """Start a module that calls `serve`."""
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=unmeasured,
    ) as process:
        yield Graveyard(process)
        process.stdin.close()


def serve(lives_of):
    """Answer jobs until there are none left.

    Args:
        lives_of: Returns the lives of a job, in order: functions that are called in a process each.
    """
    for line in sys.stdin:
        job = json.loads(line)
        os.environ["SAFELOOP_KEYS"] = job["keys"]
        print(json.dumps([_lived(life) for life in lives_of(job)]), flush=True)


def _lived(life):
    child = os.fork()
    if child == 0:
        signal.alarm(LONGEST_S)
        try:
            life()
        except BaseException as error:  # noqa: BLE001 - the test is told
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
