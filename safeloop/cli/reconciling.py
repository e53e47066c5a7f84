"""`reconcile`: what the provider says was billed, beside what the ledger says was called."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from safeloop.breaker.pricing import Entry, find_price
from safeloop.cli.ceilings import operator_prices
from safeloop.cli.options import Desk, common
from safeloop.cli.passphrases import admin_key_of
from safeloop.cli.running import max_wait_of
from safeloop.errors import ExitCode, SettingError
from safeloop.ledger.encoding import MAX_INTEGER
from safeloop.ledger.visible import visible
from safeloop.loop.opening import Billing
from safeloop.models.address import shown_address
from safeloop.review.reconciling.aliases import parse_aliases
from safeloop.review.reconciling.comparing import Terms, compare
from safeloop.review.reconciling.covering import certain_until, lacks, missing
from safeloop.review.reconciling.findings import Thresholds
from safeloop.review.reconciling.matching import SKEW
from safeloop.review.reconciling.reading import read_report
from safeloop.review.reconciling.recorded import LINGERS, recorded_calls
from safeloop.review.reconciling.recording import record
from safeloop.review.reconciling.report import SECOND, WIDTHS, Payer, Run, UsageReport, joined, refused
from safeloop.review.reconciling.settling import PriceOf, prove
from safeloop.review.reconciling.telling import Told, source_of

DEFAULT_URL = "https://api.anthropic.com"
_LONGEST_LAG_S = 7 * 86_400
_PIECE = 1 << 20
_AGO = re.compile(r"(\d{1,4})-days-ago\Z")
_HINT = "a date, a time with its zone, today, yesterday, or 2-days-ago"


@dataclass(frozen=True, slots=True)
class _Had:
    """A report, and when it was made at the earliest: as far as is claimed, and as far as is known for certain.

    Attributes:
        asked: The time that was asked for; None of a saved one.
    """

    report: UsageReport
    claimed: int
    certain: int
    asked: Run | None = None


@click.command()
@click.argument("saved", nargs=-1, metavar="[USAGE.json]...", type=click.Path(path_type=Path))
@click.option("--from", "begins", metavar="TIME", help="Ask the provider: the first moment, such as yesterday.")
@click.option("--to", "ends", metavar="TIME", help="The end, not included; else now.")
@click.option("--bucket", type=click.Choice(["1m", "1h", "1d"]), default="1m", show_default=True,
              help="How wide the buckets are that are asked for.")  # fmt: skip
@click.option("--as-of", "made", metavar="TIME", help="When a saved report was fetched.")
@click.option("--enforce", is_flag=True, help="End with 11 on an alert; without it, findings are only told.")
@click.option("--prices", metavar="FILE", help="Your own prices, before the published ones: safeloop help settings.")
@common(quiet=True)
def reconcile(
    desk: Desk, saved: tuple[Path, ...], begins: str | None, ends: str | None, bucket: str, made: str | None,
    enforce: bool,
) -> int:
    """Compare the provider's usage report of Messages with the ledger, and settle what is in doubt to what was billed.

    The report is one that was saved, all its pages, or is asked for with --from and --to and an admin key. What is
    found is one row; the same report twice makes no second one. Only Anthropic has such reports.
    """
    if bool(saved) == (begins is not None):
        raise SettingError("reconcile takes USAGE.json or --from TIME, one of them", hint="safeloop reconcile --help")
    if (saved and ends is not None) or (made is not None and not saved):
        raise SettingError("--to goes with --from, and --as-of with USAGE.json", hint="safeloop reconcile --help")
    thresholds, unnamed = _thresholds(desk), _unnamed(desk)
    aliases = parse_aliases(desk.settings.get("model_aliases").value)
    lag = _whole(desk, "report_lag", _LONGEST_LAG_S) * SECOND
    prices = operator_prices(desk.settings)
    desk.read_ledger().close()  # the ledger's own error first
    had = _saved(saved, made) if begins is None else _fetched(desk, begins, ends, bucket)
    if not had.report.runs:
        raise refused("it has no bucket")
    terms = Terms(unnamed, had.claimed - lag, thresholds, aliases)
    told = _compared(desk, had, terms, had.certain - lag, prices)
    return _shown(desk, told, enforce=enforce)


def _compared(desk: Desk, had: _Had, terms: Terms, proved_until: int, prices: tuple[Entry, ...]) -> Told:
    """Compare, and record what is new."""
    report, endpoints = had.report, _endpoints(desk)
    with desk.read_ledger() as reader, reader.snapshot():
        reach = SKEW + LINGERS
        recorded = recorded_calls(
            reader, report.begins - reach, report.ends + reach, endpoints=endpoints, unnamed=terms.unnamed
        )
    found = compare(report, recorded, terms)
    absent = missing(report, had.asked, terms.complete_until)
    source = source_of(report, WIDTHS[report.width], None if had.asked is None else endpoints[0])
    proof = prove(found, report.width, _price_of(endpoints[0], prices), until=proved_until)
    with contextlib.closing(desk.open_ledger()) as ledger:
        recording = record(ledger, source, found.findings, proof.settlements, beyond=found.judgement.beyond,
                           lacks=lacks(found, report, absent))  # fmt: skip
    return Told(report, source, recorded, found, recording, had.claimed, absent, proof.kept)


def _shown(desk: Desk, told: Told, *, enforce: bool) -> int:
    code = ExitCode.DONE
    if enforce and told.alerts:
        code = ExitCode.VERIFICATION_FAILED
    elif enforce and told.is_partial:
        code = ExitCode.INCOMPLETE
    text = told.text()
    if told.alerts and not enforce:
        text += "\nshadow mode: the exit code is 0 all the same; --enforce makes it 11"
    if desk.screen.quiet and not desk.screen.as_json and not code and told.asks_for_a_look:
        desk.screen.alarm(text)
    desk.screen.verdict(f"{text}\n", {**told.facts(), "enforced": enforce, "exit_code": int(code)}, code)
    return code


def _saved(paths: tuple[Path, ...], made: str | None) -> _Had:
    """Read saved pages: certainly newer than their newest figures; how much newer, a file only claims."""
    report = joined(tuple(read_report(_pieces(path)) for path in paths))
    now = datetime.now(UTC)
    said = None if made is None else min(_moment("--as-of", made, now), _microseconds(now))
    certain = certain_until(report, _microseconds(now), said)
    claimed = max(certain, min(map(_changed, paths))) if said is None else said
    return _Had(report, claimed, certain)


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise SettingError(f"usage report {path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None


def _changed(path: Path) -> int:
    """Return when a file was written last, in microseconds; 0 where nobody knows."""
    try:
        return int(min(path.stat().st_mtime, datetime.now(UTC).timestamp()) * SECOND)
    except OSError:
        return 0


def _fetched(desk: Desk, begins: str, ends: str | None, bucket: str) -> _Had:
    """Ask the provider."""
    from safeloop.models.usage_report import UsageReports  # noqa: PLC0415 - the HTTP client is for those who ask

    now = datetime.now(UTC)
    first = _moment("--from", begins, now)
    last = min(_microseconds(now) if ends is None else _moment("--to", ends, now), _microseconds(now))
    if last <= first:
        raise SettingError("--from is not before --to, or not in the past", hint=_HINT)
    reports = UsageReports(_base_url(), admin_key_of(desk.settings), max_wait_s=max_wait_of(desk))
    try:
        report = joined(tuple(read_report([page]) for page in reports.pages(_time(first), _time(last), bucket)))
    finally:
        reports.close()
    made = _microseconds(now) - SKEW  # the provider's clock may be behind
    report.has_more = False  # all pages were read
    return _Had(report, made, certain_until(report, _microseconds(now), made), Run(first, last))


def _moment(flag: str, text: str, now: datetime) -> int:
    """Read a time of the command line, in microseconds; without a zone a date is a day in UTC."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    ago = _AGO.match(text)
    days = {"today": 0, "yesterday": 1}.get(text, int(ago[1]) if ago else None)
    if days is not None:
        return _microseconds(midnight - timedelta(days=days))
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None and len(text) == len("2026-11-21"):
            found = found.replace(tzinfo=UTC)
        if found.tzinfo is not None and found.astimezone(UTC).year >= 1970:
            return _microseconds(found.replace(microsecond=0))
    except (ValueError, OverflowError):
        pass
    raise SettingError(f"{flag} is not a time: {visible(text, 60)!r}", hint=_HINT)


