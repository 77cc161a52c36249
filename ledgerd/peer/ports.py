"""What the peer side needs of others: a way to the peer, and this node's standing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from ledgerd_client._proto import service_pb2 as pb


class PeerClient(Protocol):
    """The way to the peer's node. Methods raise LedgerError and nothing else."""

    # The largest checkpoint of the peer that we verified, sent with every call; b"" for none.
    known_checkpoint: bytes

    def list_headers(self, start: int) -> AsyncGenerator[pb.ListHeadersResponse, None]: ...

    def list_replica(self, start: int) -> AsyncGenerator[pb.ListReplicaResponse, None]: ...

    async def prove(self, old: int, new: int) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """
        Return what the peer says of its tree of new entries, 0 < old < new, believed by nobody yet.

        The inclusion proof of entry old, and the consistency proof from the first old entries.
        """

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        """Return the cosignature lines."""

    async def get_cosigned(self) -> tuple[bytes, bytes]:
        """
        Return the largest checkpoint of ours that the peer cosigned, b"" for none.

        And the largest one with our signature that it knows of, b"" for none.
        """


class Standing(Protocol):
    """Whether this node may append. Belongs to the event loop."""

    def shown(self, note: bytes) -> None:
        """Stop appends if note is by our own log key on a tree that we don't hold."""

    def confirm(self, note: bytes) -> None:
        """Take the peer's word on our past; raises VerificationError, MalformedError."""

    @property
    def is_unconfirmed(self) -> bool:
        """Whether appends wait for the peer's word."""

    @property
    def is_rolled_back(self) -> bool:
        """Whether the store was found to be older than what this node has signed."""

    def replaced(self, loss: bytes) -> None:
        """Stop appends: this log goes on elsewhere, as an entry of its authority's says."""

    def heard(self) -> None:
        """The peer's log was replayed to its end, and what it says of us was shown()."""
