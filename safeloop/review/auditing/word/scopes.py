"""Ceilings of a session and of its ancestors: a child's spend counts in all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from safeloop.ledger import Row
from safeloop.spec import Breach, Ceilings, Reason, Tally, crossing


class Account:
    """What a session was charged, its own rows and its descendants' together.

    Attributes:
        session: Its id.
        ceilings: Those in force.
        parent: The account that this one's charges count in too.
        tally: Of its own rows.
        has_children: Another account's charges count in it.
        turns, tokens, microusd: Charged, descendants included; a price that is not known adds nothing.
        tool_calls: Calls that were begun, and reads that ran, descendants' included.
    """

    __slots__ = (
        "ceilings", "has_children", "microusd", "parent", "session", "tally", "tokens", "tool_calls", "turns",
    )  # fmt: skip

    def __init__(self, session: str, ceilings: Ceilings, parent: Account | None) -> None:
        self.session, self.ceilings, self.parent = session, ceilings, parent
        self.tally = Tally()
        self.has_children = False
        self.turns = self.tokens = self.microusd = self.tool_calls = 0
        if parent is not None:
            parent.has_children = True

    def add(self, row: Row) -> tuple[int, int]:
        """Take in a row of its own; return by how many tokens and micro-dollars the charge has changed."""
        tally = self.tally
        turns, tokens, microusd = tally.turns, tally.tokens, tally.microusd
        tally.add(row)
        change = tally.tokens - tokens, tally.microusd - microusd
        self.charge(tally.turns - turns, *change)
        return change

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


def crossed(account: Account, intent: Row, *, is_own: bool) -> Iterator[str]:
    """Say which ceilings an intent was granted beyond, by the rule that the breaker decides by.

    Args:
        account: Of the intent's session, or of an ancestor; the intent is charged already.
        intent: Its data has the form of its kind.
        is_own: The account is the session's.
    """
    data, ceilings = intent.data, account.ceilings
    tokens, price = data["reserved_tokens"], data["reserved_microusd"]
    turn = max(account.turns, data["turn"] if is_own else 0)
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
