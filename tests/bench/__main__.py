"""Measure in interleaved rounds, print a table, write JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from tests.bench.measures import Measure, measures

ROUNDS = 5


def ratio(measure: Measure) -> float:
    """Measure one pair, ours and theirs in turn, so that both see the same machine."""
    ours, theirs = measure.ours(), measure.theirs()
    return theirs / ours if measure.inverted else ours / theirs


def verdict(measure: Measure, median: float) -> str:
    """Say whether the promised ratio holds."""
    if measure.floor is None:
        return "-"
    holds = median >= measure.floor if measure.inverted else median <= measure.floor
    return f"{'at least' if measure.inverted else 'at most'} {measure.floor:.2f}: {'holds' if holds else 'MISSED'}"


def main() -> None:
    """Run all measures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure; else a temporary one here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir or Path.cwd(), prefix=".bench-") as folder:
        pairs = measures(Path(folder))
        for measure in pairs:
            measure.ours()  # warm: keys made, pages cached, modules compiled
        rounds = [[ratio(measure) for measure in pairs] for _ in range(ROUNDS)]
    figures = []
    print(f"{'measure':32} {'compared with':38} {'median':>7} {'min':>7} {'max':>7}  promise")
    for index, measure in enumerate(pairs):
        values = [one[index] for one in rounds]
        median = statistics.median(values)
        said = verdict(measure, median)
        print(f"{measure.name:32} {measure.compared_with:38} {median:7.2f} {min(values):7.2f} {max(values):7.2f}  {said}")
        figures.append({"measure": measure.name, "compared_with": measure.compared_with, "ratios": values,
                        "median": median, "promise": said})
    if options.json:
        options.json.write_text(json.dumps({"rounds": ROUNDS, "measures": figures}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
