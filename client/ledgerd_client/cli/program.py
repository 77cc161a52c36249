"""All commands of ledgerctl, put together."""

from __future__ import annotations

import logging
import sys
import traceback
from importlib.metadata import version
from typing import Annotated

import typer

from ledgerd_client.cli import (
    approve,
    authority,
    bundles,
    codelist,
    declare,
    enrol,
    erase,
    findings,
    keys,
    outbox,
    queries,
    receipts,
    records,
    reporting,
    tickets,
    transfers,
)
from ledgerd_client.cli.output import COULD_NOT_ASK, Program, speak

app = typer.Typer(
    name="ledgerctl",
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(declare.declare)
app.command()(transfers.ack)
app.command()(transfers.cancel)
app.command()(transfers.show)
app.command()(records.record)
app.command()(records.check)
app.command()(findings.contract)
app.command("findings")(findings.list_findings)
app.command()(queries.entries)
app.command()(queries.transfer)
app.command()(queries.summary)
app.add_typer(reporting.app, name="report")
app.command("export")(reporting.export_entries)
app.add_typer(bundles.app, name="bundle")
app.command()(bundles.dossier)
app.command("codes")(codelist.list_codes)
app.command("open")(tickets.open_ticket)
app.add_typer(receipts.app, name="receipt")
app.command()(receipts.checkpoint)
app.add_typer(outbox.app, name="outbox")
app.add_typer(enrol.app, name="enrol")
enrol.app.command()(approve.approve)
enrol.app.command()(approve.revoke)
app.add_typer(erase.app, name="erase")
app.add_typer(keys.trust, name="trust")
app.command()(keys.keygen)
app.add_typer(authority.app, name="authority")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ledgerctl {version('ledgerd-client')}")
        raise typer.Exit


@app.callback()
def _root(
    lang: Annotated[
        str,
        typer.Option(envvar="LEDGERCTL_LANG", help="en, zh-Hans or zh-Hant: for what you read."),
    ] = "en",
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """
    Enrol with a ledger, record transfers and contracts, see what stands, verify receipts offline.

    Exit codes: 0 done, or verified; 1 something does not verify: keep it, it may prove tampering;
    2 wrong usage or bad input; 3 not known, or not done: the node could not be asked, or refused,
    what was kept here is damaged, or the proof is still to come.
    """
    speak(lang)


def main() -> None:
    """Run the program; ends the process."""
    # What the SDK logs, errors and `outbox list` tell better.
    logging.getLogger("ledgerd_client").addHandler(logging.NullHandler())
    try:
        app()
    except Exception:  # noqa: BLE001 -- a defect must not exit 1, which says tampering
        traceback.print_exc()
        sys.exit(COULD_NOT_ASK)
