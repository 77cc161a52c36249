"""Report 6: everything that is recorded of one contract, in order, each entry proven."""

from __future__ import annotations

from ledgerd_client._results import ContractView
from ledgerd_client.core.errors import NotFoundError
from ledgerd_client.regulator import FoundEntry
from ledgerd_client.reports.findings import about, said
from ledgerd_client.reports.model import Cell, Column, Row, Table
from ledgerd_client.reports.source import Source
from ledgerd_client.reports.volumes import TRANSFERS

# By number, from 1 (protocol, "Header").
_STATED = ("contract", "filing", "supplement", "termination", "disposal")

_STATEMENTS = (
    Column("institution"), Column("state", "word"), Column("statement", "word"),
    Column("statement_state", "word"), Column("own_index", "index"), Column("peer_index", "index"),
)  # fmt: skip
_ENTRIES = (
    Column("index", "index"), Column("recorded_at", "time"), Column("kind", "word"),
    Column("author"), Column("ref"), Column("state", "word"), Column("says", "finding"),
    Column("proven", "word"),
)  # fmt: skip


async def contract_file(source: Source) -> tuple[Table, ...]:
    contract_id, unknown = source.one("contract"), None
    views: list[ContractView] = []
    try:
        views = await source.client.contract(contract_id, source.checkpoint.note)
    except NotFoundError as error:
        # It may be known by transfers that name it, and the grant may cover no more than those.
        unknown = error
    # Today's log extends the tree that this rests on, or nothing is shown.
    await source.client.checkpoint()
    found = source.entries(proof=True, contract_ids=(contract_id,))
    entries = [entry async for entry in found]
    if unknown and not entries:
        raise unknown
    refs = [e.header.halves.ref for e in entries if e.kind in TRANSFERS and e.header.halves]
    entries += await about(source, refs, kinds=("finding",), proof=True)
    rows = tuple(_row(entry) for entry in sorted(entries, key=lambda entry: entry.index))
    statements = tuple(row for view in views for row in _stated(view))
    return Table("statements", _STATEMENTS, statements), Table("contract_file", _ENTRIES, rows)


def _stated(view: ContractView) -> list[Row]:
    return [
        (view.institution, view.state, _STATED[one.outcome - 1], one.state, one.own, one.peer)
        for one in view.statements
    ]


def _row(entry: FoundEntry) -> Row:
    halves = entry.header.halves
    says: Cell = None
    if entry.kind == "finding" and entry.body is not None:
        says = said(entry.body.finding)
    return (
        entry.index, entry.header.recorded_at, entry.kind, entry.author,
        halves.ref.hex() if halves else None, entry.state or None, says,
        "erased" if entry.erased else "yes",
    )  # fmt: skip
