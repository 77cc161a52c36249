"""Report 15: that nothing was removed between two checkpoints, and who asked what."""

from __future__ import annotations

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ForbiddenError
from ledgerd_client.core.header import Header
from ledgerd_client.regulator import author_of
from ledgerd_client.reports.model import Column, Row, Table
from ledgerd_client.reports.source import Source, is_outside

_STRETCH = (
    Column("from_size", "count"), Column("to_size", "count"), Column("entries", "count"),
    Column("from_root"), Column("to_root"), Column("unbroken", "word"),
)  # fmt: skip
_AUTHORS = (
    Column("author"), Column("entries", "count"), Column("first_index", "index"),
    Column("last_index", "index"), Column("last_at", "time"),
)  # fmt: skip
_ASKED = (
    Column("index", "index"), Column("regulator"), Column("minute", "time"), Column("method"),
    Column("request_digest"), Column("asked_at_size", "count"), Column("times", "count"),
)  # fmt: skip


async def complete(source: Source) -> tuple[Table, ...]:
    """Every header is fetched, chained and hashed to both roots; a break is an error, not a row."""
    end = source.checkpoint
    start = None
    for note in source.parameters.get("from", ()):
        start = await source.client.open(note.encode())
    authors: dict[str, tuple[int, Header, Header]] = {}
    async for header in source.client.headers(end, start):
        author = author_of(header, source.history)
        count, first, _ = authors.get(author, (0, header, header))
        authors[author] = count + 1, first, header
    size = start.checkpoint.size if start else 0
    stretch = (
        size, end.checkpoint.size, end.checkpoint.size - size,
        start.checkpoint.root.hex() if start else None, end.checkpoint.root.hex(), "yes",
    )  # fmt: skip
    rows = tuple(
        (author, count, first.index, last.index, last.recorded_at)
        for author, (count, first, last) in sorted(authors.items())
        if author in source.parameters.get("institution", (author,))
    )
    tables = Table("stretch", _STRETCH, (stretch,)), Table("authors", _AUTHORS, rows)
    return *tables, *await _queries(source, size)


async def _queries(source: Source, first: int) -> tuple[Table, ...]:
    """No table where the grant does not cover what regulators asked."""
    entries = source.entries(kinds=("query_log",), first=first, institutions=())
    try:
        logs = [(e.index, e.body.query_log) async for e in entries if e.body is not None]
    except ForbiddenError as error:
        if not is_outside(error):
            raise
        return ()
    return (Table("queries", _ASKED, tuple(row for one in logs for row in _asked(*one))),)


def _asked(index: int, log: pb.QueryLog) -> list[Row]:
    rows: list[Row] = [
        (
            index, log.regulator, log.since, one.method, one.digest.hex(), one.size,
            one.times,
        )
        for one in log.asked
    ]  # fmt: skip
    if log.unlisted:
        rows.append((index, log.regulator, log.since, None, None, None, log.unlisted))
    return rows
