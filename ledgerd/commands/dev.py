"""`ledgerd dev`: a border to try things on."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ledgerd.commands.saying import say
from ledgerd_client.core.errors import InputError


def dev(
    directory: Annotated[Path, typer.Option("--dir", help="Where the border is, or is made.")],
    prepare: Annotated[bool, typer.Option(help="Make it, and do not start it.")] = False,
    acknowledge_within: Annotated[
        int, typer.Option(min=1, help="When the other half is missing, in seconds.")
    ] = 120,
    record_within: Annotated[
        int,
        typer.Option(
            min=1,
            help="How long a record may take to reach the log, in seconds. A deadline, say of a"
            " filing (K4), is missed only so long after it: say 60 to see findings at once.",
        ),
    ] = 86_400,
    law: Annotated[
        str, typer.Option(help="Version of the law to judge contents by; empty: they are not.")
    ] = "newest",
) -> None:
    """
    Start a whole border on this machine, to try things on; Ctrl-C ends it.

    Two nodes, their authorities, four institutions and three regulators, with throw-away keys that
    prove nothing. A directory that holds a border already is started as it is.
    """
    from ledgerd.dev.making import BorderRules, make_border
    from ledgerd.dev.running import describe, run_border

    if not directory.exists():
        make_border(directory, BorderRules(acknowledge_within, record_within, law))
    elif prepare:
        raise InputError(f"{directory} is there already", reason="FILE_EXISTS")
    for line in describe(directory):
        say(line)
    if not prepare:
        raise typer.Exit(run_border(directory, say))
