"""Every error of safeloop, drawn as one tree, each with the exit code that a wrapper sees.

Bad data is ours (`SafeloopError`); a wrong call order is `RuntimeError`; a breach is a result, and its
exception is only how the breaker says it. A message is a lowercase sentence that says what, where and
which; a hint is the command that mends it.

    SafeloopError                    1   unexpected failure
    ├── SettingError                 2   usage, or a missing setting
    │   └── SpecError                2   the definition of done was refused
    ├── CircuitBreakerError         10   the loop stopped itself
    ├── VerificationError           11   bytes, a signature, a proof or a frame does not hold
    │   ├── EncodingError           11   not the canonical encoding
    │   ├── SignatureMismatch       11   a signature does not verify
    │   └── ProofError              11   a checkpoint or Merkle proof does not hold
    ├── NotAttested                 12   the gate stays shut
    ├── NeedsTerminal               13   only a person can answer this
    ├── LedgerError                 14   ledger missing, locked or unusable
    │   ├── LedgerNotFound          14
    │   ├── LedgerLocked            14
    │   ├── StateMismatch           14   the ledger is not the one this key folder last signed
    │   ├── KeyUnusable             14   a key or trust folder is missing or unusable
    │   ├── NotALoop                14   the session is a program's own: no loop can go on with it
    │   ├── SessionClosed           14   the session is closed for good
    │   └── SessionNotFoundError    14   also a KeyError, as in the tutorial
    ├── Suspended                   15   waiting for something that is not the model
    ├── CriteriaUnmet               16   ended, but not as promised
    ├── RunFailed                   17   failed, or refused by the model
    │   └── AttemptFailed           17   one attempt at the model brought no reply
    └── AuditIncomplete             18   nothing false was found, but not everything could be checked
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a wrapper reads; the table in the documentation is generated from this."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    BREACH = 10
    VERIFICATION_FAILED = 11
    NOT_ATTESTED = 12
    NEEDS_TERMINAL = 13
    UNUSABLE = 14
    SUSPENDED = 15
    UNMET = 16
    FAILED = 17
    INCOMPLETE = 18
    CANCELLED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        """One line for the documentation."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done, and true",
    ExitCode.UNEXPECTED: "unexpected failure",
    ExitCode.USAGE: "usage, or a missing setting (model, API key, price)",
    ExitCode.BREACH: "breach: the loop stopped itself",
    ExitCode.VERIFICATION_FAILED: "verification failed",
    ExitCode.NOT_ATTESTED: "not attested, or declined",
    ExitCode.NEEDS_TERMINAL: "needs a terminal (or a signature made elsewhere)",
    ExitCode.UNUSABLE: "ledger or key missing, locked or unusable, or session unknown",
    ExitCode.SUSPENDED: "suspended: waiting for quota, a window or an approval",
    ExitCode.UNMET: "ended with criteria unmet",
    ExitCode.FAILED: "failed, or refused by the model",
    ExitCode.INCOMPLETE: "audit incomplete",
    ExitCode.CANCELLED: "cancelled",
    ExitCode.TERMINATED: "terminated",
}


class SafeloopError(Exception):
    """Something that safeloop knows how to explain.

    Args:
        message: A lowercase sentence: what, where, which one.
        hint: The command, or the next step, that mends it; may be empty.
    """

    exit_code = ExitCode.UNEXPECTED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class SettingError(SafeloopError):
    """A setting or an argument is missing or has no meaning."""

    exit_code = ExitCode.USAGE


class SpecError(SettingError):
    """The definition of done was refused."""


class CircuitBreakerError(SafeloopError):
    """The breaker refused the next call.

    Args:
        reason: The ceiling: `turn_ceiling`, `token_ceiling`, ...
        turn_count: The turn that was refused, from 1.
        accumulated_tokens: Tokens charged before the refused call.
    """

    exit_code = ExitCode.BREACH

    def __init__(self, reason: str, turn_count: int, accumulated_tokens: int) -> None:
        super().__init__(
            f"circuit breaker tripped: {reason} (turn={turn_count}, tokens={accumulated_tokens})"
        )
        self.reason = reason
        self.turn_count = turn_count
        self.accumulated_tokens = accumulated_tokens


class VerificationError(SafeloopError):
    """Something that was signed, committed or proved does not hold."""

    exit_code = ExitCode.VERIFICATION_FAILED


class EncodingError(VerificationError):
    """Bytes are not in the canonical encoding, or a value cannot be put into it."""


class SignatureMismatch(VerificationError):
    """A signature does not verify under the key that it names."""


class ProofError(VerificationError):
    """A checkpoint, an inclusion proof or a consistency proof does not hold."""


class NotAttested(SafeloopError):
    """The gate stays shut: nobody who counts has accepted, or somebody has rejected."""

    exit_code = ExitCode.NOT_ATTESTED


class NeedsTerminal(SafeloopError):
    """Only a person at a terminal can answer, and there is no terminal."""

    exit_code = ExitCode.NEEDS_TERMINAL


class LedgerError(SafeloopError):
    """A ledger cannot be used."""

    exit_code = ExitCode.UNUSABLE


class LedgerNotFound(LedgerError):
    """There is no ledger at this path."""


class LedgerLocked(LedgerError):
    """Another process holds the ledger or the session."""


class StateMismatch(LedgerError):
    """The ledger is not the one that this key folder last signed: shorter, forked, moved or replaced."""


class KeyUnusable(LedgerError):
    """A key, a key folder or a trust folder is missing, unsafe or not what it says."""


class NotALoop(LedgerError):
    """A session was led by a program of its own, so no loop can go on with it."""


class SessionClosed(LedgerError):
    """A session is closed for good, so nothing goes on with it."""


class SessionNotFoundError(LedgerError, KeyError):
    """No session has this id, or it lacks what is asked of it."""

    def __str__(self) -> str:
        return self.message


class Suspended(SafeloopError):
    """The session waits; it was closed as `suspended` and nothing is lost."""

    exit_code = ExitCode.SUSPENDED


class CriteriaUnmet(SafeloopError):
    """The session ended, but a criterion of its spec does not hold."""

    exit_code = ExitCode.UNMET


class RunFailed(SafeloopError):
    """The session ended as `failed` or `refused`."""

    exit_code = ExitCode.FAILED


class AttemptFailed(RunFailed):
    """One attempt at the model brought no reply.

    Args:
        message: What happened, in one sentence.
        error_class: A short stable name: the SDK's class, or one of ours.
        status: The HTTP status, if there was one.
        in_doubt: True if the provider may have billed the attempt: it stays charged in full.
        retry_after_s: What the server asked for, in seconds.
        detail: The server's own words, kept as content, never in a row.
        is_final: Nothing says that another attempt could go better.
    """

    def __init__(
        self,
        message: str,
        *,
        error_class: str,
        status: int | None = None,
        in_doubt: bool,
        retry_after_s: float | None = None,
        detail: str = "",
        hint: str = "",
        is_final: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.error_class = error_class
        self.status = status
        self.in_doubt = in_doubt
        self.retry_after_s = retry_after_s
        self.detail = detail
        self.is_final = is_final


class AuditIncomplete(SafeloopError):
    """Nothing false was found, but not everything could be checked."""

    exit_code = ExitCode.INCOMPLETE
