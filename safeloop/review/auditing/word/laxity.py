"""Releases under a policy that asks for less than the auditor's own: allowed by their word, and worth a note."""

from __future__ import annotations

from collections.abc import Iterator

from safeloop.errors import EncodingError
from safeloop.ledger import Row
from safeloop.ledger.trust import Trust
from safeloop.review.auditing.findings import counted
from safeloop.review.releasing.policy import ReleasePolicy, parse_policy, read_canonical


class OwnPolicy:
    """The auditor's own `release.toml`, and the releases that it would not have allowed for their policy alone.

    Args:
        trust: Where it is pinned; without such a file nothing is compared.

    Raises:
        KeyUnusable: It is not understood: what it was meant to ask for would not be asked.
    """

    def __init__(self, trust: Trust) -> None:
        self._path = trust.path / "release.toml"
        self._policy: ReleasePolicy | None = None
        self._first = ""
        self._count = 0
        if trust.release_policy_text is not None:
            self._policy = parse_policy(trust.release_policy_text, str(self._path))

    def compare(self, row: Row) -> None:
        """Take in a `release` row."""
        try:
            stated = read_canonical(row.data["policy"])
        except EncodingError:  # a finding already
            return
        laxer = () if self._policy is None else _laxer(stated, self._policy)
        if laxer:
            self._first = self._first or f"the policy of the release in row {row.id} is laxer in {', '.join(laxer)}"
            self._count += 1

    def notes(self) -> Iterator[str]:
        """Yield what the reader should know of them."""
        if self._count:
            more = f", and {counted(self._count - 1, 'other release')}" if self._count > 1 else ""
            yield f"{self._first}{more}: less than {self._path} asks for"


def _laxer(stated: ReleasePolicy, own: ReleasePolicy) -> tuple[str, ...]:
    """Return the keys in which a policy asks for less than the auditor's own."""
    laxer = {
        "accepts": stated.accepts < own.accepts,
        "any_reject_blocks": own.any_reject_blocks and not stated.any_reject_blocks,
        "accept_breach": stated.accept_breach and not own.accept_breach,
        "accept_unmet": stated.accept_unmet and not own.accept_unmet,
    }
    return tuple(key for key, is_laxer in laxer.items() if is_laxer)
