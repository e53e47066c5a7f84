"""Each check of the audit taken out, and the attack that is aimed at it carried out once more: then nothing finds it.

    python -m tests.attacks.removal

What a check would find must be found by that check and by no accident of another: a test that passes without its
check proves nothing. A check is taken out where it is made, by a function in its place that never objects.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from safeloop.errors import SafeloopError
from safeloop.ledger import ed25519
from tests.attacks.attack import in_short
from tests.attacks.checks import CHECKS, Check
from tests.attacks.corpus import CORPUS
from tests.attacks.scene import Hand, Scene, make_scene
from tests.attacks.without import NO_ORIGIN


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the audit found, with the check and without it: findings or gaps, or the refusal of the file."""

    check: Check
    with_it: tuple[str, ...]
    without_it: tuple[str, ...]

    @property
    def is_missed(self) -> bool:
        """Whether everything that the attack must meet is gone with its check, and nothing else refuses the file."""
        return bool(self.with_it) and not self.without_it


def run(scene: Scene, name: str) -> tuple[str, ...]:
    """Audit an attacked scene; return what of all that the attack must meet was met."""
    attack = CORPUS[name]
    try:
        report = scene.audit(attack.brings, attack.asks)
    except SafeloopError as error:
        return (type(error).__name__,)
    return tuple(each for each in in_short((*report.findings, *report.gaps)) if each in attack.meets)


@contextmanager
def taken_out(check: Check) -> Iterator[None]:
    """Take a check out for a while."""
    try:
        with patch(check.where, check.without, create=check.without is NO_ORIGIN):
            yield
    finally:
        ed25519._admitted.cache_clear()  # what was admitted meanwhile must not stay


def outcome(scene: Scene, check: Check) -> Outcome:
    """Carry out the attack that a check is for, and audit what it left twice."""
    attack = CORPUS[check.attack]
    attack.carry_out(Hand(scene, attack.keys))
    with_it = run(scene, check.attack)
    with taken_out(check):
        return Outcome(check, with_it, run(scene, check.attack))


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'check':38} | {'attack':60} | {'with the check':18} | without")
        scene = make_scene(Path(folder))
        for check in CHECKS:
            each = outcome(scene, check)
            scene.restore()
            told = [" ".join(rules) or "-" for rules in (each.with_it, each.without_it)]
            print(f"{each.check.name:38} | {each.check.attack[:60]:60} | {told[0]:18} | {told[1]}")


if __name__ == "__main__":
    main()
