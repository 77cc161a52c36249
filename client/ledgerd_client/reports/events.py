"""Reports 9, 10 and 11: data that went on, data that should be gone, and what went wrong."""

from __future__ import annotations

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.regulator import FoundEntry
from ledgerd_client.reports.findings import findings
from ledgerd_client.reports.model import Cell, Column, Row, Table
from ledgerd_client.reports.source import Source, joined

_HOUR = 3_600_000_000  # µs
_CONDITIONS = ("needed", "told", "consented", "listed")

_ONWARD = (
    Column("index", "index"), Column("at", "time"), Column("institution"),
    Column("third_party"), Column("place", "code.onward_place"), Column("conditions_met", "words"),
    Column("leaves_side", "word"), Column("contract_id"), Column("ref"),
)  # fmt: skip
_INCIDENTS = (
    Column("index", "index"), Column("institution"), Column("discovered_at", "time"),
    Column("affected_subjects", "count"), Column("grade", "code.grade"),
    Column("cause", "code.incident_cause"), Column("authorities_told", "words"),
    Column("first_notice_hours", "hours"), Column("subjects_told_hours", "hours"),
    Column("other_side_told_hours", "hours"), Column("contracts"),
)  # fmt: skip


async def onward(source: Source) -> tuple[Table, ...]:
    """Report 9: who provided data to whom, and what leaves the recipient's side."""
    newest = await _newest(source, "onward")
    rows = tuple(_onward(source, entry, body.onward) for entry, body in newest)
    return Table("onward", _ONWARD, rows), await findings(source, ("K7",))


async def disposal(source: Source) -> tuple[Table, ...]:
    """Report 10: by recipient and place, with the days that have passed."""
    return (await findings(source, ("K16",)),)


async def incidents(source: Source) -> tuple[Table, ...]:
    """Report 11: each as it was stated last, with the hours until somebody was told."""
    newest = await _newest(source, "incident")
    rows = tuple(_incident(entry, body.incident) for entry, body in newest)
    return Table("incidents", _INCIDENTS, rows), await findings(source, ("K17",))


async def _newest(source: Source, kind: str) -> list[tuple[FoundEntry, pb.Body]]:
    """The newest statement of each matter, or what remains of it, in log order."""
    found: dict[tuple[str, bytes], tuple[FoundEntry, pb.Body]] = {}
    async for entry in source.entries(kinds=(kind,)):
        if entry.stated is not None:
            found[entry.author, getattr(entry.stated, kind).matter] = entry, entry.stated
    return sorted(found.values(), key=lambda pair: pair[0].index)


def _onward(source: Source, entry: FoundEntry, event: pb.Onward) -> Row:
    registered = source.registered(entry.author)
    home = registered is not None and _side(registered.place) == _side(event.third_party_place)
    met = joined(name for name in _CONDITIONS if getattr(event, name))
    return (
        entry.index, entry.header.recorded_at, entry.author, event.third_party,
        event.third_party_place, met, "no" if home else "yes", event.contract_id,
        event.ref.hex(),
    )  # fmt: skip


def _side(place: int) -> int:
    return 1 if place in codes.MAINLAND_CITIES else place


def _incident(entry: FoundEntry, event: pb.Incident) -> Row:
    notices = sorted(event.notices, key=lambda notice: notice.at)
    first = notices[0].at if notices else 0
    return (
        entry.index, entry.author, event.discovered_at, event.affected_subjects, event.grade,
        event.cause, joined(codes.AUTHORITIES.get(n.authority, n.authority) for n in notices),
        *(
            _hours(event.discovered_at, at)
            for at in (first, event.subjects_notified_at, event.counterparty_notified_at)
        ),
        joined(event.contract_ids),
    )  # fmt: skip


def _hours(since: int, at: int) -> Cell:
    """Whole hours, begun ones counted; None when it has not happened."""
    return -(-(at - since) // _HOUR) if at else None
