"""
Asking a node: the settings, and one client for one command.

What opens a client is imported here, when one is opened: a command that asks nobody, or only says
how it is used, loads no gRPC.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ledgerd_client.core.errors import FieldError, LedgerError, MalformedError
from ledgerd_client.keyfile import read_file

if TYPE_CHECKING:
    from ledgerd_client.client import LedgerClient
    from ledgerd_client.core.checkpoint import OpenedCheckpoint
    from ledgerd_client.regulator import RegulatorClient

T = TypeVar("T")

Config = Annotated[
    Path,
    typer.Option(envvar="LEDGERCTL_CONFIG", help="Settings: what `enrol install` wrote."),
]
DEFAULT_CONFIG = Path("client.toml")
Mirror = Annotated[
    Path | None,
    typer.Option(envvar="LEDGERCTL_MIRROR", help="Ask the mirror behind this socket instead."),
]
At = Annotated[
    Path | None,
    typer.Option(help="As of this checkpoint: a signed note, or the --json file of a report."),
]


def ask(config: Path, action: Callable[[LedgerClient], Awaitable[T]]) -> T:
    """Open the client of a settings file, do one thing, and close it."""
    from ledgerd_client.client import LedgerClient

    async def run() -> T:
        async with LedgerClient.from_file(config) as client:
            return await action(client)

    return asyncio.run(run())


def ask_as_regulator(
    config: Path, mirror: Path | None, action: Callable[[RegulatorClient], Awaitable[T]]
) -> T:
    """As ask, by whoever holds a grant to read: a node, or a mirror of it."""
    from ledgerd_client.regulator import RegulatorClient

    async def run() -> T:
        async with RegulatorClient.from_file(config, mirror) as client:
            return await action(client)

    return asyncio.run(run())


def read_note(path: Path) -> bytes:
    """A checkpoint as it was kept: the signed note itself, or within a report; InputError."""
    from ledgerd_client.core.checkpoint import Checkpoint
    from ledgerd_client.core.note import parse_note
    from ledgerd_client.reports.model import Report

    data = read_file(path)
    if data.startswith(b"{"):
        return Report.parse(data).checkpoint
    try:
        Checkpoint.parse(parse_note(data).text)
    except LedgerError as error:
        raise MalformedError(
            f"{path} holds no checkpoint: {error.message}",
            action="name what `ledgerctl checkpoint` or `ledgerctl report NAME --json` wrote",
        ) from None
    return data


async def checkpoint_at(client: RegulatorClient, at: Path | None) -> OpenedCheckpoint | None:
    """The checkpoint in a file, verified: today's log extends it."""
    return None if at is None else await client.open(read_note(at))


async def note_at(client: RegulatorClient, at: Path | None) -> bytes:
    """As checkpoint_at, signed; b"" for the newest."""
    checkpoint = await checkpoint_at(client, at)
    return checkpoint.note if checkpoint else b""


def parse_hex(text: str, size: int, what: str) -> bytes:
    """Read a name of so many bytes; raises FieldError."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != size or text != data.hex():
        raise FieldError(f"{text!r} is no {what}: that is {2 * size} digits 0-9, a-f")
    return data


def parse_record_id(text: str) -> bytes:
    return parse_hex(text, 16, "record id")
