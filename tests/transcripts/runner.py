r"""Plays a transcript: commands at a real terminal, what they print, what is typed, how they end.

    $ safeloop init                      a command; `> ` continues it
    ledger  ledger.db (created), ...     all that it prints, stdout and stderr as a terminal shows them
    accept, reject, or leave? «accept»   what a person types is between the marks; «^C» is a key
    (exit 14)                            only where it is not 0

Each command runs in one folder at a terminal of its own (TERM=dumb, 100 columns). What differs from run to run is
named by kind and, where it tells one thing from another, by a number: `<session 1>`, `<hash 2>`. A command may use
such a name, and `<examples>` for the folder of examples. `«<last 4>»` types the end of the frame's hash that is on
the screen.

    python -m tests.transcripts.runner tests/transcripts/walk.txt     records anew; read the difference
"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.program import ROOT, Program

HERE = Path(__file__).parent
_TYPED = re.compile("«([^»]*)»")
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_ORDER = (
    ("session", re.compile(_UUID)),
    ("origin", re.compile(r"(?<=safeloop\.local/)[0-9a-f]{32}\b")),
    ("hash", re.compile(r"\b[0-9a-f]{64}\b")),
)
_KINDS = (
    (re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"(?<=SHA256:)[A-Za-z0-9+/]{43}"), "<fingerprint>"),
    (re.compile(r"AAAAC3[A-Za-z0-9+/=]{20,}"), "<public key>"),
    (re.compile(r"\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{44}"), "+<key hash>+<key>"),
    (re.compile(r"(?<=writer[- ])[0-9a-f]{8}\b"), "<id>"),
    (re.compile(r"(?<=destination=).*(?= file_count)"), "<destination>"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"\b\d+ ms\b"), "<n> ms"),
    (re.compile(r"\bms=\d+ +"), "ms=<n>    "),
    (re.compile(r"\b[0-9a-f]{40,63}(?=…)"), "<hash>"),
    (re.compile(r"^[A-Za-z0-9+/]{43}=$", re.M), "<root>"),
    (re.compile(r"(?<=> )[A-Za-z0-9+/]{90,}={0,2}$", re.M), "<note signature>"),
)


@dataclass
class Step:
    """One command: what it is, and what is typed after which words."""

    command: str
    answers: list[tuple[str, str]] = field(default_factory=list)


class Names:
    """What was seen of what differs, by kind, in the order in which it was seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._seen: dict[str, list[str]] = {kind: [] for kind, _ in _ORDER}

    def normal(self, text: str) -> str:
        """Name what differs from run to run."""
        text = text.replace(self._folder, "<folder>")
        for kind, pattern in _ORDER:
            text = pattern.sub(lambda found, kind=kind: self._name(kind, found.group()), text)  # type: ignore[misc]
        for number, session in enumerate(self._seen["session"], start=1):
            text = re.sub(rf"\b{session[:8]}\b", f"<session {number}:8>", text)
        for pattern, name in _KINDS:
            text = pattern.sub(name, text)
        return text

    def actual(self, text: str) -> str:
        """Put in what a name stands for."""
        def put(found: re.Match[str]) -> str:
            thing = self._seen[found[1]][int(found[2]) - 1]
            return thing[: int(found[3])] if found[3] else thing

        text = re.sub(r"<(session|hash|origin) (\d+)(?::(\d+))?>", put, text)
        return text.replace("<folder>", self._folder).replace("<examples>", str(ROOT / "examples"))

    def last_hash(self, shown: str) -> str:
        """The end of the frame's hash that is on the screen."""
        return re.findall(r"^frame sha256 ([0-9a-f]{64})$", shown, re.M)[-1][-4:]

    def _name(self, kind: str, thing: str) -> str:
        seen = self._seen[kind]
        if thing not in seen:
            seen.append(thing)
        return f"<{kind} {seen.index(thing) + 1}>"


def steps_of(text: str) -> tuple[str, list[Step]]:
    """Read a transcript: what stands before the first command, and the commands."""
    head: list[str] = []
    steps: list[Step] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:]))
        elif not steps:
            head.append(line)
        elif line.startswith("> ") and not steps[-1].answers:
            steps[-1].command += "\n" + line[2:]
        else:
            before = 0
            for found in _TYPED.finditer(line):
                steps[-1].answers.append((line[before : found.start()], found[1]))
                before = found.end()
    return "\n".join(head), steps


def played(text: str, folder: Path) -> str:
    """Play a transcript in a new folder and return what it should have been."""
    program = Program.at(folder / "p")
    names = Names(program.folder)
    head, steps = steps_of(text)
    return "\n".join([head, *(_played(step, program, names) for step in steps)])


def _played(step: Step, program: Program, names: Names) -> str:
    with program.terminal("bash", "-c", "stty cols 100; " + names.actual(step.command)) as terminal:
        for prompt, answer in step.answers:
            terminal.expect(prompt)
            if answer.startswith("^"):
                terminal.press(answer[1:])
            else:
                terminal.type(names.last_hash(terminal.seen) if answer == "<last 4>" else answer)
        code = terminal.wait()
    shown = _marked(terminal.seen, [answer for _, answer in step.answers], terminal.typed)
    shown = names.normal(shown)
    command = "\n> ".join(step.command.split("\n"))
    ending = f"(exit {code})\n" if code else ""
    return f"$ {command}\n{shown}{ending}"


def _marked(seen: str, answers: list[str], typed: list[tuple[int, str]]) -> str:
    """Put the marks around what was typed; the terminal has echoed it."""
    for answer, (at, text) in reversed(list(zip(answers, typed, strict=True))):
        end = at + (len(text) if seen.startswith(text, at) else 0)
        seen = f"{seen[:at]}«{answer}»{seen[end:]}"
    return seen


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as made:
            Path(name).write_text(played(Path(name).read_text(encoding="utf-8"), Path(made)), encoding="utf-8")
