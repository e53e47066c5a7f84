"""`stats`: the ledger at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import click

from safeloop.cli.moments import moment_of
from safeloop.cli.options import Desk, common
from safeloop.cli.words import lasting, plural
from safeloop.ledger.rows import timestamp
from safeloop.ledger.upkeep.limiting import Used
from safeloop.review.statistics import Attested, Statistics, statistics
from safeloop.spec.units import usd_text

_NAMES = {"tokens": "tokens", "microusd": "cost", "sessions": "sessions"}


@click.command()
@click.option("--since", metavar="WHEN", help="Sessions that began then or later: 7d, or 2026-11-01 (UTC).")
@common()
def stats(desk: Desk, since: str | None) -> None:
    """Count sessions by outcome, what they spent, what stopped them, and how long reviewers took.

    --since takes a duration before now, a date (its first moment in UTC), or a time with its zone; it is inclusive. A
    session counts by its first row. Limits are those of the windows open now, whatever --since says.

    This is for finding one's way: it trusts the ledger's indexes. safeloop audit checks everything.
    """
    now = datetime.now(UTC)
    begins = None if since is None else moment_of("--since", since, now)
    with desk.read_ledger() as reader:
        found, is_empty = statistics(reader, begins, now), not reader.size()
    desk.screen.result("\n".join(_told(found, is_empty=is_empty)), _facts(found))


def _told(found: Statistics, *, is_empty: bool) -> Iterator[str]:
    since = "" if found.since is None else f" since {_plain(found.since)}"
    if is_empty:
        yield "the ledger is empty: nothing was promised, run or spent yet"
    elif found.session_count:
        yield f"{plural(found.session_count, 'session')}{since}"
    else:
        yield f"no session{since or ' yet'}"
    yield from _columns((label, f"{number:,}") for label, number in found.sessions if number)
    if found.released or found.rejected or found.erased:
        yield from ("", "of these", *_columns(_handed_out(found)))
    if found.session_count:
        yield from ("", "charged", *_columns(_spent(found)))
    if found.breaches:
        yield from ("", "breaches", *_columns((reason, f"{number:,}") for reason, number in found.breaches))
    if found.attested.count or found.attested.awaited:
        yield from ("", "from close to the first signed attestation", *_columns(_waits(found.attested)))
    if found.windows:
        yield from ("", "limits of all sessions together, used now", *_windows(found.windows))
    yield from ("", "counted by the ledger's indexes, and not verified: safeloop audit does that")


def _columns(pairs: Iterator[tuple[str, str]]) -> Iterator[str]:
    return (f"  {name:15} {value:>10}" for name, value in pairs)


def _handed_out(found: Statistics) -> Iterator[tuple[str, str]]:
    for name, number in (("released", found.released), ("rejected", found.rejected), ("erased", found.erased)):
        if number:
            yield name, f"{number:,}"


def _spent(found: Statistics) -> Iterator[tuple[str, str]]:
    yield "turns", f"{found.turns:,}"
    yield "tokens", f"{found.tokens:,}"
    if found.tokens_in_doubt:
        yield "  in doubt", f"{found.tokens_in_doubt:,}"
    if found.cost_microusd is not None:
        yield "cost", usd_text(found.cost_microusd)
    else:
        yield "cost", "not known"
        yield "  known of it", usd_text(found.known_microusd)
        yield "  not known of", plural(found.unpriced, "session")
    if found.tokens_in_doubt:
        price = found.microusd_in_doubt
        yield "cost in doubt", "not known" if price is None else usd_text(price)


def _waits(attested: Attested) -> Iterator[tuple[str, str]]:
    yield "attested", plural(attested.count, "session")
    if attested.median_s is not None and attested.longest_s is not None:
        yield "median", lasting(attested.median_s)
        yield "longest", lasting(attested.longest_s)
    if attested.backwards:
        yield "clock went back", plural(attested.backwards, "session")
    yield "not yet", plural(attested.awaited, "session")


def _windows(found: Iterable[Used]) -> Iterator[str]:
    for window, limits in groupby(found, key=lambda each: each.window):
        each, *more = limits
        yield f"  {window}, until {each.until:%Y-%m-%dT%H:%MZ}"
        yield from (f"    {_NAMES[limit.unit]:13} {_used(limit)}" for limit in (each, *more))


def _used(each: Used) -> str:
    full = "full" if each.charged >= each.limit else f"{int(100 * each.part)} %"
    charged, limit = (usd_text(n) if each.unit == "microusd" else f"{n:,}" for n in (each.charged, each.limit))
    return f"{charged:>10} of {limit:>10} {full:>6}"


def _plain(at: str) -> str:
    return f"{at[:19]}Z" if at.endswith(".000000Z") else at


def _facts(found: Statistics) -> dict[str, Any]:
    attested = found.attested
    return {
        "verified": False, "since": found.since, "session_count": found.session_count, "sessions": dict(found.sessions),
        "released": found.released, "rejected": found.rejected, "erased": found.erased,
        "breaches": dict(found.breaches), "turns": found.turns,
        "tokens": found.tokens, "tokens_in_doubt": found.tokens_in_doubt,
        "microusd_in_doubt": found.microusd_in_doubt, "cost_microusd": found.cost_microusd,
        "known_microusd": found.known_microusd, "unpriced": found.unpriced,
        "limits": [{
            "window": each.window, "begins": each.begins, "until": timestamp(each.until), "unit": each.unit,
            "limit": each.limit, "charged": each.charged, "part": round(each.part, 6),
        } for each in found.windows],
        "attested": {
            "count": attested.count, "median_s": attested.median_s, "longest_s": attested.longest_s,
            "backwards": attested.backwards, "awaited": attested.awaited,
        },
    }  # fmt: skip
