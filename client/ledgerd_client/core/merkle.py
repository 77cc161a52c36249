"""
The Merkle tree of RFC 6962 section 2.1 and RFC 9162 section 2.1: hashes, proofs, verification.

Proofs are made of leaf *hashes*, 32 bytes each; whoever holds an entry hashes it with `leaf_hash`.
Node (level, index) is the root over leaves [index << level, (index + 1) << level), as far as the
tree reaches. Seen so, the RFC's recursion is a climb: go up one level at a time, and where the
tree does not reach the sibling, there is none and the node is its own parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from hashlib import sha256
from typing import Self

from ledgerd_client.core.encoding import U64_MAX
from ledgerd_client.core.errors import ProofError

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()

# (level, index) -> hash of the COMPLETE subtree of 2**level leaves from leaf index << level on.
# Proofs are built out of such a function, so that any storage can serve them.
Node = Callable[[int, int], bytes]

_LEAF = b"\x00"
NODE_PREFIX = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    return sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(NODE_PREFIX + left + right).digest()


def root(node: Node, size: int) -> bytes:
    """The root of the tree of the first `size` leaves; raises ProofError when size is negative."""
    if size < 0:
        raise ProofError(f"there is no tree of {size} leaves")
    return filled(node, 0, size) if size else EMPTY_ROOT


def inclusion_proof(node: Node, index: int, size: int) -> list[bytes]:
    """
    Prove leaf `index` in the tree of `size` leaves, its sibling first (RFC 6962 section 2.1.1).

    Raises ProofError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index} in a tree of {size}")
    return _siblings(node, 0, index, size)


def consistency_proof(node: Node, old: int, new: int) -> list[bytes]:
    """
    Prove the tree of `old` leaves a prefix of that of `new` (RFC 6962 section 2.1.2).

    Empty when the sizes are equal or old is 0. Raises ProofError unless 0 <= old <= new.
    """
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {old} leaves is no prefix of one of {new}")
    if old in {0, new}:
        return []
    level, index = _last_peak(old)
    proof = _siblings(node, level, index, new)
    # A peak that is the whole old tree is known to the verifier: the old root.
    return [node(level, index), *proof] if index else proof


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """
    Check that the tree of `size` leaves under root has the leaf hash `leaf` at index.

    Raises ProofError, whatever the values (RFC 9162 section 2.1.3.2).
    """
    if not 0 <= index < size <= U64_MAX:
        raise ProofError(f"there is no leaf {index} in a tree of {size}")
    check_hashes((leaf, root), proof)
    count, sides = _way_up(0, index, size)
    check_count(proof, count)
    computed = leaf
    for sibling in proof:
        pair = sibling + computed if sides & 1 else computed + sibling
        computed = sha256(NODE_PREFIX + pair).digest()
        sides >>= 1
    check_root(computed, root)


