"""Stored hashes are believed only at places that are numbers, whole subtrees at once or one by one."""

from __future__ import annotations

import pytest

from safeloop.review.auditing.stored import StoredHashes

LEVELS = [[b"a", b"b"], [b"ab"]]


def stored(leaves: list[tuple[object, object]]) -> StoredHashes:
    levels: dict[int, list[tuple[object, object]]] = {0: leaves, 1: [(0, b"ab")]}
    return StoredHashes(lambda level: iter(levels[level]), lambda: 3)  # type: ignore[arg-type, return-value]


def test_a_subtree_that_is_stored_as_it_should_be_is_passed_over() -> None:
    assert stored([(0, b"a"), (1, b"b")]).pass_over(0, LEVELS)


@pytest.mark.parametrize(
    "leaves", [[(0, b"a")], [(0, b"a"), (1, b"c")], [(0, b"a"), (2, b"b")], [(0.0, b"a"), (1, b"b")], [(False, b"a"), (1, b"b")]]
)
def test_anything_else_can_still_be_asked_for_one_by_one(leaves: list[tuple[object, object]]) -> None:
    found = stored(leaves)
    assert not found.pass_over(0, LEVELS)
    told = [found.at(0, position) for position in range(2)]
    numbered = {at: value for at, value in leaves if type(at) is int}
    assert told == [numbered.get(position) for position in range(2)]
    assert found.at(1, 0) == b"ab"
