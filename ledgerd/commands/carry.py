"""`ledgerd peer export` and `ledgerd peer import`."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ledgerd.clock import now
from ledgerd.commands.options import NODE_TOML, ConfigFile

peer = typer.Typer(no_args_is_help=True, help="Reach the peer by files, where no link is allowed.")


@peer.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="The file to carry to the other side.")],
    config: ConfigFile = NODE_TOML,
    start: Annotated[
        int | None,
        typer.Option(min=0, help="Go on at this entry: the last file before this one ends there."),
    ] = None,
) -> None:
    """
    Write what this node would say to its peer: its newest checkpoint, headers, and the cosignature.

    No bodies but those that nodes share. What is too much for one file is left for the next; both
    can be carried at once. The node may run.
    """
    from ledgerd.carrying import export_to_peer
    from ledgerd.config import Config

    done = export_to_peer(
        Config.load(config),
        out,
        clock=now,
        random=os.urandom,
        start=start,
    )
    typer.echo(
        f"{out}: entries {done.start} to {done.stop}, and a cosignature on {done.cosigned} of the"
        " peer's."
    )
    if done.stop < done.size:
        typer.echo(
            f"The log has {done.size} entries: write the next file with --start {done.stop}, or"
            " once the answer is here."
        )


@peer.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="What came from the other side.")],
    config: ConfigFile = NODE_TOML,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the answer here, once the node has cosigned it."),
    ] = None,
    wait: Annotated[float, typer.Option(min=1, help="How long at most, in seconds.")] = 60,
) -> None:
    """
    Hand the node a file of its peer's: it replays, cosigns and anchors as if it had asked itself.

    Nothing in it is believed that would not be believed over a link. Waits for what comes of it.
    """
    from ledgerd.carrying import import_from_peer, wait_taken
    from ledgerd.config import Config
    from ledgerd_client.keyfile import check_free

    if out is not None:
        check_free(out)
    loaded = Config.load(config)
    handed = import_from_peer(loaded, file)
    outcome = wait_taken(loaded, handed, wait, cosigned=out is not None)
    answers = "what this node asked" if outcome.answers else "no question of this node's"
    typer.echo(f"{file}: replayed up to entry {handed.carried.stop}; it answers {answers}.")
    if handed.carried.is_part:
        typer.echo(
            f"The peer's log has {handed.carried.size} entries: import the file that goes on there."
        )
    if out is not None:
        export(out, config)
