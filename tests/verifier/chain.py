"""Chains: each session's rows follow one another, and a bad row does not condemn the others; and how sessions open."""

from dataclasses import dataclass, field

from tests.verifier.findings import WHOLE, Report
from tests.verifier.place import Tree
from tests.verifier.rows import Row

ZEROS = "0" * 64


@dataclass
class Link:
    """One session as its rows tell it: what should come next, and how it was opened."""

    n: int = 0
    leaf: str = ZEROS
    specs: set[str] = field(default_factory=set)
    is_open: bool = False
    is_promise: bool = True
    is_broken: bool = False


class Chains:
    """All sessions, as far as they have been read; `lost` are leaves whose rows are damaged or not there."""

    def __init__(self) -> None:
        self.sessions: dict[str, Link] = {}
        self.lost: set[str] = set()
        self.damaged: set[tuple[str, int]] = set()

    def follows(self, row: Row) -> bool:
        """Take in a row; one that does not follow takes the place that it claims, unless that is behind."""
        link = self.sessions.setdefault(row.session, Link())
        link.is_promise = link.is_promise and row.kind == "spec"
        prev = row.body["prev"]
        fits = (row.n, prev) == (link.n, link.leaf)
        link.is_broken = link.is_broken or not fits
        excused = row.n >= link.n and (prev in self.lost or (row.session, row.n - 1) in self.damaged)
        if fits or excused or (row.is_own and row.n >= link.n):
            link.n, link.leaf = row.n + 1, row.leaf.hex()
        return fits or excused

    def opens(self, row: Row) -> bool:
        """Take in a `spec` or an `open` row; a session is opened once, on the leaf of a spec of its own."""
        link = self.sessions[row.session]
        if row.kind == "spec":
            link.specs.add(row.leaf.hex())
            return True
        is_first, link.is_open = not link.is_open, True
        known = row.data["spec"] in link.specs | self.lost or any(name == row.session for name, _ in self.damaged)
        return is_first and known


def follow(rows: list[Row], tree: Tree, report: Report) -> None:
    """Report **chain**, **open** and **ungoverned**."""
    chains, last = Chains(), -1
    for row in rows:
        if row.idx != last + 1:
            chains.lost |= {leaf.hex() for at, leaf in tree.kept.items() if last < at < row.idx}
        last = row.idx
        if not row.is_own:
            chains.lost.add(tree.kept[row.idx].hex())
        if not row.is_sound:
            chains.lost.add(row.leaf.hex())
            if row.has_form and not row.is_elsewhere:
                chains.damaged.add((row.session, row.n))
            continue
        told = row.is_own or not tree.explains  # what is not the head's row is the finding, and its links are not
        if not chains.follows(row) and told:
            report.fail(row.idx, "chain", "does not follow the row before it in its session")
        if row.is_known and row.kind in ("spec", "open") and not chains.opens(row) and told:
            report.fail(row.idx, "open", "opened before, or not on a spec row that stands in it before")
    damaged = {name for name, _ in chains.damaged}
    for name, link in chains.sessions.items():
        if not (link.is_open or link.is_promise or link.is_broken or name in damaged or name == "ledger"):
            report.gap(WHOLE, "ungoverned", f"session {name} has rows besides `spec`, and no `open`")
