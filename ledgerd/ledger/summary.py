"""
Counts of what a search finds, by some dimensions: one pass over its entries, stretch by stretch.

A transfer counts at the entry by which its party first states it, a TRANSFER or, at its recipient's
side, an ACK of data that arrived; with the figures of that party's newest CORRECTION as of the size
that whoever asks may read, and not at all if its state was CANCELLED by then. A stranger's half
counts until it is known to be one.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import islice, product
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ledgerd.ledger.indexer import NOT_COUNTED
from ledgerd.ledger.law_contracts import named_by
from ledgerd.ledger.law_matters import named_contracts
from ledgerd.ledger.search import Clause, FoundBlock, Past, Search, covers, find_block
from ledgerd.ledger.views import peer_at
from ledgerd.projections.erased import body_or_remains
from ledgerd.projections.postings import BLOCK, Field, code, offsets_of
from ledgerd.projections.transfers import Half, Transfer, count_own, state_of_row
from ledgerd.rules.reconcile import RECEIVED, State, counting
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.body import BY_INSTITUTIONS, KIND_OF_RECORD
from ledgerd_client.core.days import day_of, to_date
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.header import Kind, recorded_at_of, ref_of
from ledgerd_client.core.supervision import KIND_NUMBERS

MAX_GROUPS: Final = 10_000
# What one call of take() counts, some 50 ms: entries, and what they count under.
_STRETCH: Final = 512
_STRETCH_KEYS: Final = 10_000


class Dimension(enum.IntEnum):
    """What to count by: the Dimension of RegulatorService."""

    INSTITUTION = 1
    COUNTERPARTY = 2
    CONTRACT = 3
    KIND = 4
    DIRECTION = 5
    PLACE = 6
    COUNTERPARTY_PLACE = 7
    SECTOR = 8
    CATEGORY = 9
    SENSITIVE_CATEGORY = 10
    PURPOSE = 11
    MECHANISM = 12
    LEGAL_BASIS = 13
    CONSENT_FORM = 14
    EXEMPTION = 15
    RULE = 16
    SEVERITY = 17
    STATE = 18
    DAY = 19
    MONTH = 20
    YEAR = 21


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
        self._past = Past(search.size)
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
        found = find_block(snapshot, search, search.first // BLOCK, self._past)
        if found is None:
            return None
        found = _shortened(found)
        page = _Page(snapshot, search.size, found, self._grant)
        posted = {
            dimension: self._posted(snapshot, dimension, found)
            for dimension in self._dimensions
            if dimension in _POSTED
        }
        keys = 0
        for entry in page.entries():
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
        field, values = _POSTED[dimension]
        self._past.catch_up(snapshot, field)
        keys: dict[int, list[str]] = defaultdict(list)
        for number, key in values.items():
            having = self._past.bits(snapshot, field, code(number), found.block)
            for offset in offsets_of(having & found.bits):
                keys[offset].append(key)
        return keys

    def _count(
        self,
        page: _Page,
        entry: _Entry,
        posted: Mapping[Dimension, Mapping[int, list[str]]],
    ) -> int:
        """Count an entry; returns under how many keys."""
        lists = [
            posted[dimension].get(entry.position % BLOCK)
            if dimension in posted
            else _STATED[dimension](page, entry)
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


class _Entry(NamedTuple):
    """said: the terms of what has such, else the record itself."""

    position: int
    header: bytes
    body: pb.Body
    record: str
    said: Any


class _Page:
    """Some entries of one block, and the rows of their transfers."""

    def __init__(
        self, snapshot: Snapshot, size: int, found: FoundBlock, grant: Sequence[Clause]
    ) -> None:
        self._snapshot = snapshot
        self._size = size
        self._grant = grant
        self._indexes = [found.block * BLOCK + offset for offset in offsets_of(found.bits)]

    def entries(self) -> Iterator[_Entry]:
        keys = [u64(index) for index in self._indexes]
        headers = self._snapshot.get_many(Table.HEADERS, keys)
        bodies = self._snapshot.get_many(Table.BODIES, keys)
        for index, key in zip(self._indexes, keys, strict=True):
            raw = bodies.get(key) or body_or_remains(self._snapshot, index) or b""
            yield _entry(index, headers[key], raw)

    def counted(self, entry: _Entry) -> pb.Terms | None:
        """The terms by which the transfer counts that this entry is the first to state."""
        if not _states_transfer(entry):
            return None
        row = self._snapshot.get(Table.TRANSFERS, ref_of(entry.header))
        terms: pb.Terms = entry.said
        # Nothing but a further half of its own side takes a transfer out of CANCELLED again.
        if row is None or (count_own(row) == 1 and state_of_row(row) != State.CANCELLED):
            return terms
        transfer = Transfer.parse(row)
        if transfer.state_before(self._size) == State.CANCELLED:
            return None
        said = self._said(transfer, entry)
        if not said or said[0] != entry.position:
            return None
        for correction in reversed(said[1:]):
            if covers(self._snapshot, self._grant, correction):
                body = body_or_remains(self._snapshot, correction) or b""
                terms = _entry(correction, b"", body).said
                break
        return terms

    def _said(self, transfer: Transfer, entry: _Entry) -> list[int]:
        """Where an entry's author has first stated its transfer, and then each CORRECTION."""
        known = [h for h in transfer.halves if h.position < (self._size if h.own else self._taken)]
        said: list[int] = []
        for half in counting(known):
            if not half.own or half.institution != entry.body.author:
                continue
            if half.kind == Kind.CORRECTION if said else _is_stated_by(half):
                said.append(half.position)
        return said

    @cached_property
    def _taken(self) -> int:
        """How many entries of the peer's log were known."""
        return peer_at(self._snapshot, self._size)[0].taken_up

    def concerned(self, entry: _Entry) -> list[str]:
        """The institutions whose entry it is, or whom it concerns."""
        body = entry.body
        if KIND_OF_RECORD[entry.record] in BY_INSTITUTIONS:
            return [body.author]
        if entry.record == "erasure":
            return [pb.ErasureOrder.FromString(body.erasure.order).institution]
        if entry.record != "finding":
            return []
        if body.finding.institution or not body.finding.ref:
            return list(filter(None, [body.finding.institution]))
        row = self._snapshot.get(Table.TRANSFERS, body.finding.ref)
        halves = Transfer.parse(row).halves if row else []
        known = (each.institution for each in halves if each.own and each.position < entry.position)
        return list(dict.fromkeys(known))


