"""The checkpoint banner: which ceiling stopped the loop, in plain numbers, without thousands separators."""

from __future__ import annotations

from collections.abc import Callable

from safeloop.spec import Breach, Ceilings, Reason
from safeloop.spec.units import MICRO, MILLI

# Further lines, in the order of the table, for the ceilings that are neither turns nor tokens.
_LABELS = {
    Reason.COST: "cost_usd", Reason.TIME: "time_s", Reason.TOOL_CALLS: "tool_calls", Reason.ERRORS: "errors",
    Reason.REPEATS: "repeats",
}


def banner(breach: Breach, turn_count: int, accumulated_tokens: int, ceilings: Ceilings) -> str:
    """Render the banner of a breach.

    Args:
        turn_count: The turn that was refused.
        accumulated_tokens: Charged before it.
        ceilings: Those of the session; a breach of an ancestor's ceiling says that one in a line of its own.
    """
    is_own = breach.scope == "session"
    tokens = str(accumulated_tokens)
    if is_own:
        tokens += f" / limit {ceilings.tokens}"
        if breach.reason is Reason.TOKENS and breach.next_at_most:
            tokens += f" (the next call could reach {breach.spent + breach.next_at_most})"
    lines = [
        "=== CIRCUIT BREAKER CHECKPOINT ===",
        f"reason       : {breach.reason.value}",
        f"turn_count   : {turn_count}" + (f" / limit {ceilings.turns}" if is_own else ""),
        f"tokens_used  : {tokens}",
        *_further(breach, is_own=is_own),
        "action       : halt loop, surface to human reviewer",
        "==================================",
    ]
    return "\n".join(lines)


def _further(breach: Breach, *, is_own: bool) -> list[str]:
    label = _LABELS.get(breach.reason)
    if label is None and is_own:
        return []
    say: Callable[[int], str] = {Reason.COST: _usd, Reason.TIME: _seconds}.get(breach.reason, str)
    label = label or {Reason.TURNS: "turns", Reason.TOKENS: "tokens"}[breach.reason]
    reach = f" (the next call could reach {say(breach.spent + breach.next_at_most)})" if breach.next_at_most else ""
    whose = "" if is_own else "parent "
    return [f"{whose + label:13}: {say(breach.spent)} / limit {say(breach.limit)}{reach}"]


def _usd(microusd: int) -> str:
    return f"{microusd // MICRO}.{microusd % MICRO:06d}"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // MILLI}.{milliseconds % MILLI:03d}"
