"""An attack as a value, and the corpus of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from safeloop.review.auditing.findings import Finding
from tests.attacks.scene import Asks, Brings, Hand, Keys

CarryOut = Callable[[Hand], None]


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack, and what an audit must say of it.

    Attributes:
        name: What is done, as a sentence.
        keys: The private keys that the attacker holds.
        carry_out: Does it.
        expected: The findings, all of them and in order: `rule`, or `rule:row`.
        words: A pattern that one of the findings, notes and gaps must match, or the refusal.
        brings: What the auditor compares besides the pinned keys.
        refused: The file is no ledger that could be audited, and the audit says so by this error.
        gaps: What the audit could not check, all of it and in order, in the notation of `expected`.
        asks: What the auditor has audited.
    """

    name: str
    keys: Keys
    carry_out: CarryOut
    expected: tuple[str, ...]
    words: str
    brings: Brings
    refused: type[Exception] | None
    gaps: tuple[str, ...] = ()
    asks: Asks = Asks.EVERYTHING

    @property
    def meets(self) -> tuple[str, ...]:
        """What it must meet: findings, or the gap that it leaves, or the refusal by name; nothing if it cannot be seen."""
        refusal = () if self.refused is None else (self.refused.__name__,)
        return self.expected or self.gaps or refusal


CORPUS: dict[str, Attack] = {}


def in_short(found: Iterable[Finding]) -> tuple[str, ...]:
    """Return findings in the corpus's own notation."""
    return tuple(str(each.rule) if each.row is None else f"{each.rule}:{each.row}" for each in found)


def meets(
    *expected: str, keys: Keys = Keys.NONE, words: str = "", brings: Brings = Brings.PINS,
    refused: type[Exception] | None = None, gaps: tuple[str, ...] = (), asks: Asks = Asks.EVERYTHING,
) -> Callable[[CarryOut], CarryOut]:
    """Enter a function into the corpus under its own name."""

    def enter(carry_out: CarryOut) -> CarryOut:
        add(carry_out.__name__.replace("_", " "), carry_out, *expected, keys=keys, words=words, brings=brings,
            refused=refused, gaps=gaps, asks=asks)
        return carry_out

    return enter


def add(
    name: str, carry_out: CarryOut, *expected: str, keys: Keys = Keys.NONE, words: str = "",
    brings: Brings = Brings.PINS, refused: type[Exception] | None = None, gaps: tuple[str, ...] = (),
    asks: Asks = Asks.EVERYTHING,
) -> None:
    """Enter an attack into the corpus."""
    assert name not in CORPUS, name
    CORPUS[name] = Attack(name, keys, carry_out, expected, words, brings, refused, gaps, asks)
