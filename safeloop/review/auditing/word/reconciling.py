"""Attempts in doubt, and what a reconciliation with the provider takes back of their charges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from safeloop.ledger import Row
from safeloop.ledger.rows import LEDGER_SESSION
from safeloop.review.auditing.word.scopes import Account
from safeloop.review.auditing.word.windows import Windows


@dataclass(slots=True)
class _Doubt:
    """An attempt in doubt: what is charged for it, to which hour, and to whom."""

    tokens: int
    microusd: int
    hour: str
    account: Account


class Doubts:
    """Attempts in doubt of this month, and of every session that is not closed: only those can still matter.

    Args:
        windows: Lowered together with the sessions.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._doubts: dict[tuple[str, int], _Doubt] = {}

    def note(self, attempt: Row, hour: str, account: Account) -> None:
        """Take in an `attempt` row in doubt; it goes by its own `n` and by its intent's."""
        data = attempt.data
        doubt = _Doubt(data["charged_tokens"], data["charged_microusd"] or 0, hour, account)
        self._doubts[attempt.session, attempt.n] = self._doubts[attempt.session, data["intent"]] = doubt

    def reconcile(self, row: Row) -> None:
        """Lower what is charged to what was billed; nothing but an attempt in doubt is lowered, and nothing raised."""
        for item in row.data["settled"]:
            if row.session not in (LEDGER_SESSION, item["session"]):
                continue
            doubt = self._doubts.get((item["session"], item["n"]))
            if doubt is not None:
                billed = item.get("billed_microusd")
                tokens = max(doubt.tokens - item["billed_tokens"], 0)
                microusd = 0 if billed is None else max(doubt.microusd - billed, 0)
                doubt.tokens, doubt.microusd = doubt.tokens - tokens, doubt.microusd - microusd
                doubt.account.charge(0, -tokens, -microusd)
                self._windows.charge(doubt.hour, -tokens, -microusd)

    def forget_ended(self, is_open: Callable[[str], bool]) -> None:
        """Keep only those of sessions that go on: a new month has begun."""
        self._doubts = {key: doubt for key, doubt in self._doubts.items() if is_open(key[0])}
