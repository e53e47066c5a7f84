"""The tree, against the recursion of RFC 6962 itself, two other implementations, and forged proofs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
import tlog_scales.tlog as scales
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from safeloop.errors import ProofError
from safeloop.ledger import merkle
from safeloop.ledger.merkle import EMPTY_ROOT, Frontier
from tests.ledger.making import vector


def leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(b"\x00%d" % number).digest() for number in range(count)]


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(hashes[:k]) + naive_root(hashes[k:])).digest()


def nodes_of(hashes: list[bytes]) -> Callable[[int, int], bytes]:
    frontier, stored = Frontier(), {}
    for leaf in hashes:
        for level, position, digest in frontier.append(leaf):
            assert (level, position) not in stored
            stored[level, position] = digest
    return lambda level, position: stored[level, position]


HASHES = leaves(70)
NODE = nodes_of(HASHES)


def test_every_stored_node_is_the_root_of_its_full_subtree() -> None:
    for size in range(70):
        for level in range(7):
            for position in range(size >> level):
                begin = position << level
                assert NODE(level, position) == naive_root(HASHES[begin : begin + (1 << level)])


@pytest.mark.parametrize("size", range(70))
def test_roots_at_every_size_are_those_of_the_recursion(size: int) -> None:
    expected = naive_root(HASHES[:size])
    assert merkle.root(HASHES[:size]) == expected
    assert merkle.root_at(size, NODE) == expected
    assert Frontier.read(size, NODE).root() == expected


def test_roots_are_those_of_an_independent_library() -> None:
    tree = InmemoryTree(algorithm="sha256")
    own: list[bytes] = []
    assert merkle.root([]) == tree.get_root() == EMPTY_ROOT
    for number in range(130):
        entry = b"%d" % number
        tree.append_entry(entry)
        own.append(hashlib.sha256(b"\x00" + entry).digest())
        assert merkle.root(own) == tree.get_root()


@pytest.mark.parametrize("size", range(1, 35))
def test_inclusion_proofs_of_every_leaf_convince_us_and_others(size: int) -> None:
    root = merkle.root_at(size, NODE)
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, NODE)
        merkle.verify_inclusion(HASHES[index], index, size, proof, root)
        scales.InclusionProof(index, size, list(proof)).check(HASHES[index], root)


@pytest.mark.parametrize("new", range(35))
def test_consistency_proofs_of_every_pair_convince_us_and_others(new: int) -> None:
    new_root = merkle.root_at(new, NODE)
    for old in range(new + 1):
        old_root = merkle.root_at(old, NODE)
        proof = merkle.consistency_proof(old, new, NODE)
        merkle.verify_consistency(old, new, proof, old_root, new_root)
        scales.ConsistencyProof(old, new, list(proof)).check(old_root, new_root)


def test_the_vectors_hold_both_ways() -> None:
    tree = json.loads(vector("tree.json"))
    hashes = [bytes.fromhex(leaf) for leaf in tree["leaves"]]
    roots = [bytes.fromhex(root) for root in tree["roots"]]
    node = nodes_of(hashes)
    assert [merkle.root(hashes[:size]) for size in range(len(hashes) + 1)] == roots
    assert tree["inclusion"]
    for case in tree["inclusion"]:
        index, size, proof = case["index"], case["size"], [bytes.fromhex(step) for step in case["proof"]]
        assert list(merkle.inclusion_proof(index, size, node)) == proof
        merkle.verify_inclusion(hashes[index], index, size, proof, roots[size])
    assert tree["consistency"]
    for case in tree["consistency"]:
        old, new, proof = case["old"], case["new"], [bytes.fromhex(step) for step in case["proof"]]
        assert list(merkle.consistency_proof(old, new, node)) == proof
        merkle.verify_consistency(old, new, proof, roots[old], roots[new])


@settings(max_examples=300)
@given(st.integers(1, 70), st.data())
def test_a_tampered_inclusion_proof_convinces_nobody(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = list(merkle.inclusion_proof(index, size, NODE))
    leaf, root = HASHES[index], merkle.root_at(size, NODE)
    change = data.draw(st.sampled_from(["leaf", "root", "index", "size", "step", "drop", "add", "swap"]))
    if change == "leaf":
        leaf = data.draw(st.sampled_from(HASHES).filter(lambda other: other != HASHES[index]))
    elif change == "root":
        root = _flipped(root, data)
    elif change == "index":
        index = data.draw(st.integers(-1, size + 1).filter(lambda other: other != index))
    elif change == "size":
        # One and the same path may fit two sizes; the root never does, because it is the size's own.
        size = data.draw(st.integers(1, 70).filter(lambda other: other != size))
        root = merkle.root_at(size, NODE)
        if list(merkle.inclusion_proof(index, size, NODE) if index < size else ()) == proof and index < size:
            return
    elif change == "add":
        proof.insert(data.draw(st.integers(0, len(proof))), data.draw(st.sampled_from([*HASHES, EMPTY_ROOT])))
    elif not proof:
        return
    elif change == "step":
        step = data.draw(st.integers(0, len(proof) - 1))
        proof[step] = _flipped(proof[step], data)
    elif change == "drop":
        del proof[data.draw(st.integers(0, len(proof) - 1))]
    else:
        if proof == proof[::-1]:
            return
        proof.reverse()
    with pytest.raises(ProofError):
        merkle.verify_inclusion(leaf, index, size, proof, root)


@settings(max_examples=300)
@given(st.integers(0, 70), st.data())
def test_a_tampered_consistency_proof_convinces_nobody(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, new))
    proof = list(merkle.consistency_proof(old, new, NODE))
    old_root, new_root = merkle.root_at(old, NODE), merkle.root_at(new, NODE)
    change = data.draw(st.sampled_from(["old_root", "new_root", "old", "step", "drop", "add", "swap"]))
    if change == "old_root":
        old_root = _flipped(old_root, data)
    elif change == "new_root":
        if old == 0:  # everything extends the empty tree
            return
        new_root = _flipped(new_root, data)
    elif change == "old":
        if old == 0:
            return
        old = data.draw(st.integers(0, new + 1).filter(lambda other: other != old))
    elif change == "add":
        proof.insert(data.draw(st.integers(0, len(proof))), data.draw(st.sampled_from([*HASHES, EMPTY_ROOT])))
    elif not proof:
        return
    elif change == "step":
        step = data.draw(st.integers(0, len(proof) - 1))
        proof[step] = _flipped(proof[step], data)
    elif change == "drop":
        del proof[data.draw(st.integers(0, len(proof) - 1))]
    else:
        if proof == proof[::-1]:
            return
        proof.reverse()
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, new, proof, old_root, new_root)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 5), (5, 5), (0, -1)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="has no leaf"):
        merkle.inclusion_proof(index, size, NODE)
    with pytest.raises(ProofError, match="has no leaf"):
        merkle.verify_inclusion(HASHES[0], index, size, (), HASHES[0])


@pytest.mark.parametrize(("old", "new"), [(2, 1), (-1, 4), (0, -1)])
def test_a_tree_does_not_extend_a_larger_one(old: int, new: int) -> None:
    with pytest.raises(ProofError, match="does not extend"):
        merkle.consistency_proof(old, new, NODE)
    with pytest.raises(ProofError, match="does not extend"):
        merkle.verify_consistency(old, new, (), EMPTY_ROOT, EMPTY_ROOT)


def test_an_interior_node_cannot_be_passed_off_as_a_leaf() -> None:
    inner = merkle.parent(HASHES[0], HASHES[1])
    with pytest.raises(ProofError):
        merkle.verify_inclusion(inner, 0, 4, [merkle.parent(HASHES[2], HASHES[3])], merkle.root_at(4, NODE))
    assert merkle.parent(HASHES[0], HASHES[1]) != merkle.parent(HASHES[1], HASHES[0])


def test_an_empty_consistency_proof_between_two_sizes_proves_nothing() -> None:
    with pytest.raises(ProofError, match="empty"):
        merkle.verify_consistency(3, 5, (), merkle.root_at(3, NODE), merkle.root_at(5, NODE))
    with pytest.raises(ProofError):
        merkle.verify_consistency(4, 5, (), merkle.root_at(4, NODE), merkle.root_at(5, NODE))


@pytest.mark.parametrize("index", [0, 6])
def test_a_proof_that_goes_on_beyond_the_root_is_too_long(index: int) -> None:
    proof = (*merkle.inclusion_proof(index, 7, NODE), EMPTY_ROOT)
    with pytest.raises(ProofError, match="too long"):
        merkle.verify_inclusion(HASHES[index], index, 7, proof, merkle.root_at(7, NODE))
    longer = (*merkle.consistency_proof(4, 7, NODE), EMPTY_ROOT)
    with pytest.raises(ProofError, match="too long"):
        merkle.verify_consistency(4, 7, longer, merkle.root_at(4, NODE), merkle.root_at(7, NODE))


def test_an_edge_that_does_not_fit_its_size_is_refused() -> None:
    with pytest.raises(ProofError, match="3 full subtrees"):
        Frontier(7, HASHES[:2])


@pytest.mark.parametrize(("size", "level"), [(1, 1), (2, 2), (6, 2), (7, 1)])
def test_a_subtree_is_added_only_where_one_of_its_size_can_begin(size: int, level: int) -> None:
    frontier = Frontier.read(size, NODE)
    with pytest.raises(ProofError, match=f"a subtree of level {level} cannot begin at leaf {size}"):
        frontier.append(HASHES[0], level)
    assert (frontier.size, frontier.root()) == (size, merkle.root_at(size, NODE))


def test_a_copied_edge_grows_apart() -> None:
    one = Frontier.read(5, NODE)
    other = one.copy()
    other.append(HASHES[5])
    assert (one.size, one.root()) == (5, merkle.root_at(5, NODE))
    assert (other.size, other.root()) == (6, merkle.root_at(6, NODE))


def _flipped(digest: bytes, data: st.DataObject) -> bytes:
    bit = data.draw(st.integers(0, 255))
    return digest[: bit // 8] + bytes([digest[bit // 8] ^ 1 << bit % 8]) + digest[bit // 8 + 1 :]


def test_a_root_that_was_asked_for_is_not_the_root_after_the_next_leaf() -> None:
    frontier, leaves = Frontier(), [bytes([number]) * 32 for number in range(20)]
    for count, leaf in enumerate(leaves, 1):
        before = frontier.root()
        frontier.append(leaf)
        assert frontier.root() == frontier.root() == merkle.root(leaves[:count]) != before
