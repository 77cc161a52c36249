"""
Bodies of a log whose headers are back from the peer's replica, which never had most of them.

They come from copies of the store and from the institutions that wrote them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from typing import Final, NamedTuple

from ledgerd.ledger.machine import stored_header
from ledgerd.peer.replica import Replica
from ledgerd.peer.store import PeerStore
from ledgerd.projections.erased import ErasedBody
from ledgerd.projections.lost import find_returned
from ledgerd.projections.ordinals import find_places
from ledgerd.store.base import Store, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import ForbiddenError, NotFoundError
from ledgerd_client.core.header import Header, Kind, body_digest_of

_PAGE: Final = 1000
# By one call of an institution that asks what it is to return.
_LOOKED_THROUGH: Final = 50_000


class Held(NamedTuple):
    """
    An entry of the own log as it is here.

    body: b"" if it is missing; erased: what remains. lost: a LOSS before has given up the body,
    which may have come back since.
    """

    header: bytes
    body: bytes
    erased: ErasedBody | None = None
    lost: bool = False


class Bodies:
    """Those of the own log that are here, beside its headers. Belongs to the event loop."""

    def __init__(self, store: PeerStore, own: Replica) -> None:
        self._store = store
        self._own = own
        # Counted and found once, until more is here.
        self._missing: Counter[str] | None = None
        self._erased: dict[int, ErasedBody] | None = None
        self._lost: list[tuple[int, int]] | None = None

    def look_again(self) -> None:
        """Call when there are more headers."""
        self._erased = self._lost = self._missing = None

    async def take_bodies(self, copy: Store, *, by_node: bool) -> int:
        """
        Take the bodies that are missing here out of a copy of the store; how many it had.

        by_node: only what the node itself wrote. It comes first, from every copy: what was erased
        stands there, and no older copy brings it back.
        """
        taken = 0
        for start in range(0, self._own.verified_size, _PAGE):
            taken += await self._store.run(self._take_page, copy, start, by_node)
        self._missing = None
        if by_node:
            self._erased = self._lost = None
        return taken

    def _take_page(self, copy: Store, start: int, by_node: bool) -> int:
        wanted = [
            header
            for header in self.missing(start, start + _PAGE)
            if not by_node or header.kind == Kind.NODE
        ]
        taken = 0
        with copy.snapshot() as theirs, self._store.write() as transaction:
            for header in wanted:
                body = theirs.get(Table.BODIES, u64(header.index)) or find_returned(
                    theirs, header.index
                )
                if body is not None and sha256(body).digest() == header.body_digest:
                    transaction.put(Table.BODIES, u64(header.index), body)
                    taken += 1
        return taken

    async def forget_erased(self) -> None:
        """Delete bodies that were erased and came before the ERASURE that says so."""
        await self._store.run(self._forget_erased)

    def _forget_erased(self) -> None:
        with self._store.write() as transaction:
            for index in self.erased():
                transaction.delete(Table.BODIES, u64(index))

    async def give_back(self, institution: str, body: bytes) -> None:
        """
        Take a body from whom wrote it; one that is here already is as good.

        Raises NotFoundError NOT_IN_LOG or ERASED, ForbiddenError OTHERS_RECORD.
        """
        missing = self._count()
        if await self._store.run(self._give_back, institution, body):
            missing[institution] -= 1

    def _give_back(self, institution: str, body: bytes) -> bool:
        with self._store.write() as transaction:
            header = self._header_of(transaction, sha256(body).digest())
            if self.author(header) != institution:
                raise ForbiddenError(
                    f"entry {header.index} is not by {institution}", reason="OTHERS_RECORD"
                )
            if header.index in self.erased():
                raise NotFoundError(f"the body of entry {header.index} was erased", reason="ERASED")
            is_new = transaction.get(Table.BODIES, u64(header.index)) is None
            transaction.put(Table.BODIES, u64(header.index), body)
            return is_new

    def _header_of(self, transaction: Transaction, digest: bytes) -> Header:
        for place in find_places(transaction, digest):
            raw = stored_header(transaction, place)
            if place < self._own.verified_size and body_digest_of(raw) == digest:
                return Header.parse(raw)
        raise NotFoundError(
            "no entry that is left has this body",
            reason="NOT_IN_LOG",
            action="send it as a new record when the node serves again",
        )

    def author(self, header: Header) -> str:
        """The institution whose key signed an entry, "" for none."""
        key = self._own.history.find(header.key_id)
        return key.subject if key is not None else ""

    def missing(self, start: int = 0, stop: int | None = None) -> Iterator[Header]:
        """Headers of entries from start on whose bodies are missing, and were not erased."""
        erased, size = self.erased(), self._own.verified_size
        stop = size if stop is None else min(stop, size)
        for index, (raw, body) in enumerate(self._own.entries(start, stop), start):
            if not body and index not in erased:
                yield Header.parse(raw)

    async def list_missing(self, institution: str, start: int) -> tuple[list[int], int]:
        """
        Entries of an institution's from start on whose bodies are missing, and where to go on.

        At most a page, out of so many entries as are looked through at once; 0: that was all.
        """
        return await self._store.run(self._list_missing, institution, start)

    def _list_missing(self, institution: str, start: int) -> tuple[list[int], int]:
        stop = start + _LOOKED_THROUGH
        theirs = (
            header.index
            for header in self.missing(start, stop)
            if self.author(header) == institution
        )
        found = list(islice(theirs, _PAGE))
        if len(found) == _PAGE:
            stop = found[-1] + 1
        return found, stop if stop < self._own.verified_size else 0

    def missing_by_author(self) -> Counter[str]:
        """How many bodies are missing of each institution, and of "", the node itself."""
        return +self._count()

    def missing_of(self, institution: str) -> int:
        """How many bodies of an institution's are missing."""
        return self._count()[institution]

    def _count(self) -> Counter[str]:
        if self._missing is None:
            self._missing = Counter(map(self.author, self.missing()))
        return self._missing

    def erased(self) -> dict[int, ErasedBody]:
        """What remains of erased bodies, by index, as the ERASUREs say that are here."""
        if self._erased is None:
            self._erased = dict(self._find_erased())
        return self._erased

    def _find_erased(self) -> Iterator[tuple[int, ErasedBody]]:
        for index, said in self._said_by_node():
            for each in said.erasure.remains:
                yield each.index, ErasedBody(index, each.body)

    def _is_lost(self, index: int) -> bool:
        """Whether a LOSS before this recovery has given up a body, as far as that is here."""
        if self._lost is None:
            ranges = (each for _, said in self._said_by_node() for each in said.lost_bodies.ranges)
            self._lost = sorted((each.first, each.end) for each in ranges)
        place = bisect_right(self._lost, (index, self._own.verified_size))
        return place > 0 and index < self._lost[place - 1][1]

    def _said_by_node(self) -> Iterator[tuple[int, body_pb2.Body]]:
        for index, (raw, body) in enumerate(self._own.entries(0, self._own.verified_size)):
            if body and Header.parse(raw).kind == Kind.NODE:
                yield index, body_pb2.Body.FromString(body)

    def entries(self, start: int, stop: int) -> Iterator[Held]:
        """The own log's, start <= index < stop; none of an erased body but what remains."""
        erased = self.erased()
        for index, (raw, body) in enumerate(self._own.entries(start, stop), start):
            held = b"" if index in erased else body
            yield Held(raw, held, erased.get(index), self._is_lost(index))
