"""What a timeline takes from two logs: anchors that fit the other tree, and nothing else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pytest
from builders import Log, new_border

from ledgerd_client._entangled import Traced
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import FieldError, ForkError, TrustError, VerificationError
from ledgerd_client.core.header import Header
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.timeline import Anchor


@dataclass
class Entangling:
    """Two logs of which the first anchors the second."""

    own: Log
    peer: Log

    def anchor(self, note: bytes) -> int:
        anchor = pb.Anchor(peer_origin=self.peer.origin, checkpoint=note, fetched_at=self.own.now)
        return self.own.by_node(anchor=anchor)

    def traced(self, log: Log, wanted: Collection[int] = (), size: int | None = None) -> Traced:
        traced = Traced(open_log_checkpoint(log.checkpoint(size), log.history()), wanted)
        for header, body in log.entries[:size]:
            traced.take(Header.parse(header), body)
        return traced

    def anchors(self, size: int | None = None) -> list[Anchor]:
        """What the first log's anchors say of so many entries of the second."""
        peer = self.traced(self.peer, size=size)
        return self.traced(self.own).anchors(peer, self.peer.history())


@pytest.fixture
def logs() -> Entangling:
    border = new_border()
    return Entangling(border.mainland, border.hong_kong)


class TestAnchors:
    def test_name_the_size_that_they_carry(self, logs: Entangling) -> None:
        first = logs.anchor(logs.peer.checkpoint(1))
        second = logs.anchor(logs.peer.checkpoint())
        assert logs.anchors() == [Anchor(first, 1), Anchor(second, 2)]

    def test_may_carry_the_same_twice(self, logs: Entangling) -> None:
        both = [logs.anchor(logs.peer.checkpoint()), logs.anchor(logs.peer.checkpoint())]
        assert logs.anchors() == [Anchor(at, 2) for at in both]

    def test_beyond_what_is_shown_prove_nothing(self, logs: Entangling) -> None:
        first = logs.anchor(logs.peer.checkpoint(1))
        logs.anchor(logs.peer.checkpoint())
        assert logs.anchors(size=1) == [Anchor(first, 1)]

    def test_of_another_tree_are_evidence(self, logs: Entangling) -> None:
        other = Log(
            logs.peer.origin, logs.peer.log_key, logs.peer.entry_key,
            logs.peer.cosigner_key, logs.peer.authority, logs.peer.entries[:1],
        )  # fmt: skip
        other.admit("hkbr.ANOTHER")
        note = other.checkpoint()
        logs.anchor(note)
        with pytest.raises(ForkError) as caught:
            logs.anchors()
        assert caught.value.__notes__ == [note.decode(), logs.peer.checkpoint().decode()]

    def test_that_the_other_log_never_signed_are_not_believed(self, logs: Entangling) -> None:
        logs.anchor(logs.own.checkpoint())
        with pytest.raises(TrustError):
            logs.anchors()

    def test_without_their_bodies_are_refused(self, logs: Entangling) -> None:
        index = logs.anchor(logs.peer.checkpoint())
        with pytest.raises(VerificationError, match="without its body"):
            logs.traced(logs.own, size=index).take(Header.parse(logs.own.entries[index][0]), b"")


class TestEntries:
    def test_that_are_wanted_are_kept(self, logs: Entangling) -> None:
        assert [*logs.traced(logs.own, {1}).headers] == [1]

    def test_beyond_the_end_are_not_there(self, logs: Entangling) -> None:
        with pytest.raises(FieldError, match="no entry 2"):
            logs.traced(logs.own, {2})
