"""`ledgerd restore` and `ledgerd recover`: the ways back after a disk is lost."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledgerd.clock import now
from ledgerd.commands.options import NODE_TOML, ConfigFile
from ledgerd.commands.saying import progress_bar, say

if TYPE_CHECKING:
    from ledgerd.recovery.collecting import Found


def restore(
    copy: Annotated[
        Path, typer.Option("--from", help="A backup, the directory of some, or a store's.")
    ],
    config: ConfigFile = NODE_TOML,
) -> None:
    """
    Put a copy of the store in the place of one that is gone; the node does not run.

    What comes of it the next `ledgerd serve` shows. If the peer confirms that nothing is missing,
    the node takes appends again; its cosigner key must then be rotated. If the copy is too old, the
    node only reads, and `ledgerd recover --from` it is the way.
    """
    from ledgerd.config import Config

    size = asyncio.run(_restore(Config.load(config), copy))
    typer.echo(f"The copy's {size} entries are in place. Start the node with `ledgerd serve`.")


def recover(
    config: ConfigFile = NODE_TOML,
    copies: Annotated[
        list[Path] | None,
        typer.Option("--from", help="A backup or a store, however old, to take bodies from."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Do not wait for institutions to return bodies.")
    ] = False,
    request: Annotated[
        Path | None, typer.Option(help="Step 2: where to write the request for the authority.")
    ] = None,
    loss: Annotated[
        Path | None, typer.Option(help="Step 3: the approval that the authority sent back.")
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="With --loss: an approval of the lost end, of a key, to be taken again."),
    ] = None,
) -> None:
    """
    Come back from a lost store with what the peer has cosigned, in three steps.

    The first fetches headers from the peer and bodies from copies, and waits for institutions to
    return others, with `ledgerctl outbox return`, until all are there or it is stopped. The second
    asks the authority to declare what is behind lost. The third takes its LOSS and makes the store
    anew, with new keys. Each goes on where it was cut short; the node does not run meanwhile.
    """
    from ledgerd.config import Config
    from ledgerd.observe.logs import configure_logs
    from ledgerd.recovery.declaring import request_loss
    from ledgerd_client.core.errors import FieldError

    loaded = Config.load(config)
    if (request is not None or loss is not None) and (copies or once):
        raise FieldError("--from and --once are of the first step, without --request and --loss")
    if request is not None and loss is not None:
        raise FieldError("give --request or --loss, not both")
    if also and loss is None:
        raise FieldError("--also is of the third step, with --loss")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # What it does it says itself.
    configure_logs("error")
    if request is not None:
        digits = asyncio.run(request_loss(loaded, request, **_how()))
        typer.echo(f"Send {request} to the authority of this side, and read to it: {digits}")
    elif loss is not None:
        size = asyncio.run(_declare(loaded, loss, also or []))
        typer.echo(f"The log has {size} entries. Start the node with `ledgerd serve`.")
    else:
        asyncio.run(_fetch(loaded, copies or [], once=once))


async def _restore(config: Any, copy: Path) -> int:
    from ledgerd.backup.assembling import as_store
    from ledgerd.recovery.restoring import check_absent, restore

    check_absent(config)
    with progress_bar("restoring") as progress:
        async with as_store(config, copy, **_how(), progress=progress) as store:
            return restore(config, store, **_how())


async def _fetch(config: Any, copies: list[Path], *, once: bool) -> None:
    from ledgerd.backup.assembling import as_store
    from ledgerd.recovery.collecting import peer_of, recover, take_back

    async with AsyncExitStack() as stack:
        progress = stack.enter_context(progress_bar("recovering"))
        stores = [
            await stack.enter_async_context(as_store(config, copy, **_how(), progress=progress))
            for copy in copies
        ]
        client = await stack.enter_async_context(peer_of(config))
        found = await recover(config, client, stores, **_how(), progress=progress)
    say(f"{found.size} entries are back. {_said(found)}")
    if found.lost:
        say("Lost with the log's end, to be handed in again (keys by --also):")
    for line in found.lost:
        say(f"  {line}")
    if once or not set(found.missing) - {""}:
        return
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    found = await take_back(config, stop, _say_ready, **_how())
    say(_said(found))


def _say_ready(port: int) -> None:
    say(f"Waiting for institutions to return bodies, at port {port}.")


async def _declare(config: Any, path: Path, also: list[Path]) -> int:
    from ledgerd.recovery.collecting import peer_of
    from ledgerd.recovery.declaring import declare
    from ledgerd_client.approval import Approval
    from ledgerd_client.keyfile import read_file

    approval, *others = (Approval.parse(read_file(each)) for each in (path, *also))
    with progress_bar("recovering") as progress:
        async with peer_of(config) as client:
            return await declare(config, approval, client, others, **_how(), progress=progress)


def _said(found: Found) -> str:
    return "No body is missing." if not found.missing else f"Missing: {_listed(found.missing)}."


def _listed(missing: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {who or 'the node'}" for who, count in sorted(missing.items()))


def _how() -> dict[str, Any]:
    return {"clock": now, "random": os.urandom}
