"""The rows of a reconciliation: one for a run, further ones where it settles more than a hundred attempts.

A report that was compared before, and shows nothing that was not found before, makes no further row. A finding is known
by its facts, whatever report it was found in: reports may overlap. But a file can be made up by anybody who writes this
ledger, and what the provider itself answers cannot: what was found in a saved report only, or at another address, is
new again where the provider is asked. What a report lacks is listed too, and told once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from safeloop.errors import VerificationError
from safeloop.ledger.content import JSON, manifest, manifest_entries
from safeloop.ledger.ledger import Ledger, View
from safeloop.ledger.rows import LEDGER_SESSION, Draft, Row
from safeloop.ledger.visible import visible
from safeloop.review.reconciling.findings import Finding, identity
from safeloop.review.reconciling.settling import Settlement

MOST_SETTLED: Final = 100
"""Attempts that one row settles, inclusive: the format's bound."""

MOST_LISTED: Final = 20_000
"""Findings that one run lists, inclusive; an entry says how many more there are."""


@dataclass(frozen=True, slots=True)
class Source:
    """Which report it is.

    Attributes:
        width: Of its buckets: `1m`, `1h` or `1d`.
        digest: SHA-256 of what it says, hex.
        window: From where to where it goes.
        asked: The address that was asked for it; None where it was saved.
    """

    width: str
    digest: str
    window: str
    asked: str | None = None

    @property
    def name(self) -> str:
        """What a row states of it."""
        origin = "saved" if self.asked is None else f"asked {visible(self.asked, 64)}"
        return f"anthropic usage_report/messages {self.width} sha256:{self.digest} {origin}"

    def silences(self, name: str) -> bool:
        """Say whether what a row tells that has this name needs not be told again."""
        return self.asked is None or _origin(name) == _origin(self.name)


@dataclass(frozen=True, slots=True)
class Settled:
    """One attempt whose charge was lowered.

    Attributes:
        charged: What it was charged before, in tokens.
        billed: What it is charged now.
    """

    session: str
    n: int
    charged: int
    billed: int


@dataclass(frozen=True, slots=True)
class Recording:
    """What was written.

    Attributes:
        rows: The numbers of the new rows; none where nothing was new.
        new: The findings that no earlier row has.
        settled: What was settled.
        before: The number of the row that has this report already; None if none has.
        lacking: What the report lacks, and no earlier row says.
    """

    rows: tuple[int, ...]
    new: tuple[Finding, ...]
    settled: tuple[Settled, ...]
    before: int | None
    lacking: tuple[dict[str, Any], ...] = ()


def record(
    ledger: Ledger, source: Source, findings: Sequence[Finding], settlements: Iterable[Settlement], *, beyond: int = 0,
    lacks: Iterable[dict[str, Any]] = (),
) -> Recording:
    """Write what is new, in one transaction; what it is compared with is read under the same lock.

    Args:
        beyond: How many findings there are besides.
        lacks: What the report lacks, as `covering.lacks` has it.

    Raises:
        LedgerError: Locked, unusable, or not the ledger that was last signed.
    """
    proved, lacked, done = tuple(settlements), tuple(lacks), Recording((), (), (), None)

    def decide(view: View) -> Iterator[Draft]:
        nonlocal done
        earlier = [row for row in view.kinds("reconcile") if row.session == LEDGER_SESSION]
        known = {identity(entry) for row in earlier if source.silences(row.data["source"])
                 for entry in told(row, view.read_content)}  # fmt: skip
        new = tuple(each for each in findings if identity(each.as_entry()) not in known)
        lacking = tuple(each for each in lacked if identity(each) not in known)
        items = [item for each in proved for item in _lowered(view, each)]
        before = next((row.id for row in earlier if (row.data["source"], row.data["window"]) == (
            source.name, source.window)), None)  # fmt: skip
        done = Recording((), new, tuple(_settled(item) for item in items), before, lacking)
        if before is None or new or items or lacking:
            yield from _drafts(ledger, source, _entries(new, beyond, lacking), items)

    rows = ledger.append(decide)
    return replace(done, rows=tuple(row.id for row in rows))


def told(row: Row, read: Any) -> list[dict[str, Any]]:
    """Return what a `reconcile` row found, and what its report lacked; none where it was erased or is none of ours."""
    try:
        data = read(row.data["findings"])
        entries = [] if data is None else manifest_entries(data)
    except VerificationError:  # an audit says so; here it is only found again
        return []
    return [entry for entry in entries if "class" in entry or "lacks" in entry]


def _entries(new: Sequence[Finding], beyond: int, lacking: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the content of a row: findings, what the report lacks, and how many findings there are besides."""
    entries = [*(each.as_entry() for each in islice(new, MOST_LISTED)), *lacking]
    more = beyond + max(len(new) - MOST_LISTED, 0)
    return [*entries, {"further_findings": more}] if more else entries


def _drafts(
    ledger: Ledger, source: Source, entries: list[dict[str, Any]], items: Sequence[dict[str, Any]]
) -> Iterator[Draft]:
    """Yield a row with these entries and the first settlements, and one for each further hundred."""
    for place in range(0, max(len(items), 1), MOST_SETTLED):
        listed = ledger.content(manifest(entries if place == 0 else []), JSON)
        data = {"source": source.name, "window": source.window, "findings": listed.commitment,
                "settled": items[place : place + MOST_SETTLED]}  # fmt: skip
        yield Draft(LEDGER_SESSION, "reconcile", data, (listed,))


def _lowered(view: View, proved: Settlement) -> Iterator[dict[str, Any]]:
    """Yield how an attempt is settled, where that lowers what it is charged now."""
    held = next((each for each in view.doubts(proved.session) if proved.n in (each.n, each.attempt)), None)
    if held is None:
        return
    microusd = None if held.microusd is None or proved.microusd is None else min(held.microusd, proved.microusd)
    tokens = min(held.tokens, proved.tokens)
    if tokens < held.tokens or (microusd is not None and microusd < (held.microusd or 0)):
        yield {"session": proved.session, "n": proved.n, "charged_tokens": held.tokens, "billed_tokens": tokens,
               "charged_microusd": held.microusd, "billed_microusd": microusd}  # fmt: skip


def _origin(name: str) -> str | None:
    """Return where a report came from, by the name that a row has of it; None where that is not said."""
    found = _NAME.search(name)
    return found[1] if found else None


_NAME: Final = re.compile(r" sha256:[0-9a-f]{64} (.+)\Z")


def _settled(item: Mapping[str, Any]) -> Settled:
    return Settled(item["session"], item["n"], item["charged_tokens"], item["billed_tokens"])
