"""grpc.health.v1, for load balancers and whoever watches (docs/operations.md, "Health")."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped] # no types

from ledgerd.api.errors import Context
from ledgerd.api.identity import Caller, current_caller
from ledgerd.observe.troubles import APPEND, FRESH, PARTS, Trouble
from ledgerd_client.core.errors import BusyError, NotFoundError

# How long one watch lasts; its caller asks again.
WATCH_S: Final = 300
_WATCHES_OF_ONE: Final = 4
# Without these the whole is not serving. Not the peer: an outage of it never blocks an append.
_WHOLE: Final = frozenset((APPEND, FRESH))

_Response: Any = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # ships no types
    """
    SERVING or NOT_SERVING: of each service, of each part, and under "" of the whole.

    Belongs to one event loop.
    """

    def __init__(self, server: Any, services: Iterable[str], parts: Iterable[str] = PARTS) -> None:
        """parts: of which it is told how they do; they do well until then."""
        self._serving = dict.fromkeys(("", *services, *parts), True)
        self._changed = asyncio.Event()
        self._stopping = False
        self._watches: Counter[Caller] = Counter()
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    def tell(self, troubles: Iterable[Trouble]) -> None:
        """Take over how the parts do."""
        hurt = {part for trouble in troubles for part in trouble.parts}
        told = {part: part not in hurt for part in PARTS} | {"": not hurt & _WHOLE}
        if self._stopping or told.items() <= self._serving.items():
            return
        self._serving |= told
        self._changed.set()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """Nothing serves any more; watches are told, and end."""
        self._serving = dict.fromkeys(self._serving, False)
        self._stopping = True
        self._changed.set()

    async def Check(self, request: Any, context: Context) -> Any:
        if request.service not in self._serving:
            raise NotFoundError(f"nothing here is called {request.service!r}")
        return _Response(status=self._status(request.service))

    async def List(self, request: Any, context: Context) -> Any:
        statuses = {name: _Response(status=self._status(name)) for name in self._serving}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(self, request: Any, context: Context) -> AsyncIterator[Any]:
        """The status, and each change of it. Ends after WATCH_S, and when the node stops."""
        caller = current_caller()
        if self._watches[caller] >= _WATCHES_OF_ONE:
            raise BusyError("too many watches at once", reason="TOO_MANY_TAILS")
        self._watches[caller] += 1
        try:
            async for status in self._watched(request.service):
                yield _Response(status=status)
        finally:
            self._watches[caller] -= 1
            if not self._watches[caller]:
                del self._watches[caller]

    async def _watched(self, service: str) -> AsyncIterator[int]:
        until = asyncio.get_running_loop().time() + WATCH_S
        last = None
        while True:
            changed, status = self._changed, self._status(service)
            if status != last:
                yield status
            last = status
            if self._stopping:
                return
            try:
                async with asyncio.timeout_at(until):
                    await changed.wait()
            except TimeoutError:
                return

    def _status(self, service: str) -> int:
        serving = self._serving.get(service)
        if serving is None:
            return int(_Response.SERVICE_UNKNOWN)
        return int(_Response.SERVING if serving else _Response.NOT_SERVING)
