"""
A part of a log verified while the log grows: what a nightly audit of a node that runs does.

The log is cut into blocks of 256 entries, a tile of the tree each. Of n parts, part p is every
block whose number is p modulo n, so that n runs see each entry once, however the log grows. Chain,
bodies, signatures and the tree up to the signed root are checked; what is made of the entries
(findings, states, indexes) only the whole audit builds anew.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from ledgerd.ledger.edge import check_edge
from ledgerd.ledger.tree import HASH, WIDTH, fill, tile_key
from ledgerd.ledger.verifying import AuditError, read_own_facts
from ledgerd.projections.erased import find_erased
from ledgerd.projections.lost import is_lost
from ledgerd.projections.records import Known, find_record
from ledgerd.projections.registry import load_history
from ledgerd.store.base import Snapshot, Store
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.chain import SignatureCheck, check_place, check_signatures
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import ChainError, LedgerError
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header, genesis_previous
from ledgerd_client.core.history import HISTORY_KINDS
from ledgerd_client.core.merkle import leaf_hash
from ledgerd_client.core.record import Facts
from ledgerd_client.core.remains import facts_of_remains


class Sampled(NamedTuple):
    """How many entries were verified, of how many."""

    entries: int
    size: int


class Sampler:
    """
    Verifies one part of a store that somebody may be writing to. Belongs to one thread.

    Raises AuditError for the first thing that is wrong. Holds a block in memory, and a snapshot no
    longer than a block takes.
    """

    def __init__(self, store: Store, *, origin: str, authority: bytes) -> None:
        self._store = store
        with store.snapshot() as snapshot:
            try:
                self._history = load_history(snapshot, origin, authority)
                self._size = check_edge(snapshot, self._history).size
            except LedgerError as error:
                raise AuditError(error.message) from error
        # Verified already, with their signatures.
        self._key_entries = {Header.parse(header).index for header, _ in self._history.entries}

    def run(self, part: int, parts: int, progress: Callable[[int, int], None]) -> Sampled:
        """Verify one of so many parts; progress(done, total) is in entries of the log."""
        entries = 0
        for start in range(part * WIDTH, self._size, parts * WIDTH):
            stop = min(start + WIDTH, self._size)
            self._block(start, stop)
            entries += stop - start
            progress(stop, self._size)
        return Sampled(entries, self._size)

    def _block(self, start: int, stop: int) -> None:
        with self._store.snapshot() as snapshot:
            leaf, time = self._before(snapshot, start)
            leaves, checks = [], []
            for index in range(start, stop):
                try:
                    raw = _header(snapshot, index)
                    header = Header.parse(raw)
                    check_place(header, index, leaf, time)
                    checks += self._entry(snapshot, header)
                except LedgerError as error:
                    raise AuditError(f"entry {index}: {error.message}") from error
                leaf, time = leaf_hash(raw), header.recorded_at
                leaves.append(leaf)
            _check_tiles(snapshot, start // WIDTH, leaves)
        try:
            check_signatures(checks)
        except LedgerError as error:
            raise AuditError(error.message) from error

    def _before(self, snapshot: Snapshot, start: int) -> tuple[bytes, int]:
        """Leaf hash and time of the entry before."""
        if not start:
            return genesis_previous(self._history.origin), 0
        raw = _header(snapshot, start - 1)
        return leaf_hash(raw), Header.parse(raw).recorded_at

    def _entry(self, snapshot: Snapshot, header: Header) -> list[SignatureCheck]:
        """Check an entry against the tables beside it; its signature is left to be checked."""
        facts = self._facts(snapshot, header)
        if facts is not None:
            found = find_record(snapshot, facts.author, facts.record_id)
            if found != Known(header.index, header.body_digest):
                raise ChainError("its record is not found where it stands")
        if header.kind in HISTORY_KINDS:
            if header.index not in self._key_entries:
                raise ChainError("the key history lacks it")
            return []
        public = self._history.signer(header)
        key = self._history.find(header.key_id)
        if facts is not None and key is not None and key.subject != facts.author:
            raise ChainError(f"signed by a key of {key.subject}, but by {facts.author}")
        message = header.signed_bytes(self._history.origin)
        return [SignatureCheck(header.index, public, message, header.signature)]

    def _facts(self, snapshot: Snapshot, header: Header) -> Facts | None:
        """What its body says, or what remains of it; None of one that is lost."""
        body = snapshot.get(Table.BODIES, u64(header.index))
        if body is not None:
            if sha256(body).digest() != header.body_digest:
                raise ChainError("the body is not the one in the header")
            return read_own_facts(body, header, self._history.origin)
        erased = find_erased(snapshot, header.index)
        if erased is not None:
            _check_erasure(
                snapshot, erased.erasure, pb.Remains(index=header.index, body=erased.remains)
            )
            return facts_of_remains(header, erased.remains)
        if header.kind in KINDS_SHARED_WITH_PEER or not is_lost(snapshot, header.index):
            raise ChainError("its body is missing")
        return None


def _header(snapshot: Snapshot, index: int) -> bytes:
    raw = snapshot.get(Table.HEADERS, u64(index))
    if raw is None:
        raise ChainError("it is missing")
    return raw


def _check_erasure(snapshot: Snapshot, index: int, remains: pb.Remains) -> None:
    body = pb.Body.FromString(snapshot.get(Table.BODIES, u64(index)) or b"")
    if remains not in body.erasure.remains:
        raise ChainError(f"its body is gone, and entry {index} is no ERASURE of it")


def _check_tiles(snapshot: Snapshot, number: int, leaves: list[bytes]) -> None:
    """
    Check a block's tile, and that each tile above holds the root of the one below.

    A tile above is made anew when the last one below it is looked at.
    """
    made, root = fill(b"".join(leaves)) if len(leaves) == WIDTH else (b"".join(leaves), None)
    # One that is not full may have grown since.
    _check_tile(snapshot, 0, number, 0, made)
    level = 0
    while root is not None:
        level += 1
        number, place = divmod(number, WIDTH)
        _check_tile(snapshot, level, number, place * HASH, root)
        root = None
        if place == WIDTH - 1:
            stored = snapshot.get(Table.TILES, tile_key(level, number)) or b""
            made, root = fill(stored[: WIDTH * HASH])
            _check_tile(snapshot, level, number, 0, made)


def _check_tile(snapshot: Snapshot, level: int, number: int, at: int, wanted: bytes) -> None:
    stored = snapshot.get(Table.TILES, tile_key(level, number)) or b""
    if stored[at : at + len(wanted)] != wanted:
        raise AuditError(f"tile {level}/{number} is not what its entries hash to")
