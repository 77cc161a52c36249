"""Counts of what a search finds, by some dimensions: one pass over its entries, by stretches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import islice, product
from typing import Final, NamedTuple

from ledgerd.ledger.counted import CountedEntries, CountedEntry
from ledgerd.ledger.dimensions import POSTED, STATED, Dimension
from ledgerd.ledger.entry_sets import bits_at
from ledgerd.ledger.search import Clause, FoundBlock, Search, find_block
from ledgerd.projections.postings import BLOCK, code, offsets_of
from ledgerd.store.base import Snapshot
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import FieldError

MAX_GROUPS: Final = 10_000
# What one call of take() counts, some 50 ms: entries, and what they count under.
_STRETCH: Final = 512
_STRETCH_KEYS: Final = 10_000
# The key of what has none in a dimension.
_NONE: Final = ("",)


class Group(NamedTuple):
    """The figures of the entries with the same keys; numbers of persons, but for the first two."""

    keys: tuple[str, ...]
    entries: int
    transfers: int
    subjects: int
    first_this_year: int
    sensitive_subjects: int
    sensitive_first_this_year: int
    # Subjects of the largest transfer; transfers with minors' data.
    largest: int
    with_minors: int


class Summary:
    """Counts what a search finds; belongs to one answer."""

    def __init__(
        self, search: Search, dimensions: Sequence[int], grant: Sequence[Clause] = ()
    ) -> None:
        """grant: what whoever asks may read; the search has these clauses already."""
        self._grant = grant
        self._search = search._replace(newest_first=False)
        self._dimensions = tuple(map(Dimension, dimensions))
        self._groups: dict[tuple[str, ...], _Figures] = defaultdict(_Figures)

    def take(self, snapshot: Snapshot, start: int | None) -> int | None:
        """
        Count a stretch of entries, from the index on that the last call gave, None at first.

        Returns where to go on, in the same or a newer snapshot; None when all is counted. Raises
        FieldError TOO_MANY_GROUPS.
        """
        search = self._search if start is None else self._search._replace(first=start)
        if search.first >= search.end:
            return None
        found = find_block(snapshot, search, search.first // BLOCK)
        if found is None:
            return None
        found = _shortened(found)
        page = CountedEntries(snapshot, search.size, found, self._grant)
        posted = {
            dimension: self._posted(snapshot, dimension, found)
            for dimension in self._dimensions
            if dimension in POSTED
        }
        keys = 0
        for entry in page:
            keys += self._count(page, entry, posted)
            if keys >= _STRETCH_KEYS:
                break
        return entry.position + 1

    def groups(self) -> list[Group]:
        """What was counted, ascending by keys."""
        return [Group(keys, *astuple(figures)) for keys, figures in sorted(self._groups.items())]

    def _posted(
        self, snapshot: Snapshot, dimension: Dimension, found: FoundBlock
    ) -> Mapping[int, list[str]]:
        """Keys of the entries of a block, by offset, of what they are posted under."""
        field, values = POSTED[dimension]
        numbers = [code(number) for number in values]
        each = bits_at(snapshot, field, numbers, found.block, self._search.size)
        keys: dict[int, list[str]] = defaultdict(list)
        for key, having in zip(values.values(), each, strict=True):
            for offset in offsets_of(having & found.bits):
                keys[offset].append(key)
        return keys

    def _count(
        self,
        page: CountedEntries,
        entry: CountedEntry,
        posted: Mapping[Dimension, Mapping[int, list[str]]],
    ) -> int:
        """Count an entry; returns under how many keys."""
        lists = [
            posted[dimension].get(entry.position % BLOCK)
            if dimension in posted
            else STATED[dimension](page, entry)
            for dimension in self._dimensions
        ]
        counted = page.counted(entry)
        under = list(product(*(each or _NONE for each in lists)))
        for keys in under:
            if len(self._groups) >= MAX_GROUPS and keys not in self._groups:
                raise _too_many()
            self._groups[keys].add(counted)
        return len(under)


@dataclass(slots=True)
class _Figures:
    """As in Group."""

    entries: int = 0
    transfers: int = 0
    subjects: int = 0
    first_this_year: int = 0
    sensitive_subjects: int = 0
    sensitive_first_this_year: int = 0
    largest: int = 0
    with_minors: int = 0

    def add(self, terms: pb.Terms | None) -> None:
        """Add an entry, and the transfer of these terms."""
        self.entries += 1
        if terms is not None:
            self.transfers += 1
            self.subjects += terms.subjects
            self.first_this_year += terms.subjects_first_this_year
            self.sensitive_subjects += terms.sensitive_subjects
            self.sensitive_first_this_year += terms.sensitive_first_this_year
            self.largest = max(self.largest, terms.subjects)
            self.with_minors += terms.minors_present


def _shortened(found: FoundBlock) -> FoundBlock:
    """The first of the entries, as many as one call counts."""
    *_, last = islice(offsets_of(found.bits), _STRETCH)
    return found._replace(bits=found.bits & ((2 << last) - 1))


def _too_many() -> FieldError:
    return FieldError(
        f"there are more than {MAX_GROUPS:,} groups",
        reason="TOO_MANY_GROUPS",
        action="ask for fewer entries, or count by fewer dimensions",
    )
