"""The logs of both sides, each replayed, and the anchors in each held to the other's tree."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from ledgerd_client._regulator_view import RegulatorView
from ledgerd_client.core.body import parse_body
from ledgerd_client.core.checkpoint import Checkpoint, OpenedCheckpoint
from ledgerd_client.core.errors import FieldError, ForkError, VerificationError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.merkle import HASH_SIZE, Frontier, leaf_hash
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.timeline import Anchor, Timeline


@dataclass(frozen=True, slots=True)
class Entangled:
    """
    Two logs up to a checkpoint of each, and the order that the anchors between them prove.

    own, peer: headers of the entries that were asked for, by index.
    """

    own_end: OpenedCheckpoint
    peer_end: OpenedCheckpoint
    timeline: Timeline
    own: Mapping[int, Header]
    peer: Mapping[int, Header]


async def entangle(view: RegulatorView, own: Collection[int], peer: Collection[int]) -> Entangled:
    """
    Both logs as far as a node shows them, with the headers of entries of each.

    Raises as Traced does, ChainError when anchors contradict each other, and whatever the view's
    methods raise.
    """
    # In this order: what the node shows of its peer covers its own anchors.
    ours = Traced(await view.checkpoint(), own)
    theirs = Traced(await view.peers_checkpoint(), peer)
    for log in (ours, theirs):
        async with aclosing(view.replayed(log.end)) as entries:
            async for header, body in entries:
                log.take(header, body)
    judge = view.histories.judge
    anchors = await judge(theirs.origin, partial(ours.anchors, theirs))
    back = await judge(ours.origin, partial(theirs.anchors, ours))
    timeline = await judge(ours.origin, lambda _: Timeline(anchors, back))
    return Entangled(ours.end, theirs.end, timeline, ours.headers, theirs.headers)


class Traced:
    """What a timeline takes from a log: its leaves, its anchors, and the headers wanted."""

    def __init__(self, end: OpenedCheckpoint, wanted: Collection[int]) -> None:
        """Raises FieldError for an entry beyond the end."""
        size = end.checkpoint.size
        for index in wanted:
            if index >= size:
                raise FieldError(
                    f"{end.checkpoint.origin} has {size} entries here, no entry {index}",
                    reason="BEYOND_THE_END",
                )
        self.end = end
        self.headers: dict[int, Header] = {}
        self._wanted = frozenset(wanted)
        self._leaves = bytearray()
        self._anchors: list[tuple[int, bytes]] = []

    @property
    def origin(self) -> str:
        return self.end.checkpoint.origin

    def take(self, header: Header, body: bytes) -> None:
        """The next entry; raises VerificationError for an ANCHOR without its body."""
        self._leaves += leaf_hash(header.encode())
        if header.index in self._wanted:
            self.headers[header.index] = header
        if header.kind == Kind.ANCHOR:
            if not body:
                raise VerificationError(f"the ANCHOR at {header.index} came without its body")
            self._anchors.append((header.index, parse_body(body).anchor.checkpoint))

    def anchors(self, other: Traced, history: KeyHistory) -> list[Anchor]:
        """
        The anchors in this log of the other one, whose key history is given.

        Those beyond what was replayed of the other are left out: they prove nothing here. Raises
        what open_log_checkpoint does, and ForkError for one of another tree.
        """
        found: list[Anchor] = []
        tree = Frontier()
        for at, note in self._anchors:
            anchored = open_log_checkpoint(note, history).checkpoint
            if anchored.size > other.end.checkpoint.size:
                break
            while tree.size < anchored.size:
                tree.append(other._leaf(tree.size))
            if tree.size == anchored.size and tree.root() != anchored.root:
                raise _forked(anchored, at, self.origin, note, other.end.note)
            found.append(Anchor(at, anchored.size))
        return found

    def _leaf(self, index: int) -> bytes:
        return bytes(self._leaves[index * HASH_SIZE : (index + 1) * HASH_SIZE])


def _forked(anchored: Checkpoint, at: int, where: str, *notes: bytes) -> ForkError:
    error = ForkError(
        f"the first {anchored.size} entries of {anchored.origin} are others than those that entry"
        f" {at} of {where} anchors: it has signed two histories",
        action="keep both checkpoints, and tell the authority",
    )
    for note in notes:
        error.add_note(note.decode())
    return error
