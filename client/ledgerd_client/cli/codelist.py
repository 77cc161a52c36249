"""`ledgerctl codes`: what the numbers and names in options and files mean."""

from __future__ import annotations

from typing import Annotated

import typer

from ledgerd_client._building import TABLES as OF_FIELDS
from ledgerd_client._values import to_date
from ledgerd_client.cli.output import Json, emit, pad, width, words
from ledgerd_client.core.code_tables import Code
from ledgerd_client.core.codes import TABLES
from ledgerd_client.core.errors import NotFoundError


def list_codes(
    table: Annotated[
        str, typer.Argument(help="One table, say purpose; all of them if left out.")
    ] = "",
    as_json: Json = False,
) -> None:
    """
    List the codes that options and files take: number, name, meaning, source, and since when.

    Each table is headed by the fields that take its codes.
    """
    if table and table not in TABLES:
        raise NotFoundError(
            f"there is no table {table!r}", action=f"name one of {', '.join(TABLES)}"
        )
    for name in [table] if table else TABLES:
        rows = TABLES[name].values()
        if as_json:
            for code in rows:
                emit({"table": name, "fields": _fields(name)} | code._asdict(), as_json=True)
        else:
            _print(name, list(rows))


def _print(table: str, rows: list[Code]) -> None:
    typer.echo(f"{table}: {words().word('codes_of').format(fields=', '.join(_fields(table)))}")
    names = max(width(code.name) for code in rows)
    meanings = [words().code(table, code.number) for code in rows]
    wide = max(map(width, meanings))
    for code, meaning in zip(rows, meanings, strict=True):
        columns = f"  {code.number:>6}  {pad(code.name, names)}  {pad(meaning, wide)}"
        typer.echo(f"{columns}  {code.source}{_dates(code)}")


def _fields(table: str) -> list[str]:
    """Of records; `incident.cause` is the cause of an incident, where others have another table."""
    return [field for field, of in OF_FIELDS.items() if of == table]


def _dates(code: Code) -> str:
    since, until = to_date(code.valid_from), to_date(code.valid_to)
    # As ISO 8601-2 writes an interval that is open on one side.
    return f", {since or '..'}/{until or '..'}" if since or until else ""
