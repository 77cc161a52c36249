"""Every header of a stretch of a log, replayed: what an answer that omits nothing rests on."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import ChainError, ProofError
from ledgerd_client.core.header import Header, genesis_previous
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import verify
from ledgerd_client.core.merkle import Frontier, leaf_hash, node_hash


class Followed(NamedTuple):
    """An entry that was replayed; body: b"" where it is withheld, erased, or the other side's."""

    header: Header
    body: bytes


class Stretch:
    """
    The headers from one checkpoint of a log to a later one, taken in order.

    Believe none before check_end() has passed: it is what shows that they are the tree's.
    """

    def __init__(self, origin: str, end: Checkpoint) -> None:
        self.end = end
        self._tree = Frontier()
        self._previous = genesis_previous(origin)
        self._time = 0

    def begin(self, start: Checkpoint, last: bytes, proof: Sequence[bytes]) -> None:
        """
        Begin at a checkpoint, of which last is the header of the newest entry.

        proof: its inclusion in that tree, whose hashes are the tree's other peaks. Raises
        ProofError.
        """
        leaf = leaf_hash(last)
        level = (start.size & -start.size).bit_length() - 1
        if len(proof) != level + start.size.bit_count() - 1 or any(len(h) != 32 for h in proof):
            raise ProofError(f"the proof is not of the last of {start.size} entries")
        peak = leaf
        for sibling in proof[:level]:
            peak = node_hash(sibling, peak)
        self._tree = Frontier(start.size, [*reversed(proof[level:]), peak])
        if self._tree.root() != start.root:
            raise ProofError(f"entry {start.size - 1} is not the last of that checkpoint's tree")
        self._previous, self._time = leaf, Header.parse(last).recorded_at

    @property
    def size(self) -> int:
        return self._tree.size

    def take(self, response: pb.FollowResponse, history: KeyHistory) -> list[Followed]:
        """The next entries below the end; raises ChainError, SignatureError, ForbiddenError."""
        if response.entries and response.first != self.size:
            raise ChainError(f"entry {self.size} is missing: found {response.first}")
        entries = response.entries[: self.end.size - self.size]
        return [self._step(each.header, each.body, history) for each in entries]

    def check_end(self) -> None:
        """Raises ProofError unless what was taken is the whole tree of the end."""
        if self._tree.root() != self.end.root:
            raise ProofError(f"the headers do not make the tree of {self.end.size} entries")

    def _step(self, raw: bytes, body: bytes, history: KeyHistory) -> Followed:
        header = Header.parse(raw)
        if header.index != self.size:
            raise ChainError(f"entry {self.size} is missing: found {header.index}")
        if header.previous_leaf_hash != self._previous:
            raise ChainError(f"entry {header.index} does not follow from the one before")
        if header.recorded_at < self._time:
            raise ChainError(f"entry {header.index} is older than the one before")
        if body and sha256(body).digest() != header.body_digest:
            raise ChainError(f"entry {header.index}: the body is not the one in the header")
        verify(history.signer(header), header.signed_bytes(history.origin), header.signature)
        self._previous, self._time = leaf_hash(raw), header.recorded_at
        self._tree.append(self._previous)
        return Followed(header, body)
