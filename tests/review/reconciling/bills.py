"""A provider and a ledger in memory: calls that are recorded by one clock and billed by another, and what goes wrong."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from safeloop.review.reconciling.comparing import Comparison, Terms, compare
from safeloop.review.reconciling.counts import Counts
from safeloop.review.reconciling.findings import Finding, Thresholds
from safeloop.review.reconciling.reading import read_report
from safeloop.review.reconciling.recorded import LINGERS, Call, Recorded
from safeloop.review.reconciling.report import SECOND, Payer, UsageReport, moment

DAY = 1_795_219_200 * SECOND  # 2026-11-21
MINUTE, HOUR = 60 * SECOND, 3_600 * SECOND
WIDTHS = {"1m": MINUTE, "1h": HOUR, "1d": 24 * HOUR}
KEY, SHOP = "apikey_01", "wrkspc_01"
COUNTS = Counts(100, 0, 0, 50)
OURS = Payer(KEY, SHOP)
SONNET, OPUS = "claude-sonnet-5-5", "claude-opus-5-5"


@dataclass
class Charge:
    """One call as the provider counts it."""

    at: int
    model: str
    counts: Counts
    payer: Payer = OURS


@dataclass
class Scene:
    """Some hours of calls.

    Attributes:
        skew: How far the provider's clock is ahead, in microseconds.
    """

    width: int = MINUTE
    hours: int = 6
    skew: int = 0
    calls: list[Call] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    terms: Terms = field(default_factory=lambda: Terms(Payer(None, None), DAY + 48 * HOUR, Thresholds(), {}))

    def call(
        self, at: int, counts: Counts = COUNTS, *, session: str = "s", took: int = 5 * SECOND, billed: bool = True,
        model: str = SONNET, as_billed: str | None = None, **more: Any,
    ) -> tuple[Call, Charge]:
        """Record a reply, and bill it."""
        call = Call(session, 1, len(self.calls) * 2 + 3, at, at + took, model, model, OURS, counts, **more)
        charge = Charge(at + took + self.skew, as_billed or model, counts)
        self.calls.append(call)
        if billed:
            self.charges.append(charge)
        return call, charge

    def doubt(self, at: int, reserved: int = 1_000, *, took: int = 30 * SECOND, billed: Counts | None = None) -> Call:
        """Record an attempt in doubt, which may have been billed all the same."""
        call = Call("s", 1, len(self.calls) * 2 + 3, at, at + took + LINGERS, SONNET, None, OURS, most=reserved,
                    is_doubt=True)  # fmt: skip
        self.calls.append(call)
        if billed is not None:
            self.charges.append(Charge(at + took + self.skew, SONNET, billed))
        return call

    def random_calls(self, chance: random.Random, count: int, most: int = 400) -> None:
        """Record and bill calls at any time of the hours, two minutes from both ends."""
        for _ in range(count):
            at = DAY + 2 * MINUTE + chance.randrange(self.hours * HOUR - 5 * MINUTE)
            counts = Counts(*(chance.choice([0, chance.randrange(most)]) for _ in range(3)), chance.randrange(1, most))
            self.call(at, counts, took=chance.randrange(45 * SECOND), model=chance.choice([SONNET, OPUS]),
                      session=f"s{chance.randrange(4)}")  # fmt: skip

    def pages(self, *, group: Iterable[str] = ("api_key_id", "workspace_id", "model")) -> dict[str, Any]:
        """The report as the API answers it, on one page."""
        group = tuple(group)
        buckets: dict[int, dict[tuple[str | None, ...], Counts]] = {}
        for charge in self.charges:
            begins = DAY + (charge.at - DAY) // self.width * self.width
            names = (charge.payer.api_key_id, charge.payer.workspace, charge.model)
            listed = ("api_key_id", "workspace_id", "model")
            key = tuple(value if name in group else None for name, value in zip(listed, names, strict=True))
            sums = buckets.setdefault(begins, {})
            sums[key] = sums.get(key, Counts()).plus(charge.counts)
        ends = DAY + max(self.hours * HOUR, self.width)
        data = [
            {"starting_at": moment(begins), "ending_at": moment(begins + self.width),
             "results": [result(*key, counts) for key, counts in buckets.get(begins, {}).items()]}
            for begins in range(DAY, ends, self.width)
        ]  # fmt: skip
        return {"data": data, "has_more": False, "next_page": None}

    def report(self, **more: Any) -> UsageReport:
        return read_report([json.dumps(self.pages(**more)).encode()])

    @property
    def recorded(self) -> Recorded:
        calls = sorted(self.calls, key=lambda call: (call.begins, call.ends))
        return Recorded(tuple(calls), {}, frozenset({KEY}), frozenset({SHOP}))

    def compared(self, **more: Any) -> Comparison:
        return compare(self.report(**more), self.recorded, self.terms)

    def found(self, **more: Any) -> list[Finding]:
        return list(self.compared(**more).findings)

    def classes(self, **more: Any) -> list[tuple[str, str]]:
        return [(str(each.fault), str(each.severity)) for each in self.found(**more)]


def result(key: str | None, place: str | None, model: str | None, counts: Counts) -> dict[str, Any]:
    """One result of a bucket, with all that the API says, and more."""
    half = counts.cache_write // 2
    return {
        "api_key_id": key, "workspace_id": place, "model": model, "service_tier": None, "context_window": None,
        "uncached_input_tokens": counts.input, "cache_read_input_tokens": counts.cache_read,
        "cache_creation": {"ephemeral_1h_input_tokens": half, "ephemeral_5m_input_tokens": counts.cache_write - half},
        "output_tokens": counts.output, "server_tool_use": {"web_search_requests": counts.searches},
        "inference_geo": "not_available", "what_nobody_knows_yet": {"deep": [1, 2.5]},
    }  # fmt: skip


def with_terms(scene: Scene, **changes: Any) -> Scene:
    scene.terms = dataclasses.replace(scene.terms, **changes)
    return scene
