"""
Where a node's log has parted from what its mirror holds, and what that means.

A mirror has what a checkpoint of the node covered. If the log goes on otherwise below it, either a
LOSS gave that end up, and stands in the log; or the node has signed two histories.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from hashlib import sha256
from typing import Final, NamedTuple

from ledgerd.ledger.head import Head
from ledgerd.ledger.tree import Nodes
from ledgerd.mirror.store import MirrorStore
from ledgerd.mirror.stream import Way, first_note
from ledgerd.peer.notes import Known, open_known, parse_known
from ledgerd.peer.rewind import regrown
from ledgerd.projections.registry import key_entries
from ledgerd.store.base import Snapshot
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core import merkle
from ledgerd_client.core.errors import (
    ForkError,
    InputError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.evidence import Evidence, fork_evidence
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import HISTORY_KINDS, KeyHistory
from ledgerd_client.core.merkle import leaf_hash
from ledgerd_client.core.opening import loss_below

# Entries of the node's log that are taken into memory to be hashed again.
_MOST: Final = 1 << 17


class _Parted(NamedTuple):
    """From entry `first` on the node shows others: all of them, up to its checkpoint."""

    first: int
    shown: Known
    entries: Sequence[pb.FollowedEntry]


async def why_parted(
    way: Way, store: MirrorStore, head: Head, authority: bytes
) -> VerificationError | None:
    """
    Say why a node's log is another than was under its checkpoint in head, if it is.

    ROLLED_BACK where the authority (its key) has declared that end lost; else a ForkError, with
    evidence kept beside the store. None where nothing shows it. Raises StoreError.
    """
    try:
        parted = await _find(way, store, head.size)
        return await asyncio.to_thread(_judge, parted, store, head, authority) if parted else None
    except (InputError, RefusedError, UnavailableError, VerificationError):
        # What keeps us from finding out is no news: why we ask is told.
        return None


async def _find(way: Way, store: MirrorStore, size: int) -> _Parted | None:
    """Each header names the one before it: so a few are asked for, and then what follows."""
    if not size:
        return None
    async with aclosing(way.follow(pb.FollowRequest())) as stream:
        shown = parse_known(await first_note(stream))
    agreed, end = 0, min(size, shown.size - 1)
    while agreed < end:
        middle = (agreed + end + 1) // 2
        if await _follows(way, store, middle):
            agreed = middle
        else:
            end = middle - 1
    return None if agreed == size else await _fetch(way, agreed)


async def _follows(way: Way, store: MirrorStore, index: int) -> bool:
    """Whether an entry stands on what is here; the root shows in the end whether that was so."""
    try:
        header = Header.parse(await _look(way, index))
    except NotFoundError as error:
        # Bodies are lost below a LOSS alone, and until there both are one log.
        if error.reason != "BODY_LOST":
            raise
        return True
    with store.log.snapshot() as snapshot:
        return header.previous_leaf_hash == Nodes(snapshot.get, {})(0, index - 1)


async def _look(way: Way, index: int) -> bytes:
    """One header."""
    async with aclosing(way.follow(pb.FollowRequest(start=index))) as stream:
        async for message in stream:
            if message.entries:
                return message.entries[0].header
    raise UnavailableError("the node sent no entries")


async def _fetch(way: Way, first: int) -> _Parted | None:
    entries: list[pb.FollowedEntry] = []
    async with aclosing(way.follow(pb.FollowRequest(start=first))) as stream:
        shown = parse_known(await first_note(stream))
        async for message in stream:
            entries += message.entries
            if len(entries) > _MOST:
                return None
            if first + len(entries) >= shown.size:
                break
    return _Parted(first, shown, entries)


def _judge(
    parted: _Parted, store: MirrorStore, head: Head, authority: bytes
) -> VerificationError | None:
    first, shown, entries = parted
    tree = shown.checkpoint
    with store.log.snapshot() as snapshot:
        leaves = [leaf_hash(entry.header) for entry in entries]
        theirs = regrown(snapshot, store.held(snapshot).size, first, leaves)
        if (first + len(leaves), merkle.root(theirs, tree.size)) != (tree.size, tree.root):
            return None
        history = _history(parted, snapshot, store.origin, authority)
        shown = open_known(shown.note, history)
        if loss_below(head.checkpoint, history) is not None:
            return _given_up(first, head.size)
        ours = Nodes(snapshot.get, {})
        evidence = _evidence((shown, theirs), (parse_known(head.checkpoint), ours))
    if evidence is None:
        return None
    evidence.verify(history)
    return _forked(store, first, evidence.format())


def _history(parted: _Parted, snapshot: Snapshot, origin: str, authority: bytes) -> KeyHistory:
    """The node's keys, as its authority signed them: of what both logs hold, and of what parts."""
    common = (raw for raw in key_entries(snapshot) if Header.parse(raw[0]).index < parted.first)
    since = (
        (entry.header, entry.body)
        for entry in parted.entries
        if Header.parse(entry.header).kind in HISTORY_KINDS
    )
    return KeyHistory.of(origin, authority, (*common, *since))


def _evidence(*trees: tuple[Known, Nodes]) -> Evidence | None:
    """Two signed trees; None where the smaller one is the beginning of the larger."""
    (small, small_nodes), (large, large_nodes) = sorted(trees, key=lambda tree: tree[0].size)
    root = merkle.root(large_nodes, small.size)
    if root == merkle.root(small_nodes, small.size):
        return None
    if small.size == large.size:
        return fork_evidence(small.note, large.note)
    proof = merkle.consistency_proof(large_nodes, small.size, large.size)
    return fork_evidence(small.note, large.note, root=root, proof=proof)


def _given_up(first: int, size: int) -> VerificationError:
    return VerificationError(
        f"the log goes on by a LOSS: what is here from entry {first} on, {size - first} entries,"
        " its authority has declared lost",
        reason="ROLLED_BACK",
        action="make it anew, in another directory",
    )


def _forked(store: MirrorStore, first: int, evidence: bytes) -> ForkError:
    path = store.keep_evidence(sha256(evidence).hexdigest(), evidence)
    return ForkError(
        f"from entry {first} on the node shows others than it has signed before: it has signed two"
        " histories, and no LOSS gave one up",
        action=f"keep {path}, which proves it (`ledgerctl evidence verify`), and what is here; tell"
        " the authority",
    )
