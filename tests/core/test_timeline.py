"""The order that anchors prove, against what really happened, and against no more than they prove."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core.errors import ChainError
from ledgerd_client.core.timeline import Anchor, Bounds, Order, Timeline

# Own log:  0 1 2 A 4 5      A at 3 carries the peer's first two entries.
# Peer log: 0 1 2 3 B 5      B at 4 carries the own log's first five.
TIMELINE = Timeline(own=[Anchor(3, 2)], peer=[Anchor(4, 5)])


class TestOrder:
    @pytest.mark.parametrize(
        ("own", "peer", "order"),
        [
            (2, 0, Order.UNDETERMINED),  # just before the anchor that would tell
            (3, 0, Order.AFTER),  # the anchor's own entry is behind what it carries
            (3, 1, Order.AFTER),
            (3, 2, Order.UNDETERMINED),  # just beyond what it carries
            (5, 1, Order.AFTER),
            (0, 4, Order.BEFORE),
            (4, 4, Order.BEFORE),
            (4, 5, Order.BEFORE),
            (4, 3, Order.UNDETERMINED),  # just before the peer's anchor
            (5, 4, Order.UNDETERMINED),  # just beyond what it carries
        ],
    )
    def test_two_entries(self, own: int, peer: int, order: Order) -> None:
        assert TIMELINE.order(own, peer) is order

    def test_without_anchors_nothing_is_known(self) -> None:
        assert Timeline([], []).order(0, 10**9) is Order.UNDETERMINED


class TestBounds:
    @pytest.mark.parametrize(
        ("own", "bounds"),
        [(0, Bounds(0, 5)), (2, Bounds(0, 5)), (3, Bounds(2, 5)), (5, Bounds(2, None))],
    )
    def test_of_an_own_entry(self, own: int, bounds: Bounds) -> None:
        assert TIMELINE.bounds(own) == bounds

    @pytest.mark.parametrize(
        ("peer", "bounds"),
        [(0, Bounds(0, 4)), (1, Bounds(0, 4)), (2, Bounds(0, None)), (4, Bounds(5, None))],
    )
    def test_of_an_entry_of_the_peer(self, peer: int, bounds: Bounds) -> None:
        assert TIMELINE.peer_bounds(peer) == bounds


class TestBadAnchors:
    @pytest.mark.parametrize(
        "anchors",
        [[Anchor(3, 2), Anchor(3, 4)], [Anchor(3, 2), Anchor(2, 4)], [Anchor(3, 2), Anchor(5, 1)]],
    )
    def test_that_go_back(self, anchors: Sequence[Anchor]) -> None:
        with pytest.raises(ChainError):
            Timeline(anchors, [])
        with pytest.raises(ChainError):
            Timeline([], anchors)

    def test_that_make_a_circle(self) -> None:
        """The peer's entry 4 stands on our entry 5, and our entry 3 on the peer's entry 4."""
        with pytest.raises(ChainError):
            Timeline(own=[Anchor(3, 5)], peer=[Anchor(4, 6)])


# What happened, in order: an entry of a log, or an anchor in a log of so much as it has seen.
STEPS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), max_size=40)


class TestAgainstWhatHappened:
    @given(steps=STEPS)
    def test_whatever_is_called_ordered_happened_in_that_order(
        self, steps: list[tuple[bool, bool, int]]
    ) -> None:
        happened, timeline = _play(steps)
        for own, first in enumerate(happened[0]):
            for peer, second in enumerate(happened[1]):
                order = timeline.order(own, peer)
                if order is not Order.UNDETERMINED:
                    assert (first < second) == (order is Order.BEFORE)

    @given(steps=STEPS)
    def test_whatever_one_anchor_proves_is_called_ordered(
        self, steps: list[tuple[bool, bool, int]]
    ) -> None:
        """By every anchor in turn, as protocol.md states it; no search."""
        happened, timeline = _play(steps)
        for own in range(len(happened[0])):
            for peer in range(len(happened[1])):
                after = any(a.at <= own and peer < a.size for a in timeline.own)
                before = any(a.at <= peer and own < a.size for a in timeline.peer)
                wanted = Order.AFTER if after else Order.BEFORE if before else Order.UNDETERMINED
                assert timeline.order(own, peer) is wanted

    @given(steps=STEPS)
    def test_bounds_say_the_same_as_the_order(self, steps: list[tuple[bool, bool, int]]) -> None:
        happened, timeline = _play(steps)
        for own in range(len(happened[0])):
            orders = [timeline.order(own, peer) for peer in range(len(happened[1]))]
            after = orders.count(Order.AFTER)
            before = orders.index(Order.BEFORE) + 1 if Order.BEFORE in orders else None
            assert timeline.bounds(own) == (after, before)


def _play(steps: list[tuple[bool, bool, int]]) -> tuple[list[list[int]], Timeline]:
    """When each entry of both logs came, and their anchors; a node may see late, never early."""
    happened: list[list[int]] = [[], []]
    anchors: list[list[Anchor]] = [[], []]
    for now, (side, anchor, behind) in enumerate(steps):
        if anchor:
            newest = anchors[side][-1].size if anchors[side] else 0
            size = max(newest, len(happened[not side]) - behind, 0)
            anchors[side].append(Anchor(len(happened[side]), size))
        happened[side].append(now)
    return happened, Timeline(anchors[0], anchors[1])
