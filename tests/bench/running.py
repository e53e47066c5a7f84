"""Measure in interleaved rounds, print a table, write JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
from pathlib import Path

from safeloop import Ledger
from tests.bench.appending import growing
from tests.bench.auditing import auditing
from tests.bench.building import build
from tests.bench.measure import Measure
from tests.bench.measures import measures, turning
from tests.bench.memory import memory
from tests.bench.paging import showing

MILLION = 1_000_000
AUDITED = 100_000
SHOWN = 10_000


def ratio(measure: Measure) -> float:
    """Measure one pair, ours and theirs in turn, so that both see the same machine."""
    ours, theirs = measure.ours(), measure.theirs()
    return theirs / ours if measure.inverted else ours / theirs


def verdict(measure: Measure, median: float) -> str:
    """Say whether the promised ratio holds."""
    if measure.floor is None:
        return "-"
    holds = median >= measure.floor if measure.inverted else median <= measure.floor
    aim = "" if measure.aim is None else f", aim {measure.aim:.2f}"
    bound = "at least" if measure.inverted else "at most"
    return f"{bound} {measure.floor:.2f}{aim}: {'holds' if holds else 'MISSED'}"


def rounds(pairs: list[Measure]) -> list[list[float]]:
    """Measure all in turn, as many rounds as each is worth; a list of ratios for each."""
    for measure in pairs:
        if measure.rounds > 1:
            measure.ours()  # warm: keys made, pages cached, modules compiled
    values: list[list[float]] = [[] for _ in pairs]
    for number in range(max((measure.rounds for measure in pairs), default=0)):
        for measure, found in zip(pairs, values):
            if number < measure.rounds:
                found.append(ratio(measure))
    return values


def large(folder: Path, kept: Path) -> list[Measure]:
    """Return the measures of a ledger of a million rows, which is built where it is not kept from before."""
    million = build(kept, MILLION, limited=True)
    empty = folder / "empty.db"
    Ledger(empty, keys=million.keys).close()
    here = empty, million.path, million.keys
    return [*growing(*here), *turning(*here), *memory(build(kept, 1_000), million)]


def chosen(pairs: list[Measure], words: list[str]) -> list[Measure]:
    """Return the measures with one of these words in their names; all, if there are no words."""
    return [measure for measure in pairs if not words or any(word in measure.name for word in words)]


def main() -> None:
    """Run all measures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("words", nargs="*", help="measure only what has one of these words in its name")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure, where large ledgers are kept")
    parser.add_argument("--million", action="store_true", help="also measure a ledger of a million rows: minutes")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.dir or Path.cwd(), prefix=".bench-")))
        kept = options.dir or folder
        pairs = [*measures(folder), *stack.enter_context(auditing(build(kept, AUDITED))),
                 *stack.enter_context(showing(folder, build(kept, SHOWN)))]
        pairs = chosen(pairs + (large(folder, kept) if options.million else []), options.words)
        values = rounds(pairs)
    figures = []
    print(f"{'measure':38} {'compared with':38} {'median':>7} {'min':>7} {'max':>7}  promise")
    for measure, found in zip(pairs, values):
        median = statistics.median(found)
        said = verdict(measure, median)
        print(f"{measure.name:38} {measure.compared_with:38} {median:7.2f} {min(found):7.2f} {max(found):7.2f}  {said}")
        figures.append({"measure": measure.name, "compared_with": measure.compared_with, "ratios": found,
                        "median": median, "promise": said})
    if options.json:
        options.json.write_text(json.dumps({"measures": figures}, indent=1), encoding="utf-8")

