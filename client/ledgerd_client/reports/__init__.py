"""The fifteen reports: what a regulator asks of a ledger (docs/regulators.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from ledgerd_client.core.checkpoint import OpenedCheckpoint
from ledgerd_client.core.errors import FieldError, NotReadyError
from ledgerd_client.regulator import RegulatorClient
from ledgerd_client.reports.contract_file import contract_file
from ledgerd_client.reports.dossier import dossier
from ledgerd_client.reports.events import disposal, incidents, onward
from ledgerd_client.reports.findings import listing
from ledgerd_client.reports.integrity import complete
from ledgerd_client.reports.model import Column, Report, Table
from ledgerd_client.reports.source import Source
from ledgerd_client.reports.transfers import reconciliation, unanswered
from ledgerd_client.reports.volumes import exemptions, flows, sensitive, volumes

_WHOSE = frozenset(("institution", "place", "sector"))
_WHEN = frozenset(("since", "until"))
_FINDINGS = _WHOSE | _WHEN | {"contract", "all"}


_ERASED = (
    Column("index", "index"), Column("erased_by", "index"), Column("erased_at", "time"),
    Column("erased_reason"),
)  # fmt: skip


class ReportKind(NamedTuple):
    """One of the fifteen; takes: the parameters that it can be asked with."""

    name: str
    number: int
    tables: Callable[[Source], Awaitable[tuple[Table, ...]]]
    takes: frozenset[str]


REPORTS: Mapping[str, ReportKind] = MappingProxyType({
    kind.name: kind
    for kind in (
        ReportKind("volumes", 1, volumes, _WHOSE | _WHEN),
        ReportKind("flows", 2, flows, _WHOSE | _WHEN),
        ReportKind("out-of-effect", 3, listing("K3"), _FINDINGS),
        ReportKind("filing", 4, listing("K4", "C1.one_sided"), _FINDINGS),
        ReportKind("unanswered", 5, unanswered, _WHOSE | _WHEN | {"contract"}),
        ReportKind("contract-file", 6, contract_file, _WHEN | {"contract"}),
        ReportKind("scope", 7, listing("K6", "K22"), _FINDINGS),
        ReportKind("sensitive", 8, sensitive, _WHOSE | _WHEN | {"contract"}),
        ReportKind("onward", 9, onward, _FINDINGS),
        ReportKind("disposal", 10, disposal, _FINDINGS),
        ReportKind("incidents", 11, incidents, _FINDINGS),
        ReportKind("exemptions", 12, exemptions, _WHOSE | _WHEN),
        ReportKind("splitting", 13, listing("K14"), _FINDINGS),
        ReportKind("reconciliation", 14, reconciliation, _WHOSE | _WHEN),
        ReportKind("complete", 15, complete, frozenset(("institution", "from"))),
    )
})  # fmt: skip


# Of no number: it goes on paper.
DOSSIER = ReportKind("dossier", 0, dossier, _WHEN | {"contract"})


async def make(
    name: str,
    client: RegulatorClient,
    parameters: Mapping[str, tuple[str, ...]],
    checkpoint: OpenedCheckpoint,
) -> Report:
    """
    Make a report as of a checkpoint; the same question at the same one makes the same report.

    parameters are texts by name: since, until, institution, contract, place, sector; "all" for
    findings that were cured, too; "from" for the earlier checkpoint of `complete`. What was erased
    since is named in a table of its own, and the rest says what remains of it. Raises
    FieldError for a report or a parameter that there is not, and as the client does.
    """
    kind = find(name)
    given = {name: values for name, values in sorted(parameters.items()) if values}
    if odd := sorted(given.keys() - kind.takes):
        raise FieldError(
            f"the report {name} is not asked with {odd[0]!r}",
            action=f"it takes {', '.join(sorted(kind.takes))}",
        )
    source = await Source.of(client, given, checkpoint)
    tables = await kind.tables(source)
    if source.erased:
        tables = (*tables, _erased(source))
    return Report(name, given, checkpoint.note, source.as_of, tables)


def _erased(source: Source) -> Table:
    """Of the entries that a report rests on, those of which only remains were read."""
    rows = ((index, why.index, why.at, why.reason) for index, why in sorted(source.erased.items()))
    return Table("erased", _ERASED, tuple(rows))


def find(name: str) -> ReportKind:
    """A report by its name; raises FieldError."""
    if name == DOSSIER.name:
        return DOSSIER
    if name not in REPORTS:
        raise FieldError(f"there is no report {name!r}", action=f"name one of {', '.join(REPORTS)}")
    return REPORTS[name]


async def default_checkpoint(client: RegulatorClient) -> OpenedCheckpoint:
    """
    The newest checkpoint that the other side's node cosigned: it vouches for what it rests on.

    The newest of all where none is cosigned yet, and at a mirror.
    """
    if not client.at_mirror:
        try:
            return await client.checkpoint(cosigned=True)
        except NotReadyError:
            pass
    return await client.checkpoint()
