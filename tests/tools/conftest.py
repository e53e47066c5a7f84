import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from safeloop.tools import Root, ToolRegistry, beneath, file_tools

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
def staged(tmp_path: Path) -> Path:
    path = tmp_path / "staged"
    path.mkdir()
    return path


@pytest.fixture
def tools(root: Root, staged: Path) -> Iterator[ToolRegistry]:
    with Root(staged) as staging:
        yield file_tools(root, staging)


@pytest.fixture(params=["as the kernel has it", "without openat2", "without openat2 and /proc"])
def each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Files are opened in one of the ways that there are on one machine or another."""
    way: str = request.param
    if way == "as the kernel has it" and not (beneath.has_openat2() and beneath.can_reopen()):
        pytest.skip("this machine has no openat2, or no /proc")
    if "openat2" in way:
        monkeypatch.setattr(beneath, "has_openat2", lambda: False)
    if "/proc" in way:
        monkeypatch.setattr(beneath, "can_reopen", lambda: False)
    return way


@pytest.fixture
def outside(folder: Path) -> Iterator[Path]:
    """The folder outside; after the test it is as it was."""
    path = folder.parent / "outside"
    yield path
    assert sorted(path.iterdir()) == [path / "secret"]
    assert (path / "secret").read_bytes() == SECRET
