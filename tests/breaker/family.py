"""Sessions of a real ledger, opened, reserved and settled by a few words, and an audit of what they left."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

from safeloop.breaker import Bound, Full, Granted, How, Place, Price, Refused, Request, reserve, turn_draft
from safeloop.breaker.prices import Rate
from safeloop.breaker.scopes import tally_of
from safeloop.ledger import Draft, Ledger, Row
from safeloop.ledger.content import JSON, TEXT, manifest
from safeloop.ledger.keys import KeyFolder
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep.limiting import set_limits
from safeloop.review.auditing.audit import audit
from safeloop.spec import Ceilings, SpecResult, to_row

HASH = hashlib.sha256(b"task").hexdigest()
START = datetime(2026, 11, 21, 7, 27, tzinfo=UTC)
ONE = Rate(Decimal(1))
DOLLARS = Price(ONE, ONE, ONE, Rate(Decimal(5)), None, "the test")  # 1 and 5 micro-dollars a token


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


class House:
    """A ledger with sessions in it, each a few words away from what it may do."""

    def __init__(self, folder: Path, *, is_new: bool = True) -> None:
        self.folder, self.clock = folder, Clock()
        self.ledger = Ledger(folder / "ledger.db", keys=folder / "keys", clock=self.clock, create=is_new)
        self._turns: dict[str, int] = {}

    def open(self, session: str, ceilings: Ceilings, parent: str | None = None) -> None:
        """Write a session's `spec` and `open` rows."""
        spec = SpecResult("does", "does not", "a report is there", session)
        leaf = self.ledger.append(lambda _: (Draft(session, "spec", to_row(spec)),))[0].leaf
        task = self.ledger.content(b"task", TEXT)
        data = {
            "spec": leaf, "task": task.commitment, "input_hash": HASH, "model": "m", "endpoint": "e",
            "ceilings": ceilings.as_row(), "parent": parent, "continues": None, "workspace": None,
            "billing_workspace": None, "api_key_id": None, "tools": [], "software": "test",
        }
        self.ledger.append(lambda _: (Draft(session, "open", data, (task,)),))

    def limit(self, **limits: int) -> None:
        """Write a `limits` row: hour_tokens=5."""
        set_limits(self.ledger, {tuple(name.split("_")): limit for name, limit in limits.items()})  # type: ignore[misc]

    def ask(
        self, session: str, ceilings: Ceilings, tokens: int = 100, *, wanted: int = 100, price: Price | None = None,
        **more: object,
    ) -> Granted | Refused | Full:
        """Reserve the session's next turn."""
        turn = tally_of(self.ledger.rows(session)).turns + 1
        return reserve(
            self.ledger.append, Place(session, turn, 1, HASH, int(str(more.pop("elapsed_ms", 0)))),
            Request("m", "", (), (), wanted), Bound(tokens, How.BOUND), ceilings,
            (self.ledger.content(manifest([]), JSON),), price=price, final=True, **more,  # type: ignore[arg-type]
        )

    def reply(self, granted: Granted, tokens: int | None = None, *, price: Price | None = None) -> None:
        """Settle a reservation: by what was used, or in full."""
        data = granted.intent.data
        usage = None
        if tokens is not None:
            usage = SimpleNamespace(
                input=tokens, cache_write=0, cache_read=0, output=0, thinking=0, searches=0, total=tokens
            )
        draft = turn_draft(
            Place(granted.intent.session, data["turn"], data["attempt"], HASH, 0), granted, usage=usage, model="m",
            stop_reason="end_turn", response=self.ledger.content(b"{}", JSON), execution_time_ms=1,
            elapsed_ms=data["elapsed_ms"], price=price,
        )
        self.ledger.append(lambda _: (draft,))

    def findings(self) -> list[str]:
        """Audit the ledger: record, tables and word."""
        with LedgerReader(self.folder / "ledger.db") as reader:
            trust = load_trust(KeyFolder(self.folder / "keys").self_trust)
            return [f"{each.rule}: {each.message}" for each in audit(reader, trust, state=None).findings]


def in_doubt(
    house: House, granted: Granted, tokens: int | None = None, microusd: int | None = None, *, in_doubt: bool = True
) -> Row:
    """Settle a reservation by an `attempt` row."""
    data = granted.intent.data
    row = {
        "turn": data["turn"], "attempt": data["attempt"], "intent": granted.intent.n,
        "charged_tokens": data["reserved_tokens"] if tokens is None else tokens,
        "charged_microusd": data["reserved_microusd"] if microusd is None else microusd,
        "error": {"class": "X", "status": None, "detail": None}, "execution_time_ms": 0, "elapsed_ms": 0,
        "in_doubt": in_doubt,
    }
    return house.ledger.append(lambda _: (Draft(granted.intent.session, "attempt", row),))[0]


def reconcile(
    house: House, session: str, n: int, tokens: int, microusd: int | None = None, *, in_session: str = "ledger"
) -> None:
    """Write what the provider billed for an attempt in doubt."""
    findings = house.ledger.content(manifest([]), JSON)
    item = {"session": session, "n": n, "charged_tokens": 0, "billed_tokens": tokens, "billed_microusd": microusd}
    data = {"source": "usage", "window": "w", "findings": findings.commitment, "settled": [item]}
    house.ledger.append(lambda _: (Draft(in_session, "reconcile", data, (findings,)),))
