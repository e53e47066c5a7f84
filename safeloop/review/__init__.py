"""Frame, attestation, release and audit: the judge, without the judged."""

from safeloop.review.attesting.attestation import AttestationResult
from safeloop.review.framing.frame import DiffResult, ReviewFrame
from safeloop.review.surface import ReviewSurface

__all__ = ["AttestationResult", "DiffResult", "ReviewFrame", "ReviewSurface"]
