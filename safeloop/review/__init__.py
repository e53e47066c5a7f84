"""Frame, attestation, release and audit: the judge, without the judged."""

from safeloop.review.attestation import AttestationResult
from safeloop.review.frame import DiffResult, ReviewFrame
from safeloop.review.surface import ReviewSurface

__all__ = ["AttestationResult", "DiffResult", "ReviewFrame", "ReviewSurface"]
