"""
The part of RegulatorService that streams: entries as they come, and the whole log for a mirror.

Before each batch the grant is looked at anew: when it ends, so does the stream.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Final

from google.protobuf.message import Message

from ledgerd.api.asking import Asker, check_tailed, grant_clauses, read_parts, read_query
from ledgerd.api.desk import Desk
from ledgerd.api.encode import encode_entry
from ledgerd.api.errors import Context
from ledgerd.api.following import newest_from, source_of
from ledgerd.api.identity import Caller, current_caller
from ledgerd.api.peer import STREAM_S
from ledgerd.ledger.answers import Asked, EntryPage, Part
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc
from ledgerd_client.core.errors import (
    BusyError,
    FieldError,
    UnavailableError,
)

# How long one tail lasts; its caller goes on from where it got to.
TAIL_S: Final = 300
_LOOK_EVERY_S: Final = 1.0
_SIGN_OF_LIFE_S: Final = 10.0
_TAIL_PAGE: Final = 100
_STREAMS_OF_ONE: Final = 4


class StreamHandlers(service_pb2_grpc.RegulatorServiceServicer):
    """For regulators."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._streams: Counter[Caller] = Counter()
        self._stopping = asyncio.Event()

    def end_tails(self) -> None:
        """Let the streams that are under way end; none begins after this."""
        self._stopping.set()

    # -- what all methods share -------------------------------------------------------------

    def asker(self, caller: Caller) -> Asker:
        """Who asks, with the grant of this moment; raises ForbiddenError."""
        return Asker(caller.id, self._desk.grants.grant(caller))

    def read(self, query: pb.Query, asker: Asker) -> Asked:
        """As asking.read_query, of this log."""
        desk = self._desk
        return read_query(query, asker, origin=desk.origin, peer_origin=desk.peer_origin)

    async def record(self, asker: Asker, method: str, request: Message, size: int) -> None:
        """Put a query on record, before it is answered."""
        name = f"RegulatorService/{method}"
        await self._desk.recorder.note(asker.regulator, name, request, size)

    # -- streams ----------------------------------------------------------------------------

    async def Tail(
        self, request: pb.TailRequest, context: Context
    ) -> AsyncGenerator[pb.TailResponse, None]:
        """Ends after TAIL_S, and when the node stops."""
        caller = current_caller()
        check_tailed(request.query)
        parts = read_parts(request.parts)
        if Part.PROOF in parts:
            raise FieldError("a tail has no proofs: there is no checkpoint that it is as of")
        with self._one_stream(caller):
            asker = self.asker(caller)
            asked = self.read(request.query, asker)
            at = await self._desk.settle(b"")
            start = (await self._desk.in_thread(self._desk.answers.search, asked, at.size)).first
            await self.record(asker, "Tail", request, at.size)
            async for reply in self._tail(caller, request.query, start, parts):
                yield reply

    async def _tail(
        self, caller: Caller, query: pb.Query, start: int, parts: frozenset[Part]
    ) -> AsyncIterator[pb.TailResponse]:
        began = heard = monotonic()
        while monotonic() < began + TAIL_S and not self._stopping.is_set():
            asked = self.read(query, self.asker(caller))
            size, page = await self._desk.in_thread(self._batch, asked, start, parts)
            for found in page.entries:
                yield pb.TailResponse(entry=encode_entry(found), size=found.index + 1)
            start = size if page.next is None else page.next
            if page.entries:
                heard = monotonic()
            elif monotonic() >= heard + _SIGN_OF_LIFE_S:
                heard = monotonic()
                yield pb.TailResponse(size=start)
            if page.next is None:
                await self._rest()

    def _batch(self, asked: Asked, start: int, parts: frozenset[Part]) -> tuple[int, EntryPage]:
        answers = self._desk.answers
        size = answers.settle(b"").size
        search = answers.search(asked._replace(first=start), size)
        return size, answers.page(search, None, _TAIL_PAGE, parts)

    async def Follow(
        self, request: pb.FollowRequest, context: Context
    ) -> AsyncGenerator[pb.FollowResponse, None]:
        """Ends at the newest checkpoint, and after STREAM_S."""
        caller, desk = current_caller(), self._desk
        source = source_of(desk, request.origin)
        with self._one_stream(caller):
            until = monotonic() + STREAM_S
            size, note = await newest_from(desk, source, request.start)
            if await desk.in_thread(source.has_news, request.start, size):
                # Wherever it begins, it is one question: what is new?
                whole = pb.FollowRequest(origin=request.origin)
                await self.record(self.asker(caller), "Follow", whole, size)
            start = request.start
            yield pb.FollowResponse(checkpoint=note, first=start)
            while start < size and not self._stopping.is_set():
                clauses = tuple(grant_clauses(self.asker(caller)))
                entries = await desk.in_thread(source.page, start, size, clauses)
                yield pb.FollowResponse(first=start, entries=entries)
                start += len(entries)
                if monotonic() > until:
                    raise UnavailableError(
                        "the stream has lasted long enough; go on in another",
                        reason="STREAM_TOO_LONG",
                    )

    # -- how they are kept within bounds ----------------------------------------------------

    @contextmanager
    def _one_stream(self, caller: Caller) -> Iterator[None]:
        if self._streams[caller] >= _STREAMS_OF_ONE:
            raise BusyError("too many streams at once", reason="TOO_MANY_TAILS")
        self._streams[caller] += 1
        try:
            yield
        finally:
            self._streams[caller] -= 1

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _LOOK_EVERY_S)
