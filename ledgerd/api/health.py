"""grpc.health.v1, for service managers and load balancers."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2_grpc  # type: ignore[import-untyped] # ships no types
from grpc_health.v1.health import aio  # type: ignore[import-untyped] # ships no types


class Health:
    """SERVING from the first call on, NOT_SERVING once the node stops. Appends have GetInfo."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._servicer = aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def stop(self) -> None:
        await self._servicer.enter_graceful_shutdown()
