"""Workers of an audit that take part from the first block on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from safeloop.review.auditing import workers


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for every worker until it has started: else a small ledger is judged before it is there."""
    start = workers._start

    def wait_for(work: Callable[..., Any]) -> Any:
        worker = start(work)
        worker.pipe.recv()
        worker.is_ready = True
        return worker

    monkeypatch.setattr(workers, "_start", wait_for)
