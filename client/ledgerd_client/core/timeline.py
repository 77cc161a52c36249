"""
The order of the entries of two logs, as far as the anchors in both prove it.

No clock is believed. An anchor at index `at` of one log carries a checkpoint of the other one of
size `size`: so the other log's entries below `size` were there before the entry `at` was. Entries
of one log are ordered by their indexes. Whatever follows from these two is proven, and nothing
else (Maniatis and Baker, "Secure History Preservation through Timeline Entanglement", 2002).
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from ledgerd_client.core.errors import ChainError


class Order(enum.StrEnum):
    """How an entry of one log stands to an entry of the other."""

    BEFORE = "before"
    AFTER = "after"
    UNDETERMINED = "undetermined"


class Anchor(NamedTuple):
    """An ANCHOR entry: its index, and the size of the other log's checkpoint that it carries."""

    at: int
    size: int


class Bounds(NamedTuple):
    """
    Between which two checkpoints of the other log an entry lies.

    after: the largest size that was there before it (0: none is known to have been). before: the
    smallest size that was not there yet; None while nothing of the other log stands on the entry.
    """

    after: int
    before: int | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """
    Two logs, called own and peer, by the anchors in each.

    Anchors ascend by index, and their sizes never fall. Raises ChainError otherwise, and when the
    anchors contradict each other, which those of two logs that only grow can't.
    """

    own: Sequence[Anchor]
    peer: Sequence[Anchor]

    def __post_init__(self) -> None:
        for anchors in (self.own, self.peer):
            for one, other in pairwise(anchors):
                if other.at <= one.at or other.size < one.size:
                    raise ChainError(f"the anchor at {other.at} goes back behind that at {one.at}")
        for anchor in self.own:
            # Everything below anchor.size precedes anchor.at; so none of it may stand on it.
            if _known(self.peer, anchor.size - 1) > anchor.at:
                raise ChainError(f"the anchor at {anchor.at} is older than what it carries")

    def order(self, own: int, peer: int) -> Order:
        """How the entry `own` of the one log stands to the entry `peer` of the other."""
        if _known(self.own, own) > peer:
            return Order.AFTER
        if _known(self.peer, peer) > own:
            return Order.BEFORE
        return Order.UNDETERMINED

    def bounds(self, own: int) -> Bounds:
        """Where an entry of one's own log stands in the other one."""
        return _bounds(own, self.own, self.peer)

    def peer_bounds(self, peer: int) -> Bounds:
        """Where an entry of the peer's log stands in one's own."""
        return _bounds(peer, self.peer, self.own)


def _known(anchors: Sequence[Anchor], index: int) -> int:
    """The other log's size that was there before the entry at an index."""
    place = bisect_right(anchors, index, key=lambda anchor: anchor.at)
    return anchors[place - 1].size if place else 0


def _bounds(index: int, here: Sequence[Anchor], there: Sequence[Anchor]) -> Bounds:
    place = bisect_right(there, index, key=lambda anchor: anchor.size)
    return Bounds(_known(here, index), there[place].at + 1 if place < len(there) else None)
