from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from safeloop.ledger import Ledger
from tests.review.verifying.office import Office


@pytest.fixture
def office(ledger: Ledger, keys: Path, reviewer: Callable[..., Path], tmp_path: Path) -> Office:
    out = tmp_path / "releases"
    out.mkdir()
    return Office(ledger, keys, reviewer, out)
