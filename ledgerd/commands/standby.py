"""`ledgerd standby` and `ledgerd promote`: a copy in step, and how it takes over."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ledgerd.clock import now
from ledgerd.commands.options import NODE_TOML, ConfigFile
from ledgerd.commands.saying import ending_as_a_node, explain, progress_bar

if TYPE_CHECKING:
    from ledgerd.standby.promoting import Asked
    from ledgerd_client.approval import Approval

# For the file that the authority sends back.
_LOOK_EVERY_S: Final = 0.2


def standby(
    config: ConfigFile = NODE_TOML,
    once: Annotated[bool, typer.Option("--once", help="End when in step with the node.")] = False,
) -> None:
    """
    Keep a whole copy of this side's ledger, in step with the node at standby.primary.

    Every entry is verified. It has the node's name and a certificate of its own, and must not have
    its log key. SIGTERM or SIGINT ends it; it goes on where it stopped, after a crash too.
    """
    from ledgerd.config import Config
    from ledgerd.observe.logs import configure_logs

    configure_logs("warning")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    loaded = Config.load(config)
    with ending_as_a_node(), progress_bar("following") as progress:
        asyncio.run(_stand_by(loaded, once=once, progress=progress))


async def _stand_by(config: Any, **options: Any) -> None:
    from ledgerd.standby.following import stand_by

    running = asyncio.create_task(stand_by(config, say=explain, **options))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running


def promote(
    config: ConfigFile = NODE_TOML,
    request: Annotated[
        Path | None, typer.Option(help="Where to write the request for the authority.")
    ] = None,
    loss: Annotated[
        Path | None, typer.Option(help="The approval that the authority sends back.")
    ] = None,
    waited: Annotated[
        bool,
        typer.Option(
            help="Against PEER_FORGOT: the old node ran with standby.wait = true ever since this"
            " standby was last in step with it, so the peer was shown nothing that is not here."
        ),
    ] = False,
) -> None:
    """
    Have a standby that was stopped go on with the log, where it stands, under new keys.

    With --request it asks the authority, with --loss it takes the answer; with both it waits for
    that file in between, until it is whole. The peer must be reachable. Ended in any of its steps,
    it is called again with the same options. Then start it with `ledgerd serve`: it takes appends
    as soon as the peer has cosigned the LOSS, and from then on nothing by the old node.
    """
    from ledgerd.config import Config
    from ledgerd.observe.logs import configure_logs
    from ledgerd_client.core.errors import FieldError

    if request is None and loss is None:
        raise FieldError("give --request, --loss or both")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    configure_logs("error")
    loaded = Config.load(config)
    answer = None if loss is None else _answer_at(loss)
    if request is not None and not _is_taken(loaded, answer):
        asked = asyncio.run(_ask(loaded, request, waited=waited))
        typer.echo(f"The log is to end at {asked.size} entries, all of which are here.")
        typer.echo(f"Send {request} to the authority, and read to it: {asked.fingerprint}")
    if loss is not None:
        size = asyncio.run(_take(loaded, _wait_for(loss), waited=waited))
        typer.echo(f"The log has {size} entries. Start the node with `ledgerd serve`.")


def _answer_at(path: Path) -> Approval | str:
    """The authority's answer; until it is there, and whole, what is waited for."""
    from ledgerd_client.approval import Approval
    from ledgerd_client.core.errors import MalformedError
    from ledgerd_client.keyfile import read_file

    if not path.exists():
        return f"Waiting for its answer at {path}."
    try:
        return Approval.parse(read_file(path))
    except MalformedError as error:
        return f"Waiting until its answer at {path} is whole: {error.message}."


def _wait_for(path: Path) -> Approval:
    said = ""
    while isinstance(answer := _answer_at(path), str):
        if answer != said:
            typer.echo(f"{answer} Ended, this command is called again.")
        said = answer
        time.sleep(_LOOK_EVERY_S)
    return answer


def _is_taken(config: Any, answer: Approval | str | None) -> bool:
    """Whether nobody is to be asked any more: an earlier call has taken the answer."""
    from ledgerd.standby.stopped import has_taken
    from ledgerd_client.approval import Approval

    return isinstance(answer, Approval) and has_taken(config, answer.read_body().loss)


async def _ask(config: Any, request: Path, *, waited: bool) -> Asked:
    from ledgerd.recovery.collecting import peer_of
    from ledgerd.standby.promoting import request_promotion

    async with peer_of(config) as client:
        return await request_promotion(config, request, client, random=os.urandom, waited=waited)


async def _take(config: Any, approval: Approval, *, waited: bool) -> int:
    from ledgerd.recovery.collecting import peer_of
    from ledgerd.standby.promoting import promote as take

    async with peer_of(config) as client:
        return await take(config, approval, client, clock=now, random=os.urandom, waited=waited)
