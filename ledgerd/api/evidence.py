"""What an operator does about evidence against the peer: AdminService's part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ledgerd.api.threads import InThread
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.fields import DIGEST_SIZE, check_size


class Bundle(Protocol):
    """Evidence that is kept: digest, bytes, µs, and whether it waits for an operator."""

    @property
    def digest(self) -> bytes: ...
    @property
    def size(self) -> int: ...
    @property
    def at(self) -> int: ...
    @property
    def latched(self) -> bool: ...


class Refusal(Protocol):
    """A checkpoint by the peer's log key that was not cosigned; at is µs."""

    @property
    def at(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def note(self) -> bytes: ...


class Accusations(Protocol):
    """What is kept against the peer; kept and bundle may be called in any thread."""

    def kept(self) -> Sequence[Bundle]:
        """Every bundle, the oldest first."""

    def bundle(self, digest: bytes) -> bytes:
        """One of them; raises NotFoundError."""

    async def acknowledge(self, digest: bytes) -> None:
        """Cosign again; raises NotFoundError unless it waits, NotReadyError if it is too early."""


class EvidenceDesk:
    """Answers operators; belongs to the event loop."""

    def __init__(
        self,
        accusations: Accusations,
        refused: Callable[[], Sequence[Refusal]],
        in_thread: InThread,
    ) -> None:
        """refused: what the peer asked for in vain, in any thread."""
        self._accusations = accusations
        self._refused = refused
        self._in_thread = in_thread

    async def list(self) -> pb.ListEvidenceResponse:
        kept = await self._in_thread(self._accusations.kept)
        refused = await self._in_thread(self._refused)
        return pb.ListEvidenceResponse(
            evidence=[
                pb.KeptEvidence(
                    digest=one.digest, size_bytes=one.size, kept_at=one.at, latched=one.latched
                )
                for one in kept
            ],
            refused=[
                pb.RefusedCheckpoint(at=one.at, reason=one.reason, checkpoint=one.note)
                for one in refused
            ],
        )

    async def get(self, digest: bytes) -> pb.GetEvidenceResponse:
        check_size("digest", digest, DIGEST_SIZE)
        bundle = await self._in_thread(self._accusations.bundle, digest)
        return pb.GetEvidenceResponse(bundle=bundle)

    async def acknowledge(self, digest: bytes) -> pb.AcknowledgeEvidenceResponse:
        check_size("digest", digest, DIGEST_SIZE)
        await self._accusations.acknowledge(digest)
        return pb.AcknowledgeEvidenceResponse()
