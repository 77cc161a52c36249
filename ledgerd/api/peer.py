"""PeerService, and what the handlers need of the part of the node that follows its peer."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from ledgerd.api.errors import Context
from ledgerd.api.threads import InThread
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.replicated import nobody_waits
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import BusyError, UnavailableError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note

# How long one stream may last; the peer goes on from where it got to.
STREAM_S = 600

# Headers in a message of ListReplica: with bodies of the largest size it is still under 2 MiB.
_REPLICA_PAGE = 48


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

    def vouched(self) -> bytes:
        """As cosigned(), without our cosignature when more may have been, and forgotten."""

    def seen(self) -> bytes:
        """The largest checkpoint with the peer's signature that is known here, b"" for none."""

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

    def __init__(
        self,
        reader: Reader,
        witness: Witness,
        replica: Replica,
        settled: Callable[[], Awaitable[bytes]],
        in_thread: InThread,
        clock: Callable[[], int],
        replicated: Callable[[int], Awaitable[None]] = nobody_waits,
    ) -> None:
        """
        settled: what is cosigned of the peer once nothing more of it is under way; clock: µs;
        replicated: as Standby.wait.
        """
        self._replicated = replicated
        self._reader = reader
        self._witness = witness
        self._replica = replica
        self._settled = settled
        self._in_thread = in_thread
        self._clock = clock
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
        return pb.GetCosignedResponse(
            checkpoint=self._witness.vouched(), now=self._clock(), seen=self._witness.seen()
        )

    async def ListHeaders(
        self, request: pb.ListHeadersRequest, context: Context
    ) -> AsyncGenerator[pb.ListHeadersResponse, None]:
        """One stream at a time, for a limited time, no faster than the peer takes it."""
        with self._alone():
            async for page in self._pages(request.start):
                yield page

    async def ListReplica(
        self, request: pb.ListReplicaRequest, context: Context
    ) -> AsyncGenerator[pb.ListReplicaResponse, None]:
        """What this node has cosigned of the caller's own log, for one who has lost its disk."""
        with self._alone():
            checkpoint, start = await self._settled(), request.start
            size = Checkpoint.parse(parse_note(checkpoint).text).size if checkpoint else 0
            if size > self._replica.newest()[0]:
                # The witness knows it by an anchor, and the replica is fetched anew.
                raise UnavailableError(
                    f"the replay has not reached the {size} entries that are cosigned",
                    reason="REPLAY_BEHIND",
                    action="try again when this node has replayed its peer",
                )
            until = monotonic() + STREAM_S
            while checkpoint or start < size:
                stop = min(start + _REPLICA_PAGE, size)
                page = await self._in_thread(self._replica_page, start, stop)
                yield pb.ListReplicaResponse(
                    checkpoint=checkpoint,
                    first=start,
                    headers=[header for header, _ in page],
                    bodies=[
                        pb.SharedBody(index=index, body=body)
                        for index, (_, body) in enumerate(page, start)
                        if body
                    ],
                )
                start, checkpoint = start + len(page), b""
                check_time(until)

    def _replica_page(self, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        return list(self._replica.entries(start, stop))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._streaming:
            raise BusyError("another stream of headers is under way", reason="STREAM_UNDER_WAY")
        self._streaming = True
        try:
            yield
        finally:
            self._streaming = False

    async def _pages(self, start: int) -> AsyncIterator[pb.ListHeadersResponse]:
        until = monotonic() + STREAM_S
        head = self._reader.head()
        # What the peer is shown it cosigns, and what is cosigned must not be lost.
        await self._replicated(head.size)
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
            check_time(until)


def check_time(until: float) -> None:
    """End a stream that has lasted long enough; raises UnavailableError STREAM_TOO_LONG."""
    if monotonic() > until:
        raise UnavailableError(
            "the stream has lasted long enough; go on in another", reason="STREAM_TOO_LONG"
        )
