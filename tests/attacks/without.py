"""What stands in the place of a check that is taken out: functions that never object."""

from __future__ import annotations

import dataclasses
import json
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from safeloop.errors import LedgerError
from safeloop.ledger import Row, seal
from safeloop.ledger.note import Checkpoint, Verifier, parse_checkpoint
from safeloop.review.auditing.audit import _Audit
from safeloop.review.auditing.blocks import blocks
from safeloop.review.auditing.chains import Chains
from safeloop.review.auditing.contents import ContentCheck
from safeloop.review.auditing.findings import Finding, Rule
from safeloop.review.auditing.trees import Trees, TreeVerdict
from safeloop.review.auditing.word.states import Voice


def nothing(*_: object, **__: object) -> tuple[()]:
    return ()


def silence(*_: object, **__: object) -> str:
    return ""


def consent(*_: object, **__: object) -> bool:
    return True


def never(*_: object, **__: object) -> None:
    return None


def loosely(idx: int, body: bytes, signature: bytes) -> Row:
    """Parse a row as most programs would: the last of two keys counts, and order and spaces do not."""
    value = json.loads(body)
    return Row(
        idx=idx, body=body, sig=signature, at=value["at"], data=value["data"], kind=value["kind"], ledger=value["ledger"],
        n=value["n"], prev=value["prev"], session=value["session"], writer=value["writer"],
        leaf=seal.leaf(body, signature).hex(),
    )


def any_writer(self: Any, key_id: str) -> Any:
    """Accept whatever writer a row names: the first pinned one stands for it."""
    return next(iter(self.writers.values())).key


def whatever_the_rows_make(self: Trees) -> Any:
    """Choose the tree of the rows, as if the head had signed it."""
    return self._rows or self._stored, True


def voice_of_its_own(row: int, leaf: str, key: bytes, *rest: Any) -> Voice:
    """Take every attestation for another person's."""
    return Voice(row, leaf, key + row.to_bytes(4), *rest)


NO_ORIGIN = property(lambda self: None, lambda self, value: None)
"""What an examination knows of the ledger's origin, if it is not to compare it."""

def refusal(*_: object, **__: object) -> bool:
    return False


def as_equal(stored: Sequence[object], made: Sequence[object]) -> bool:
    """Compare values as Python does: a real that equals an integer is one."""
    return tuple(stored) == tuple(made)


_FINISH, _TELL, _FOLLOW = Trees.finish, Chains.tell, Chains.follow


def without_gaps(self: Trees, faulty: Any) -> TreeVerdict:
    """Draw the trees' conclusions, and count no positions."""
    verdict = _FINISH(self, faulty)
    return dataclasses.replace(verdict, findings=tuple(each for each in verdict.findings if each.rule != "missing"))


def follow_anything(self: Chains, row: Row, *, in_place: bool) -> str:
    _FOLLOW(self, row, in_place=in_place)
    return ""


def open_on_anything(self: Chains, row: Row) -> str:
    _TELL(self, row)
    return ""


def finish_blindly(self: ContentCheck) -> tuple[tuple[()], tuple[()]]:
    return (), ()


def but_for(rule: Rule, where: str) -> Callable[..., Iterator[Finding]]:
    """Return the function of this name, deaf for one rule: it takes in what it did, and does not speak of that."""
    original = pkgutil.resolve_name(where)

    def deaf(*args: Any, **kwargs: Any) -> Iterator[Finding]:
        return (each for each in original(*args, **kwargs) if each.rule is not rule)

    return deaf


def until_it_breaks(*args: Any) -> Iterator[Any]:
    """Read blocks of rows until the file cannot be read, and say nothing of it."""
    try:
        yield from blocks(*args)
    except LedgerError:
        return


_READ = _Audit._read


def read_anything(self: Any) -> None:
    """Read the file, and think nothing of it if there are no rows."""
    _READ(self)
    self._findings = [each for each in self._findings if each.rule is not Rule.EMPTY]


def any_log(self: Any, origin: str, note: str = "") -> Verifier:
    """Accept whatever origin a note states: the first pinned key stands for it."""
    return Verifier(origin, next(iter(self.policy.log_keys)))


def first_key(note: str, keys: Any, revoked: Any) -> Any:
    """Choose a log's key, revoked or not."""
    return next(iter(keys))


def unverified(note: str, verifier: Verifier) -> Checkpoint:
    """Believe a checkpoint without its signature."""
    return parse_checkpoint(note)


def unwitnessed(*_: object) -> tuple[tuple[()], tuple[()]]:
    return (), ()


def anybody(key: Any, *_: object) -> Any:
    """Take whoever signed for a pinned reviewer."""
    return key