def root_before(index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """
    The root of the first `index` leaves, as an inclusion proof of leaf `index` has it on its left.

    Nothing is verified: whoever gave the proof may say anything. Raises ProofError when the proof
    is not as long as the sizes say, or nothing is before the leaf.
    """
    if not 0 < index < size <= U64_MAX:
        raise ProofError(f"nothing is before leaf {index} in a tree of {size}")
    check_hashes(proof)
    count, sides = _way_up(0, index, size)
    check_count(proof, count)
    left = [sibling for place, sibling in enumerate(proof) if sides >> place & 1]
    return reduce(lambda computed, sibling: node_hash(sibling, computed), left)


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """
    Check that the tree under old_root is a prefix of that under new_root.

    From size 0, whose root is EMPTY_ROOT, an empty proof shows every tree, and no other proof does
    (C2SP tlog-witness). Raises ProofError, whatever the values (RFC 9162 section 2.1.4.2).
    """
    if not 0 <= old_size <= new_size <= U64_MAX:
        raise ProofError(f"a tree of {old_size} leaves is no prefix of one of {new_size}")
    check_hashes((old_root, new_root), proof)
    for size, given in ((old_size, old_root), (new_size, new_root)):
        if size == 0:
            check_root(given, EMPTY_ROOT)
    if old_size == new_size:
        check_root(old_root, new_root)
    if old_size in {0, new_size}:
        check_count(proof, 0)
        return
    level, index = _last_peak(old_size)
    count, sides = _way_up(level, index, new_size)
    path = proof if index == 0 else proof[1:]
    check_count(proof, count + (index > 0))
    old = new = old_root if index == 0 else proof[0]
    for sibling in path:
        if sides & 1:
            old = sha256(NODE_PREFIX + sibling + old).digest()
            new = sha256(NODE_PREFIX + sibling + new).digest()
        else:
            new = sha256(NODE_PREFIX + new + sibling).digest()
        sides >>= 1
    check_root(old, old_root)
    check_root(new, new_root)


class Frontier:
    """
    The right edge of a growing tree: enough to append leaf hashes and to know the root.

    Holds a hash for each set bit of the size, one hash computed per append on average. Not
    thread-safe.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """Take up a tree where `size` and `peaks` left it; ProofError if they don't fit."""
        self._size = size
        self._peaks = list(peaks)
        check_hashes(self._peaks)
        if size < 0 or len(self._peaks) != size.bit_count():
            raise ProofError(f"{len(self._peaks)} peaks are not the right edge of {size} leaves")

    @property
    def size(self) -> int:
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """Roots of the maximal complete subtrees, from left to right."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        peaks, carry = self._peaks, self._size
        while carry & 1:
            leaf = sha256(NODE_PREFIX + peaks.pop() + leaf).digest()
            carry >>= 1
        peaks.append(leaf)
        self._size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        if not self._peaks:
            return EMPTY_ROOT
        *left, computed = self._peaks
        for peak in reversed(left):
            computed = sha256(NODE_PREFIX + peak + computed).digest()
        return computed

    def copy(self) -> Self:
        return type(self)(self._size, self._peaks)


def filled(node: Node, start: int, width: int) -> bytes:
    """The root over leaves [start, start + width), where start is aligned for a tree so wide."""
    computed = b""
    while width:
        # The last complete subtree has as many leaves as the lowest set bit says.
        level = (width & -width).bit_length() - 1
        width &= width - 1
        peak = node(level, (start + width) >> level)
        computed = sha256(NODE_PREFIX + peak + computed).digest() if computed else peak
    return computed


def _siblings(node: Node, level: int, index: int, size: int) -> list[bytes]:
    proof = []
    while 1 << level < size:
        start = (index ^ 1) << level
        if start < size:
            proof.append(filled(node, start, min(1 << level, size - start)))
        level, index = level + 1, index >> 1
    return proof


def _last_peak(size: int) -> tuple[int, int]:
    """The node over the last complete subtree of a tree that is not empty."""
    level = (size & -size).bit_length() - 1
    return level, (size >> level) - 1


def _way_up(level: int, index: int, size: int) -> tuple[int, int]:
    """How many siblings the node has on its way up, and on which sides: bit 0 the first, 1 left."""
    last = (size - 1) >> level
    # Up to where the node's way meets that of the last leaf every sibling exists. From there on the
    # node is the last of its level and has left siblings only.
    below = (index ^ last).bit_length()
    return below + (index >> below).bit_count(), index | -1 << below


def check_hashes(*groups: Sequence[bytes]) -> None:
    # A node's hash covers its children without their lengths: 31 + 33 bytes would pass for 32 + 32.
    for hashes in groups:
        if not {HASH_SIZE}.issuperset(map(len, hashes)):
            raise ProofError("a hash is 32 bytes")


def check_count(proof: Sequence[bytes], count: int) -> None:
    if len(proof) != count:
        raise ProofError(f"the proof has {len(proof)} hashes where {count} are due")


def check_root(computed: bytes, expected: bytes) -> None:
    if computed != expected:
        raise ProofError("the proof does not lead to the root")
