"""PeerService, and what the handlers need of the part of the node that follows its peer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from time import monotonic
from typing import Protocol

from ledgerd.api.errors import Context
from ledgerd.api.threads import InThread
from ledgerd.ledger.reader import Reader
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc
from ledgerd_client.core.errors import BusyError, UnavailableError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory

# How long one stream may last; the peer goes on from where it got to.
STREAM_S = 600


class Witness(Protocol):
    """What this node says of its peer's log."""

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        """
        The cosignature lines for a checkpoint of the peer (C2SP tlog-witness).

        Raises MalformedError, NotFoundError UNKNOWN_ORIGIN, TrustError, SignatureError,
        ConflictError SIZE_CONFLICT, ProofError, UnavailableError REPLAY_BEHIND, NotReadyError
        EVIDENCE.
        """

    def cosigned(self) -> bytes:
        """The largest checkpoint of the peer that this node cosigned, a note; b"" for none."""

    def key_history(self) -> KeyHistory | None:
        """The peer's, as far as it is replayed; None before its GENESIS is."""


class Replica(Protocol):
    """The peer's log as far as it is replayed."""

    def headers(self, start: int, stop: int) -> Iterator[Header]:
        """Headers of entries start <= index < stop, as many of them as are replayed."""

    def entries(self, start: int, stop: int) -> Iterator[tuple[bytes, bytes]]:
        """As headers, with the bodies that nodes share; b"" for any other."""

    def newest(self) -> tuple[int, bytes]:
        """Its size, and the checkpoint of it; (0, b"") before the first."""

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof of an entry under the root of a size; raises UnavailableError beyond it."""


class OwnCosigned(Protocol):
    """What the peer says of this node's log."""

    def newest(self) -> bytes:
        """The newest checkpoint of this log that the peer cosigned, a note; b"" for none."""


class PeerHandlers(service_pb2_grpc.PeerServiceServicer):
    """For the other node."""

    def __init__(self, reader: Reader, witness: Witness, in_thread: InThread) -> None:
        self._reader = reader
        self._witness = witness
        self._in_thread = in_thread
        self._streaming = False

    async def AddCheckpoint(
        self, request: pb.AddCheckpointRequest, context: Context
    ) -> pb.AddCheckpointResponse:
        lines = await self._witness.add_checkpoint(
            request.old_size, list(request.proof), request.checkpoint
        )
        return pb.AddCheckpointResponse(cosignatures=lines)

    async def GetCosigned(
        self, request: pb.GetCosignedRequest, context: Context
    ) -> pb.GetCosignedResponse:
        return pb.GetCosignedResponse(checkpoint=self._witness.cosigned())

    async def ListHeaders(
        self, request: pb.ListHeadersRequest, context: Context
    ) -> AsyncGenerator[pb.ListHeadersResponse, None]:
        """One stream at a time, for a limited time, no faster than the peer takes it."""
        if self._streaming:
            raise BusyError("another stream of headers is under way", reason="STREAM_UNDER_WAY")
        self._streaming = True
        try:
            async for page in self._pages(request.start):
                yield page
        finally:
            self._streaming = False

    async def _pages(self, start: int) -> AsyncIterator[pb.ListHeadersResponse]:
        until = monotonic() + STREAM_S
        head = self._reader.head()
        # In the first message, which is sent whether there are headers to send or not.
        checkpoint = head.checkpoint
        while True:
            page = await self._in_thread(self._reader.shared_page, start, head.size)
            if not (checkpoint or page.headers):
                return
            bodies = [pb.SharedBody(index=index, body=body) for index, body in page.bodies]
            yield pb.ListHeadersResponse(
                checkpoint=checkpoint, first=start, headers=page.headers, bodies=bodies
            )
            start, checkpoint = start + len(page.headers), b""
            if monotonic() > until:
                raise UnavailableError(
                    "the stream has lasted long enough; go on in another", reason="STREAM_TOO_LONG"
                )