def _microseconds(when: datetime) -> int:
    return int(when.timestamp()) * SECOND


def _time(moment: int) -> datetime:
    return datetime.fromtimestamp(moment // SECOND, UTC)


def _base_url() -> str:
    return os.environ.get("ANTHROPIC_BASE_URL") or DEFAULT_URL


def _endpoints(desk: Desk) -> tuple[str, ...]:
    """Return the addresses whose calls the report bills, the provider's own first."""
    more = (desk.settings.get("billed_endpoints").value or "").split(",")
    return (shown_address(_base_url()), *(shown_address(each.strip()) for each in more if each.strip()))


def _unnamed(desk: Desk) -> Payer:
    billing = Billing(desk.settings.get("billing_workspace").value, desk.settings.get("api_key_id").value)
    return Payer(billing.api_key_id, billing.workspace)


def _thresholds(desk: Desk) -> Thresholds:
    names = ("drift_info", "drift_warn", "drift_count", "drift_within")
    return Thresholds(*(_whole(desk, name, 1_000_000) for name in names))


def _whole(desk: Desk, name: str, most: int) -> int:
    value = desk.settings.get(name)
    if not 0 <= value.value <= min(most, MAX_INTEGER):
        raise SettingError(f"{value.origin}: {name} must be from 0 to {most:,}", hint="safeloop config")
    return int(value.value)


def _price_of(endpoint: str, prices: tuple[Entry, ...]) -> PriceOf:
    """Return what says how much tokens cost at most; of a model without a price nothing is said."""

    def price(model: str, read: int, answered: int) -> int | None:
        try:
            return find_price(model, endpoint, prices).worst(read, answered)
        except SettingError:
            return None

    return price
