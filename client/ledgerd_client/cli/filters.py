"""The options that say which entries: of `entries`, `summary` and `export`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ledgerd_client._asking import moment_of
from ledgerd_client.cli.asking import parse_hex
from ledgerd_client.regulator import Query

Texts = list[str] | None

Institution = Annotated[Texts, typer.Option(help="By it; of findings: whom they concern.")]
Counterparty = Annotated[Texts, typer.Option(help="The other party.")]
Contract = Annotated[Texts, typer.Option(help="A contract's id.")]
Kind = Annotated[Texts, typer.Option(help="transfer, ack, contract, finding, incident, …")]
Direction = Annotated[Texts, typer.Option(help="CN_HK or HK_CN.")]
Place = Annotated[Texts, typer.Option(help="Where the institution is registered.")]
Sector = Annotated[Texts, typer.Option(help="Of the institution.")]
Category = Annotated[Texts, typer.Option(help="Of the data.")]
Sensitive = Annotated[Texts, typer.Option(help="Sensitive category of the data.")]
Purpose = Annotated[Texts, typer.Option(help="Stated purpose.")]
Mechanism = Annotated[Texts, typer.Option(help="Of the contract.")]
Rule = Annotated[Texts, typer.Option(help="A finding's rule, or a family of them: K15.")]
Severity = Annotated[Texts, typer.Option(help="Of a finding: information, medium, high.")]
Standing = Annotated[str, typer.Option(help="Of a finding: stands or closed.")]
State = Annotated[Texts, typer.Option(help="Of a transfer: open, matched, unacknowledged, …")]
Ref = Annotated[Texts, typer.Option(help="A transfer: its halves and findings.")]
Since = Annotated[str | None, typer.Option(help="Recorded from this day on, in UTC+8, or time.")]
Until = Annotated[str | None, typer.Option(help="Recorded before this day, or time.")]
First = Annotated[int, typer.Option(min=0, help="From this entry on.")]
End = Annotated[int | None, typer.Option(min=1, help="Before this entry.")]
NewestFirst = Annotated[bool, typer.Option("--newest-first", help="Newest entry first.")]


def make_query(options: dict[str, Any]) -> Query:
    """The query that the options of `entries` say, by their names."""

    def many(name: str) -> tuple[str, ...]:
        return tuple(options[name] or ())

    def codes(name: str) -> tuple[int | str, ...]:
        return tuple(int(v) if v.isascii() and v.isdigit() else v for v in many(name))

    since, until = options["since"], options["until"]
    return Query(
        first=options["first"],
        end=options["end"],
        since=moment_of("since", since) if since else None,
        until=moment_of("until", until) if until else None,
        institutions=many("institution"),
        counterparties=many("counterparty"),
        contract_ids=many("contract"),
        kinds=many("kind"),
        directions=codes("direction"),
        places=codes("place"),
        sectors=codes("sector"),
        categories=codes("category"),
        sensitive_categories=codes("sensitive"),
        purposes=codes("purpose"),
        mechanisms=codes("mechanism"),
        rules=many("rule"),
        severities=many("severity"),
        standing=options["standing"],
        states=many("state"),
        refs=tuple(parse_hex(ref, 32, "ref") for ref in many("ref")),
        newest_first=options["newest_first"],
    )
