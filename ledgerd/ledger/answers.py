"""
Answers as of a checkpoint: which entries a query finds, and what of them is shown, with proofs.

Each from short snapshots; any thread may ask. An answer is a function of the query, the size of its
checkpoint, and of what was erased since.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from ledgerd.ledger.erasing import WhyErased, why_erased
from ledgerd.ledger.head import Head
from ledgerd.ledger.law_reader import body_lost, need
from ledgerd.ledger.search import Clause, Search, find, find_page, first_at
from ledgerd.ledger.tree import NodeCache, Nodes
from ledgerd.projections.erased import find_erased
from ledgerd.projections.postings import closed_by
from ledgerd.projections.transfer_row import Transfer
from ledgerd.projections.transfers import row_of_half
from ledgerd.rules.reconcile import State
from ledgerd.store.base import Snapshot, Store
from ledgerd.store.tables import Table
from ledgerd_client.core import merkle, ranges
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import FieldError, LedgerError, NotReadyError
from ledgerd_client.core.header import KINDS_WITH_HALVES, Header, Kind

# Of one message to who follows: entries at most, and bytes after which it ends.
_STRETCH: Final = 512
_STRETCH_BYTES: Final = 1 << 20


class Part(enum.IntEnum):
    """What of an entry is shown; numbers as in EntryPart."""

    HEADER = 1
    BODY = 2
    STANDING = 3
    PROOF = 4


class At(NamedTuple):
    """A checkpoint of this log: its size, the note itself, and the time (µs) of its last entry."""

    size: int
    note: bytes
    as_of: int


class Asked(NamedTuple):
    """
    What a query looks for. end, until (µs): 0 for no bound; since: µs.

    It finds entries that meet every clause, and are of or about one of refs, if there are any.
    """

    clauses: tuple[Clause, ...]
    refs: tuple[bytes, ...]
    first: int
    end: int
    since: int
    until: int
    newest_first: bool


@dataclass(slots=True)
class FoundEntry:
    """
    An entry, as far as its parts were asked for.

    state: of the transfer that it is a half of, "not_counted" of too many, "" of none. closed_by:
    of a finding, the entry that closed it; 0 if it stands. withheld: the rest is not for who asks.
    """

    index: int
    header: bytes = b""
    body: bytes = b""
    state: str = ""
    closed_by: int = 0
    erased: WhyErased | None = None
    proof: Sequence[bytes] = ()
    withheld: bool = False


class EntryPage(NamedTuple):
    """Entries in the order asked for; next: where to go on, None at the end."""

    entries: list[FoundEntry]
    next: int | None
    range_proof: Sequence[bytes]


class Followed(NamedTuple):
    """
    An entry for who follows the log. withheld: its body is not for him.

    Where it was erased, in place of the body what remains of it, and the index of the ERASURE.
    """

    header: bytes
    body: bytes = b""
    withheld: bool = False
    remains: bytes = b""
    erased_by: int = 0


class Answers:
    """
    Reads a store that somebody may be writing to.

    open_own reads a note of this log and raises LedgerError unless it is by the key in force.
    """

    def __init__(self, store: Store, open_own: Callable[[bytes], Checkpoint]) -> None:
        self._store = store
        self._open = open_own
        self._cache: NodeCache = {}

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """For one short answer."""
        return self._store.snapshot()

    def settle(self, note: bytes) -> At:
        """
        The checkpoint to answer at: the one given, verified, or for b"" the newest.

        Raises FieldError NOT_THIS_LOG for a note that is not this log's, NotReadyError
        CHECKPOINT_AHEAD for one of more entries than are here.
        """
        with self._store.snapshot() as snapshot:
            head = Head.load(snapshot)
            size = self._verify(snapshot, note, head.size) if note else head.size
            last = Header.parse(need(snapshot, Table.HEADERS, size - 1))
            return At(size, note or head.checkpoint, last.recorded_at)

    def search(self, asked: Asked, size: int) -> Search:
        """What a query looks for as of a size; raises FieldError BEYOND_THE_END."""
        if max(asked.first, asked.end) > size:
            raise FieldError(
                f"the log has {size} entries at that checkpoint, not {max(asked.first, asked.end)}",
                reason="BEYOND_THE_END",
                action="ask for a range that ends there, or at a later checkpoint",
            )
        first, end = asked.first, asked.end or size
        with self._store.snapshot() as snapshot:
            if asked.since:
                first = max(first, first_at(snapshot, asked.since, size))
            if asked.until:
                end = min(end, first_at(snapshot, asked.until, size))
        return Search(asked.clauses, asked.refs, first, end, size, asked.newest_first)

    def page(
        self, search: Search, start: int | None, count: int, parts: Collection[Part]
    ) -> EntryPage:
        """Up to count entries that a search finds, as find_page(), from a `next` on; None: all."""
        with self._store.snapshot() as snapshot:
            found = find_page(snapshot, search, start, count)
            entries = [self.entry(snapshot, index, search.size, parts) for index in found.indexes]
            proof: Sequence[bytes] = ()
            if Part.PROOF in parts:
                proof = self._prove(snapshot, entries, search.size)
            return EntryPage(entries, found.next, proof)

    def stretch(self, start: int, end: int, clauses: Sequence[Clause]) -> list[Followed]:
        """
        The entries from start on, below end, as many as a message carries.

        Bodies of those that meet the clauses, of fields whose values don't change; none: of all.
        """
        stretch: list[Followed] = []
        size = 0
        with self._store.snapshot() as snapshot:
            stop = min(end, start + _STRETCH)
            covered: Collection[int] = range(start, stop)
            if clauses:
                search = Search(tuple(clauses), (), start, stop, stop, newest_first=False)
                covered = frozenset(find(snapshot, search, None, _STRETCH).indexes)
            for index in range(start, stop):
                stretch.append(_followed(snapshot, index, shown=index in covered))
                size += sum(map(len, (stretch[-1].header, stretch[-1].body, stretch[-1].remains)))
                if size >= _STRETCH_BYTES:
                    break
        return stretch

    def entry(
        self, snapshot: Snapshot, index: int, size: int, parts: Collection[Part]
    ) -> FoundEntry:
        """One entry as of a size, without its proof."""
        found = FoundEntry(index)
        header = need(snapshot, Table.HEADERS, index)
        if Part.HEADER in parts:
            found.header = header
        if Part.BODY in parts:
            found.body = snapshot.get(Table.BODIES, u64(index)) or b""
        if Part.STANDING in parts:
            found.state = _state(snapshot, index, Header.parse(header), size)
            found.closed_by = closed_by(snapshot, index, size)
            found.erased = why_erased(snapshot, index)
        return found

    def inclusion(self, snapshot: Snapshot, index: int, size: int) -> list[bytes]:
        """The proof of an entry under the root of a size."""
        return merkle.inclusion_proof(Nodes(snapshot.get, self._cache), index, size)

    def _verify(self, snapshot: Snapshot, note: bytes, held: int) -> int:
        try:
            checkpoint = self._open(note)
        except LedgerError as error:
            raise _not_this_log(error.message) from None
        if checkpoint.size > held:
            raise NotReadyError(
                f"the log is at {held} entries here; asked was at {checkpoint.size}",
                reason="CHECKPOINT_AHEAD",
                action="a mirror: ask again when it has come so far; a node: it has lost entries,"
                " so keep the checkpoint and tell the authority",
            )
        nodes = Nodes(snapshot.get, self._cache)
        if not checkpoint.size or merkle.root(nodes, checkpoint.size) != checkpoint.root:
            raise _not_this_log(f"the tree of {checkpoint.size} entries is another")
        return checkpoint.size

    def _prove(
        self, snapshot: Snapshot, entries: Sequence[FoundEntry], size: int
    ) -> Sequence[bytes]:
        """One proof of them all where they are contiguous; else each gets its own."""
        if entries and all(b.index == a.index + 1 for a, b in pairwise(entries)):
            nodes = Nodes(snapshot.get, self._cache)
            return ranges.range_proof(nodes, entries[0].index, entries[-1].index + 1, size)
        for entry in entries:
            entry.proof = self.inclusion(snapshot, entry.index, size)
        return ()


def _followed(snapshot: Snapshot, index: int, *, shown: bool) -> Followed:
    header = need(snapshot, Table.HEADERS, index)
    if not shown:
        return Followed(header, withheld=True)
    body = snapshot.get(Table.BODIES, u64(index))
    if body is not None:
        return Followed(header, body)
    erased = find_erased(snapshot, index)
    if erased is None:
        raise body_lost(index)
    return Followed(header, remains=erased.remains, erased_by=erased.erasure)


def _state(snapshot: Snapshot, index: int, header: Header, size: int) -> str:
    """The state as of a size of the transfer that an entry is a half of, "" of none."""
    if header.halves is None or header.kind not in KINDS_WITH_HALVES - {Kind.CONTRACT}:
        return ""
    row = row_of_half(snapshot, index)
    if row is None or index not in (transfer := Transfer.parse(row)).own_halves():
        return "not_counted"
    return State(transfer.state_before(size)).name.lower()


def _not_this_log(why: str) -> FieldError:
    return FieldError(
        f"the checkpoint is not one of this log: {why}",
        reason="NOT_THIS_LOG",
        action="give a checkpoint that this log's node signed, or none for the newest",
    )
