"""From a fresh Ed25519 key in an agent to a verified release, by somebody who knows one command and reads the hints.

Six commands lead there: `trust add-reviewer`, `inbox`, `review`, `attest`, `release`, `verify`. The newcomer below knows
the last but one only, and runs what each refusal names, at a real terminal, with a real ssh-agent, until it is done.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import Done, Program

ALICE = "alice@example.org"
HINTED = re.compile(r"safeloop (?:[a-z]+|trust add-reviewer)(?: [^\s;,()]+)*")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """An ssh-agent of this test's own, which holds the one copy of Alice's key; gives its socket."""
    socket, key = tmp_path / "agent.sock", tmp_path / "id"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    environment = {"SSH_AUTH_SOCK": str(socket), "PATH": "/usr/bin:/bin"}
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", ALICE, "-f", key], check=True)
    subprocess.run(["ssh-add", "-q", key], check=True, env=environment)
    key.unlink()
    yield str(socket)
    process.terminate()
    process.wait()
    process.stdout.close()


class Newcomer:
    """Somebody who knows their name, their public key, a folder, and the command that was refused."""

    def __init__(self, program: Program, agent: str) -> None:
        self.program = program
        self.run: list[str] = []
        program.more["SSH_AUTH_SOCK"] = agent
        public = subprocess.run(["ssh-add", "-L"], env={"SSH_AUTH_SOCK": agent, "PATH": "/usr/bin:/bin"},
                                capture_output=True, text=True, check=True).stdout
        (program.folder / "me.pub").write_text(public)

    def named(self, hint: str) -> list[str]:
        """Return the first command of a hint, the blanks filled in."""
        match = HINTED.search(hint)
        assert match is not None, f"no command in this hint: {hint}"
        fill = {"NAME": ALICE, "YOU@EXAMPLE.ORG": ALICE, "FILE": "me.pub", "KEY": "me.pub", "KEY.pub": "me.pub",
                "DIR": "out", "~/.ssh/id_ed25519": "me.pub", "~/.ssh/id_ed25519.pub": "me.pub"}
        return [fill.get(word, word) for word in shlex.split(match[0])[1:]]

    def tries(self, *arguments: str) -> Done:
        self.run.append(" ".join(arguments[:2]) if arguments[0] == "trust" else arguments[0])
        return self._attest(arguments) if arguments[0] == "attest" else self.program(*arguments)

    def until_done(self, *arguments: str, most: int = 8) -> Done:
        """Try a command; where it is refused, do what the hint names first, and try again."""
        for _ in range(most):
            done = self.tries(*arguments)
            if done.code == 0:
                return done
            assert "Traceback" not in done.err
            (hint,) = re.findall(r"^hint: (.*)$", done.err, re.M)
            named = self.named(hint)
            assert named != list(arguments), f"the hint is the command that was refused: {hint}"
            self.until_done(*named, most=most - 1)
        raise AssertionError(f"no way on: {self.run}")

    def _attest(self, arguments: tuple[str, ...]) -> Done:
        """Read to the end, accept, and type the hash; or be refused before that."""
        with self.program.at_terminal(*arguments) as terminal:
            terminal.expect("\n")
            if "error:" not in terminal.seen:
                terminal.expect("leave? ")
                terminal.type("accept")
                terminal.expect("of its hash: ")
                terminal.type(re.findall(r"^frame sha256 ([0-9a-f]{64})$", terminal.seen, re.M)[0][-4:])
            code = terminal.wait()
            return Done(code, terminal.seen, terminal.seen)


def test_the_hints_alone_lead_from_a_refused_release_to_a_verified_one(program: Program, agent: str) -> None:
    assert program.job().code == 0
    newcomer = Newcomer(program, agent)
    newcomer.until_done("release", "latest", "--to", "out")
    assert newcomer.run == ["release", "attest", "trust add-reviewer", "attest", "release"]
    verified = newcomer.tries("verify", "out")
    assert verified.code == 0
    assert f"{ALICE} accepted this frame" in verified.out


def test_the_six_commands_in_their_order_each_name_the_next(program: Program, agent: str) -> None:
    assert program.job().code == 0
    newcomer = Newcomer(program, agent)
    assert newcomer.tries("trust", "add-reviewer", ALICE, "me.pub").code == 0
    done = newcomer.tries("inbox")
    for wanted in ("review", "attest"):
        named = newcomer.named(done.out + done.err if wanted == "review" else done.err)
        assert named[0] == wanted, done
        done = newcomer.tries(*named)
        assert done.code == 0, done
    done = newcomer.tries("inbox")
    named = newcomer.named(done.out)
    assert named[0] == "release"
    (staged,) = program.folder.glob("ledger.sessions/*/**/report.md")
    staged.write_text("what nobody accepted")
    assert newcomer.tries(*named).code == 0
    assert "Title: too long" in (program.folder / "out/report.md").read_text()
    assert newcomer.tries("verify", "out").code == 0
    assert newcomer.tries("inbox").out == "nothing waits\n"
