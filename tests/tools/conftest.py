import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from safeloop.tools import Root

SECRET = b"outside: nobody may read this"
NOBODY = 65_534


def names_of(folder: Path) -> list[str]:
    """What is in a folder, sorted; unfinished and hidden files too."""
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def without_privileges() -> Iterator[None]:
    """Act as a user whom file modes bind; root is bound by none."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to be contained in; beside it lies `outside` with a secret."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    return inside


@pytest.fixture
def root(folder: Path) -> Iterator[Root]:
    with Root(folder) as opened:
        yield opened


@pytest.fixture
def outside(folder: Path) -> Iterator[Path]:
    """The folder outside; after the test it is as it was."""
    path = folder.parent / "outside"
    yield path
    assert sorted(path.iterdir()) == [path / "secret"]
    assert (path / "secret").read_bytes() == SECRET
