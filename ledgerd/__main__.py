"""
ledgerd, the daemon of a side's ledger.

Worker processes import this module once more, so it imports as little as it can: what a command
needs is imported in it.
"""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import asyncio
import functools
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.completion import completion_init  # type: ignore[attr-defined] # nothing public does
from typer.core import TyperGroup

from ledgerd.commands.audit import audit
from ledgerd.commands.backup import backup
from ledgerd.commands.carry import peer
from ledgerd.commands.examine import check, doctor
from ledgerd.commands.options import NODE_TOML, ConfigFile
from ledgerd.commands.publish import publish
from ledgerd.commands.recover import recover, restore
from ledgerd.commands.rotate import rotate
from ledgerd.commands.saying import explain, say
from ledgerd.commands.standby import promote, standby
from ledgerd_client.core.errors import InputError, LedgerError, StoreError
from ledgerd_client.secrecy import keep_to_ourselves

if TYPE_CHECKING:
    from ledgerd.config import Config

FAILED = 1
BAD_INPUT = 2
# EX_SOFTWARE of sysexits.h: the store failed under a running node.
STORE_FAILED = 70


class Program(TyperGroup):
    """The root command: errors become one line, which says what to do, and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LedgerError as error:
            explain(error)
            raise typer.Exit(BAD_INPUT if isinstance(error, InputError) else FAILED) from None


app = typer.Typer(
    name="ledgerd",
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""
    Keep one side's ledger of cross-boundary transfers, and verify the other side's.

    Exit codes: 0 done, or stopped by a signal; 1 refused or failed; 2 wrong usage, configuration or
    input; 70 the store failed while the node ran.
    """,
)


@app.command()
def init(
    config: ConfigFile = NODE_TOML,
    request: Annotated[
        Path | None, typer.Option(help="Step 1: where to write the request for the authority.")
    ] = None,
    genesis: Annotated[
        Path | None, typer.Option(help="Step 2: the approval that the authority sent back.")
    ] = None,
) -> None:
    """
    Make a new ledger, in two steps with the authority's decision between them.

    The first makes the node's keys, where there are none yet, and asks for a GENESIS and a
    certificate. The second checks what the authority signed and founds the ledger. Neither ever
    changes a ledger or a key that is there.
    """
    from ledgerd.config import Config

    if (request is None) == (genesis is None):
        raise InputError(
            "name either --request or --genesis",
            reason="USAGE",
            action="begin with --request FILE; when the approval is there, use --genesis FILE",
        )
    loaded = Config.load(config)
    if request is not None:
        _request(loaded, request)
    elif genesis is not None:
        _found(loaded, genesis)


@app.command()
def serve(
    config: ConfigFile = NODE_TOML,
    throwaway: Annotated[bool, typer.Option("--throwaway", hidden=True)] = False,
) -> None:
    """
    Serve a ledger that `ledgerd init` made, until SIGTERM or SIGINT.

    It then finishes the calls in flight and exits 0. It takes a ledger up where its store left it,
    after a crash as after a stop, and never makes one.
    """
    from ledgerd.config import Config
    from ledgerd.observe.logs import configure_logs
    from ledgerd.observe.telemetry import export_traces

    loaded = Config.load(config)
    configure_logs(loaded.log_level)
    # Its own lines are no JSON, and a stranger could fill the log with failed handshakes.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    export_traces()
    asyncio.run(_serve(loaded, config, throwaway=throwaway))


@app.command()
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


@app.command()
def mirror(
    settings: Annotated[Path, typer.Option(help="The regulator's client.toml.")],
    data: Annotated[Path, typer.Option(help="Where the mirror is, or is made.")],
    socket: Annotated[
        Path | None, typer.Option(help="Where it answers; by default mirror.sock in --data.")
    ] = None,
    once: Annotated[bool, typer.Option(help="Catch up with the node, and exit.")] = False,
) -> None:
    """
    Keep a regulator's own copy of a ledger, and answer from it as the node does.

    Every entry is verified as `ledgerd audit` verifies a store, and nothing is shown before the
    node's signed root came out. It needs a grant that covers everything. Ask it with
    `ledgerctl … --mirror SOCKET`; what it is asked is on nobody's record. SIGTERM or SIGINT ends
    it; it goes on where it stopped, after a crash too.
    """
    from rich.console import Console
    from rich.progress import Progress

    from ledgerd import mirroring
    from ledgerd.observe.logs import configure_logs
    from ledgerd_client.config import Settings

    configure_logs("warning")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    loaded = Settings.from_file(settings)
    listen = None if once else (socket or data / "mirror.sock").absolute()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("mirroring", total=None)
        try:
            asyncio.run(
                mirroring.mirror(
                    loaded,
                    data,
                    listen,
                    progress=lambda done, total: bar.update(task, completed=done, total=total),
                    say=explain,
                )
            )
        except StoreError as error:
            bar.stop()
            explain(error)
            raise typer.Exit(STORE_FAILED) from None


