"""Review one session and attest it, unsigned, as in the tutorial.

    python examples/attest_session.py SESSION

SESSION is an id, a prefix that only one session has, or `latest`, as for the commands. Shows the five elements of
the frame and asks. Only the typed word `accept` accepts; Enter alone never does.

Exit codes: 0 attested, 12 not attested, 13 nobody there to answer, 14 no ledger here or no such session; others
are safeloop's own (`safeloop help exit-codes`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from safeloop import ReviewSurface
from safeloop.cli.sessions import resolve
from safeloop.errors import ExitCode, SafeloopError
from safeloop.ledger.reader import LedgerReader

LEDGER = "ledger.db"


def attest(typed: str) -> int:
    """Show a session, ask for a decision, and record it; gives the exit code.

    Raises:
        SafeloopError: The session is unknown, not closed, or does not verify.
        EOFError: Nobody is there to answer.
    """
    surface = ReviewSurface(spec_db_path=LEDGER, ledger_db_path=LEDGER)
    with LedgerReader(LEDGER) as reader:
        session_id = resolve(reader, typed)
    print(surface.render(session_id))
    print("\nTo attest that you compared the outcome with the promise, type accept. Anything else leaves it.")
    if input("Decision: ").strip() != "accept":
        print("not attested", file=sys.stderr)
        return ExitCode.NOT_ATTESTED
    reviewer = ""
    while not reviewer:
        reviewer = input("Reviewer: ").strip()
    notes = input("Notes (may be empty): ").strip()
    attestation = surface.attest(session_id, reviewer, notes=notes)
    print(f"\nattested by {attestation.reviewer} at {attestation.attested_at}")
    print(f"frame_hash {attestation.frame_hash}")
    print("An unsigned attestation is a note for people: it opens no gate. A signed one does:")
    print(f"next: safeloop attest {session_id} --as NAME --key ~/.ssh/id_ed25519")
    return ExitCode.DONE


def main(arguments: list[str]) -> int:
    """Run the program; gives its exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python examples/attest_session.py SESSION", file=sys.stderr)
        return ExitCode.USAGE
    if not Path(LEDGER).is_file():
        print(f"no {LEDGER} in this folder: run examples/seo_audit.py here first", file=sys.stderr)
        return ExitCode.UNUSABLE
    try:
        return attest(arguments[0])
    except SafeloopError as error:
        print(f"{error}\nhint: {error.hint}" if error.hint else error, file=sys.stderr)
        return error.exit_code
    except EOFError:
        print("nobody answered: attesting needs a person at a terminal", file=sys.stderr)
        return ExitCode.NEEDS_TERMINAL
    except KeyboardInterrupt:
        return ExitCode.CANCELLED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
