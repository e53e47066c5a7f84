"""`init` and `spec`: a ledger, its keys, and what done looks like, before anything is spent."""

from __future__ import annotations

from pathlib import Path

import click

from safeloop.cli.ceilings import ceiling_options
from safeloop.cli.options import Desk, common
from safeloop.cli.screen import has_terminal
from safeloop.cli.words import ceilings_text
from safeloop.errors import NeedsTerminal, SpecError
from safeloop.ledger.ledger import Ledger
from safeloop.spec import Ceilings, Question, SpecDraft, SpecResult, SpecWriter, read_spec_file, record, warnings_of


@click.command()
@common()
def init(desk: Desk) -> None:
    """Create a ledger and its keys, and say where they are.

    The keys are made once, and shared by all ledgers of this key folder. Keep a copy of the folder: a ledger
    whose keys are lost can be read and audited, but never written again.
    """
    path = desk.settings.ledger
    existed = path.exists()
    keys = desk.key_folder()
    ledger = Ledger(path, keys=keys)
    facts = {
        "ledger": str(path), "origin": ledger.origin, "keys": str(keys.path), "trust": str(keys.self_trust),
        "created": not existed,
    }
    ledger.close()
    desk.screen.result(
        f"ledger  {path} ({'already there' if existed else 'created'}), {facts['origin']}\n"
        f"keys    {keys.path}: back this folder up, and keep agents out of it\n"
        f"trust   {keys.self_trust}: pins this machine's own keys; no reviewer yet",
        facts,
    )
    desk.screen.note("next: safeloop trust add-reviewer YOU@EXAMPLE.ORG ~/.ssh/id_ed25519.pub, then safeloop spec")


@click.command()
@click.option("--file", "spec_file", type=click.Path(path_type=Path), help="A spec file in place of questions.")
@ceiling_options
@click.option("--strict", is_flag=True, help="Refuse a spec that draws a warning.")
@common()
def spec(desk: Desk, spec_file: Path | None, strict: bool) -> None:
    """Write down what done looks like: three questions, or a spec file.

    The spec is recorded as the first row of a session, which `safeloop run SESSION` runs once.
    """
    ledger = desk.open_ledger()
    if spec_file is not None:
        draft = read_spec_file(spec_file)
        warn_of(desk, draft, strict=strict)
        result = record(ledger, _limited(desk, draft))
    elif has_terminal():
        result = _asked(desk, ledger, strict=strict)
    else:
        raise NeedsTerminal("three answers are asked for at a terminal", hint="safeloop spec --file SPEC.toml")
    row = ledger.rows(result.session_id)[-1]
    desk.screen.result(
        f"session {result.session_id} recorded, row {row.id}; ceilings {ceilings_text(result.ceilings)}",
        {"session": result.session_id, "row": row.id, "ceilings": result.ceilings.as_row()},
    )
    desk.screen.note(f"next: safeloop run {result.session_id[:8]} --task-file FILE")


def warn_of(desk: Desk, draft: SpecDraft, *, strict: bool) -> None:
    """Show what is doubtful about a spec; with `--strict`, refuse it.

    Raises:
        SpecError: Strict, and there is a warning.
    """
    warnings = warnings_of(draft.done_looks_like)
    if warnings and strict:
        hint = "say what can be seen when it is done, in one sentence; or leave out --strict"
        raise SpecError(warnings[0], hint=hint)
    for warning in warnings:
        desk.screen.note(f"warning: {warning}")


def _asked(desk: Desk, ledger: Ledger, *, strict: bool) -> SpecResult:
    """Ask at the terminal; where the answers draw a warning, offer to answer again before anything is recorded."""
    while True:
        writer = SpecWriter(
            input_fn=_prompt, output_fn=desk.screen.note, ledger=ledger, ceilings=_ceilings(desk, Ceilings())
        )
        draft = writer.ask()
        warnings = warnings_of(draft.done_looks_like)
        if not warnings or not (strict or _wants_again()):
            return record(ledger, draft)


def _prompt(text: str) -> str:
    width = max(len(question.text) for question in Question) + 5
    return str(click.prompt(text.strip().ljust(width), prompt_suffix="", default="", show_default=False, err=True))


def _wants_again() -> bool:
    return click.confirm("answer again?", default=True, err=True)


def _limited(desk: Desk, draft: SpecDraft) -> SpecDraft:
    return SpecDraft(
        draft.what_it_does, draft.what_it_does_not, draft.done_looks_like, criteria=draft.criteria,
        ceilings=_ceilings(desk, draft.ceilings), tools=draft.tools,
    )


def _ceilings(desk: Desk, promised: Ceilings) -> Ceilings:
    return desk.settings.ceilings(promised)
