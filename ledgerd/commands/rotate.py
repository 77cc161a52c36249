"""`ledgerd rotate`: another key for the node."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ledgerd.clock import now
from ledgerd.commands.options import NODE_TOML, ConfigFile


class KeyName(StrEnum):
    """Which of the node's keys."""

    LOG = "log"
    ENTRY = "entry"
    COSIGNER = "cosigner"
    TLS = "tls"


def rotate(
    config: ConfigFile = NODE_TOML,
    key: Annotated[KeyName | None, typer.Option(help="Which key to replace.")] = None,
    request: Annotated[
        Path | None, typer.Option(help="The request to make, for the authority of this side.")
    ] = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="The present key is gone: nobody waits for it to sign.")
    ] = False,
    approval: Annotated[
        Path | None,
        typer.Option(help="A certificate; or a rotation, for a node that does not run."),
    ] = None,
) -> None:
    """
    Replace a key of the node: ask with --key and --request, while it runs or not.

    What the authority signs an operator hands to the running node with `ledgerctl enrol submit`; it
    goes over to the new key there and then. Until the peer has cosigned a checkpoint with both
    keys' signatures, keep the old log key, which then lies beside the new one as .retired; destroy
    it after that. A node that can't run without the new key takes the rotation with --approval.

    A new TLS key comes with a certificate: put both in their place with --approval. A node that
    runs takes them within seconds.
    """
    from ledgerd.config import Config
    from ledgerd.rotating import (
        install_certificate,
        request_certificate,
        request_rotation,
        rotate_offline,
    )
    from ledgerd_client.approval import Approval
    from ledgerd_client.core.errors import FieldError
    from ledgerd_client.keyfile import read_file

    loaded = Config.load(config)
    if approval is not None and key is None and request is None and not lost:
        approved = Approval.parse(read_file(approval))
        if approved.certificate:
            install_certificate(loaded, approved)
            typer.echo("The certificate is in its place; a node that runs has it in a moment.")
            return
        index = rotate_offline(loaded, approved, clock=now, random=os.urandom)
        typer.echo(f"Entry {index} puts the key in force. Start the node with `ledgerd serve`.")
        return
    if key is None or request is None or approval is not None:
        raise FieldError("give --key and --request to ask for a key, or --approval to take it")
    if key is KeyName.TLS:
        digits = request_certificate(loaded, request)
    else:
        digits = request_rotation(loaded, key.value, request, lost=lost, random=os.urandom)
    typer.echo(f"Send {request} to the authority of this side, and read to it: {digits}")
