"""`ledgerd compact`: a store without what was erased."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client.core.errors import InputError


def compact(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The TOML file of a node that is stopped.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Or the store/ of a backup, or of a mirror's directory.")
    ] = None,
    forget: Annotated[
        list[int] | None,
        typer.Option(min=0, help="An entry that reads as BODY_LOST to `erase`: its body goes too."),
    ] = None,
) -> None:
    """
    Write a store anew without the pages of what was erased, and put it in the old one's place.

    A crash leaves the old file or the new one, each whole. It takes as much room again.
    """
    from ledgerd.compacting import compact as compact_store
    from ledgerd.config import Config

    if (config is None) == (store is None):
        raise InputError(
            "name either --config or --store",
            reason="USAGE",
            action="give --config FILE of a stopped node, or --store DIRECTORY of a copy",
        )
    before, after = compact_store(store or Config.load(config).store, forget or ())  # type: ignore[arg-type]
    typer.echo(f"{before} bytes before, {after} after: nothing is left in it of what was erased")
