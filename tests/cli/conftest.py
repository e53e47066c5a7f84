from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.breaker.family import House
from tests.cli.billing import BEGAN, CEILINGS, Billing
from tests.cli.program import Program
from tests.servers.usage_server import UsageServer


def accept(program: Program, session: str, key: Path) -> None:
    """Attest a session as its reviewer does with the tools of SSH."""
    export = program("attest", session, "--as", "alice@example.org", "--export", "e", "--decision", "accept")
    assert export.code == 0, export.err
    statement = program.folder / "e/statement.json"
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "safeloop-review", statement], check=True,
                   capture_output=True)
    assert program("attest", "--statement", str(statement), "--signature", f"{statement}.sig").code == 0


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program in an empty folder with a ledger."""
    made = Program.at(tmp_path / "p")
    assert made("init").code == 0
    return made


@pytest.fixture
def closed(program: Program) -> Program:
    """The same with a reviewer and one completed session, for tests that write."""
    program.reviewer()
    assert program.job().code == 0
    return program


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A ledger with one completed session and a reviewer, for tests that only read."""
    made = Program.at(tmp_path_factory.mktemp("kept") / "p")
    assert made("init").code == 0
    made.reviewer()
    assert made.job().code == 0
    return made


@pytest.fixture(scope="session")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A ledger of two sessions with the checkpoint between them, and a release of the first."""
    program = Program.at(tmp_path_factory.mktemp("proved") / "p")
    assert program("init").code == 0
    key = program.reviewer()
    assert program.job().code == 0
    session = program.rows()[0]["session"]
    (program.folder / "kept").write_text(program("checkpoint").out)
    assert program.job().code == 0
    accept(program, session, key)
    assert program("release", session, "--to", "out").code == 0
    shutil.copytree(program.folder / "home/.config/safeloop/keys/self", program.folder / "pins")
    return program


@pytest.fixture
def auditor(proved: Program, tmp_path: Path) -> Program:
    """Another machine: the pins, the checkpoint, the release, and no ledger and no keys."""
    other = Program.at(tmp_path / "auditor")
    for name in ("pins", "out"):
        shutil.copytree(proved.folder / name, other.folder / name)
    shutil.copy(proved.folder / "kept", other.folder)
    return other


@pytest.fixture
def billing(tmp_path: Path) -> Iterator[Billing]:
    """A ledger with an open session, and a provider that has billed nothing yet."""
    (tmp_path / "house").mkdir()
    house = House(tmp_path / "house")
    house.clock.now = BEGAN
    house.open("s", CEILINGS)
    with UsageServer() as server:
        yield Billing(Program.at(tmp_path / "p"), house, server)
    house.ledger.close()
