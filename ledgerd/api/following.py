"""The logs that can be followed at a node: its own, and its peer's as far as it is replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from ledgerd.api.desk import Desk
from ledgerd.ledger.reader import SHARED_PAGE_HEADERS
from ledgerd.ledger.search import Clause, Search
from ledgerd.projections.postings import Field, code
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import FieldError, NotFoundError
from ledgerd_client.core.header import Kind
from ledgerd_client.core.supervision import KIND_NUMBERS

_NEWS: Final = frozenset(
    code(number) for kind, number in KIND_NUMBERS.items() if kind != "query_log"
)


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
