"""
The part of RegulatorService that streams: entries as they come, and the whole log for a mirror.

Before each batch the grant is looked at anew: when it ends, so does the stream.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from google.protobuf.message import Message

from ledgerd.api.asking import Asker, check_tailed, grant_clauses, read_parts, read_query
from ledgerd.api.encode import encode_entry
from ledgerd.api.errors import Context
from ledgerd.api.identity import Caller, current_caller
from ledgerd.api.peer import STREAM_S, Replica
from ledgerd.api.threads import InThread
from ledgerd.ledger.answers import Answers, Asked, At, EntryPage, Part
from ledgerd.ledger.reader import SHARED_PAGE_HEADERS
from ledgerd.ledger.search import Clause, Search
from ledgerd.projections.postings import Field, code
from ledgerd_client._proto import body_pb2, service_pb2_grpc
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import (
    BusyError,
    FieldError,
    InputError,
    NotFoundError,
    NotReadyError,
    UnavailableError,
)
from ledgerd_client.core.header import Kind
from ledgerd_client.core.supervision import KIND_NUMBERS

# How long one tail lasts; its caller goes on from where it got to.
TAIL_S: Final = 300
_LOOK_EVERY_S: Final = 1.0
_SIGN_OF_LIFE_S: Final = 10.0
_TAIL_PAGE: Final = 100
_STREAMS_OF_ONE: Final = 4

_NEWS: Final = frozenset(
    code(number) for kind, number in KIND_NUMBERS.items() if kind != "query_log"
)


class Grants(Protocol):
    """What regulators may read."""

    def grant(self, caller: Caller) -> body_pb2.Grant:
        """At this time; raises ForbiddenError where it is nothing."""


class Recorder(Protocol):
    """Puts queries on record."""

    async def note(self, regulator: str, method: str, request: Message, size: int) -> None:
        """
        Return when the log or the disk has it, so that the answer may leave; size: of the answer.

        Raises LedgerError, and the query is then not to be answered.
        """


@dataclass(frozen=True, slots=True)
class Desk:
    """What regulators are answered from: a node's log, or a mirror's."""

    origin: str
    peer_origin: str
    answers: Answers
    replica: Replica
    grants: Grants
    recorder: Recorder
    in_thread: InThread
    # Told of a checkpoint that is not of this log, as far as is known here.
    suspect: Callable[[bytes], None]


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

    async def settle(self, note: bytes) -> At:
        """As the function of that name."""
        return await settle(self._desk, note)

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
            at = await self.settle(b"")
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


async def settle(desk: Desk, note: bytes) -> At:
    """As Answers.settle; a checkpoint that is not of the log as it is here is told of."""
    try:
        return await desk.in_thread(desk.answers.settle, note)
    except (InputError, NotReadyError):
        desk.suspect(note)
        raise


def source_of(desk: Desk, origin: str) -> Source:
    """The log of that name, or the own one; raises NotFoundError."""
    if origin not in {"", desk.origin, desk.peer_origin}:
        raise NotFoundError(f"{origin} is neither this log nor its peer")
    return _PeersLog(desk) if origin == desk.peer_origin else _OwnLog(desk)


async def newest_from(desk: Desk, source: Source, start: int) -> tuple[int, bytes]:
    """As Source.newest; raises FieldError BEYOND_THE_END when there is nothing at start."""
    size, note = await desk.in_thread(source.newest)
    if start > size:
        raise FieldError(
            f"{source.origin} has {size} entries here, not {start}", reason="BEYOND_THE_END"
        )
    return size, note


class Source(Protocol):
    """A log that can be followed."""

    origin: str

    def newest(self) -> tuple[int, bytes]:
        """Its size, and the checkpoint of it."""

    def has_news(self, start: int, size: int) -> bool:
        """Whether there is anything in these entries whose reading is to be put on record."""

    def page(self, start: int, size: int, clauses: Sequence[Clause]) -> list[pb.FollowedEntry]:
        """The next entries; bodies of those that meet the clauses."""


class _OwnLog:
    """This log, for whoever follows it."""

    def __init__(self, desk: Desk) -> None:
        self.origin = desk.origin
        self._answers = desk.answers

    def newest(self) -> tuple[int, bytes]:
        """Its size, and the checkpoint of it."""
        at = self._answers.settle(b"")
        return at.size, at.note

    def has_news(self, start: int, size: int) -> bool:
        """
        Whether there is anything in these entries but what regulators have asked.

        Reading of that is not put on record: else two who follow would never come to rest.
        """
        search = Search((Clause(Field.KIND, _NEWS),), (), start, size, size, newest_first=False)
        return bool(self._answers.page(search, None, 1, ()).entries)

    def page(self, start: int, size: int, clauses: Sequence[Clause]) -> list[pb.FollowedEntry]:
        """The next entries; bodies of those that meet the clauses."""
        return [
            pb.FollowedEntry(
                header=each.header,
                body=each.body,
                withheld=each.withheld,
                remains=each.remains,
                erased_by=each.erased_by,
            )
            for each in self._answers.stretch(start, size, clauses)
        ]


class _PeersLog:
    """The peer's log as far as it is replayed: headers, and the bodies that nodes share."""

    def __init__(self, desk: Desk) -> None:
        self.origin = desk.peer_origin
        self._replica = desk.replica

    def newest(self) -> tuple[int, bytes]:
        return self._replica.newest()

    def has_news(self, start: int, size: int) -> bool:
        """As of the own log; what its node says by itself, its regulators' queries among it."""
        return any(header.kind != Kind.NODE for header in self._replica.headers(start, size))

    def page(self, start: int, size: int, clauses: Sequence[Clause]) -> list[pb.FollowedEntry]:
        stop = min(size, start + SHARED_PAGE_HEADERS)
        return [
            pb.FollowedEntry(header=header, body=body)
            for header, body in self._replica.entries(start, stop)
        ]
