"""`review`, `attest`, `release`: a person between outcome and whatever comes next. Nothing of the loop is loaded."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from safeloop.cli.deciding import REJECT, ask_decision
from safeloop.cli.inputs import read_text
from safeloop.cli.options import Desk, common, signing
from safeloop.cli.paging import show_at_once, show_to_the_end
from safeloop.cli.screen import has_terminal, is_shown
from safeloop.cli.sessions import resolve
from safeloop.cli.sheets import Sheet
from safeloop.cli.words import plural
from safeloop.errors import NeedsTerminal, SettingError
from safeloop.ledger.signers import require_signer
from safeloop.ledger.visible import shell_word
from safeloop.review import AttestationResult, ReviewSurface
from safeloop.review.attesting.attestation import parse_statement
from safeloop.review.attesting.signers import sign_statement
from safeloop.review.framing.layout import folded
from safeloop.review.framing.shown import ShownFrame
from safeloop.review.framing.status import status_lines
from safeloop.review.glance import readable
from safeloop.review.inbox import State, item_of
from safeloop.review.releasing.policy import parse_policy
from safeloop.review.releasing.release import release as release_session


@click.command()
@click.argument("session")
@common(trust=True)
def review(desk: Desk, session: str) -> None:
    """Show promise against outcome: the frame, as exact text. Its SHA-256 is what a reviewer signs.

    Signatures, chain and tree are checked with pinned keys first; if one does not hold, nothing is shown.
    """
    surface, name = _surface(desk, session)
    shown = surface.show(name)
    if desk.screen.as_json:
        desk.screen.result("", {"session": name, "frame_sha256": shown.sha256, "frame": shown.text,
                                "later": list(status_lines(shown))})
        return
    if is_shown(err=False):
        show_at_once(shown.text)
    else:
        desk.screen.exact(shown.text)
    desk.screen.note(f"frame sha256 {shown.sha256}")
    _tell_what_came_later(desk, shown)
    is_decided = any(row.kind in ("attestation", "release") for row in shown.later)
    if shown.facts.is_whole and not shown.facts.is_dry_run and not is_decided:
        desk.screen.note(f"next: safeloop attest {name} --as YOU@EXAMPLE.ORG --key ~/.ssh/id_ed25519")


@click.command()
@click.argument("session", required=False)
@signing
@click.option("--notes", default="", help="Your words, kept with the signature.")
@click.option("--decision", type=click.Choice(["accept", "reject"]), help="With --export: what the statement says.")
@common(trust=True)
def attest(
    desk: Desk, session: str | None, notes: str, export_to: Path | None, decision: str | None, stated: Path | None,
    signature: Path | None,
) -> None:
    """Sign that you compared the outcome with the promise: shown first, then asked, then signed.

    Without a terminal that shows the frame, sign elsewhere: --export DIR --decision accept, sign DIR/statement.json
    with `ssh-keygen -Y sign -n safeloop-review`, then --statement and --signature.
    """
    if signature is not None or stated is not None:
        _report_attested(desk, *_attest_with_signature(desk, stated, signature))
        return
    if session is None:
        raise SettingError("attest takes a SESSION", hint="safeloop inbox lists what waits")
    reviewer = _required(desk, session, "reviewer", "--as NAME")
    surface, name = _surface(desk, session)
    shown = surface.show(name)
    if export_to is not None:
        _export(desk, surface, shown, reviewer, notes, export_to, decision)
        return
    if not (has_terminal() and is_shown(err=desk.screen.as_json)):
        raise NeedsTerminal(
            "only a person at a terminal can accept or reject",
            hint=f"{_elsewhere(name, reviewer)}, and sign it elsewhere",
        )
    shown.require_attestable()
    key = Path(_required(desk, session, "reviewer_key", "--key FILE")).expanduser()
    surface.require_eligible(shown, reviewer, require_signer(key))
    # stdout is for the one object
    show_to_the_end(desk.screen, shown.text, err=desk.screen.as_json, elsewhere=_elsewhere(name, reviewer))
    _tell_what_came_later(desk, shown)
    again = f"safeloop attest {name} --as {shell_word(reviewer)} --key {shell_word(str(key))}"
    chosen = ask_decision(desk.screen, shown.sha256, again)
    result = surface.attest_signed(shown, chosen, reviewer, notes, sign=lambda data: sign_statement(data, key))
    _report_attested(desk, result, chosen)


@click.command()
@click.argument("session")
@click.option("--to", "destination", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where to.")
@click.option("--force", is_flag=True, help="Replace an earlier release at DIR, where nothing else is in it.")
@common(trust=True)
def release(desk: Desk, session: str, destination: Path, force: bool) -> None:
    """Hand out what was accepted: the files, and the proof that goes with them. Refused without an accept."""
    with desk.read_ledger() as reader:
        name = resolve(reader, session)
    ledger = desk.open_ledger()
    try:
        done = release_session(ledger, desk.trust(), name, destination, force=force)
    finally:
        ledger.close()
    desk.screen.result(
        f"released {plural(done.file_count, 'file')} to {destination}, row {done.row}",
        {"session": name, "destination": str(destination), "file_count": done.file_count, "row": done.row},
    )
    desk.screen.note(f"next: safeloop verify {shlex.quote(str(destination))}{_named_trust(desk)}")


def _named_trust(desk: Desk) -> str:
    """Return the option that leads the next command to the trust folder that a flag named; it knows any other."""
    return f" --trust {shlex.quote(str(desk.settings.trust))}" if desk.settings.is_flagged("trust") else ""


def _tell_what_came_later(desk: Desk, shown: ShownFrame) -> None:
    """Tell it on stderr, names of others broken where no terminal breaks them to the left edge."""
    sheet = Sheet.of(sys.stderr)
    for line in status_lines(shown):
        for piece in folded(line):
            desk.screen.note("\n".join(sheet.shown(piece)))


def _surface(desk: Desk, typed: str) -> tuple[ReviewSurface, str]:
    with desk.read_ledger() as reader:
        name = resolve(reader, typed)
    path = desk.settings.ledger
    return ReviewSurface(path, path, trust=desk.settings.trust, keys=desk.key_folder(), create=False), name


def _attest_with_signature(desk: Desk, stated: Path | None, signature: Path | None) -> tuple[AttestationResult, str]:
    if stated is None or signature is None:
        raise SettingError(
            "a signature made elsewhere comes with its statement",
            hint="safeloop attest --statement DIR/statement.json --signature DIR/statement.json.sig",
        )
    path = desk.settings.ledger
    surface = ReviewSurface(path, path, trust=desk.settings.trust, keys=desk.key_folder(), create=False)
    statement = read_text(stated, "statement").encode()
    result = surface.attest_with_signature(statement, read_text(signature, "signature").encode())
    return result, parse_statement(statement).decision


def _export(
    desk: Desk, surface: ReviewSurface, shown: ShownFrame, reviewer: str, notes: str, to: Path, decision: str | None
) -> None:
    if decision is None:
        raise SettingError("--export needs --decision accept or reject", hint="safeloop review SESSION first")
    written = surface.export_statement(shown, decision, reviewer, notes, to=to)
    statement = next(path for path in written if path.name.endswith(".json"))
    desk.screen.result(
        "\n".join(str(path) for path in written),
        {"session": shown.record.session, "decision": decision, "frame_sha256": shown.sha256,
         "files": [str(path) for path in written]},
    )
    if not any(reviewer in line.principals for line in desk.trust().reviewers):
        desk.screen.note(f"no key of {reviewer} is pinned here: before the signature counts, "
                         f"safeloop trust add-reviewer {shlex.quote(reviewer)} KEY.pub")
    path = shlex.quote(str(statement))
    desk.screen.note(
        f"next: read {to / 'frame.txt'}, then ssh-keygen -Y sign -f KEY -n safeloop-review {path}, then\n"
        f"safeloop attest --statement {path} --signature {path}.sig"
    )


def _elsewhere(session: str, reviewer: str) -> str:
    return f"safeloop attest {session} --as {shlex.quote(reviewer)} --export DIR --decision accept"


def _required(desk: Desk, session: str, name: str, option: str) -> str:
    value = desk.settings.get(name).value
    if not value:
        reviewer = shell_word(str(desk.settings.get("reviewer").value or "NAME"))
        command = f"safeloop attest {shell_word(session)} --as {reviewer} --key FILE"
        raise SettingError(f"attest needs {option}", hint=f"{command}; or set SAFELOOP_{name.upper()}")
    return str(value)


def _report_attested(desk: Desk, result: AttestationResult, decision: str) -> None:
    desk.screen.result(
        f"{'rejected' if decision == REJECT else 'attested'}, row {result.id}",
        {"session": result.session_id, "row": result.id, "reviewer": result.reviewer,
         "frame_sha256": result.frame_hash},
    )
    desk.screen.note(f"next: {_step_after(desk, result.session_id)}")


def _step_after(desk: Desk, session: str) -> str:
    """Return the way through the gate where it now seems open, as the inbox tells; and else where to look."""
    policy = parse_policy(desk.trust().release_policy_text, str(desk.settings.trust / "release.toml"))
    with desk.read_ledger() as reader:
        item = item_of(tuple(readable(reader.rows_of(session))), policy)
    if item is not None and item.state is State.ACCEPTED:
        return item.next_command
    return "safeloop inbox shows what waits, and for which command"
