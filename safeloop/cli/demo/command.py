"""The demo: promise, run, breach, review, release, audit, and an audit that fails, in under a minute."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from safeloop.breaker import CircuitBreaker
from safeloop.cli.deciding import ask_decision
from safeloop.cli.demo.pages import fetch_page
from safeloop.cli.demo.stage import REVIEWER, Stage, set_up
from safeloop.cli.demo.tamper import tampered_copy
from safeloop.cli.options import Desk, common
from safeloop.cli.screen import has_terminal
from safeloop.cli.words import ceilings_text, plural
from safeloop.errors import ExitCode, NotAttested
from safeloop.ledger import Ledger
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import read_state, state_path
from safeloop.ledger.trust import load_trust
from safeloop.loop import AgentLoop, LoopResult
from safeloop.models.offline import MODEL, OfflineAuditor
from safeloop.review import ReviewSurface
from safeloop.review.attesting.signers import sign_statement
from safeloop.review.auditing.audit import audit
from safeloop.review.auditing.verdict import AuditReport, render_report
from safeloop.review.releasing.release import release
from safeloop.spec import SpecResult, read_spec_file, record
from safeloop.tools import Root, file_tools

TASK = "Audit the page in the workspace for SEO faults and write report.md."
_WANTED = 4_096
_FEW_TURNS = 2


@click.command()
@click.option("--page", metavar="FILE_OR_URL", help="Audit this page in place of the bundled one.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where; else safeloop-demo here.")
@common(ledger=False)
def demo(desk: Desk, page: str | None, folder: Path | None) -> int:
    """See the whole walk: promise, run, breach, review, signature, release, audit. No key, no model, no network.

    The page is audited by the offline auditor, which follows fixed rules and is no model. Everything lies in one
    folder, with keys of its own; delete it when you have seen enough.
    """
    address, data = fetch_page(page)
    stage = set_up(folder, data)
    walk = _Walk(desk, stage)
    walk.promise(page or f"the bundled one, from {address}", len(data))
    session = walk.run()
    walk.stop_early()
    walk.review(session)
    walk.decide(session)
    walk.audit()
    walk.tamper(session)
    walk.next_steps()
    if desk.screen.as_json:
        desk.screen.result("", {"folder": str(stage.folder), "session": session})
    return ExitCode.DONE


class _Walk:
    """The steps of the demo, each a few lines on the screen."""

    def __init__(self, desk: Desk, stage: Stage) -> None:
        self._desk, self._stage = desk, stage
        self._step = 0

    def promise(self, address: str, size: int) -> None:
        """Show what was written down first."""
        spec = read_spec_file(self._stage.spec)
        self._title(f"Promise: {self._stage.spec}")
        self._say(f"page       {address} ({size:,} bytes)")
        self._say(f"does       {spec.what_it_does}")
        self._say(f"does not   {spec.what_it_does_not}")
        self._say(f"done       {spec.done_looks_like}")
        self._say(f"ceilings   {ceilings_text(spec.ceilings)}")

    def run(self) -> str:
        """Run the audit inside its ceilings; return its session."""
        self._title(f"Run: {MODEL} works with tools, each step a signed row (no model is asked)")
        result = self._run(None)
        self._say(
            f"{result.outcome}: {plural(result.turns, 'turn')}, {result.total_tokens:,} tokens; "
            f"session {result.session_id[:8]}; output is staged, not released"
        )
        return result.session_id

    def stop_early(self) -> None:
        """Run the same job under a ceiling that is too low for it."""
        self._title(f"Breach: the same job, allowed {plural(_FEW_TURNS, 'turn')}, stops before the next call")
        result = self._run(_FEW_TURNS)
        self._say(f"{result.outcome}: {result.breach_reason}; what it did so far is recorded, and nothing leaves")

    def review(self, session: str) -> None:
        """Show the frame: the exact bytes that a reviewer signs."""
        self._title("Review: promise against outcome, the frame that a person signs")
        if not self._desk.screen.as_json:
            self._desk.screen.exact(self._surface().render(session))

    def decide(self, session: str) -> None:
        """Ask the person, or show that the gate stays shut where there is none."""
        self._title("Attest and release")
        shown = self._surface().show(session)
        if not has_terminal():
            self._say("no terminal: a person would be asked `accept, reject, or leave?`, would type the last four")
            self._say(f"characters of the frame's hash ({shown.sha256[-4:]}), and would sign with their SSH key")
            self._release(session)
            return
        try:
            decision = ask_decision(self._desk.screen, shown.sha256, "safeloop demo")
        except NotAttested as left:
            self._say(str(left))
        else:
            result = self._surface().attest_signed(
                shown, decision, REVIEWER, sign=lambda data: sign_statement(data, self._stage.reviewer_key)
            )
            self._say(f"{decision}ed by {REVIEWER}, row {result.id}, with an SSH key made for this demo")
        self._release(session)

    def audit(self) -> None:
        """Check every claim with the pinned keys."""
        self._title("Audit: every signature, chain, tree and content, with pinned keys")
        self._show(self._audit(self._stage.ledger, with_state=True))

    def tamper(self, session: str) -> None:
        """Change one byte of a copy, and audit that."""
        copy = self._stage.folder / "tampered.db"
        row = tampered_copy(self._stage.ledger, copy, session)
        self._title(f"Attack: one byte of a copy changed (the tokens of row {row})")
        self._show(self._audit(copy, with_state=False))

    def next_steps(self) -> None:
        """Say how this is done with a key of one's own, and with Claude."""
        self._title("Next, with your own key and Claude")
        for line in (
            "safeloop init",
            "safeloop trust add-reviewer YOU@EXAMPLE.ORG ~/.ssh/id_ed25519.pub",
            "export ANTHROPIC_API_KEY=...",
            f"safeloop run --spec-file {self._stage.spec} --workspace {self._stage.workspace} --task '{TASK}'",
            "safeloop attest latest --as YOU@EXAMPLE.ORG --key ~/.ssh/id_ed25519",
            "safeloop release latest --to released",
        ):
            self._say(line)

    def _run(self, turns: int | None) -> LoopResult:
        with contextlib.closing(Ledger(self._stage.ledger, keys=self._stage.keys, create=False)) as ledger:
            spec: SpecResult = record(ledger, read_spec_file(self._stage.spec))
            ceilings = spec.ceilings
            breaker = CircuitBreaker(turns or ceilings.turns or 0, ceilings.tokens or 0, output_fn=self._lines)
            with Root(self._stage.workspace) as root:
                loop = AgentLoop(
                    spec, breaker, ledger, OfflineAuditor(), MODEL, _WANTED,
                    tools=lambda staging: file_tools(root, staging), workspace=self._stage.workspace,
                )
                return loop.run(TASK)

    def _release(self, session: str) -> None:
        with contextlib.closing(Ledger(self._stage.ledger, keys=self._stage.keys, create=False)) as ledger:
            try:
                done = release(ledger, load_trust(self._stage.trust), session, self._stage.released)
            except NotAttested as refused:
                self._say(f"release refused: {refused}")
            else:
                self._say(f"released {plural(done.file_count, 'file')} to {self._stage.released}, row {done.row}")

    def _surface(self) -> ReviewSurface:
        path = self._stage.ledger
        return ReviewSurface(path, path, trust=self._stage.trust, keys=self._stage.keys, create=False)

    def _audit(self, ledger: Path, *, with_state: bool) -> AuditReport:
        with LedgerReader(ledger) as reader:
            state = read_state(state_path(self._stage.keys, reader.origin())) if with_state else None
            return audit(reader, load_trust(self._stage.trust), state=state)

    def _show(self, report: AuditReport) -> None:
        role = "bad" if report.findings else "good"
        *lines, verdict = render_report(report).rstrip("\n").split("\n")
        for line in lines:
            self._say(line)
        self._say(self._desk.screen.role(role, verdict))

    def _title(self, text: str) -> None:
        self._step += 1
        self._desk.screen.story(f"{self._step}. {text}")

    def _lines(self, text: str) -> None:
        for line in text.split("\n"):
            self._say(line)

    def _say(self, text: str) -> None:
        self._desk.screen.story(f"   {text}")
