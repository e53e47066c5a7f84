"""What is known about one session, row by row, and what all sessions share."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.verifier.findings import Report
from tests.verifier.rows import Row
from tests.verifier.trust import Trust

WORK = {"intent", "attempt", "turn", "call", "tool", "breach", "check", "close", "resume"}
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass
class Charge:
    """What one request is charged: its reservation, then what settled it.

    Attributes:
        granted: When it was asked for, as windows count it.
        given_back: Tokens and microusd that a reconciliation took back; a close does not count them.
        settled: The `n` of the row that settled it.
    """

    turn: int
    attempt: int
    intent: int | None
    granted: datetime
    tokens: int
    microusd: int | None
    given_back: tuple[int, int] = (0, 0)
    settled: int | None = None
    in_doubt: bool = False

    @property
    def net_tokens(self) -> int:
        return self.tokens - self.given_back[0]

    @property
    def net_microusd(self) -> int:
        return (self.microusd or 0) - self.given_back[1]


@dataclass
class Session:
    """One session so far.

    Attributes:
        is_lost: A row of it was not shown, and it is judged no further.
        asked: Turns that were asked for.
        unanswered: Attempts made at turns without a reply.
        errors: Consecutive ones, but for the tools of the last reply.
        results: What came of the tools of the last reply; None before there was one.
        calls: Calls without an outcome, by the provider's id.
        approvals: The newest decision about a call, by the leaf of its row.
        intruder: A row after the close that must not be there.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    is_lost: bool = False
    open: Row | None = None
    parent: "Session | None" = None
    children: list["Session"] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)
    unanswered: dict[int, int] = field(default_factory=dict)
    elapsed_ms: int = 0
    errors: int = 0
    results: list[bool] | None = None
    calls: dict[str, Row] = field(default_factory=dict)
    approvals: dict[str, Row] = field(default_factory=dict)
    tool_calls: int = 0
    checks: list[Row] = field(default_factory=list)
    breach: Row | None = None
    is_suspended: bool = False
    close: Row | None = None
    intruder: Row | None = None

    @property
    def is_dry_run(self) -> bool:
        return self.open is not None and self.open.data["software"].endswith(", dry run")

    @property
    def has_used_up_retries(self) -> bool:
        failed = [one.data["criterion"] for one in self.checks if not one.data["pass_fail"]]
        criteria = self.spec.data["criteria"] if self.spec else []
        return any(failed.count(one["name"]) > one.get("retries", 3) for one in criteria)

    @property
    def is_running(self) -> bool:
        """Opened, and not closed for good."""
        return self.open is not None and self.close is None and not self.is_lost

    @property
    def family(self) -> list["Session"]:
        """Itself and all its descendants."""
        return [self, *(one for child in self.children for one in child.family)]

    @property
    def ancestors(self) -> list["Session"]:
        return [] if self.parent is None else [self.parent, *self.parent.ancestors]

    @property
    def ceilings(self) -> dict[str, int]:
        return dict(self.open.data["ceilings"]) if self.open else {}

    @property
    def spec(self) -> Row | None:
        """The promise that it was opened on."""
        leaf = self.open.data["spec"] if self.open else ""
        return next((row for row in self.rows if row.kind == "spec" and row.leaf.hex() == leaf), None)


@dataclass
class Book:
    """What the rules need beside a session's own rows.

    Attributes:
        is_lost: A row of the ledger was not shown: what adds up over sessions is judged no further.
        clock: The newest `at` so far.
        opened: When sessions were opened.
    """

    trust: Trust
    report: Report
    sessions: dict[str, Session] = field(default_factory=dict)
    limits: Row | None = None
    is_lost: bool = False
    clock: datetime = LONG_AGO
    opened: list[datetime] = field(default_factory=list)

    def fail(self, row: Row, rule: str, said: str) -> None:
        self.report.fail(row.idx, rule, said)
