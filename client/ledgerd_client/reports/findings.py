"""Reports that list what rules say: one function over the rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ledgerd_client._asking import MAX_VALUES
from ledgerd_client._proto import body_pb2
from ledgerd_client.core.body import parse_message
from ledgerd_client.core.errors import ForbiddenError
from ledgerd_client.regulator import FoundEntry, Query
from ledgerd_client.reports.model import Cell, Column, Row, Table
from ledgerd_client.reports.source import Source, is_outside, joined
from ledgerd_client.rulebook import RULES

COLUMNS = (
    Column("index", "index"), Column("rule"), Column("severity", "word"), Column("institution"),
    Column("place", "code.place"), Column("contract_id"), Column("ref"),
    Column("recorded_at", "time"), Column("age_days", "days"), Column("closed_by", "index"),
    Column("says", "finding"),
)  # fmt: skip

Tables = Awaitable[tuple[Table, ...]]


def listing(*rules: str) -> Callable[[Source], Tables]:
    """A report of the findings by some rules, or families of them."""

    async def make(source: Source) -> tuple[Table, ...]:
        return (await findings(source, rules),)

    return make


async def findings(source: Source, rules: Sequence[str], name: str = "findings") -> Table:
    """
    The findings that stand, in log order; with the parameter "all" the cured ones, too.

    A closing is no row of its own: it is closed_by of what it closes. What concerns a transfer
    names neither institution nor contract: they are those of this side's half.
    """
    standing = "" if source.parameters.get("all") else "stands"
    listed = source.entries(kinds=("finding",), rules=rules, standing=standing, contract_ids=())
    found = [
        (entry, entry.body.finding)
        async for entry in listed
        if entry.body is not None and not entry.body.finding.closed
    ]
    halves = await _halves(source, [finding.ref for _, finding in found if finding.ref])
    rows = [_row(source, entry, finding, halves) for entry, finding in found]
    contracts = source.parameters.get("contract", ())
    return Table(name, COLUMNS, tuple(row for row in rows if not contracts or row[5] in contracts))


async def about(
    source: Source, refs: Iterable[bytes], *, proof: bool = False, **query: Any
) -> list[FoundEntry]:
    """What a query finds of some transfers, however many they are, in log order."""
    wanted = list(dict.fromkeys(refs))
    found = [
        entry
        for place in range(0, len(wanted), MAX_VALUES)
        async for entry in source.find(
            Query(refs=wanted[place : place + MAX_VALUES], **query), proof=proof
        )
    ]
    return sorted(found, key=lambda entry: entry.index)


class _Half(NamedTuple):
    institution: str = ""
    contract_id: str = ""


async def _halves(source: Source, refs: Iterable[bytes]) -> Mapping[bytes, _Half]:
    """
    Of each transfer who stated it on this side, and under which contract it did so last.

    None where the grant does not cover who states transfers.
    """
    halves: dict[bytes, _Half] = {}
    try:
        found = await about(source, refs, kinds=("transfer", "ack", "correction"))
    except ForbiddenError as error:
        if not is_outside(error):
            raise
        return {}
    for entry in found:
        if entry.header.halves is not None and entry.stated is not None:
            terms = parse_message(body_pb2.Terms, getattr(entry.stated, entry.kind).terms, "terms")
            halves[entry.header.halves.ref] = _Half(entry.author, terms.contract_id)
    return halves


def _row(
    source: Source,
    entry: FoundEntry,
    finding: body_pb2.Finding,
    halves: Mapping[bytes, _Half],
) -> Row:
    recorded_at = entry.header.recorded_at
    half = halves.get(finding.ref, _Half(finding.institution, finding.contract_id))
    registered = source.registered(half.institution)
    return (
        entry.index, finding.rule, f"severity_{finding.severity}", half.institution,
        registered.place if registered else None, half.contract_id, finding.ref.hex(),
        recorded_at, source.age_days(recorded_at), entry.closed_by, said(finding),
    )  # fmt: skip


def said(finding: body_pb2.Finding) -> Cell:
    """A finding as a cell of the unit "finding"."""
    rule = RULES.get(finding.rule)
    names = rule.numbers if rule else tuple(map(str, range(len(finding.numbers))))
    pairs = zip(names, finding.numbers, strict=False)
    return joined((finding.rule, *(f"{name}={number}" for name, number in pairs)))
