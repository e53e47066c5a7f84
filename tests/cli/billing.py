"""A ledger of calls twenty hours ago, and the provider that billed them: for tests of `safeloop reconcile`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from safeloop.breaker import Granted
from safeloop.ledger import Row
from safeloop.spec import Ceilings
from tests.breaker.family import DOLLARS, House, in_doubt
from tests.cli.program import Done, Program
from tests.servers.usage_server import Charge, UsageServer

CEILINGS = Ceilings(tokens=1_000_000)
BEGAN = (datetime.now(UTC) - timedelta(hours=20)).replace(minute=5, second=0, microsecond=0)


@dataclass
class Billing:
    """A ledger of calls twenty hours ago, and the provider that billed them."""

    program: Program
    house: House
    server: UsageServer

    @property
    def env(self) -> dict[str, str]:
        folder = self.house.folder
        return {
            "SAFELOOP_LEDGER": str(folder / "ledger.db"), "SAFELOOP_KEYS": str(folder / "keys"),
            "ANTHROPIC_BASE_URL": self.server.url, "SAFELOOP_BILLED_ENDPOINTS": "e", "SAFELOOP_API_KEY_ID": "apikey_01",
            "SAFELOOP_BILLING_WORKSPACE": "wrkspc_01", "ANTHROPIC_ADMIN_KEY": self.server.admin_key,
        }  # fmt: skip

    def __call__(self, *arguments: str, **env: str) -> Done:
        return self.program(*arguments, env={**self.env, **env})

    def fetch(self, *more: str, **env: str) -> Done:
        times = ("--from", (BEGAN - timedelta(hours=2)).isoformat(), "--to", (BEGAN + timedelta(hours=6)).isoformat())
        return self("reconcile", *times, *more, **env)

    def reply(self, tokens: int = 100, *, billed: int | None = -1, model: str = "m") -> None:
        """Record a reply, and bill it, or something else, or nothing."""
        granted = self.house.ask("s", CEILINGS)
        assert isinstance(granted, Granted)
        self.house.reply(granted, tokens)
        if billed is not None:
            self.bill(tokens if billed < 0 else billed, model)
        self.house.clock.move(minutes=5)

    def bill(self, tokens: int, model: str = "m", **more: Any) -> None:
        usage = {"input_tokens": tokens, "output_tokens": 0}
        self.server.charges.append(Charge(self.house.clock.now.timestamp(), model, usage, **more))

    def doubt(self, *, billed: int | None = None) -> Row:
        granted = self.house.ask("s", CEILINGS, price=DOLLARS)
        assert isinstance(granted, Granted)
        if billed is not None:
            self.bill(billed)
        row = in_doubt(self.house, granted)
        self.house.clock.move(minutes=5)
        return row

    def rows(self) -> list[dict[str, Any]]:
        done = self("log", "ledger", "--json")
        return [row for line in done.out.splitlines() if (row := json.loads(line))["kind"] == "reconcile"]

    def save(self, name: str = "usage.json", **asked: list[str]) -> Path:
        """The report as `curl` would have saved it."""
        first, last = BEGAN - timedelta(hours=2), BEGAN + timedelta(hours=6)
        page = self.server.page({
            "starting_at": [first.isoformat()], "ending_at": [last.isoformat()], "bucket_width": ["1m"],
            "limit": ["1440"], "group_by[]": ["api_key_id", "workspace_id", "model"], **asked,
        })  # fmt: skip
        path = self.program.folder / name
        path.write_text(json.dumps(page))
        return path
