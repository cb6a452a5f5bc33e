"""The Merkle tree over entries: RFC 6962 section 2.1 hashing, its proofs, and C2SP tlog-mirror subtree proofs. Pure.

One shape serves all three proofs. The proof that the subtree over entries ``[start, end)`` belongs to the tree of
``size`` entries (draft-ietf-plants-merkle-tree-certs section 4.4, SUBTREE_PROOF) is

- the RFC 6962 inclusion proof of entry ``i`` for ``[i, i + 1)``,
- the RFC 6962 consistency proof of ``old`` for ``[0, old)``.

Trees are read through ``ReadSubtree``: only complete subtrees of 2**level entries are ever stored, O(size) hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
LONGEST_PROOF = 63

ReadSubtree = Callable[[int, int], bytes]
"""(level, index) -> hash of the complete subtree over entries [index * 2**level, (index + 1) * 2**level)."""


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def split(count: int) -> int:
    """The largest power of two smaller than ``count`` (RFC 6962: k), for ``count`` >= 2."""
    return int(1 << ((count - 1).bit_length() - 1))


def is_subtree(start: int, end: int) -> bool:
    """Whether [start, end) is a subtree that a proof can speak of: ``start`` a multiple of the enclosing power of 2."""
    return 0 <= start < end and start % (1 << (end - start - 1).bit_length()) == 0


class Frontier:
    """The right edge of a growing tree: the complete subtrees that make up ``size`` entries, largest first."""

    def __init__(self, size: int = 0, subtrees: Sequence[bytes] = ()) -> None:
        """:param subtrees: one hash for each 1 bit of ``size``, largest subtree first."""
        if size.bit_count() != len(subtrees):
            raise ValueError(f"{size} entries need {size.bit_count()} subtrees, got {len(subtrees)}")
        self.size = size
        self._subtrees = list(subtrees)

    @classmethod
    def read(cls, size: int, read: ReadSubtree) -> Frontier:
        return cls(size, [read(level, index) for level, index in complete_subtrees(0, size)])

    def copy(self) -> Frontier:
        return Frontier(self.size, self._subtrees)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash; returns the subtrees it completed above the leaf: (level, index, hash), lowest first."""
        completed = []
        index, level, hashed = self.size, 0, leaf
        while index & 1:
            hashed = node_hash(self._subtrees.pop(), hashed)
            index, level = index >> 1, level + 1
            completed.append((level, index, hashed))
        self._subtrees.append(hashed)
        self.size += 1
        return completed

    def root(self) -> bytes:
        return _fold(self._subtrees)


def complete_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """(level, index) of the complete subtrees that make up the subtree [start, end), left to right."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def subtree_root(start: int, end: int, read: ReadSubtree) -> bytes:
    """MTH(D[start:end]) for a valid subtree; the root of a tree of ``end`` entries when ``start`` is 0."""
    return _fold([read(level, index) for level, index in complete_subtrees(start, end)])


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def subtree_proof(start: int, end: int, size: int, read: ReadSubtree) -> list[bytes]:
    """Proof that the subtree [start, end) lies in the tree of ``size`` entries.

    :raises ValueError: not a valid subtree, or beyond ``size``.
    """
    if start == 0 and end == 0:
        return []
    if not is_subtree(start, end) or end > size:
        raise ValueError(f"[{start}, {end}) is no subtree of a tree of {size} entries")
    proof: list[bytes] = []
    _prove(start, end, 0, size, True, read, proof)
    return proof


def inclusion_proof(index: int, size: int, read: ReadSubtree) -> list[bytes]:
    """RFC 6962 section 2.1.1, from the leaf's sibling to the root's child."""
    return subtree_proof(index, index + 1, size, read)


def consistency_proof(old_size: int, size: int, read: ReadSubtree) -> list[bytes]:
    """RFC 6962 section 2.1.2; empty when ``old_size`` is 0 or equal to ``size``."""
    return subtree_proof(0, old_size, size, read)


def verify_subtree(start: int, end: int, subtree: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that [start, end) with hash ``subtree`` lies in the tree of ``size`` with ``root``."""
    if not is_subtree(start, end) or end > size or len(proof) > LONGEST_PROOF:
        return False
    if any(len(part) != HASH_BYTES for part in (subtree, root, *proof)):
        return False
    parts = iter(proof)
    try:
        found_subtree, found_root = _recompute(start, end, 0, size, subtree, parts)
    except StopIteration:
        return False
    return found_subtree == subtree and found_root == root and next(parts, None) is None


def verify_inclusion(index: int, leaf: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    return verify_subtree(index, index + 1, leaf, size, root, proof)


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of ``size`` is an extension of the tree of ``old_size``.

    The empty tree is consistent with every tree; equal sizes need equal roots; both with an empty proof.
    """
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT and (size > 0 or root == EMPTY_ROOT)
    return verify_subtree(0, old_size, old_root, size, root, proof)


def shown_prefix(old_size: int, size: int, root: bytes, proof: Sequence[bytes]) -> bytes | None:
    """The root of the first ``old_size`` entries of the tree ``size``, ``root``, as a consistency proof of it shows.

    None when ``proof`` is no path of that tree, and for powers of two: their proofs leave that root out (RFC 6962
    section 2.1.2). Where a proof fails, this tells a tree with other entries from a broken proof.
    """
    if not 0 < old_size < size or old_size & (old_size - 1) == 0 or len(proof) > LONGEST_PROOF:
        return None
    if any(len(part) != HASH_BYTES for part in (root, *proof)):
        return None
    parts = iter(proof)
    try:
        prefix, found_root = _recompute(0, old_size, 0, size, None, parts)
    except StopIteration:
        return None
    return prefix if found_root == root and next(parts, None) is None else None


def _fold(subtrees: Sequence[bytes]) -> bytes:
    if not subtrees:
        return EMPTY_ROOT
    hashed = subtrees[-1]
    for left in reversed(subtrees[:-1]):
        hashed = node_hash(left, hashed)
    return hashed


def _prove(start: int, end: int, low: int, high: int, known: bool, read: ReadSubtree, proof: list[bytes]) -> None:
    """Appends SUBTREE_SUBPROOF of [start, end) within [low, high); ``known``: the verifier has the subtree's hash."""
    if (start, end) == (low, high):
        if not known:
            proof.append(subtree_root(low, high, read))
        return
    middle = low + split(high - low)
    if end <= middle:
        _prove(start, end, low, middle, known, read, proof)
        proof.append(subtree_root(middle, high, read))
    elif start >= middle:
        _prove(start, end, middle, high, known, read, proof)
        proof.append(subtree_root(low, middle, read))
    else:  # a valid subtree that straddles begins at low, so its left half is the tree's
        _prove(middle, end, middle, high, False, read, proof)
        proof.append(subtree_root(low, middle, read))


def _recompute(
    start: int, end: int, low: int, high: int, known: bytes | None, proof: Iterator[bytes]
) -> tuple[bytes, bytes]:
    """(hash of [start, end), hash of [low, high)) as the proof has them; mirrors ``_prove``."""
    if (start, end) == (low, high):
        hashed = next(proof) if known is None else known
        return hashed, hashed
    middle = low + split(high - low)
    if end <= middle:
        subtree, left = _recompute(start, end, low, middle, known, proof)
        return subtree, node_hash(left, next(proof))
    if start >= middle:
        subtree, right = _recompute(start, end, middle, high, known, proof)
        return subtree, node_hash(next(proof), right)
    subtree, right = _recompute(middle, end, middle, high, None, proof)
    left = next(proof)
    return node_hash(left, subtree), node_hash(left, right)
