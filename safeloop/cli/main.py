"""The entry point: commands found by name and imported when they run, errors mapped to exit codes in one place."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import click

from safeloop.cli.screen import Screen
from safeloop.errors import ExitCode, SafeloopError
from safeloop.ledger.visible import shell_word

# The walk is the vocabulary: listed in this order, by group. The short help stands here so that `safeloop --help`
# imports no command.
GROUPS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("Promise and run", (
        ("init", "starting:init", "Create a ledger and its keys."),
        ("spec", "starting:spec", "Write down what done looks like."),
        ("run", "running:run", "Run a spec inside its ceilings."),
        ("resume", "resuming:resume", "Go on where a session stopped."),
        ("close", "running:close", "End a session that cannot go on."),
    )),
    ("Review and release", (
        ("inbox", "waiting:inbox", "List what waits for a person."),
        ("review", "reviewing:review", "Show promise against outcome."),
        ("attest", "reviewing:attest", "Sign that you compared them."),
        ("release", "reviewing:release", "Hand out what was accepted."),
    )),
    ("Prove", (
        ("verify", "verifying:verify", "Check a release or a receipt, without a ledger."),
        ("audit", "auditing:audit", "Check every claim of a ledger."),
        ("checkpoint", "proving:checkpoint", "Print the head, to keep elsewhere."),
        ("receipt", "proving:receipt", "Print the proof of one row."),
        ("log", "listing:log", "List the rows."),
        ("report", "reporting:report", "Write a page that shows and verifies."),
        ("stats", "counting:stats", "Count sessions, spend and waits."),
    )),
    ("Decide about calls", (
        ("approvals", "approving:approvals", "List destructive calls that wait for a reviewer."),
        ("approve", "approving:approve", "Sign that one may run, once."),
        ("refuse", "approving:refuse", "Sign that one must not run."),
    )),
    ("Compare with the bill", (
        ("reconcile", "reconciling:reconcile", "Compare with what the provider billed."),
    )),
    ("Keep", (
        ("erase", "erasing:erase", "Erase content; the record stays."),
        ("export", "exporting:export", "Write rows, proofs and content as files."),
        ("backup", "backing_up:backup", "Copy ledger and content, consistently."),
        ("ledger", "ledgers:ledger", "Limit what all sessions spend; adopt a ledger."),
        ("key", "keys:key", "Make, list, replace and revoke keys."),
        ("trust", "trusting:trust", "Show, change and hand over whom you trust."),
        ("config", "configuring:config", "Show every setting and where it comes from."),
        ("demo", "demo.command:demo", "See the whole walk, without a key."),
        ("help", "helping:help_topic", "Read a page of the documentation."),
    )),
)  # fmt: skip
_WHERE = {name: where for _, commands in GROUPS for name, where, _ in commands}
_SHORT = {name: short for _, commands in GROUPS for name, _, short in commands}


class Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names in the order of the walk."""
        return list(_WHERE)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import a command by its name."""
        if name not in _WHERE:
            return None
        module, attribute = _WHERE[name].split(":")
        command: click.Command = getattr(import_module(f"safeloop.cli.{module}"), attribute)
        command.short_help = _SHORT[name]
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by group, without importing any."""
        width = max(map(len, _WHERE))
        for title, commands in GROUPS:
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), short) for name, _, short in commands])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="safeloop", message="%(prog)s %(version)s")
def cli() -> None:
    """Run an LLM agent inside limits that were written down first.

    Every step is signed into a ledger, and nothing is released until a person has signed that they compared the
    outcome with the promise. New here: safeloop demo
    """


def main() -> NoReturn:
    """Run a command and exit with its code."""
    _fill_closed_streams()
    arguments = sys.argv[1:]
    sys.exit(_flushed(_run(arguments, Screen.of_arguments(arguments))))


def _fill_closed_streams() -> None:
    """Give a stream that is closed the null device, so that no file of ours gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open to the end


def _flushed(code: int) -> int:
    """Return the code; where output is stuck in a pipe or a full disk, Python must not complain at exit too."""
    for stream, lost in ((sys.stderr, code), (sys.stdout, code or ExitCode.UNEXPECTED)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = lost
    return code


def _run(arguments: list[str], screen: Screen) -> int:
    try:
        return _invoked(arguments)
    except click.exceptions.NoArgsIsHelpError as missing:
        screen.note(missing.format_message())
        return ExitCode.USAGE
    except click.ClickException as wrong:
        message = wrong.format_message().removesuffix(".")
        screen.error(type(wrong).__name__, message[:1].lower() + message[1:], _usage_hint(wrong), ExitCode.USAGE)
        return ExitCode.USAGE
    except (click.Abort, EOFError):
        screen.new_line()
        hint = "safeloop inbox lists what waits; the same command asks again"
        screen.error("Cancelled", "cancelled at a prompt; nothing was recorded by it", hint, ExitCode.CANCELLED)
        return ExitCode.CANCELLED
    except KeyboardInterrupt as interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # impatience must not cut off what is said now
        code = _signal_code(interrupt)
        screen.new_line()
        screen.error("Interrupted", str(interrupt) or "interrupted", "safeloop inbox", code, _notes(interrupt))
        return code
    except SafeloopError as error:
        _debug(screen)
        screen.error(type(error).__name__, str(error), error.hint, error.exit_code, _notes(error))
        return error.exit_code
    except BrokenPipeError:
        return ExitCode.UNEXPECTED  # whoever read our output has had enough
    except Exception as error:  # noqa: BLE001 - the one place that keeps a traceback from a user
        _debug(screen)
        hint = "" if screen.debug else "the same command with --debug shows where"
        said = str(error) or type(error).__name__
        screen.error(type(error).__name__, said, hint, ExitCode.UNEXPECTED, _notes(error))
        return ExitCode.UNEXPECTED


def _invoked(arguments: list[str]) -> int:
    """Run a command. Not by cli.main(), which turns every KeyboardInterrupt into an Abort: ours knows its signal."""
    try:
        with cli.make_context("safeloop", arguments) as context:
            result = cli.invoke(context)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    return result if isinstance(result, int) else ExitCode.DONE


def _usage_hint(wrong: click.ClickException) -> str:
    """Return the command as it was given with the option that it lacks, or else where its options are told."""
    if not isinstance(wrong, click.UsageError) or wrong.ctx is None:
        return ""
    help_command = f"{wrong.ctx.command_path} --help"
    if not isinstance(wrong, click.MissingParameter) or not isinstance(wrong.param, click.Option):
        return help_command
    arguments = [each for each in wrong.ctx.command.params if isinstance(each, click.Argument)]
    given = [wrong.ctx.params.get(each.name or "") for each in arguments]
    words = [shell_word(str(value)) for value in given if isinstance(value, str | Path)]
    return " ".join([wrong.ctx.command_path, *words, wrong.param.opts[0], f"{wrong.param.metavar}; {help_command}"])


def _debug(screen: Screen) -> None:
    if screen.debug:
        screen.alarm(traceback.format_exc().rstrip())


def _notes(error: BaseException) -> tuple[str, ...]:
    return tuple(getattr(error, "__notes__", ()))


def _signal_code(interrupt: KeyboardInterrupt) -> ExitCode:
    number = getattr(interrupt, "signal", signal.SIGINT)
    return ExitCode.CANCELLED if number == signal.SIGINT else ExitCode.TERMINATED
