"""The mirror's way to the node that it follows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import grpc

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.regulator_transport import GrpcRegulatorTransport


class MirrorClient:
    """A Way to the node, over one channel; raises LedgerError and nothing else."""

    def __init__(
        self,
        connect: Callable[[], grpc.aio.Channel],
        timeout_s: float,
        known_checkpoint: Callable[[], bytes],
    ) -> None:
        """
        Open a channel; connect does so with the certificate that lies there by then.

        The rest as GrpcRegulatorTransport.
        """
        self._connect = connect
        self._timeout_s = timeout_s
        self._known_checkpoint = known_checkpoint
        self._channel = connect()

    def follow(self, request: pb.FollowRequest) -> AsyncGenerator[pb.FollowResponse, None]:
        """As RegulatorService.Follow."""
        way = GrpcRegulatorTransport(self._channel, self._timeout_s, self._known_checkpoint)
        return way.follow(request)

    async def renew(self) -> None:
        """Go over to another certificate; a call that goes on fails, and is made again."""
        before, self._channel = self._channel, self._connect()
        await before.close()

    async def close(self) -> None:
        await self._channel.close()
