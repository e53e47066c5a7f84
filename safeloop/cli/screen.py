"""What a person or a script sees: results on stdout, everything else on stderr; colour in four roles."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import click

from safeloop.cli.carrying import carried, carried_facts, ledger_of
from safeloop.ledger.visible import unseen_escaped

JSON_VERSION = 1
_ROLES: Mapping[str, Mapping[str, Any]] = {
    "good": {"fg": "green"}, "bad": {"fg": "red", "bold": True}, "warn": {"fg": "yellow"}, "quiet": {"dim": True},
}


@dataclass(frozen=True, slots=True)
class Screen:
    """Where output goes.

    Attributes:
        as_json: One versioned object in place of text.
        quiet: Nothing on success, so that cron has nothing to mail.
        debug: Tracebacks are shown.
        ledger: The ledger that the command line named: commands that are shown name it too.
    """

    as_json: bool = False
    quiet: bool = False
    debug: bool = False
    ledger: str | None = None

    @classmethod
    def of_arguments(cls, arguments: Sequence[str]) -> Screen:
        """Read the flags that also decide how an error is shown that comes before any command has run."""
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        return cls("--json" in options, "--quiet" in options, "--debug" in options, ledger_of(options))

    def result(self, text: str, facts: Mapping[str, Any] | None = None) -> None:
        """Print a result: text for people, in which nothing steers a terminal, or its facts as one object."""
        if self.as_json:
            self._print(_line({"safeloop": JSON_VERSION, **carried_facts(facts or {}, self.ledger)}))
        elif not self.quiet:
            self._print(carried(unseen_escaped(text, keep_lines=True), self.ledger))

    def verdict(self, text: str, facts: Mapping[str, Any], code: int) -> int:
        """Print what was judged, and return its exit code; a quiet command is silent about what is true only."""
        if self.as_json or not code:
            self.result(text.rstrip("\n"), facts)
        else:
            self.exact(carried(unseen_escaped(text, keep_lines=True), self.ledger))
        return code

    def lines(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Print JSON Lines."""
        for item in objects:
            self._print(_line(item))

    def exact(self, text: str, *, err: bool = False) -> None:
        """Print text as it is, whatever was asked for: a frame, a checkpoint. In a file or a pipe it is UTF-8."""
        stream = sys.stderr if err else sys.stdout
        encoding = stream.encoding if stream.isatty() else "utf-8"
        self._write(text.encode(encoding, "backslashreplace"), stream)

    def story(self, text: str) -> None:
        """Tell a line of a walk that is itself the result."""
        if not self.as_json:
            self._print(text)

    def note(self, text: str) -> None:
        """Say something beside the result, on stderr."""
        if not self.quiet:
            self.alarm(text)

    def alarm(self, text: str) -> None:
        """Say something that even a quiet command says, on stderr."""
        self._say(carried(unseen_escaped(text, keep_lines=True), self.ledger))

    def error(self, name: str, message: str, hint: str, code: int, notes: Sequence[str] = ()) -> None:
        """Say what went wrong: text on stderr, or an object on stdout; on stderr too if stdout is what went wrong."""
        hint, notes = carried(hint, self.ledger), [carried(note, self.ledger) for note in notes]
        if self.as_json:
            error: dict[str, Any] = {"class": name, "message": message, "hint": hint, "exit_code": int(code)}
            if notes:
                error["notes"] = notes
            with contextlib.suppress(OSError):
                self._print(_line({"safeloop": JSON_VERSION, "error": error}))
                return
        # Names in it were made visible where it was made: to double their backslashes again would name other files.
        self._say(f"{self.role('bad', 'error:', err=True)} {unseen_escaped(message, keep_lines=True)}")
        for note in notes:
            self._say(unseen_escaped(note, keep_lines=True))
        if hint:
            self._say(f"hint: {unseen_escaped(hint)}")

    def role(self, role: str, text: str, *, err: bool = False) -> str:
        """Colour text in one of four roles, where colour is wanted; colour is never the only signal."""
        return click.style(text, **_ROLES[role]) if self.coloured(err=err) else text

    def coloured(self, *, err: bool = False) -> bool:
        """Say whether this stream shows colour: NO_COLOR, FORCE_COLOR and TERM=dumb are obeyed, in this order."""
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        stream = sys.stderr if err else sys.stdout
        return stream.isatty() and os.environ.get("TERM") != "dumb"

    def progress(self, text: str) -> None:
        """Replace the one progress line, on a terminal only; an empty text clears it."""
        if sys.stderr.isatty() and not self.quiet and not self.as_json and os.environ.get("TERM") != "dumb":
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()

    def new_line(self) -> None:
        """Leave the line of a prompt or of a `^C`, at a terminal."""
        if sys.stderr.isatty():
            self._say("")

    def _print(self, text: str) -> None:
        # An ASCII terminal shows an escape for what it cannot, and never gets an exception.
        self._write(f"{text}\n".encode(sys.stdout.encoding, "backslashreplace"))

    def _write(self, data: bytes, stream: TextIO | None = None) -> None:
        stream = sys.stdout if stream is None else stream
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()

    def _say(self, text: str) -> None:
        # What is done must not depend on whether somebody still reads what is said about it.
        with contextlib.suppress(OSError):
            click.echo(text.encode(sys.stderr.encoding, "backslashreplace"), err=True, color=True)


def has_terminal() -> bool:
    """Say whether a person can be asked: both ends of the conversation are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def is_shown(*, err: bool) -> bool:
    """Say whether what is printed to stdout, or to stderr, is seen by a person."""
    return (sys.stderr if err else sys.stdout).isatty()


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True, default=str)
