"""Reports 5 and 14: transfers whose halves do not meet, and how the two logs stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledgerd_client.core.errors import ForbiddenError
from ledgerd_client.core.header import Kind
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.regulator import ProvenHalf, Query, TransferFile
from ledgerd_client.reports.model import Column, Row, Table
from ledgerd_client.reports.source import Source, is_outside
from ledgerd_client.reports.volumes import TRANSFERS

# Where the other half is missing, or is not the same.
UNSETTLED = ("open", "unacknowledged", "undeclared", "mismatched", "refused", "partial", "reopened")

_UNANSWERED = (
    Column("ref"), Column("state", "word"), Column("exporter"), Column("exporter_index", "index"),
    Column("recipient"), Column("recipient_index", "index"), Column("recorded_at", "time"),
    Column("age_days", "days"), Column("halves_proven", "count"),
)  # fmt: skip
_STATES = (
    Column("state", "word"), Column("own_records", "count"), Column("oldest_at", "time"),
)  # fmt: skip
_LOGS = (
    Column("origin"), Column("size", "count"), Column("root"), Column("known_at", "time"),
    Column("how_known", "word"),
)  # fmt: skip


async def unanswered(source: Source) -> tuple[Table, ...]:
    """Report 5: each with the records that there are, proven in the log that they stand in."""
    entries = source.entries(kinds=TRANSFERS, states=UNSETTLED)
    refs = [entry.header.halves.ref async for entry in entries if entry.header.halves is not None]
    files = [
        await source.client.transfer(ref, source.checkpoint.note) for ref in dict.fromkeys(refs)
    ]
    return (Table("unanswered", _UNANSWERED, tuple(_unsettled(source, file) for file in files)),)


async def reconciliation(source: Source) -> tuple[Table, ...]:
    """Report 14: transfers by state, and the two trees that this is known from."""
    groups = await source.groups(("state",), kinds=TRANSFERS)
    rows: list[Row] = []
    for group in groups:
        state, at = group.keys[0], None
        if state:
            found = source.entries(limit=1, kinds=TRANSFERS, states=(state,))
            at = next(iter([entry.header.recorded_at async for entry in found]), None)
        # Halves beyond the number that is taken into account have no state.
        rows.append((state or "not_counted", group.entries, at))
    tree = source.checkpoint.checkpoint
    own = (tree.origin, tree.size, tree.root.hex(), source.as_of, "own_log")
    return (
        Table("states", _STATES, tuple(rows)),
        Table("logs", _LOGS, (own, *await _peer(source))),
    )


async def _peer(source: Source) -> Sequence[Row]:
    """
    The other side's newest checkpoint that this log carries: none before the first anchor.

    None, too, where the grant does not cover anchors.
    """
    newest = Query(kinds=("anchor",), newest_first=True)
    found = source.find(newest, proof=True, limit=1)
    try:
        anchors = [entry.body.anchor async for entry in found if entry.body is not None]
    except ForbiddenError as error:
        if not is_outside(error):
            raise
        return ()
    rows = []
    for anchor in anchors:
        history = await source.client.history(anchor.peer_origin)
        tree = open_log_checkpoint(anchor.checkpoint, history).checkpoint
        rows.append((tree.origin, tree.size, tree.root.hex(), anchor.fetched_at, "anchored"))
    return rows


def _unsettled(source: Source, file: TransferFile) -> Row:
    exporter = _half(file.halves, (Kind.TRANSFER, Kind.CANCEL))
    recipient = _half(file.halves, (Kind.ACK,))
    first = min(half.header.recorded_at for half in file.halves)
    return (
        file.ref.hex(), file.state, *_named(exporter), *_named(recipient), first,
        source.age_days(first), len(file.halves),
    )  # fmt: skip


def _named(half: ProvenHalf | None) -> tuple[str | None, int | None]:
    return (half.institution, half.header.index) if half else (None, None)


def _half(halves: Iterable[ProvenHalf], kinds: Sequence[Kind]) -> ProvenHalf | None:
    return next((half for half in halves if half.header.kind in kinds), None)
