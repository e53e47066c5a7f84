"""Governed turns until done or breach."""

from safeloop.loop.agent import DEFAULT_MODEL, AgentLoop, LoopResult
from safeloop.loop.closing import abandon_session
from safeloop.loop.interruption import Interrupted

__all__ = ["DEFAULT_MODEL", "AgentLoop", "Interrupted", "LoopResult", "abandon_session"]
