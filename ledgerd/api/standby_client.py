"""The standby's way to the node that it follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Final, Self

import grpc

from ledgerd.ledger.replicated import REST_S
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import StandbyServiceStub
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.transport import from_rpc_error, open_channel

# Beyond the rest of a call in which nothing happens.
_SILENCE_S: Final = REST_S + 25


class StandbyClient:
    """A Way to the node, over one channel; raises LedgerError and nothing else."""

    def __init__(self, channel: grpc.aio.Channel, held: Callable[[], bytes]) -> None:
        """held: the newest checkpoint that is on our disk with everything under it, or b""."""
        self._channel = channel
        self._stub = StandbyServiceStub(channel)
        self._held = held

    @classmethod
    def connect(
        cls,
        endpoint: str,
        *,
        authorities: Iterable[bytes],
        certificate: bytes,
        key: bytes,
        held: Callable[[], bytes],
    ) -> Self:
        """Open a channel, as open_channel does; the node need not be there yet."""
        return cls(
            open_channel(endpoint, authorities=authorities, certificate=certificate, key=key), held
        )

    async def follow(self, request: pb.FollowRequest) -> AsyncGenerator[pb.FollowResponse, None]:
        asked = pb.ReplicateRequest(origin=request.origin, start=request.start, held=self._held())
        call = self._stub.Replicate(asked)
        try:
            while True:
                async with asyncio.timeout(_SILENCE_S):
                    response = await call.read()
                if not isinstance(response, pb.ReplicateResponse):  # the end of the stream
                    return
                yield response.page
        except TimeoutError:
            raise UnavailableError("the node has fallen silent") from None
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close()
