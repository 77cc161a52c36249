"""
Following the log of a node's peer, as that node has replayed it, and what it says of that node's.

The peer anchors what it has cosigned of the node's log. A node that shows its regulator one history
and its peer another has signed both.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from ledgerd.ledger.tree import NodeCache, Nodes
from ledgerd.mirror.store import Anchored
from ledgerd.mirror.stream import Way, first_note, judge
from ledgerd.peer.notes import parse_known, stripped
from ledgerd.peer.replay import Page
from ledgerd.peer.replica import Check, Replica
from ledgerd.peer.store import PeerStore
from ledgerd.store.base import Snapshot
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core import merkle
from ledgerd_client.core.checkpoint import OpenedCheckpoint
from ledgerd_client.core.errors import (
    ForkError,
    InputError,
    LedgerError,
    RefusedError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.opening import open_log_checkpoint

# A mirror judges no clock: what the node believed when it replayed it is its own to answer for.
_END_OF_TIME: Final = (1 << 63) - 1


class PeersLog:
    """The peer's log in a mirror, and how it grows. check is the replica's."""

    def __init__(
        self, store: PeerStore, way: Way, origin: str, authority: bytes, check: Check
    ) -> None:
        self.replica = Replica(store, origin, authority, check=check, clock=lambda: _END_OF_TIME)
        self._way = way

    async def step(self) -> None:
        """
        Come up to what the node has verified of its peer's log.

        Whether that is as much as the node's anchors rest on is checked with each of them. Raises
        VerificationError for what is not as it should be, UnavailableError and RefusedError as the
        node does.
        """
        request = pb.FollowRequest(origin=self.replica.origin, start=self.replica.size)
        try:
            async with aclosing(self._way.follow(request)) as stream:
                if note := await first_note(stream):
                    await self._take(note, stream)
        except InputError as error:
            # It replays its peer anew, and has not come so far as we are.
            if error.reason != "BEYOND_THE_END":
                raise

    def compare(
        self, snapshot: Snapshot, history: KeyHistory, shown: bytes, so_far: Anchored
    ) -> Anchored:
        """
        Compare the peer's next anchors of the mirrored log with its tree; history is its own.

        shown: the checkpoint, a note, that the tree has come to; anchors beyond it wait. What the
        log's own key has not signed proves nothing, and is passed over. Any thread may ask. Raises
        ForkError with both notes as `__notes__`.
        """
        size, nodes = parse_known(shown).size, Nodes(snapshot.get, NodeCache())
        after, note, newest = *so_far, b""
        for index, body in self.replica.shared(after):
            after = index + 1
            given = body_pb2.Body.FromString(body).anchor.checkpoint
            try:
                anchored = parse_known(given).checkpoint
            except LedgerError:
                continue
            if anchored.size <= size and anchored.root == merkle.root(nodes, anchored.size):
                newest = given
            elif not self._opened(given, history):
                continue
            elif anchored.size <= size:
                raise _forked(anchored.size, index, given, shown)
            else:
                after = index
                break
        opened = self._opened(newest, history)
        if opened and opened.cosigned:
            note = stripped(newest, (*opened.signed, *opened.cosigned))
        return Anchored(after, note)

    def _opened(self, note: bytes, history: KeyHistory) -> OpenedCheckpoint | None:
        """A checkpoint of the mirrored log; None for what it has not signed."""
        try:
            return open_log_checkpoint(note, history, self.replica.verified_history())
        except LedgerError:
            return None

    async def _take(self, note: bytes, stream: AsyncIterator[pb.FollowResponse]) -> None:
        replica = self.replica
        target = judge("the peer's checkpoint", lambda: parse_known(note))
        if target.size <= replica.verified_size:
            if target.checkpoint.root != replica.root(target.size):
                raise VerificationError("the node shows another log of its peer than before")
            return
        async with aclosing(_pages(stream, replica.size, target.size)) as pages:
            try:
                await replica.follow(pages, target)
            except (InputError, RefusedError) as error:
                raise VerificationError(f"the peer's log: {error.message}") from error


async def _pages(
    stream: AsyncIterator[pb.FollowResponse], start: int, end: int
) -> AsyncGenerator[Page, None]:
    """The messages as pages, once what they are about is right."""
    try:
        async for message in stream:
            if message.first != start or start + len(message.entries) > end:
                raise VerificationError(f"the node sent entry {message.first} of its peer")
            yield Page(
                [entry.header for entry in message.entries],
                {start + i: entry.body for i, entry in enumerate(message.entries) if entry.body},
            )
            start += len(message.entries)
    except RefusedError as error:
        # By the node, in mid-stream: what came before it is good.
        raise UnavailableError(error.message, reason=error.reason, action=error.action) from error


def _forked(size: int, index: int, *notes: bytes) -> ForkError:
    error = ForkError(
        f"the node's first {size} entries are others than those that its peer anchored with entry"
        f" {index} of its log: it has signed two histories",
        action="keep both checkpoints and the mirror, and tell the authority",
    )
    for note in notes:
        error.add_note(note.decode())
    return error
