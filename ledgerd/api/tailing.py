"""
The part of RegulatorService that streams: entries as they come, and the whole log for a mirror.

Before each batch the grant is looked at anew: when it ends, so does the stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic

from google.protobuf.message import Message

from ledgerd.api.asking import Asker, check_tailed, grant_clauses, read_parts, read_query
from ledgerd.api.desk import Desk
from ledgerd.api.encode import encode_entry
from ledgerd.api.errors import Context
from ledgerd.api.following import newest_from, source_of
from ledgerd.api.identity import Caller, current_caller
from ledgerd.api.peer import STREAM_S
from ledgerd.api.streams import TAIL_PAGE, Batch, Streams
from ledgerd.ledger.answers import Asked, EntryPage, Part
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc
from ledgerd_client.core.errors import FieldError, UnavailableError


class StreamHandlers(service_pb2_grpc.RegulatorServiceServicer):
    """For regulators."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._streams = Streams()

    def end_tails(self) -> None:
        """Let the streams that are under way end; none begins after this."""
        self._streams.end()

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
        with self._streams.one(caller):
            asker = self.asker(caller)
            asked = self.read(request.query, asker)
            at = await self._desk.settle(b"")
            start = (await self._desk.in_thread(self._desk.answers.search, asked, at.size)).first
            await self.record(asker, "Tail", request, at.size)
            async with aclosing(self._tail(caller, request.query, start, parts)) as tail:
                async for reply in tail:
                    yield reply

    def _tail(
        self, caller: Caller, query: pb.Query, start: int, parts: frozenset[Part]
    ) -> AsyncGenerator[pb.TailResponse, None]:
        async def look(start: int) -> Batch[pb.TailResponse]:
            asked = self.read(query, self.asker(caller))
            size, page = await self._desk.in_thread(self._batch, asked, start, parts)
            replies = (
                pb.TailResponse(entry=encode_entry(found), size=found.index + 1)
                for found in page.entries
            )
            start = size if page.next is None else page.next
            return Batch(replies, start, page.next is not None)

        return self._streams.tail(look, start, lambda size: pb.TailResponse(size=size))

    def _batch(self, asked: Asked, start: int, parts: frozenset[Part]) -> tuple[int, EntryPage]:
        answers = self._desk.answers
        size = answers.settle(b"").size
        search = answers.search(asked._replace(first=start), size)
        return size, answers.page(search, None, TAIL_PAGE, parts)

    async def Follow(
        self, request: pb.FollowRequest, context: Context
    ) -> AsyncGenerator[pb.FollowResponse, None]:
        """Ends at the newest checkpoint, and after STREAM_S."""
        caller, desk = current_caller(), self._desk
        source = source_of(desk, request.origin)
        with self._streams.one(caller):
            until = monotonic() + STREAM_S
            size, note = await newest_from(desk, source, request.start)
            if await desk.in_thread(source.has_news, request.start, size):
                # Wherever it begins, it is one question: what is new?
                whole = pb.FollowRequest(origin=request.origin)
                await self.record(self.asker(caller), "Follow", whole, size)
            start = request.start
            yield pb.FollowResponse(checkpoint=note, first=start)
            while start < size and not self._streams.ending:
                clauses = tuple(grant_clauses(self.asker(caller)))
                entries = await desk.in_thread(source.page, start, size, clauses)
                yield pb.FollowResponse(first=start, entries=entries)
                start += len(entries)
                if monotonic() > until:
                    raise UnavailableError(
                        "the stream has lasted long enough; go on in another",
                        reason="STREAM_TOO_LONG",
                    )