app.command()(audit)
app.command()(check)
app.command()(doctor)
app.command()(publish)
app.command()(backup)
app.command()(standby)
app.command()(promote)
app.add_typer(peer, name="peer")
app.command()(rotate)
app.command()(restore)
app.command()(recover)


@app.command("adopt-rules")
def adopt_rules(config: ConfigFile = NODE_TOML) -> None:
    """
    Put the rules of the configuration in force, in the log of a node that does not run.

    They hold from the new entry on: what is found already stays as it was found.
    """
    from ledgerd.adopting import adopt_rules as adopt
    from ledgerd.config import Config

    index = adopt(Config.load(config), clock=lambda: time.time_ns() // 1000, random=os.urandom)
    say(f"Entry {index} puts them in force. Start the node again with `ledgerd serve`.")


@app.command()
def rules(
    law: Annotated[
        str, typer.Option(help="Version of the law; by default the newest that is held.")
    ] = "",
) -> None:
    """Print every rule with its sources, their grade, and the figures in force (docs/rules.md)."""
    from ledgerd.rules.law import newest_law
    from ledgerd.rules_page import render_rules

    typer.echo(render_rules(law or newest_law()), nl=False)


@app.command()
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
    from ledgerd import dev as border

    if not directory.exists():
        border.make_border(directory, border.BorderRules(acknowledge_within, record_within, law))
    elif prepare:
        raise InputError(f"{directory} is there already", reason="FILE_EXISTS")
    for line in border.describe(directory):
        say(line)
    if not prepare:
        raise typer.Exit(border.run_border(directory))


def main() -> None:
    """Run the program; ends the process."""
    keep_to_ourselves()
    if "_LEDGERD_COMPLETE" in os.environ:  # a shell asks what may stand next
        completion_init()
    app()


def _request(config: Config, out: Path) -> None:
    from ledgerd.init import describe_to_peer, request_genesis

    fingerprint = request_genesis(config, out, os.urandom)
    say(f"Send {out} to the authority of {config.origin}, and for the other side's node.toml:")
    for line in describe_to_peer(config):
        say(f"    {line}")
    say("Read the request's fingerprint to the authority over the telephone:")
    typer.echo(fingerprint)


def _found(config: Config, genesis: Path) -> None:
    from ledgerd.credentials import load_trust
    from ledgerd.init import found
    from ledgerd_client.approval import Approval
    from ledgerd_client.keyfile import read_file

    approval = Approval.parse(read_file(genesis))
    found(config, approval, clock=lambda: time.time_ns() // 1000, random=os.urandom)
    say(f"Founded {config.origin} in {config.store}.")
    say("Compare with the other side, over the telephone: both trust files have the fingerprint")
    say(f"    {load_trust(config).fingerprint}")
    say("Start it with `systemctl enable --now ledgerd`, or `ledgerd serve`.")


async def _serve(config: Config, path: Path, *, throwaway: bool) -> None:
    from ledgerd.config import Config
    from ledgerd.daemon import run

    loop = asyncio.get_running_loop()
    stop, reload, ready = asyncio.Event(), asyncio.Event(), loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    load = functools.partial(Config.load, path)
    try:
        await run(config, stop=stop, ready=ready, reload=reload, load=load, throwaway=throwaway)
    except StoreError as error:
        if not ready.done():  # it never served: the usual exit code
            raise
        explain(error)
        # Killed from outside, it starts again by itself.
        raise typer.Exit(FAILED if error.reason == "WRITER_KILLED" else STORE_FAILED) from None


if __name__ == "__main__":
    main()
