"""StandbyService: the whole log, with every body, for this side's standby."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import nullcontext
from time import monotonic

from ledgerd.api.desk import Desk
from ledgerd.api.errors import Context
from ledgerd.api.following import Source, newest_from, source_of
from ledgerd.api.identity import current_certificate
from ledgerd.api.peer import STREAM_S, check_time
from ledgerd.ledger.replicated import Standby
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc


class StandbyHandlers(service_pb2_grpc.StandbyServiceServicer):
    """For the standby. What it reads is on nobody's record: it is this side's node too."""

    def __init__(self, desk: Desk, standby: Standby) -> None:
        self._desk = desk
        self._standby = standby

    async def Replicate(
        self, request: pb.ReplicateRequest, context: Context
    ) -> AsyncGenerator[pb.ReplicateResponse, None]:
        """Ends at the newest checkpoint; raises NotReadyError SECOND_STANDBY."""
        source = source_of(self._desk, request.origin)
        is_own = source.origin == self._desk.origin
        with self._standby.asking(current_certificate()) if is_own else nullcontext():
            if is_own:
                # By its own signature: a standby of another history has nothing of ours.
                at = await self._desk.settle(request.held) if request.held else None
                self._standby.has(at.size if at else 0)
                await self._standby.rest(request.start)
            async for page in self._pages(source, request.start):
                yield pb.ReplicateResponse(page=page)

    async def _pages(self, source: Source, start: int) -> AsyncIterator[pb.FollowResponse]:
        until = monotonic() + STREAM_S
        size, note = await newest_from(self._desk, source, start)
        yield pb.FollowResponse(checkpoint=note, first=start)
        while start < size:
            entries = await self._desk.in_thread(source.page, start, size, ())
            yield pb.FollowResponse(first=start, entries=entries)
            start += len(entries)
            check_time(until)
