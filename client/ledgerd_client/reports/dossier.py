"""The dossier of a contract: its file, what flowed under it by month, and what stands, by age."""

from __future__ import annotations

from ledgerd_client.regulator import FoundEntry
from ledgerd_client.reports.contract_file import contract_file
from ledgerd_client.reports.findings import about, said
from ledgerd_client.reports.model import Column, Row, Table
from ledgerd_client.reports.source import Source
from ledgerd_client.reports.volumes import TRANSFERS

MONTHS = (Column("month", "month"), Column("transfers", "count"), Column("subjects", "count"))
STANDING = (
    Column("index", "index"), Column("recorded_at", "time"), Column("age_days", "days"),
    Column("severity", "word"), Column("says", "finding"),
)  # fmt: skip


async def dossier(source: Source) -> tuple[Table, ...]:
    statements, entries = await contract_file(source)
    refs = [bytes.fromhex(str(row[4])) for row in entries.rows if row[2] in TRANSFERS and row[4]]
    return statements, await _months(source), await _standing(source, refs), entries


async def _months(source: Source) -> Table:
    groups = await source.groups(("month",), kinds=TRANSFERS)
    rows = tuple(
        (int(group.keys[0]), group.transfers, group.subjects) for group in groups if group.transfers
    )
    return Table("months", MONTHS, rows)


async def _standing(source: Source, refs: list[bytes]) -> Table:
    """Of the contract itself, and of its transfers."""
    listed = source.entries(kinds=("finding",), standing="stands")
    found = {entry.index: entry async for entry in listed}
    for entry in await about(source, refs, kinds=("finding",), standing="stands"):
        found[entry.index] = entry
    rows = (_row(source, entry) for _, entry in sorted(found.items()))
    return Table("standing", STANDING, tuple(row for row in rows if row))


def _row(source: Source, entry: FoundEntry) -> Row:
    if entry.body is None or entry.body.finding.closed:
        return ()
    finding, recorded_at = entry.body.finding, entry.header.recorded_at
    return (
        entry.index, recorded_at, source.age_days(recorded_at),
        f"severity_{finding.severity}", said(finding),
    )  # fmt: skip
