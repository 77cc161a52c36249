"""`ledgerctl entries`, `transfer` and `summary`: what a regulator asks, entry by entry."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client.cli.asking import (
    DEFAULT_CONFIG,
    At,
    Config,
    Mirror,
    ask_as_regulator,
    note_at,
    parse_hex,
)
from ledgerd_client.cli.entry_text import emit_entry, fields_of, group_text
from ledgerd_client.cli.filters import filtered
from ledgerd_client.cli.findings import emit_finding
from ledgerd_client.cli.output import Json, emit, say, words
from ledgerd_client.core.errors import FieldError
from ledgerd_client.regulator import FoundEntry, Query, RegulatorClient, TransferFile

# Of entries that are listed, unless more are asked for.
_LIMIT = 100


@filtered
def entries(
    query: Query,
    newest_first: Annotated[
        bool, typer.Option("--newest-first", help="Newest entry first.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Show so many at most: 100, or with --tail all.")
    ] = None,
    proof: Annotated[
        bool, typer.Option("--proof", help="Verify each one's place in the checkpoint's tree.")
    ] = False,
    tail: Annotated[
        bool, typer.Option("--tail", help="Show them as they come, from --first on; Ctrl-C ends.")
    ] = False,
    at: At = None,
    mirror: Mirror = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    List entries: whichever match one value of each option that is given.

    Codes are numbers or names (`ledgerctl codes`). Each signature and body is verified; what was
    left out, a mirror shows.
    """
    if tail and at is not None:
        raise FieldError(
            "--tail is of what comes, --at of what was",
            reason="CONTRADICTION",
            action="leave one of them out",
        )
    asked = replace(query, newest_first=newest_first)
    most = limit or (None if tail else _LIMIT)

    async def show(client: RegulatorClient) -> int:
        count = 0
        async with aclosing(_found(client, asked, at, proof, most, tail=tail)) as found:
            async for entry in found:
                emit_entry(entry, as_json=as_json)
                count += 1
                if count == most:
                    break
        return count

    with suppress(KeyboardInterrupt):
        count = ask_as_regulator(config, mirror, show)
        if not count:
            say(words().word("nothing_found"))
        elif count == most:
            say(words().word("limit_reached").format(limit=most))


async def _found(
    client: RegulatorClient,
    query: Query,
    at: Path | None,
    proof: bool,
    limit: int | None,
    *,
    tail: bool,
) -> AsyncGenerator[FoundEntry, None]:
    note = await note_at(client, at)
    found = client.tail(query) if tail else client.entries(query, at=note, proof=proof, limit=limit)
    async with aclosing(found):
        async for entry in found:
            yield entry


def transfer(
    ref: Annotated[str, typer.Argument(help="The transfer's ref, in hex.")],
    at: At = None,
    mirror: Mirror = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Show a transfer with both its records, each proven to stand in its log.

    Of the other side's record there is the header alone: its content stays on that side.
    """
    wanted = parse_hex(ref, 32, "ref")

    async def get(client: RegulatorClient) -> TransferFile:
        return await client.transfer(wanted, await note_at(client, at))

    file = ask_as_regulator(config, mirror, get)
    emit(fields_of(file), as_json=as_json)
    for finding in file.findings:
        emit_finding(finding, as_json=as_json)


@filtered
def summary(
    by: Annotated[list[str], typer.Option(help="What to count by: institution, month, …; 1 to 4.")],
    query: Query,
    at: At = None,
    mirror: Mirror = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Count entries, transfers and persons by one to four things; options are those of `entries`.

    A transfer counts once, as last corrected, and not at all when it was cancelled.
    """

    async def count(client: RegulatorClient) -> list[dict[str, object]]:
        groups = (await client.summarize(query, by, await note_at(client, at))).groups
        return [
            dict(zip(by, group.keys, strict=True))
            | {name: getattr(group, name) for name in _COUNTS}
            for group in groups
        ]

    groups = ask_as_regulator(config, mirror, count)
    for group in groups:
        emit(group if as_json else group_text(group, by), as_json=as_json)
        if not as_json:
            typer.echo()
    if not groups:
        say(words().word("nothing_found"))


_COUNTS = (
    "entries", "transfers", "subjects", "first_this_year", "sensitive_subjects",
    "sensitive_first_this_year", "largest", "with_minors",
)  # fmt: skip
