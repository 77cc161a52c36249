"""All commands of ledgerctl, put together; each is imported when it is wanted."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from functools import partial
from importlib.metadata import version
from typing import Annotated

import typer
from typer.completion import completion_init  # type: ignore[attr-defined] # nothing public does
from typer.main import get_group

from ledgerd_client.cli.deferred import Deferred, found_at
from ledgerd_client.cli.output import COULD_NOT_ASK, Program, speak

root = typer.Typer(name="ledgerctl", cls=Program, no_args_is_help=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ledgerctl {version('ledgerd-client')}")
        raise typer.Exit


@root.callback()
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


app = get_group(root)


def _add(name: str, place: str, summary: str) -> None:
    app.add_command(Deferred(name, summary, partial(found_at, place)))


# In the order of the help, each with the first sentence of its own help: for the program's own,
# none of them is imported.
_add(
    "declare",
    "declare:declare",
    "Record that you are about to send data across the boundary; then send it with the ticket.",
)
_add("ack", "transfers:ack", "Check a ticket and what came with it, and record what you received.")
_add(
    "cancel",
    "transfers:cancel",
    "Take back a transfer of your own that was not sent, or not accepted.",
)
_add(
    "show",
    "transfers:show",
    "Show a transfer as the node on your side sees it: both halves, their state, findings.",
)
_add(
    "record",
    "records:record",
    "Record a contract, its filing, supplement, end, an incident, or whatever else FILE.toml says.",
)
_add(
    "check",
    "records:check",
    "Say which findings a record would open or close if it were recorded now; nothing is stored.",
)
_add(
    "contract",
    "findings:contract",
    "Show a contract as the node on your side sees it: what both sides stated, what stands.",
)
_add(
    "findings",
    "findings:list_findings",
    "List the findings that concern you, with what would cure each, oldest first.",
)
_add(
    "entries",
    "queries:entries",
    "List entries: whichever match one value of each option that is given.",
)
_add(
    "transfer",
    "queries:transfer",
    "Show a transfer with both its records, each proven to stand in its log.",
)
_add(
    "timeline",
    "timeline:timeline",
    "Say which of two logs' entries came first, as far as the anchors between the logs prove it.",
)
_add(
    "summary",
    "queries:summary",
    "Count entries, transfers and persons by one to four things; options are those of `entries`.",
)
_add(
    "export",
    "exporting:export_entries",
    "Write entries to a file, each verified, all as of one checkpoint; options as in `entries`.",
)
_add(
    "dossier",
    "bundles:dossier",
    "Print what is recorded of a contract: tables, pictures, proofs, and a box to sign and seal"
    " in.",
)
_add(
    "codes",
    "codelist:list_codes",
    "List the codes that options and files take: number, name, meaning, source, and since when.",
)
_add(
    "open",
    "tickets:open_ticket",
    "Check that a file is the one that a transfer declared; asks no node.",
)
_add(
    "checkpoint",
    "receipts:checkpoint",
    "Print the newest checkpoint of the node on your side, verified: a C2SP signed note.",
)
_add("keygen", "keys:keygen", "Make an Ed25519 signing key.")
_add("key", "keys:key", "Key files: under a passphrase, or not.")
_add(
    "report",
    "reporting:app",
    "The fifteen reports: as tables, for a spreadsheet (--csv), or for programs (--json).",
)
_add("bundle", "bundles:app", "One transfer with all its proofs, in one file.")
_add("receipt", "receipts:app", "Fetch receipts, and verify them offline.")
_add("outbox", "outbox:app", "Records that wait for the node, or were refused.")
_add("enrol", "enrol:app", "Let institutions, regulators and operators in.")
_add("erase", "erase:app", "Erase bodies whose time of keeping is over.")
_add(
    "evidence", "evidence:app", "Evidence against the other side's node, and what it asked in vain."
)
_add(
    "status",
    "status:status",
    "As an operator: say how the node stands, and what to do if something is wrong.",
)
_add("trust", "key_history:trust", "Trust files: what a verifier knows beforehand.")
_add("authority", "node_keys:app", "For the authority of a side; works offline.")


def run() -> None:
    """Run what the command line says; ends the process, or raises ModuleNotFoundError."""
    # What the SDK logs, errors and `outbox list` tell better.
    logging.getLogger("ledgerd_client").addHandler(logging.NullHandler())
    if "_LEDGERCTL_COMPLETE" in os.environ:  # a shell asks what may stand next
        completion_init()
    try:
        app()
    except ModuleNotFoundError:
        raise
    except Exception:  # noqa: BLE001 -- a defect must not exit 1, which says tampering
        traceback.print_exc()
        sys.exit(COULD_NOT_ASK)
