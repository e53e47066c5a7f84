from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program in an empty folder with a ledger."""
    made = Program.at(tmp_path / "p")
    assert made("init").code == 0
    return made


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A ledger with one completed session and a reviewer, for tests that only read."""
    made = Program.at(tmp_path_factory.mktemp("kept") / "p")
    assert made("init").code == 0
    made.reviewer()
    assert made.job().code == 0
    return made
