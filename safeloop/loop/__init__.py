"""Governed turns until done or breach."""

from safeloop.loop.agent import DEFAULT_MODEL, AgentLoop
from safeloop.loop.closing import abandon_session
from safeloop.loop.governing import govern
from safeloop.loop.interruption import Interrupted
from safeloop.loop.opening import Billing
from safeloop.loop.result import LoopResult
from safeloop.loop.resuming import LeftBehind, left_behind

__all__ = [
    "DEFAULT_MODEL",
    "AgentLoop",
    "Billing",
    "Interrupted",
    "LeftBehind",
    "LoopResult",
    "abandon_session",
    "govern",
    "left_behind",
]
