"""`ledgerctl export`: entries as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from ledgerd_client.cli.asking import (
    DEFAULT_CONFIG,
    At,
    Config,
    Mirror,
    ask_as_regulator,
    read_note,
)
from ledgerd_client.cli.filters import filtered
from ledgerd_client.cli.output import Json, emit, words
from ledgerd_client.core.errors import FieldError
from ledgerd_client.export import Exported, export
from ledgerd_client.regulator import Query, RegulatorClient


@filtered
def export_entries(
    out: Annotated[
        Path | None, typer.Option(help="The file to make; without it, lines of JSON to read on.")
    ] = None,
    form: Annotated[str, typer.Option(help="jsonl, csv or parquet.")] = "jsonl",
    *,
    query: Query,
    at: At = None,
    mirror: Mirror = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Write entries to a file, each verified, all as of one checkpoint; options as in `entries`.

    The file is there when all of it is; memory is the same for a thousand entries and for millions.
    """
    if out is None and form != "jsonl":
        raise FieldError(f"{form} needs a file", action="name it with --out")

    async def write(client: RegulatorClient) -> Exported:
        note = b"" if at is None else read_note(at)
        console = Console(stderr=True)
        # Where nobody looks on, it would leave an empty line.
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(words().word("exporting"), total=1.0)

            def show(along: float) -> None:
                bar.update(task, completed=along)

            return await export(client, query, out, form, at=note, progress=show)

    done = ask_as_regulator(config, mirror, write)
    if out is not None:
        emit({"entries": done.entries, "file": str(out)}, as_json=as_json)
