"""What rows charge to hours, made anew and compared with the tables `hour` and `held`."""

from collections import Counter
from dataclasses import astuple, dataclass, replace
from typing import Any

from tests.verifier.findings import WHOLE, Report
from tests.verifier.rows import Row
from tests.verifier.stored import Stored

Line = tuple[Any, ...]


@dataclass(frozen=True)
class Held:
    """A line of `held`, in the order of its columns."""

    session: str
    n: int
    attempt: int | None
    hour: str
    tokens: int
    microusd: int | None


class Charges:
    """Both tables, as the rows make them.

    Attributes:
        hours: Tokens, microusd and sessions of each.
        held: By session and place of the intent.
    """

    def __init__(self) -> None:
        self.hours: dict[str, list[int]] = {}
        self.held: dict[tuple[str, int], Held] = {}

    def add(self, row: Row) -> None:
        """Take in the next row."""
        began = str(row.body["at"])[:13]
        if began > max(self.hours, default=""):
            self.hours[began] = [0, 0, 0]
        hour, data = max(self.hours), row.data
        if row.kind == "open":
            self.hours[hour][2] += 1
        elif row.kind == "intent":
            self._put(Held(row.session, row.n, None, hour, data["reserved_tokens"], data["reserved_microusd"]), None)
        elif row.kind == "turn":
            self._settle(row, data["token_delta"], data["cost_microusd"], stays=False)
        elif row.kind == "attempt":
            self._settle(row, data["charged_tokens"], data["charged_microusd"], stays=data["in_doubt"])
        elif row.kind == "reconcile":
            for item in data["settled"]:
                if row.session in ("ledger", item["session"]):
                    self._lower(item)

    def _settle(self, row: Row, tokens: int, microusd: int | None, *, stays: bool) -> None:
        line = self.held.get((row.session, row.data["intent"]))
        if line is None or line.attempt is not None:
            return
        self._put(replace(line, attempt=row.n, tokens=tokens, microusd=microusd), line)
        if not stays:
            del self.held[line.session, line.n]

    def _lower(self, item: dict[str, Any]) -> None:
        names = (line for line in self.held.values() if line.session == item["session"] and line.attempt is not None)
        line = next((line for line in names if item["n"] in (line.n, line.attempt)), None)
        if line is None:
            return
        prices = (line.microusd, item.get("billed_microusd"))
        microusd = line.microusd if None in prices else min(price for price in prices if price is not None)
        self._put(replace(line, tokens=min(line.tokens, item["billed_tokens"]), microusd=microusd), line)

    def _put(self, line: Held, before: Held | None) -> None:
        """Charge a line to its hour, in place of what it was before."""
        figures = self.hours[line.hour]
        figures[0] += line.tokens - (before.tokens if before else 0)
        figures[1] += (line.microusd or 0) - ((before.microusd if before else 0) or 0)
        self.held[line.session, line.n] = line


def check(read: list[Row], size: int | None, stored: Stored, report: Report) -> None:
    """Compare, where every row of the ledger can be followed; `size` is what the head signs, if it holds."""
    made = Charges()
    for at, row in enumerate(read):
        if row.idx != at or not (row.is_sound and row.is_known and row.is_own):
            return
        made.add(row)
    if not stored.is_whole or size not in (None, len(read)):
        return
    lines = {
        "hour": Counter(_line(hour, *figures) for hour, figures in made.hours.items()),
        "held": Counter(_line(*astuple(line)) for line in made.held.values()),
    }
    for table, found in stored.charges.items():
        if Counter(found) != lines[table]:
            report.fail(WHOLE, "derived", f"{table} is not what the rows charge")


def _line(*values: object) -> Line:
    """Write a line as it is read: each value, text as bytes, followed by its type."""
    pairs = ((value.encode(), b"text") if isinstance(value, str) else
             (value, b"null" if value is None else b"integer") for value in values)
    return tuple(part for pair in pairs for part in pair)
