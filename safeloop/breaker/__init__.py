"""Token bounds, reservations and the circuit breaker."""

from safeloop.breaker.bounds import Bound, How, Request, Settled, bytes_bound, counted_bound, estimate_bound
from safeloop.breaker.breaker import CircuitBreaker
from safeloop.breaker.reservation import Granted, Place, Refused, breach_draft, check_open, reserve

__all__ = [
    "Bound",
    "CircuitBreaker",
    "Granted",
    "How",
    "Place",
    "Refused",
    "Request",
    "Settled",
    "breach_draft",
    "bytes_bound",
    "check_open",
    "counted_bound",
    "estimate_bound",
    "reserve",
]
