"""`ledgerctl record` and `check`: what is stated of contracts and of their data, from a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client._results import Finding
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config, ask
from ledgerd_client.cli.findings import emit_finding
from ledgerd_client.cli.output import Json, emit, say, words
from ledgerd_client.cli.record_file import read_planned, read_record
from ledgerd_client.cli.transfers import (
    CallerRef,
    Queue,
    if_unreachable,
    say_queued,
    submitted_fields,
)
from ledgerd_client.client import LedgerClient
from ledgerd_client.contracts import Contract, Supplement
from ledgerd_client.core.errors import InputError
from ledgerd_client.events import Recordable
from ledgerd_client.keyfile import read_file, write_new

RecordFile = Annotated[
    Path, typer.Argument(metavar="FILE.toml", help="The record: `record = KIND`, and its fields.")
]


def record(
    file: RecordFile,
    out: Annotated[
        Path | None,
        typer.Option(help="Of a contract or supplement: its file, to give to the other party."),
    ] = None,
    caller_ref: CallerRef = None,
    queue: Queue = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Record a contract, its filing, supplement, end, an incident, or whatever else FILE.toml says.

    Kinds and fields are those of the SDK (docs/sdk.md); codes are numbers or names. Whatever lapse
    it shows keeps nothing from being recorded: `ledgerctl check` tells before, `findings` after.
    """
    what = read_record(file, keeps_nonce=out is not None)
    if out is not None:
        what = _keep(what, out)
    recorded = ask(
        config,
        lambda client: client.record(
            what, caller_ref=caller_ref, if_unreachable=if_unreachable(queue)
        ),
    )
    # A matter is said again under the same one.
    fields = submitted_fields(recorded) | {"matter": getattr(what, "matter", None)}
    emit(fields | {"contract": str(out) if out else None}, as_json=as_json)
    say_queued(recorded)


def check(file: RecordFile, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """
    Say which findings a record would open or close if it were recorded now; nothing is stored.

    Not what passing time finds afterwards: deadlines, and transfers that are judged again.

    With `record = "transfer"`, a transfer that is not declared yet. Exit code 0 whatever it finds.
    """
    found = ask(config, _asking(file))
    for finding in found:
        emit_finding(finding, as_json=as_json)
    if not found:
        say(words().word("nothing_opens"))


def _asking(file: Path) -> Callable[[LedgerClient], Awaitable[tuple[Finding, ...]]]:
    planned = read_planned(file)
    if planned is not None:
        return lambda client: client.check_transfer(**planned)
    what = read_record(file, keeps_nonce=True)

    async def check(client: LedgerClient) -> tuple[Finding, ...]:
        return (await client.check(what))[0]

    return check


def _keep(what: Recordable, out: Path) -> Recordable:
    """Write the contract's file; if it is there already, go on from it when it says the same."""
    if isinstance(what, Supplement):
        return replace(what, contract=_kept(what.contract, out))
    if isinstance(what, Contract):
        return _kept(what, out)
    raise InputError("--out is for a contract or a supplement")


def _kept(contract: Contract, out: Path) -> Contract:
    if not out.exists():
        write_new(out, contract.file(), mode=0o600)
        return contract
    file = read_file(out)
    contract = replace(contract, nonce=Contract.parse(file).nonce)
    if contract.file() != file:
        raise InputError(f"{out} is there, and states something else", reason="FILE_EXISTS")
    return contract