def _entry(index: int, header: bytes, raw: bytes) -> _Entry:
    body = pb.Body.FromString(raw)
    record = body.WhichOneof("record") or ""
    return _Entry(index, header, body, record, named_by(getattr(body, record)))


def _states_transfer(entry: _Entry) -> bool:
    received = entry.record == "ack" and entry.body.ack.outcome in RECEIVED
    return received or entry.record == "transfer"


def _is_stated_by(half: Half) -> bool:
    return half.kind == Kind.TRANSFER or (half.kind == Kind.ACK and half.outcome in RECEIVED)


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


# -- keys ---------------------------------------------------------------------------------------

_NONE: Final = ("",)


def _numbers(table: Mapping[int, str]) -> Mapping[int, str]:
    return MappingProxyType({number: str(number) for number in table})


_STATES: Final = {state.value: state.name.lower() for state in State} | {NOT_COUNTED: "not_counted"}
_POSTED: Final[Mapping[Dimension, tuple[Field, Mapping[int, str]]]] = MappingProxyType({
    Dimension.KIND: (Field.KIND, {number: str(number) for number in KIND_NUMBERS.values()}),
    Dimension.DIRECTION: (Field.DIRECTION, _numbers(codes.DIRECTIONS)),
    Dimension.PLACE: (Field.PLACE, _numbers(codes.PLACES)),
    Dimension.COUNTERPARTY_PLACE: (Field.OTHER_PLACE, _numbers(codes.CONTRACT_PLACES)),
    Dimension.SECTOR: (Field.SECTOR, _numbers(codes.SECTORS)),
    Dimension.CATEGORY: (Field.CATEGORY, _numbers(codes.CATEGORIES)),
    Dimension.SENSITIVE_CATEGORY: (Field.SENSITIVE, _numbers(codes.SENSITIVE_CATEGORIES)),
    Dimension.PURPOSE: (Field.PURPOSE, _numbers(codes.PURPOSES)),
    Dimension.MECHANISM: (Field.MECHANISM, _numbers(codes.MECHANISMS)),
    Dimension.SEVERITY: (Field.SEVERITY, {number: str(number) for number in range(1, 4)}),
    Dimension.STATE: (Field.STATE, _STATES),
})  # fmt: skip


def _counterparty(_page: _Page, entry: _Entry) -> list[str]:
    if not hasattr(entry.said, "exporter"):
        return []
    own = pb.Party(origin=entry.body.origin, institution=entry.body.author)
    other = entry.said.recipient if entry.said.exporter == own else entry.said.exporter
    return [other.institution]


def _contracts(_page: _Page, entry: _Entry) -> Sequence[str]:
    if not hasattr(entry.said, "contract_id") and not isinstance(entry.said, pb.Incident):
        return ()
    return named_contracts(entry.said)


def _rule(_page: _Page, entry: _Entry) -> list[str]:
    return [entry.body.finding.rule] if entry.record == "finding" else []


def _date(entry: _Entry) -> int:
    return to_date(day_of(recorded_at_of(entry.header)))


def _code_of(entry: _Entry, field: str) -> list[str]:
    return [str(number)] if (number := getattr(entry.said, field, 0)) else []


_STATED: Final[Mapping[Dimension, Callable[[_Page, _Entry], Sequence[str]]]] = MappingProxyType({
    Dimension.INSTITUTION: _Page.concerned,
    Dimension.COUNTERPARTY: _counterparty,
    Dimension.CONTRACT: _contracts,
    Dimension.LEGAL_BASIS: lambda _, entry: _code_of(entry, "legal_basis"),
    Dimension.CONSENT_FORM: lambda _, entry: _code_of(entry, "consent_form"),
    Dimension.EXEMPTION: lambda _, entry: _code_of(entry, "exemption"),
    Dimension.RULE: _rule,
    Dimension.DAY: lambda _, entry: [str(_date(entry))],
    Dimension.MONTH: lambda _, entry: [str(_date(entry) // 100)],
    Dimension.YEAR: lambda _, entry: [str(_date(entry) // 10_000)],
})  # fmt: skip
