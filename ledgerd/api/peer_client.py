"""The way to the other node: what PeerService looks like from the caller's end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Self

import grpc

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import PeerServiceStub
from ledgerd_client.transport import CHECKPOINT_METADATA, from_rpc_error, open_channel


class PeerClient:
    """Calls the peer over one channel; methods raise LedgerError and nothing else."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        """timeout_s: of one call; a stream of headers has none."""
        self.known_checkpoint = b""
        self._channel = channel
        self._stub = PeerServiceStub(channel)
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
        channel = open_channel(endpoint, authorities=authorities, certificate=certificate, key=key)
        return cls(channel, timeout_s)

    async def list_headers(self, start: int) -> AsyncGenerator[pb.ListHeadersResponse, None]:
        call = self._stub.ListHeaders(pb.ListHeadersRequest(start=start), metadata=self._metadata())
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        request = pb.AddCheckpointRequest(old_size=old_size, proof=proof, checkpoint=note)
        try:
            reply = await self._stub.AddCheckpoint(
                request, timeout=self._timeout_s, metadata=self._metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        return reply.cosignatures

    async def get_cosigned(self) -> bytes:
        try:
            reply = await self._stub.GetCosigned(
                pb.GetCosignedRequest(), timeout=self._timeout_s, metadata=self._metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        return reply.checkpoint

    async def close(self) -> None:
        await self._channel.close()

    def _metadata(self) -> grpc.aio.Metadata:
        known = self.known_checkpoint
        return grpc.aio.Metadata(*([(CHECKPOINT_METADATA, known)] if known else []))
