from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from safeloop.ledger import Ledger
from safeloop.ledger.trust import add_reviewer
from safeloop.review import ReviewSurface


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key folder of this test's own, which is also the default one."""
    folder = tmp_path / "keys"
    monkeypatch.setenv("SAFELOOP_KEYS", str(folder))
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path, keys: Path) -> Iterator[Ledger]:
    found = Ledger(path, keys=keys)
    yield found
    found.close()


@pytest.fixture
def surface(ledger: Ledger, path: Path, keys: Path) -> ReviewSurface:
    return ReviewSurface(path, path, keys=keys, create=False)


@pytest.fixture
def reviewer(tmp_path: Path, keys: Path) -> Callable[[str], Path]:
    """Makes a person's SSH key with ssh-keygen and pins it in the trust folder `self`."""

    def make(person: str, *, passphrase: str = "", pinned: bool = True) -> Path:
        key = tmp_path / f"{person.partition('@')[0]}_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", person, "-f", key], check=True)
        if pinned:
            add_reviewer(keys / "self", person, key.with_suffix(".pub").read_text())
        return key

    return make
