"""Verify one ledger from the command line: 0 passed, 11 failed or refused, 18 incomplete."""

import argparse
import sys
from pathlib import Path

from tests.verifier.findings import Refused
from tests.verifier.verify import verify


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.verifier", description=__doc__)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--trust", type=Path, required=True)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--checkpoint", type=Path, action="append", default=[])
    given = parser.parse_args()
    notes = tuple(path.read_text(encoding="utf-8") for path in given.checkpoint)
    try:
        report = verify(given.ledger, given.trust, given.state, notes)
    except Refused as refusal:
        print(f"refused: {refusal}")
        return 11
    for finding in sorted(report.findings | report.gaps):
        print(finding)
    print("PASS" if report.passed else "FAIL", "COMPLETE" if report.complete else "INCOMPLETE")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
