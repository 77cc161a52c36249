"""
Range proofs: many leaves in a row, proven in one tree at once (docs/format.md).

A call's reply has one, and whoever verified it cuts the inclusion proof of each leaf from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from ledgerd_client.core.encoding import U64_MAX
from ledgerd_client.core.errors import ProofError
from ledgerd_client.core.merkle import (
    NODE_PREFIX,
    Node,
    check_count,
    check_hashes,
    check_root,
    filled,
)


def range_proof(node: Node, first: int, end: int, size: int) -> list[bytes]:
    """
    Prove the leaves [first, end) in the tree of `size` leaves, all at once.

    Take the recursion of RFC 6962 section 2.1 over the tree of `size` leaves, split at the largest
    power of two below n. The proof is the hashes of the maximal subtrees that hold no leaf of
    [first, end), from left to right. For one leaf these are the hashes of its inclusion proof, in
    another order; for the whole tree there are none. An empty range has no proof.

    Raises ProofError unless 0 <= first < end <= size.
    """
    if not 0 <= first < end <= size:
        raise ProofError(f"there is no range [{first}, {end}) in a tree of {size}")
    left = [
        node(level, (first >> level) - 1)
        for level in reversed(range(first.bit_length()))
        if first >> level & 1
    ]
    right = []
    level, index = 0, end - 1
    while (start := (index + 1) << level) < size:
        if not index & 1:
            right.append(filled(node, start, min(1 << level, size - start)))
        level, index = level + 1, index >> 1
    return left + right


def verify_range(
    leaves: Sequence[bytes], first: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """
    Check that the tree of `size` leaves under root has the leaf hashes `leaves` from first on.

    Raises ProofError, whatever the values; for no leaves at all, too.
    """
    _, computed = _rows(leaves, first, size, proof)
    check_root(computed, root)


def cut_inclusion(
    leaves: Sequence[bytes], first: int, size: int, proof: Sequence[bytes]
) -> list[list[bytes]]:
    """
    Cut a verified range proof into the inclusion proof of each leaf, in order.

    The arguments are those that verify_range passed; the root is not looked at again. Raises
    ProofError when they don't fit together.
    """
    rows, _ = _rows(leaves, first, size, proof)
    # Proofs share their upper ends: from the root down, each child's is its sibling and then its
    # parent's.
    paths: list[list[bytes]] = [[]]
    for row, own in reversed(rows):
        children = []
        for path, left, right in zip(paths, row[::2], row[1::2], strict=False):
            children.append([right, *path])
            children.append([left, *path])
        if len(row) & 1:
            children.append(paths[-1])
        paths = children[own]
    return paths


def _rows(
    leaves: Sequence[bytes], first: int, size: int, proof: Sequence[bytes]
) -> tuple[list[tuple[list[bytes], slice]], bytes]:
    """
    Climb from the leaves to the root, and return both every level below the root and the root.

    A level is the hashes over the leaves, made up to whole pairs by the proof's hashes, and the
    slice in which the former stand.
    """
    last, tail = size - 1, first + len(leaves) - 1
    if not 0 <= first <= tail <= last < U64_MAX:
        raise ProofError(f"there is no range [{first}, {tail + 1}) in a tree of {size}")
    check_hashes(leaves, proof)
    on_left = first.bit_count()
    below = (tail ^ last).bit_length()
    check_count(proof, on_left + below - (tail & ((1 << below) - 1)).bit_count())
    left, right = reversed(proof[:on_left]), iter(proof[on_left:])
    rows, row = [], list(leaves)
    while last:
        own = slice(first & 1, (first & 1) + len(row))
        if first & 1:
            row.insert(0, next(left))
        if tail < last and not tail & 1:
            row.append(next(right))
        rows.append((row, own))
        row = _parents(row)
        first, tail, last = first >> 1, tail >> 1, last >> 1
    return rows, row[0]


def _parents(row: list[bytes]) -> list[bytes]:
    each = iter(row)
    parents = [
        sha256(NODE_PREFIX + left + right).digest() for left, right in zip(each, each, strict=False)
    ]
    return [*parents, row[-1]] if len(row) & 1 else parents
