"""One node's way to the other: PeerService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import grpc

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import PeerServiceStub
from ledgerd_client.transport import CHECKPOINT_METADATA, from_rpc_error


class PeerTransport:
    """
    The peer's node over one channel, which reconnects by itself. Belongs to its event loop.

    Methods raise LedgerError and nothing else. known_checkpoint, the largest checkpoint of the peer
    that the caller has verified (a signed note, b"" for none), goes with every call.
    """

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        """timeout_s: how long one call may take; a stream is ended by whoever reads it."""
        self.known_checkpoint = b""
        self._channel = channel
        self._stub = PeerServiceStub(channel)
        self._timeout_s = timeout_s

    async def list_headers(self, start: int) -> AsyncGenerator[pb.ListHeadersResponse, None]:
        """The peer's newest checkpoint, then its headers from start on; close it to end early."""
        request = pb.ListHeadersRequest(start=start)
        call = self._stub.ListHeaders(request, metadata=self._metadata())
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        """Ask for a cosignature on a checkpoint of the caller's log; returns its lines."""
        request = pb.AddCheckpointRequest(old_size=old_size, proof=proof, checkpoint=note)
        try:
            reply = await self._stub.AddCheckpoint(
                request, timeout=self._timeout_s, metadata=self._metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        return reply.cosignatures

    async def get_cosigned(self) -> bytes:
        """The largest checkpoint of the caller's log that the peer cosigned, b"" for none."""
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
