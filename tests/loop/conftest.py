import pytest

from safeloop.ledger import Ledger
from tests.loop.playing import spec_of


@pytest.fixture(autouse=True)
def keys(monkeypatch, tmp_path):
    """Keys of this test alone, and no credentials or proxies of this machine."""
    monkeypatch.setenv("SAFELOOP_KEYS", str(tmp_path / "keys"))
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "keys"


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.db")


@pytest.fixture
def spec():
    return spec_of("s")
