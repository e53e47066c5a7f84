"""The second verifier and the audit say the same: of every attack of the corpus, and of rows changed by chance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safeloop.errors import SafeloopError
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.state import read_state, state_path
from safeloop.ledger.trust import load_trust
from safeloop.review.auditing.audit import audit
from tests.attacks.corpus import CORPUS
from tests.attacks.scene import Asks, Brings, Hand, Keys, Scene
from tests.attacks.test_random import STEPS, step
from tests.review.attacks import found, gaps
from tests.verifier.findings import WHOLE, Refused
from tests.verifier.verify import verify

Places = dict[str, set[int | None]]


@dataclass(frozen=True)
class Question:
    """What is audited, and with what."""

    ledger: Path
    pins: Path
    state: Path | None = None
    checkpoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What one of the two says.

    Attributes:
        passed: Nothing is false; None where the file or the pins are refused.
        complete: Nothing is left open.
        findings: By rule the rows, from 1; None is the ledger as a whole.
        gaps: Their rules: at which row one is told is not for the page to say.
    """

    passed: bool | None
    complete: bool
    findings: Places
    gaps: frozenset[str]


REFUSED = Verdict(None, complete=False, findings={}, gaps=frozenset())


def by_rule(pairs: list[tuple[str, int | None]]) -> Places:
    places: Places = {}
    for rule, row in pairs:
        places.setdefault(rule, set()).add(row)
    return places


def of_the_audit(question: Question) -> Verdict:
    try:
        state = None if question.state is None else read_state(question.state)
        with LedgerReader(question.ledger) as reader:
            report = audit(reader, load_trust(question.pins), state=state, checkpoints=question.checkpoints)
    except SafeloopError:
        return REFUSED
    told = frozenset(rule for rule, _ in gaps(report))
    return Verdict(not report.findings, not report.gaps, by_rule(found(report)), told)


def of_the_verifier(question: Question) -> Verdict:
    try:
        report = verify(question.ledger, question.pins, question.state, question.checkpoints)
    except Refused:
        return REFUSED
    pairs = [(each.rule, None if each.idx == WHOLE else each.idx + 1) for each in report.findings]
    return Verdict(report.passed, report.complete, by_rule(pairs), frozenset(each.rule for each in report.gaps))


def agreed(question: Question) -> Verdict:
    """Ask both, and return what they agree on: verdicts, rules, and the rows as far as both name any."""
    one, other = of_the_audit(question), of_the_verifier(question)
    assert (one.passed, one.complete) == (other.passed, other.complete), (one, other)
    assert (one.findings.keys(), one.gaps) == (other.findings.keys(), other.gaps)
    for rule in one.findings:
        rows, others = one.findings[rule] - {None}, other.findings[rule] - {None}
        assert not (rows and others) or rows == others, rule
    return one


def brought(scene: Scene, brings: Brings, asks: Asks = Asks.EVERYTHING) -> Question:
    """Return what this auditor brings; the checkpoint of an earlier audit is one that somebody kept."""
    state = state_path(scene.victim.keys, scene.origin) if brings is Brings.STATE else None
    checkpoints = (scene.kept,) * (brings is Brings.CHECKPOINT) + (scene.audited,) * (asks is Asks.SINCE)
    return Question(scene.victim.path, scene.pins, state, checkpoints)


@pytest.mark.parametrize("name", CORPUS)
def test_both_say_the_same_of_an_attack(scene: Scene, name: str) -> None:
    attack = CORPUS[name]
    attack.carry_out(Hand(scene, attack.keys))
    verdict = agreed(brought(scene, attack.brings, attack.asks))
    if attack.asks is Asks.EVERYTHING:  # the verifier judges nothing less
        assert verdict.findings.keys() == {each.partition(":")[0] for each in attack.expected}
        assert (verdict.passed is None) == (attack.refused is not None)


@pytest.mark.parametrize("brings", Brings)
def test_both_find_nothing_where_nothing_was_done(scene: Scene, brings: Brings) -> None:
    assert agreed(brought(scene, brings)) == Verdict(True, complete=True, findings={}, gaps=frozenset())


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=20)
@given(steps=st.lists(STEPS, max_size=4), keys=st.sampled_from([Keys.NONE, Keys.LOG]))
def test_both_say_the_same_of_rows_changed_by_chance(lived: Scene, steps: list[tuple[str, int]], keys: Keys) -> None:
    lived.restore()
    hand = Hand(lived, keys)
    for each in steps:
        step(hand.rows, *each)
    hand.write()
    assert agreed(brought(lived, Brings.CHECKPOINT)).passed == (tuple(hand.rows) == lived.honest)
