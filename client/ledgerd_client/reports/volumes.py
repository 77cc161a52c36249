"""Reports 1, 2, 8 and 12: how many persons, whose, what of, and on what ground."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._values import date_of
from ledgerd_client.core import codes
from ledgerd_client.reports.model import Cell, Column, Row, Table
from ledgerd_client.reports.source import Source, key_code, share

# Either party's own record of a transfer: on each side one of them is there.
TRANSFERS = ("transfer", "ack")

# Where each band of codes.BANDS begins (CAC Provisions of 22 March 2024, articles 7 and 8).
_EDGES = (1, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_WITH_CONSENT = frozenset(("3", "4", "5"))  # separate, written, a guardian's

_VOLUMES = (
    Column("exporter"), Column("year", "year"), Column("transfers", "count"),
    Column("subjects_largest", "count"), Column("first_this_year", "count"),
    Column("subjects_sum", "count"), Column("sensitive_first_this_year", "count"),
    Column("band", "code.band"), Column("next_edge", "count"), Column("crossing_on", "date"),
)  # fmt: skip
_FLOWS = (
    Column("place", "code.place"), Column("counterparty_place", "code.contract_place"),
    Column("sector", "code.sector"), Column("direction", "code.direction"),
    Column("month", "month"), Column("transfers", "count"), Column("subjects", "count"),
    Column("sensitive_subjects", "count"), Column("sensitive_share", "share"),
)  # fmt: skip
_SENSITIVE = (
    Column("institution"), Column("sensitive_category", "code.sensitive_category"),
    Column("legal_basis", "code.legal_basis"), Column("consent_form", "code.consent_form"),
    Column("transfers", "count"), Column("sensitive_subjects", "count"),
    Column("with_minors", "count"),
)  # fmt: skip
_CONSENT = (
    Column("institution"), Column("transfers", "count"),
    Column("with_separate_consent", "count"), Column("consent_share", "share"),
)  # fmt: skip
_EXEMPTIONS = (
    Column("institution"), Column("exemption", "code.exemption"), Column("transfers", "count"),
    Column("subjects", "count"), Column("transfers_share", "share"),
    Column("subjects_share", "share"),
)  # fmt: skip


async def volumes(source: Source) -> tuple[Table, ...]:
    """Report 1: persons by exporter and year, and when the next edge would be reached."""
    groups = await source.groups(("institution", "year"), kinds=("transfer",))
    rows = tuple(_volume(source, group) for group in groups)
    return (Table("volumes", _VOLUMES, rows),)


async def flows(source: Source) -> tuple[Table, ...]:
    """Report 2: the matrix of places, sectors and months, in each direction."""
    rows: list[Row] = []
    for direction in codes.DIRECTIONS:
        groups = await source.groups(
            ("place", "counterparty_place", "sector", "month"),
            kinds=TRANSFERS,
            directions=(direction,),
        )
        rows += [_flow(group, direction) for group in groups if group.transfers]
    return (Table("flows", _FLOWS, tuple(rows)),)


async def sensitive(source: Source) -> tuple[Table, ...]:
    """Report 8: sensitive and minors' data, by ground and form of consent."""
    groups = await source.groups(
        ("institution", "sensitive_category", "legal_basis", "consent_form"), kinds=TRANSFERS
    )
    rows = tuple(
        (
            group.keys[0], *map(key_code, group.keys[1:]),
            group.transfers, group.sensitive_subjects, group.with_minors,
        )
        for group in groups
        if group.transfers and (group.keys[1] or group.with_minors)
    )  # fmt: skip
    return Table("sensitive", _SENSITIVE, rows), await _consent(source)


async def exemptions(source: Source) -> tuple[Table, ...]:
    """Report 12: what share of an exporter's transfers rests on which exemption."""
    groups = await source.groups(("institution", "exemption"), kinds=("transfer",))
    transfers: Counter[str] = Counter()
    subjects: Counter[str] = Counter()
    for group in groups:
        transfers[group.keys[0]] += group.transfers
        subjects[group.keys[0]] += group.subjects
    rows = tuple(
        (
            group.keys[0], key_code(group.keys[1]), group.transfers, group.subjects,
            share(group.transfers, transfers[group.keys[0]]),
            share(group.subjects, subjects[group.keys[0]]),
        )
        for group in groups
        if group.transfers and group.keys[1] not in {"", "0", "1"}  # 1: none
    )  # fmt: skip
    return (Table("exemptions", _EXEMPTIONS, rows),)


async def _consent(source: Source) -> Table:
    """By institution alone: a transfer of several categories counts once."""
    groups = await source.groups(
        ("institution", "consent_form"),
        kinds=TRANSFERS,
        sensitive_categories=tuple(codes.SENSITIVE_CATEGORIES),
    )
    every: Counter[str] = Counter()
    separate: Counter[str] = Counter()
    for group in groups:
        every[group.keys[0]] += group.transfers
        separate[group.keys[0]] += group.transfers * (group.keys[1] in _WITH_CONSENT)
    rows = tuple(
        (who, count, separate[who], share(separate[who], count))
        for who, count in sorted(every.items())
        if count
    )
    return Table("consent", _CONSENT, rows)


def _volume(source: Source, group: pb.Group) -> Row:
    exporter, year = group.keys[0], key_code(group.keys[1]) or 0
    first = group.first_this_year
    following = next((edge for edge in _EDGES if edge > first), None)
    return (
        exporter, year, group.transfers, group.largest, first, group.subjects,
        group.sensitive_first_this_year, 1 + sum(first >= edge for edge in _EDGES), following,
        _crossing(source.today, year, first, following),
    )  # fmt: skip


def _crossing(today: date, year: int, count: int, edge: int | None) -> Cell:
    """The day on which count would reach the edge if the year went on as it did so far."""
    if edge is None or not count or today.year != year:
        return None
    begin = date(year, 1, 1)
    elapsed = (today - begin).days + 1
    on = begin + timedelta(days=-(-edge * elapsed // count) - 1)
    return date_of("crossing", on) if on.year == year else None


def _flow(group: pb.Group, direction: int) -> Row:
    place, other, sector, month = map(key_code, group.keys)
    return (
        place, other, sector, direction, month, group.transfers, group.subjects,
        group.sensitive_subjects, share(group.sensitive_subjects, group.subjects),
    )  # fmt: skip
