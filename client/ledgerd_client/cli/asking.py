"""Asking a node: the settings, and one client for one command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ledgerd_client.client import LedgerClient
from ledgerd_client.core.errors import FieldError

T = TypeVar("T")

Config = Annotated[
    Path,
    typer.Option(envvar="LEDGERCTL_CONFIG", help="Settings: what `enrol install` wrote."),
]
DEFAULT_CONFIG = Path("client.toml")


def ask(config: Path, action: Callable[[LedgerClient], Awaitable[T]]) -> T:
    """Open the client of a settings file, do one thing, and close it."""

    async def run() -> T:
        async with LedgerClient.from_file(config) as client:
            return await action(client)

    return asyncio.run(run())


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
