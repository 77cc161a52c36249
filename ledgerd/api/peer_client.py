"""The way to the other node: what a peer calls there, from the caller's end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Self, TypeAlias

import grpc

from ledgerd.ledger.peer_pages import read_page
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import LedgerServiceStub, PeerServiceStub
from ledgerd_client.transport import CHECKPOINT_METADATA, from_rpc_error, open_channel

# Honest pages have little more than 1 MiB.
_MAX_MESSAGE_BYTES = 2 << 20

_RawStream: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"


class PeerClient:
    """Calls the peer over one channel; methods raise LedgerError and nothing else."""

    def __init__(
        self,
        open_with: Callable[[bytes, bytes], grpc.aio.Channel],
        certificate: bytes,
        key: bytes,
        timeout_s: float,
    ) -> None:
        """
        Open a channel with a certificate and its key, PEM.

        timeout_s: of one call; a stream of headers has none.
        """
        self.known_checkpoint = b""
        self._open_with = open_with
        self._channel = open_with(certificate, key)
        self._stub = PeerServiceStub(self._channel)
        self._timeout_s = timeout_s

    @classmethod
    def connect(
        cls,
        endpoint: str,
        *,
        authorities: Iterable[bytes],
        certificate: bytes,
        key: bytes,
        timeout_s: float,
    ) -> Self:
        """Open a channel, as open_channel does; the peer need not be there yet."""
        trusted = tuple(authorities)

        def open_with(certificate: bytes, key: bytes) -> grpc.aio.Channel:
            return open_channel(
                endpoint,
                authorities=trusted,
                certificate=certificate,
                key=key,
                largest=_MAX_MESSAGE_BYTES,
            )

        return cls(open_with, certificate, key, timeout_s)

    async def renew(self, *, certificate: bytes, key: bytes) -> None:
        """Go over to another certificate; a call that goes on fails, and is made again."""
        before = self._channel
        self._channel = self._open_with(certificate, key)
        self._stub = PeerServiceStub(self._channel)
        await before.close()

    async def list_headers(self, start: int) -> AsyncGenerator[pb.ListHeadersResponse, None]:
        request = pb.ListHeadersRequest(start=start).SerializeToString()
        async with aclosing(self._stream("ListHeaders", request)) as messages:
            async for raw in messages:
                yield read_page(pb.ListHeadersResponse, raw)

    async def list_replica(self, start: int) -> AsyncGenerator[pb.ListReplicaResponse, None]:
        request = pb.ListReplicaRequest(start=start).SerializeToString()
        async with aclosing(self._stream("ListReplica", request)) as messages:
            async for raw in messages:
                yield read_page(pb.ListReplicaResponse, raw)

    async def _stream(self, method: str, request: bytes) -> AsyncGenerator[bytes, None]:
        """Messages as they come."""
        path = f"/ledger.v1.PeerService/{method}"
        stream: _RawStream = self._channel.unary_stream(path)
        call = stream(request, metadata=self._metadata())
        try:
            async for raw in call:
                yield raw
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def prove(self, old: int, new: int) -> tuple[Sequence[bytes], Sequence[bytes]]:
        stub, metadata, limit = LedgerServiceStub(self._channel), self._metadata(), self._timeout_s
        one = pb.GetInclusionProofRequest(index=old, size=new)
        other = pb.GetConsistencyProofRequest(old_size=old, new_size=new)
        try:
            inclusion = await stub.GetInclusionProof(one, timeout=limit, metadata=metadata)
            consistency = await stub.GetConsistencyProof(other, timeout=limit, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        return inclusion.proof, consistency.proof

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        request = pb.AddCheckpointRequest(old_size=old_size, proof=proof, checkpoint=note)
        try:
            reply = await self._stub.AddCheckpoint(
                request, timeout=self._timeout_s, metadata=self._metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        return reply.cosignatures

    async def get_cosigned(self) -> tuple[bytes, bytes]:
        reply = await self._ask_cosigned()
        return reply.checkpoint, reply.seen

    async def get_time(self) -> int:
        """The peer's clock, µs; 0 of one that does not say."""
        return (await self._ask_cosigned()).now

    async def _ask_cosigned(self) -> pb.GetCosignedResponse:
        try:
            return await self._stub.GetCosigned(
                pb.GetCosignedRequest(), timeout=self._timeout_s, metadata=self._metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    async def close(self) -> None:
        await self._channel.close()

    def _metadata(self) -> grpc.aio.Metadata:
        known = self.known_checkpoint
        return grpc.aio.Metadata(*([(CHECKPOINT_METADATA, known)] if known else []))
