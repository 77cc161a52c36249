"""The standby's way to the node that it follows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Final, Self

import grpc

from ledgerd.ledger.replicated import REST_S
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import StandbyServiceStub
from ledgerd_client.transport import open_channel, read_stream

# Beyond the rest of a call in which nothing happens.
_SILENCE_S: Final = REST_S + 25


class StandbyClient:
    """A Way to the node, over one channel; raises LedgerError and nothing else."""

    def __init__(
        self,
        open_with: Callable[[bytes, bytes], grpc.aio.Channel],
        certificate: bytes,
        key: bytes,
        held: Callable[[], bytes],
    ) -> None:
        """
        Open a channel with a certificate and its key, PEM.

        held: the newest checkpoint that is on our disk with everything under it, or b"".
        """
        self._open_with = open_with
        self._channel = open_with(certificate, key)
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
        trusted = tuple(authorities)

        def open_with(certificate: bytes, key: bytes) -> grpc.aio.Channel:
            return open_channel(endpoint, authorities=trusted, certificate=certificate, key=key)

        return cls(open_with, certificate, key, held)

    async def renew(self, *, certificate: bytes, key: bytes) -> None:
        """Go over to another certificate; a call that goes on fails, and is made again."""
        before = self._channel
        self._channel = self._open_with(certificate, key)
        await before.close()

    async def follow(self, request: pb.FollowRequest) -> AsyncGenerator[pb.FollowResponse, None]:
        asked = pb.ReplicateRequest(origin=request.origin, start=request.start, held=self._held())
        call = StandbyServiceStub(self._channel).Replicate(asked)
        async with aclosing(read_stream(call, pb.ReplicateResponse, _SILENCE_S)) as responses:
            async for response in responses:
                yield response.page

    async def close(self) -> None:
        await self._channel.close()
