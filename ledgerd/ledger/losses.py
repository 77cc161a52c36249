"""Bodies that a log says are lost: which they are, and in what words it says so."""

from __future__ import annotations

from collections.abc import Iterable

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ChainError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.key_events import MAX_RANGES


def lost_bodies(indexes: Iterable[int]) -> list[pb.LostBodies]:
    """What names these entries, ascending: the one way to say it."""
    ranges: list[pb.Range] = []
    for index in indexes:
        if ranges and ranges[-1].end == index:
            ranges[-1].end = index + 1
        else:
            ranges.append(pb.Range(first=index, end=index + 1))
    starts = range(0, len(ranges), MAX_RANGES)
    return [pb.LostBodies(ranges=ranges[start : start + MAX_RANGES]) for start in starts]


class Losses:
    """
    Follows a log: every body that is missing must be named directly behind a LOSS above it.

    Between the two stands nothing but what the authority decided of keys with the LOSS.

    missing: entries whose bodies are, and that nothing has named yet; ascending.
    """

    def __init__(self) -> None:
        self.missing: list[int] = []
        self._behind_a_loss = False
        self._lost_at = 0

    def miss(self, index: int) -> None:
        """Take an entry whose body is missing."""
        self.missing.append(index)
        self._behind_a_loss = False

    def take(self, header: Header, body: bytes) -> None:
        """Take an entry that has its body; raises ChainError for one that names what is there."""
        said = pb.Body.FromString(body) if header.kind == Kind.NODE else pb.Body()
        if said.HasField("lost_bodies"):
            self._take_named(said.lost_bodies)
        else:
            # A commit has one time.
            with_it = self._behind_a_loss and header.recorded_at == self._lost_at
            self._behind_a_loss = header.kind == Kind.LOSS or (with_it and header.kind == Kind.KEY)
            if header.kind == Kind.LOSS:
                self._lost_at = header.recorded_at

    def _take_named(self, said: pb.LostBodies) -> None:
        """Of what is missing: all of it, or what was when it was said; the rest is lost since."""
        named = {index for lost in said.ranges for index in range(lost.first, lost.end)}
        if not self._behind_a_loss or not named <= set(self.missing):
            raise ChainError("the bodies that this says are lost are not missing below a LOSS")
        self.missing = [index for index in self.missing if index not in named]

    def check_all_named(self) -> None:
        """Raise ChainError when the body of an entry is missing, and nothing says so."""
        for index in self.missing:
            raise ChainError(f"entry {index} is missing")
