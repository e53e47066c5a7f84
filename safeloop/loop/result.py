"""What came of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from safeloop.loop.closing import COMPLETED


@dataclass(frozen=True)
class LoopResult:
    """What came of a run; the first five compare.

    Attributes:
        success: The session completed and met its criteria.
        turns: Turns that got their reply; on a breach, the number of the refused one.
        total_tokens: Charged, input and output together.
        breach_reason: The ceiling that stopped the loop, if one did.
        outcome: As the `close` row states it.
        reason: More precisely, if there is more to say.
        is_dry_run: Calls that write or destroy were not run.
        answered: Turns that got their reply, also on a breach.
        cost_microusd: Charged, in millionths of a US dollar; None where it is not known.
        overruns: Turns that were billed more than was reserved for them: a ceiling may be passed.
    """

    success: bool
    turns: int
    total_tokens: int
    session_id: str
    breach_reason: str | None = None
    outcome: str = field(default=COMPLETED, compare=False)
    reason: str | None = field(default=None, compare=False)
    is_dry_run: bool = field(default=False, compare=False)
    answered: int = field(default=0, compare=False)
    cost_microusd: int | None = field(default=None, compare=False)
    overruns: int = field(default=0, compare=False)
