"""Run an LLM agent inside limits that were written down first, and release nothing until a person has signed.

Importing this package has no effect and loads no model SDK: each public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safeloop.breaker import CircuitBreaker
    from safeloop.errors import CircuitBreakerError, SafeloopError, SessionNotFoundError
    from safeloop.ledger import Ledger, LedgerRow
    from safeloop.loop import AgentLoop, LoopResult, govern
    from safeloop.models import LLMClient, MessagesEndpoint, OfflineAuditor, ScriptedClient
    from safeloop.review import AttestationResult, DiffResult, ReviewFrame, ReviewSurface
    from safeloop.spec import Ceilings, Criterion, SpecResult, SpecWriter, ToolGrant
    from safeloop.tools import Permission, ToolRegistry, file_tools

_ROOMS = {
    "breaker": ("CircuitBreaker",),
    "errors": ("CircuitBreakerError", "SafeloopError", "SessionNotFoundError"),
    "ledger": ("Ledger", "LedgerRow"),
    "loop": ("AgentLoop", "LoopResult", "govern"),
    "models": ("LLMClient", "MessagesEndpoint", "OfflineAuditor", "ScriptedClient"),
    "review": ("AttestationResult", "DiffResult", "ReviewFrame", "ReviewSurface"),
    "spec": ("Ceilings", "Criterion", "SpecResult", "SpecWriter", "ToolGrant"),
    "tools": ("Permission", "ToolRegistry", "file_tools"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "AgentLoop",
    "AttestationResult",
    "Ceilings",
    "CircuitBreaker",
    "CircuitBreakerError",
    "Criterion",
    "DiffResult",
    "LLMClient",
    "Ledger",
    "LedgerRow",
    "LoopResult",
    "MessagesEndpoint",
    "OfflineAuditor",
    "Permission",
    "ReviewFrame",
    "ReviewSurface",
    "SafeloopError",
    "ScriptedClient",
    "SessionNotFoundError",
    "SpecResult",
    "SpecWriter",
    "ToolGrant",
    "ToolRegistry",
    "file_tools",
    "govern",
]


def __getattr__(name: str) -> Any:
    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
