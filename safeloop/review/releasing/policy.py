"""The release policy: how many must accept, and what may be released that did not complete.

    accepts = 2              # distinct reviewer keys that must accept, from 1
    any_reject_blocks = true
    accept_breach = false    # sessions that the breaker stopped
    accept_unmet = false     # sessions that ended with criteria unmet

It stands in `release.toml` of the trust folder, where the one who pins keys decides, and in the words of `canonical`
in every `release` row, so that an audit can hold the release against it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from safeloop.errors import EncodingError, KeyUnusable
from safeloop.ledger import encode, parse, visible

MOST_ACCEPTS = 100  # a `release` row lists the leaf of each accept, and a row has an end
_HINT = "its keys: accepts = 1, any_reject_blocks = true, accept_breach = false, accept_unmet = false"


@dataclass(frozen=True, slots=True)
class ReleasePolicy:
    """What the gate asks for.

    Attributes:
        accepts: Distinct keys that must accept, 1 to 100, inclusive.
        any_reject_blocks: One reviewer's reject keeps the gate shut, whatever others say.
        accept_breach: Sessions that ended `breached` may be released.
        accept_unmet: Sessions that ended `unmet` may be released.

    Raises:
        KeyUnusable: A value that no policy can have.
    """

    accepts: int = 1
    any_reject_blocks: bool = True
    accept_breach: bool = False
    accept_unmet: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not type(field.default):
                wanted = "a number" if field.name == "accepts" else "true or false"
                raise KeyUnusable(f"{field.name} is not {wanted}: {visible(repr(value), 60)}", hint=_HINT)
        if not 1 <= self.accepts <= MOST_ACCEPTS:
            raise KeyUnusable(f"accepts is {visible(str(self.accepts), 60)}, not from 1 to {MOST_ACCEPTS}", hint=_HINT)

    @property
    def canonical(self) -> str:
        """The policy as a `release` row states it: every key, in the canonical encoding."""
        return encode(asdict(self)).decode()


def parse_policy(text: str | None, name: str = "release.toml") -> ReleasePolicy:
    """Read `release.toml`; None, where there is no such file, means the defaults.

    Args:
        text: TOML; a key that is not given has its default.
        name: What messages call the file.

    Raises:
        KeyUnusable: Not TOML, an unknown key, or a value that no policy can have; file and key are named.
    """
    if text is None:
        return ReleasePolicy()
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise KeyUnusable(f"{name} is not TOML: {visible(str(error))}", hint=_HINT) from None
    return _policy(values, name)


def read_canonical(text: str) -> ReleasePolicy:
    """Read the policy that a `release` row states.

    Raises:
        EncodingError: Not what `canonical` writes.
    """
    value = parse(text.encode("utf-8", "surrogatepass"))
    try:
        policy = _policy(value, "the policy") if isinstance(value, dict) else None
    except KeyUnusable as error:
        raise EncodingError(str(error)) from None
    if policy is None or policy.canonical != text:
        raise EncodingError("the policy is not an object with every key of a release policy")
    return policy


def _policy(values: Mapping[str, Any], name: str) -> ReleasePolicy:
    known = [field.name for field in fields(ReleasePolicy)]
    for key in values:
        if key not in known:
            # A key that is passed over may have been meant to keep the gate shut.
            raise KeyUnusable(f"{name} has an unknown key: {visible(key, 60)}", hint=_HINT)
    try:
        return ReleasePolicy(**values)
    except KeyUnusable as error:
        raise KeyUnusable(f"{name}: {error}", hint=error.hint) from None
