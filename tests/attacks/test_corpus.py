"""Each attack of the corpus is carried out, and the audit finds exactly what it must: no less, and nothing besides."""

from __future__ import annotations

import re

import pytest

from tests.attacks.attack import Attack, in_short
from tests.attacks.corpus import CORPUS
from tests.attacks.scene import ROWS, Asks, Brings, Hand, Scene

NEW = ROWS - 14  # rows after the checkpoint of an earlier audit, and of the session beta


def carry_out(attack: Attack, scene: Scene) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Carry an attack out; return what the audit finds, what it could not check, and all that it says."""
    attack.carry_out(Hand(scene, attack.keys))
    if attack.refused is not None:
        with pytest.raises(attack.refused) as refusal:
            scene.audit(attack.brings, attack.asks)
        return (), (), str(refusal.value)
    report = scene.audit(attack.brings, attack.asks)
    assert scene.audit(attack.brings, attack.asks, rows_per_block=2) == report
    said = [each.message for each in (*report.findings, *report.gaps)] + list(report.notes)
    return in_short(report.findings), in_short(report.gaps), "\n".join(said)


@pytest.mark.parametrize("name", CORPUS)
def test_the_audit_finds_exactly_this(scene: Scene, name: str) -> None:
    attack = CORPUS[name]
    findings, gaps, said = carry_out(attack, scene)
    assert findings == attack.expected
    assert gaps == attack.gaps
    assert re.search(attack.words, said), said


@pytest.mark.parametrize("brings", Brings)
@pytest.mark.parametrize(("asks", "rows"), [
    (Asks.EVERYTHING, ROWS), (Asks.SINCE, NEW), (Asks.TREE, ROWS), (Asks.BETA, NEW),
])
def test_nothing_done_is_nothing_found(scene: Scene, brings: Brings, asks: Asks, rows: int) -> None:
    report = scene.audit(brings, asks)
    assert (report.findings, report.gaps) == ((), ())
    assert (report.rows_standing, report.exit_code) == (rows, 18 if asks is Asks.TREE else 0)
