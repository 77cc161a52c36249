"""`ledgerd init`: a new ledger."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledgerd.clock import now
from ledgerd.commands.options import NODE_TOML, ConfigFile
from ledgerd.commands.saying import say
from ledgerd_client.core.errors import InputError

if TYPE_CHECKING:
    from ledgerd.config import Config


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
    found(config, approval, clock=now, random=os.urandom)
    say(f"Founded {config.origin} in {config.store}.")
    say("Compare with the other side, over the telephone: both trust files have the fingerprint")
    say(f"    {load_trust(config).fingerprint}")
    say("Start it with `systemctl enable --now ledgerd`, or `ledgerd serve`.")
