"""Token bounds, prices, reservations, settlements and the circuit breaker."""

from safeloop.breaker.admission import check_admission
from safeloop.breaker.batches import Batch, admit_calls, begin_call
from safeloop.breaker.bounds import Bound, How, Request, Settled, bytes_bound, counted_bound, estimate_bound
from safeloop.breaker.breaker import CircuitBreaker
from safeloop.breaker.decisions import Demand, Full, Granted, Place, Refused
from safeloop.breaker.fitting import require_price
from safeloop.breaker.overtime import check_time
from safeloop.breaker.prices import FREE, Price
from safeloop.breaker.reservation import breach_draft, refusal_draft, reserve
from safeloop.breaker.scopes import SUSPENDED, check_open, check_running
from safeloop.breaker.settlement import attempt_draft, turn_draft

__all__ = [
    "FREE",
    "SUSPENDED",
    "Batch",
    "Bound",
    "CircuitBreaker",
    "Demand",
    "Full",
    "Granted",
    "How",
    "Place",
    "Price",
    "Refused",
    "Request",
    "Settled",
    "admit_calls",
    "attempt_draft",
    "begin_call",
    "breach_draft",
    "bytes_bound",
    "check_admission",
    "check_open",
    "check_running",
    "check_time",
    "counted_bound",
    "estimate_bound",
    "refusal_draft",
    "require_price",
    "reserve",
    "turn_draft",
]
