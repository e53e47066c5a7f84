"""Frame, attestation, release and audit: the judge, without the judged.

Each public name is imported when it is first used: an audit's processes need none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safeloop.review.attesting.attestation import AttestationResult
    from safeloop.review.framing.frame import DiffResult, ReviewFrame
    from safeloop.review.surface import ReviewSurface

_MODULE_OF = {
    "AttestationResult": "attesting.attestation", "DiffResult": "framing.frame", "ReviewFrame": "framing.frame",
    "ReviewSurface": "surface",
}

__all__ = ["AttestationResult", "DiffResult", "ReviewFrame", "ReviewSurface"]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
