"""Ceilings of a session and of its ancestors: a child's spend counts in all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from safeloop.ledger import Row
from safeloop.ledger.charges import Charge
from safeloop.spec import Breach, Ceilings, Reason, crossing
from safeloop.spec.tally import Turns


class Pending(NamedTuple):
    """An open intent: its attempt, what it holds, and the hour that it is charged to."""

    turn: int
    attempt: int
    tokens: int
    microusd: int | None
    hour: str


@dataclass(slots=True)
class Sums:
    """What a session's own rows come to.

    Attributes:
        replies: Its `turn` rows.
        unpriced: Charges and reservations whose price is not known.
    """

    replies: int = 0
    tokens: int = 0
    microusd: int = 0
    unpriced: int = 0


class Account:
    """What a session was charged, its own rows and its descendants' together.

    An intent is charged at its reservation until the row that settles it is charged in its place, as the breaker does
    (`spec.tally`); here the forms of all rows were checked before.

    Attributes:
        session: Its id.
        ceilings: Those in force.
        parent: The account that this one's charges count in too.
        own: What its own rows come to.
        has_children: Another account's charges count in it.
        turns, tokens, microusd: Charged, descendants included; a price that is not known adds nothing.
        tool_calls: Calls that were begun, and reads that ran, descendants' included.
    """

    __slots__ = (
        "_asked", "ceilings", "has_children", "microusd", "own", "parent", "session", "tokens", "tool_calls", "turns",
    )  # fmt: skip

    def __init__(self, session: str, ceilings: Ceilings, parent: Account | None) -> None:
        self.session, self.ceilings, self.parent = session, ceilings, parent
        self.own = Sums()
        self._asked = Turns()
        self.has_children = False
        self.turns = self.tokens = self.microusd = self.tool_calls = 0
        if parent is not None:
            parent.has_children = True

    def reserve(self, turn: int, tokens: int, price: int | None) -> None:
        """Charge an intent of its own."""
        self.own.unpriced += price is None
        self._charge_own(turn, tokens, price or 0)

    def settle(self, row: Row, charge: Charge, held: Pending | None) -> tuple[int, int]:
        """Charge what came of an attempt in place of what was held for it.

        Args:
            row: A `turn` or `attempt` row.
            charge: What it charges.
            held: The intent that it settles, if there is one.

        Returns:
            By how many tokens and micro-dollars the charge has changed.
        """
        own, (tokens, price) = self.own, charge
        own.unpriced += price is None
        own.replies += row.kind == "turn"
        microusd = price or 0
        if held is not None:
            own.unpriced -= held.microusd is None
            tokens, microusd = tokens - held.tokens, microusd - (held.microusd or 0)
        self._charge_own(row.data["turn"], tokens, microusd)
        return tokens, microusd

    def _charge_own(self, turn: int, tokens: int, microusd: int) -> None:
        own = self.own
        own.tokens += tokens
        own.microusd += microusd
        turns = self._asked.add(turn)
        self.turns += turns
        self.tokens += tokens
        self.microusd += microusd
        if self.parent is not None:
            self.parent.charge(turns, tokens, microusd)

    def charge(self, turns: int, tokens: int, microusd: int) -> None:
        """Charge this account and every ancestor's; less than nothing is given back."""
        account: Account | None = self
        while account is not None:
            account.turns += turns
            account.tokens += tokens
            account.microusd += microusd
            account = account.parent

    def call(self) -> None:
        """Count a call of a tool in this account and in every ancestor's."""
        for account in self.line():
            account.tool_calls += 1

    def limits_calls(self) -> bool:
        """Say whether calls of tools are limited, here or in an ancestor."""
        return any(account.ceilings.tool_calls is not None for account in self.line())

    def line(self) -> Iterator[Account]:
        """Yield this account, and each ancestor's."""
        account: Account | None = self
        while account is not None:
            yield account
            account = account.parent


def crossed(account: Account, intent: Mapping[str, Any], *, is_own: bool) -> Iterator[str]:
    """Say which ceilings an intent was granted beyond, by the rule that the breaker decides by.

    Args:
        account: Of the intent's session, or of an ancestor; the intent is charged already.
        intent: Data of the form of its kind.
        is_own: The account is the session's.
    """
    ceilings, tokens, price = account.ceilings, intent["reserved_tokens"], intent["reserved_microusd"]
    turn = intent["turn"] if is_own and intent["turn"] > account.turns else account.turns
    for breach in (
        crossing(Reason.TURNS, ceilings.turns, turn - 1, 1),
        crossing(Reason.TOKENS, ceilings.tokens, account.tokens - tokens, tokens),
        crossing(Reason.COST, ceilings.microusd, account.microusd - (price or 0), price or 0),
    ):
        if breach is not None:
            yield beyond(breach)
    if ceilings.microusd is not None and price is None:
        yield f"granted without a price under the {Reason.COST} of {ceilings.microusd:,}"


def too_many_calls(account: Account) -> Iterator[str]:
    """Say that a call of a tool went beyond an account's ceiling; it is counted already."""
    breach = crossing(Reason.TOOL_CALLS, account.ceilings.tool_calls, account.tool_calls)
    if breach is not None:
        yield f"is tool call {breach.spent:,} under the {breach.reason} of {breach.limit:,}"


def beyond(breach: Breach) -> str:
    """Say by how much a grant went beyond a ceiling."""
    asked = breach.next_at_most
    return (f"granted beyond the {breach.reason} of {breach.limit:,}: {breach.spent:,} charged"
            f"{f' and {asked:,} asked for' if asked else ''}")


def loosened(ceilings: Ceilings, promised: Ceilings) -> Iterator[str]:
    """Say which promised ceilings are not in force, or looser than promised."""
    ours = ceilings.as_row()
    for name, limit in promised.as_row().items():
        if name not in ours:
            yield f"puts no ceiling on {name}, and its spec row one of {limit:,}"
        elif ours[name] > limit:
            yield f"raises the ceiling on {name} to {ours[name]:,}, and its spec row promises {limit:,}"


def ungranted(tools: Sequence[Mapping[str, Any]], grant: Mapping[str, Any]) -> Iterator[str]:
    """Say which tools of an `open` row its spec does not grant.

    Args:
        tools: Name and permission of each.
        grant: `permissions`, and perhaps `names`, the only tools, a tool of an MCP server perhaps with what it does
            (`SERVER__TOOL:read`); empty where there is no spec to ask.
    """
    for tool in tools if grant else ():
        name, permission = tool["name"], tool["permission"]
        if permission not in grant["permissions"]:
            yield f"lists {name} ({permission}), and its spec row grants no such permission"
        elif not {name, f"{name}:{permission}"} & set(grant.get("names", (name,))):
            yield f"lists {name}, which is none of the tools that its spec row names"
