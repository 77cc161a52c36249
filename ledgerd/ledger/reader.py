"""
Answers from the log: receipts, proofs, entries, transfers. Each from one short snapshot.

Any thread may ask. Nothing here writes, and no snapshot outlives its call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ledgerd.ledger.erasing import WhyErased, why_erased
from ledgerd.ledger.head import Head
from ledgerd.ledger.law_reader import LawReader, need, need_body
from ledgerd.ledger.peer_log import AnchorState
from ledgerd.ledger.tree import NodeCache, Nodes
from ledgerd.ledger.views import TransferAnswer, transfer_at
from ledgerd.projections import records, transfers
from ledgerd.store.base import Snapshot, Store
from ledgerd.store.tables import Table
from ledgerd_client.core import merkle
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import FieldError, NotFoundError, NotReadyError
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.receipt import Receipt

# Of one message of ListHeaders: headers at most, and bytes after which it ends.
SHARED_PAGE_HEADERS = 512
_SHARED_PAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Page:
    """Entries as (header, body) in log order; next: where to go on, None at the end."""

    entries: list[tuple[bytes, bytes]]
    next: int | None
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class SharedPage:
    """What the peer may see of contiguous entries: headers, and some bodies as (index, body)."""

    headers: list[bytes]
    bodies: list[tuple[int, bytes]]


class Reader(LawReader):
    """Reads a store that somebody may be writing to."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._cache: NodeCache = {}

    def head(self) -> Head:
        with self._store.snapshot() as snapshot:
            return Head.load(snapshot)

    def receipt(self, index: int, checkpoint: bytes | None = None) -> Receipt:
        """
        The receipt of an entry under a checkpoint of this log, the newest by default.

        Raises NotFoundError when there is no such entry, NotReadyError when the checkpoint does
        not cover it yet.
        """
        with self._store.snapshot() as snapshot:
            header = need(snapshot, Table.HEADERS, index)
            note = checkpoint or Head.load(snapshot).checkpoint
            size = Checkpoint.parse(parse_note(note).text).size
            if index >= size:
                raise NotReadyError(
                    f"no cosigned checkpoint covers entry {index} yet",
                    reason="NOT_COSIGNED_YET",
                    action="ask again in a moment",
                )
            return Receipt(header, tuple(self._inclusion(snapshot, index, size)), note)

    def find(self, author: str, record_id: bytes) -> int:
        """Index of an author's record; raises NotFoundError."""
        with self._store.snapshot() as snapshot:
            known = records.find_record(snapshot, author, record_id)
        if known is None:
            raise NotFoundError(f"no record {record_id.hex()} by {author}")
        return known.position

    def header(self, index: int) -> bytes:
        """The header of an entry, whatever has become of its body; raises NotFoundError."""
        with self._store.snapshot() as snapshot:
            return need(snapshot, Table.HEADERS, index)

    def entry(self, index: int) -> tuple[bytes, bytes]:
        """(header, body) of an entry; raises NotFoundError, as need_body does."""
        with self._store.snapshot() as snapshot:
            return need(snapshot, Table.HEADERS, index), need_body(snapshot, index)

    def body(self, index: int) -> tuple[bytes, WhyErased | None]:
        """The body of an entry, empty if it was erased, and then why; raises NotFoundError."""
        with self._store.snapshot() as snapshot:
            erased = why_erased(snapshot, index)
            return b"" if erased else need_body(snapshot, index), erased

    def inclusion_proof(self, index: int, size: int = 0) -> tuple[int, list[bytes]]:
        """(size, proof); size 0 means the newest. Raises ProofError, FieldError."""
        with self._store.snapshot() as snapshot:
            size = _size_or_newest(snapshot, size)
            return size, self._inclusion(snapshot, index, size)

    def consistency_proof(self, old: int, new: int = 0) -> tuple[int, list[bytes]]:
        """(new size, proof); new 0 means the newest. Raises ProofError, FieldError."""
        with self._store.snapshot() as snapshot:
            new = _size_or_newest(snapshot, new)
            return new, merkle.consistency_proof(Nodes(snapshot.get, self._cache), old, new)

    def root(self, size: int) -> bytes:
        """The root of this log's tree at an earlier size, or the present one."""
        with self._store.snapshot() as snapshot:
            return merkle.root(Nodes(snapshot.get, self._cache), _size_or_newest(snapshot, size))

    def transfer(self, ref: bytes) -> TransferAnswer:
        """What this node knows of a transfer; raises NotFoundError."""
        with self._store.snapshot() as snapshot:
            head = Head.load(snapshot)
            return transfer_at(snapshot, ref, head.size, head.checkpoint)

    def headers(self, start: int, count: int, until: int) -> list[bytes]:
        """Up to count headers from start, below until."""
        with self._store.snapshot() as snapshot:
            stop = min(start + count, until)
            return [value for _, value in snapshot.scan(Table.HEADERS, u64(start), u64(stop))]

    def shared_page(self, start: int, until: int) -> SharedPage:
        """
        Headers from start on, below until, with the bodies of kinds that are shared with the peer.

        As many as a message of ListHeaders carries: 512 at most, and about 1 MiB with their bodies.
        Empty when start is not below until or the log ends there.
        """
        page = SharedPage([], [])
        size = 0
        with self._store.snapshot() as snapshot:
            stop = min(start + SHARED_PAGE_HEADERS, until)
            for key, header in snapshot.scan(Table.HEADERS, u64(start), u64(max(start, stop))):
                page.headers.append(header)
                size += len(header)
                if Header.parse(header).kind in KINDS_SHARED_WITH_PEER:
                    index = int.from_bytes(key, "big")
                    page.bodies.append((index, need(snapshot, Table.BODIES, index)))
                    size += len(page.bodies[-1][1])
                if size >= _SHARED_PAGE_BYTES:
                    break
        return page

    def page(self, start: int, *, author: str = "", until: int = 0, count: int = 100) -> Page:
        """
        Up to count entries from index start on, by author if given, recorded before until (µs).

        Costs what it returns.
        """
        with self._store.snapshot() as snapshot:
            head = Head.load(snapshot)
            found: list[tuple[bytes, bytes]] = []
            for index in _indexes(snapshot, author, start, head.size):
                header = need(snapshot, Table.HEADERS, index)
                if until and Header.parse(header).recorded_at >= until:
                    break
                if len(found) == count:
                    return Page(found, index, head.checkpoint)
                found.append((header, need_body(snapshot, index)))
            return Page(found, None, head.checkpoint)

    def first_at(self, time: int) -> int:
        """Index of the first entry recorded at time (µs) or later; the size if there is none."""
        with self._store.snapshot() as snapshot:
            low, high = 0, Head.load(snapshot).size
            while low < high:
                middle = (low + high) // 2
                header = Header.parse(need(snapshot, Table.HEADERS, middle))
                if header.recorded_at < time:
                    low = middle + 1
                else:
                    high = middle
            return low

    def anchor(self) -> AnchorState:
        """How far the peer's log is reconciled."""
        with self._store.snapshot() as snapshot:
            return AnchorState.load(snapshot)

    def next_deadline(self) -> int | None:
        """When (µs) silence of the peer about a transfer first means something."""
        with self._store.snapshot() as snapshot:
            return transfers.next_deadline(snapshot)

    def _inclusion(self, snapshot: Snapshot, index: int, size: int) -> list[bytes]:
        return merkle.inclusion_proof(Nodes(snapshot.get, self._cache), index, size)


def _indexes(snapshot: Snapshot, author: str, start: int, stop: int) -> Iterable[int]:
    if not author:
        return range(start, stop)
    return records.entries_by(snapshot, author, start, stop)


def _size_or_newest(snapshot: Snapshot, size: int) -> int:
    newest = Head.load(snapshot).size
    if size > newest:
        raise FieldError(f"the log has {newest} entries, not {size}", reason="BEYOND_THE_END")
    return size or newest
