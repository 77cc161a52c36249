"""
At which place of a sequence a digest came: an index whose cost hardly grows with its length.

A tree whose keys are digests changes another page with each, since each belongs somewhere else: at
a million rows that was half of what an append cost. So EPOCH of them at a time are kept together,
as they came, where there are few pages; and filters (epoch_filters) say in which epochs a digest
may be.

ORDINALS: 1 → u64 count. 2 ‖ u32 group ‖ u16 part → words of the filters of a group's full epochs,
in this machine's byte order, as the store's own pages are. 3 ‖ u32 epoch ‖ u8 → of the prefixes in
an epoch that begin with that byte, as they came, prefix ‖ u16 place there. A digest's prefix: the
first eight bytes of H(digest).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, Self

from ledgerd.projections.epoch_filters import (
    GROUP,
    PREFIX,
    SLOTS,
    enter,
    groups_of,
    no_words,
    shown,
    without,
)
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64

EPOCH: Final = 1 << 14
# Words that with their head fill a page of 4,096 bytes.
_PART: Final = (4096 - 16) // 8

_COUNT: Final = b"\1"
_PLACE: Final = struct.Struct(">H")
_CAME: Final = struct.Struct(f">{PREFIX}sH")
_PLACES: Final = [_PLACE.pack(place) for place in range(EPOCH)]


class Ordinals:
    """
    The index as its one writer knows it. After a transaction that did not commit, load it anew.

    To look into it costs no memory; the first flush() takes up two bytes for each digest. count:
    how many digests came; the next one's place.
    """

    def __init__(self, count: int = 0) -> None:
        self.count = count
        # Prefixes that are yet to be put.
        self._added: list[bytes] = []
        self._filters: _Filters | None = None

    @classmethod
    def load(cls, snapshot: Snapshot) -> Self:
        """Go on where the stored index ends."""
        return cls(count_of(snapshot))

    def find(self, snapshot: Snapshot, digests: Iterable[bytes]) -> list[int]:
        """
        The places of those digests that were put.

        And seldom one of another digest: whoever wants a place looks what stands there.
        """
        prefixes = [_prefix(digest) for digest in digests]
        filters = self._filters or _StoredFilters(snapshot)
        asked: dict[bytes, list[bytes]] = {}
        for prefix, epoch in filters.shown(prefixes):
            asked.setdefault(_epoch(epoch) + prefix[:1], []).append(prefix)
        found: list[int] = []
        if asked:
            for key, came in snapshot.get_many(Table.ORDINALS, asked).items():
                start = int.from_bytes(key[1:5], "big") * EPOCH
                for prefix in asked[key]:
                    found += [start + place for place in _places_among(came, prefix)]
        return found

    def add(self, digest: bytes) -> int:
        """Give a digest the next place, and return it."""
        place, self.count = self.count, self.count + 1
        self._added.append(_prefix(digest))
        return place

    def flush(self, transaction: Transaction) -> int:
        """Put what was added; returns how many there were before it."""
        before = at = self.count - len(self._added)
        if not self._added:
            return before
        if self._filters is None:
            self._filters = _Filters(transaction)
        while at < self.count:
            epoch, first = divmod(at, EPOCH)
            coming = self._added[at - before :][: EPOCH - first]
            _put_came(transaction, epoch, first, coming)
            self._filters.enter(epoch, coming)
            if first + len(coming) == EPOCH:
                self._filters.put(transaction, epoch // GROUP)
            at += len(coming)
        self._added = []
        transaction.put(Table.ORDINALS, _COUNT, u64(self.count))
        return before


class _Filters:
    """In memory, that of the epoch that is not full too."""

    def __init__(self, snapshot: Snapshot) -> None:
        full = count_of(snapshot) // EPOCH
        self._groups = [_words(snapshot, group) for group in range(groups_of(full))]
        stored = snapshot.scan(Table.ORDINALS, _epoch(full), _epoch(full + 1))
        self.enter(full, [prefix for _, came in stored for prefix, _ in _CAME.iter_unpack(came)])

    def shown(self, prefixes: Sequence[bytes]) -> Iterable[tuple[bytes, int]]:
        return shown(self._groups, prefixes)

    def enter(self, epoch: int, prefixes: Sequence[bytes]) -> None:
        group = epoch // GROUP
        if group == len(self._groups):
            self._groups.append(no_words())
        enter(self._groups[group], epoch, prefixes)

    def put(self, transaction: Transaction, group: int) -> None:
        _put_words(transaction, group, self._groups[group])


class _StoredFilters:
    """Where they lie: of what is asked for four words are read in each group, and no more."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._full = count_of(snapshot) // EPOCH
        self._groups = [_StoredWords(snapshot, group) for group in range(groups_of(self._full))]

    def shown(self, prefixes: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
        yield from ((prefix, self._full) for prefix in prefixes)
        yield from shown(self._groups, prefixes)


class _StoredWords:
    """The words of a group's filters, as a snapshot has them."""

    def __init__(self, snapshot: Snapshot, group: int) -> None:
        self._snapshot = snapshot
        self._group = group

    def __getitem__(self, slot: int) -> int:
        part, at = divmod(slot, _PART)
        words = self._snapshot.get(Table.ORDINALS, _part(self._group, part)) or b""
        return memoryview(words).cast("Q")[at]


def count_of(snapshot: Snapshot) -> int:
    """How many digests the stored index has."""
    return int.from_bytes(snapshot.get(Table.ORDINALS, _COUNT) or b"", "big")


def find_places(snapshot: Snapshot, digest: bytes) -> list[int]:
    """The places at which a digest may have come, by what is stored."""
    return Ordinals().find(snapshot, (digest,))


def cut_ordinals(transaction: Transaction, count: int, came: Iterable[bytes]) -> None:
    """
    Make the stored index what it was at an earlier count.

    came: the digests of the epoch that was not full then, in order.
    """
    was, full = count_of(transaction) // EPOCH, count // EPOCH
    _delete(transaction, _epoch(full), _epoch(was + 1))
    for group in range(full // GROUP, groups_of(was)):
        if group * GROUP < full:
            _put_words(transaction, group, without(_words(transaction, group), full))
        else:
            _delete(transaction, _part(group, 0), _part(group + 1, 0))
    _put_came(transaction, full, 0, [_prefix(digest) for digest in came])
    transaction.put(Table.ORDINALS, _COUNT, u64(count))


def _prefix(digest: bytes) -> bytes:
    """
    By what a digest is found: eight bytes of its own digest.

    What stands in the peer's log for a ref or a body's digest is whatever the peer likes. A million
    that begin alike would be a million rows to read for each that comes; two cost 2^32 hashes.
    """
    return sha256(digest).digest()[:PREFIX]


def _put_came(transaction: Transaction, epoch: int, first: int, prefixes: Sequence[bytes]) -> None:
    """Put the next prefixes of an epoch, from a place in it on."""
    head = _epoch(epoch)
    came: dict[bytes, list[bytes]] = {}
    for prefix, place in zip(prefixes, _PLACES[first:], strict=False):
        came.setdefault(head + prefix[:1], []).append(prefix + place)
    earlier = transaction.get_many(Table.ORDINALS, came)
    grown = ((key, b"".join((earlier.get(key, b""), *items))) for key, items in came.items())
    transaction.put_many(Table.ORDINALS, grown)


def _places_among(came: bytes, prefix: bytes) -> Iterator[int]:
    at = came.find(prefix)
    while at >= 0:
        if at % _CAME.size == 0:
            yield _PLACE.unpack_from(came, at + PREFIX)[0]
        at = came.find(prefix, at + 1)


def _put_words(transaction: Transaction, group: int, words: array[int]) -> None:
    parts = ((_part(group, at // _PART), words[at : at + _PART]) for at in range(0, SLOTS, _PART))
    transaction.put_many(Table.ORDINALS, ((key, part.tobytes()) for key, part in parts))


def _words(snapshot: Snapshot, group: int) -> array[int]:
    parts = snapshot.scan(Table.ORDINALS, _part(group, 0), _part(group + 1, 0))
    return array("Q", b"".join(part for _, part in parts))


def _delete(transaction: Transaction, start: bytes, stop: bytes) -> None:
    for key, _ in list(transaction.scan(Table.ORDINALS, start, stop)):
        transaction.delete(Table.ORDINALS, key)


def _part(group: int, part: int) -> bytes:
    return b"\2" + group.to_bytes(4, "big") + part.to_bytes(2, "big")


def _epoch(epoch: int) -> bytes:
    return b"\3" + epoch.to_bytes(4, "big")
