"""`ledgerctl report`: the fifteen reports, and the same made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ledgerd_client.catalogue import Catalogue, ReportWords
from ledgerd_client.cli.asking import (
    DEFAULT_CONFIG,
    At,
    Config,
    Mirror,
    ask_as_regulator,
    checkpoint_at,
    read_note,
)
from ledgerd_client.cli.deferred import Deferred
from ledgerd_client.cli.filters import naming_options
from ledgerd_client.cli.output import Json, emit, pad, say, shorten, words
from ledgerd_client.core.errors import FieldError, VerificationError
from ledgerd_client.keyfile import read_file
from ledgerd_client.regulator import RegulatorClient
from ledgerd_client.reports import REPORTS, default_checkpoint, make
from ledgerd_client.reports.model import Report, first_difference
from ledgerd_client.reports.text import to_csv


class _Reports(TyperGroup):
    """`list`, `verify`, and every report by its name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in REPORTS:
            told = Catalogue.load("en").report(name)
            self.add_command(Deferred(name, told.title, partial(_command, name, told)))


app = typer.Typer(
    cls=_Reports,
    no_args_is_help=True,
    help="The fifteen reports: as tables, for a spreadsheet (--csv), or for programs (--json).",
)

Since = Annotated[str | None, typer.Option(help="From this day on, in UTC+8, or this time.")]
Until = Annotated[str | None, typer.Option(help="Before this day, or this time.")]
Institutions = Annotated[list[str] | None, typer.Option("--institution", help="By, or about, it.")]
Contracts = Annotated[list[str] | None, typer.Option("--contract", help="Under this contract.")]
Places = Annotated[list[str] | None, typer.Option("--place", help="Where it is registered.")]
Sectors = Annotated[list[str] | None, typer.Option("--sector", help="Of the institution.")]


@app.command("list")
def list_reports(as_json: Json = False) -> None:
    """List the reports, with the question that each answers."""
    wide = max(map(len, REPORTS))
    for kind in REPORTS.values():
        told = words().report(kind.name)
        if as_json:
            fields = {"report": kind.name, "number": kind.number, "title": told.title}
            emit(fields | {"takes": sorted(kind.takes)}, as_json=True)
        else:
            typer.echo(f"{kind.number:>2}  {pad(kind.name, wide)}  {told.title}")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What `report NAME --json` wrote.")],
    config: Config = DEFAULT_CONFIG,
    mirror: Mirror = None,
    as_json: Json = False,
) -> None:
    """
    Make a report again, at its own checkpoint, and compare: best at a mirror, which holds it all.

    Exit code 0: it is the same, byte for byte. 1: it is another one; the first row that differs is
    shown. 3: it could not be made again.
    """
    was = Report.parse(read_file(file))

    async def again(client: RegulatorClient) -> Report:
        if was.tree.origin != client.origin:
            raise FieldError(
                f"the report is of {was.tree.origin}, this is {client.origin}",
                reason="WRONG_ORIGIN",
                action="ask the node, or the mirror, of the log that the report names",
            )
        return await make(was.name, client, was.parameters, await client.open(was.checkpoint))

    now = ask_as_regulator(config, mirror, again)
    if now.digest != was.digest:
        _show_difference(was, now)
        raise VerificationError(
            f"the report {was.name} at {was.tree.size} entries is another one when it is made now",
            reason="OTHER_REPORT",
        )
    fields = {"report": was.name, "origin": was.tree.origin, "size": was.tree.size}
    emit({"verified": was.digest.hex()} | fields, as_json=as_json)


def _show_difference(was: Report, now: Report) -> None:
    found = first_difference(was, now)
    if found is None:
        say(words().word("rows_are_same"))
        return
    say(words().word("row_differs").format(row=found.row, table=found.table))
    for sign, row in (("-", found.was), ("+", found.now)):
        if row is not None:
            say(shorten(f"{sign} {', '.join('' if cell is None else str(cell) for cell in row)}"))


def _command(name: str, told: ReportWords) -> Callable[..., None]:
    def report(
        since: Since = None,
        until: Until = None,
        institution: Institutions = None,
        contract: Contracts = None,
        place: Places = None,
        sector: Sectors = None,
        everything: Annotated[
            bool, typer.Option("--all", help="Findings that were cured, too.")
        ] = False,
        from_checkpoint: Annotated[
            Path | None, typer.Option("--from", help="Of `complete`: the earlier checkpoint.")
        ] = None,
        at: At = None,
        newest: Annotated[
            bool, typer.Option("--newest", help="As of the newest checkpoint, cosigned or not.")
        ] = False,
        mirror: Mirror = None,
        config: Config = DEFAULT_CONFIG,
        as_json: Json = False,
        as_csv: Annotated[bool, typer.Option("--csv", help="For a spreadsheet.")] = False,
    ) -> None:
        _check_exclusive({"--at": at, "--newest": newest})
        _check_exclusive({"--json": as_json, "--csv": as_csv})
        parameters = {
            "since": (since,) if since else (),
            "until": (until,) if until else (),
            "institution": tuple(institution or ()),
            "contract": tuple(contract or ()),
            "place": tuple(place or ()),
            "sector": tuple(sector or ()),
            "all": ("yes",) if everything else (),
            "from": (read_note(from_checkpoint).decode(),) if from_checkpoint else (),
        }

        async def asked(client: RegulatorClient) -> Report:
            checkpoint = await checkpoint_at(client, at)
            if checkpoint is None and newest:
                checkpoint = await client.checkpoint()
            if checkpoint is None:
                checkpoint = await default_checkpoint(client)
                if not checkpoint.cosigned and not client.at_mirror:
                    say(words().word("not_cosigned_yet"))
            return await make(name, client, parameters, checkpoint)

        with naming_options("kinds"):
            made = ask_as_regulator(config, mirror, asked)
        _print(made, as_json=as_json, as_csv=as_csv)

    takes = ", ".join(f"--{each}" for each in sorted(REPORTS[name].takes))
    cannot = f"{Catalogue.load('en').word('cannot_show')} {told.cannot}"
    asked = f"Of what narrows a report, this one takes {takes}." if takes else ""
    report.__doc__ = f"{told.title}\n\n{told.shows}\n\n{cannot}\n\n{asked}"
    return report


def _check_exclusive(options: Mapping[str, object]) -> None:
    if all(options.values()):
        raise FieldError(
            f"{' and '.join(options)} exclude each other",
            reason="CONTRADICTION",
            action="leave one of them out",
        )


def _print(report: Report, *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        typer.echo(report.to_json(), nl=False)
    elif as_csv:
        typer.echo(to_csv(report, words()), nl=False)
    else:
        from ledgerd_client.cli.report_table import print_report  # noqa: PLC0415 -- draws, for people

        print_report(report)
