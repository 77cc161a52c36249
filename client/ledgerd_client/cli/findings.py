"""`ledgerctl findings` and `contract`: what stands, and what would cure it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

import typer

from ledgerd_client._results import ContractView, Finding, FindingEntry
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config, ask
from ledgerd_client.cli.output import Json, Term, emit, say, to_iso, words
from ledgerd_client.client import LedgerClient

# By number, from 1 (protocol, "Header").
_STATED = ("contract", "filing", "supplement", "termination", "disposal")


def list_findings(
    everything: Annotated[
        bool, typer.Option("--all", help="Those that are cured, too: by what entry, and when.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on, and show them as they come; Ctrl-C ends it.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    List the findings that concern you, with what would cure each, oldest first.

    A finding says what a ledger can see, by which rule; whether it matters, people decide.
    """

    async def show(client: LedgerClient) -> bool:
        unseen = (await client.checkpoint()).checkpoint.size
        some = False
        async for entry in client.findings(open_only=not everything):
            show_entry(entry, as_json=as_json)
            some, unseen = True, max(unseen, entry.index + 1)
        if follow:
            async for entry in client.tail_findings(unseen):
                show_entry(entry, as_json=as_json)
        return some

    with suppress(KeyboardInterrupt):
        if not ask(config, show):
            say(words().word("no_findings"))


def contract(
    contract_id: str,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show a contract as the node on your side sees it: what both sides stated, what stands."""
    emit(_view(ask(config, lambda client: client.contract(contract_id))), as_json=as_json)


def emit_finding(
    finding: Finding, place: Mapping[str, object] | None = None, *, as_json: bool
) -> None:
    """Print a finding, and where it stands: to programs in codes and numbers, too."""
    told = words().finding(finding)
    records = [f"{origin} {index}" for origin, index in finding.records]
    concerns = {
        "institution": finding.institution,
        "contract_id": finding.contract_id,
        "ref": finding.ref,
    }
    if as_json:
        codes = {"severity": finding.severity, "closed": finding.closed}
        said = {"numbers": dict(finding.numbers), "says": told.says, "cure": told.cure}
        fields = {"rule": finding.rule} | codes | concerns | {"records": records} | said
        emit(dict(place or {}) | fields, as_json=True)
        return
    closed = finding.closed or (place or {}).get("closed_by") is not None
    state = words().word("closed" if closed else "stands")
    fields = {
        "rule": f"{finding.rule}  {told.severity}  {state}",
        "says": told.says,
        "cure": "" if closed else told.cure,
        "reading": list(told.readings),
        "seen_by": told.where,
    }
    emit(fields | concerns | dict(place or {}) | {"records": records}, as_json=False)
    typer.echo()


def show_entry(entry: FindingEntry, *, as_json: bool) -> None:
    """Print a FINDING of the log; of one that was closed, by what and when."""
    place = {
        "index": entry.index,
        "recorded_at": to_iso(entry.recorded_at),
        "closed_by": entry.closed_by,
        "closed_at": None if entry.closed_at is None else to_iso(entry.closed_at),
    }
    emit_finding(entry.finding, place, as_json=as_json)


def _view(view: ContractView) -> dict[str, object]:
    first = view.first_transfer_on
    statements = [
        {
            "statement": Term(_STATED[one.outcome - 1]),
            "state": Term(one.state),
            "own": one.own,
            "peer": one.peer,
        }
        for one in view.statements
    ]
    halves = [
        {
            "origin": half.origin,
            "index": half.index,
            "institution": half.institution,
            "recorded_at": to_iso(half.header.recorded_at),
        }
        for half in view.halves
    ]
    return {
        "contract_id": view.contract_id,
        "ref": view.ref,
        "state": Term(view.state),
        "statements": statements,
        "halves": halves,
        "findings": list(view.findings),
        "subjects": view.subjects,
        "first_transfer_on": first.isoformat() if first else None,
        "peer_size": view.peer_size,
        "peer_known_at": to_iso(view.peer_known_at) if view.peer_known_at else None,
    }
