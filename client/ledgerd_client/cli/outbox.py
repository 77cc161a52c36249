"""`ledgerctl outbox`: what waits to be recorded, and what a node refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client._time import system_now
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config, ask, parse_record_id
from ledgerd_client.cli.output import Json, emit, say, to_iso
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import FieldError, InputError, NotFoundError
from ledgerd_client.core.transfer import Ticket
from ledgerd_client.keyfile import write_new
from ledgerd_client.outbox import Outbox, OutboxRecord, State

app = typer.Typer(no_args_is_help=True, help="Records that wait for the node, or were refused.")

RecordId = Annotated[str, typer.Argument(metavar="RECORD_ID", help="In hex, from `outbox list`.")]

_PAGE = 1_000
_TO_DO: tuple[State, ...] = ("queued", "recorded", "refused")


@app.command("list")
def list_records(
    everything: Annotated[
        bool, typer.Option("--all", help="Those that are done or dropped, too.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List what is to do: queued, recorded but not cosigned yet, or refused."""
    with closing(_open(config)) as outbox:
        for row in _rows(outbox):
            if everything or row.state in _TO_DO:
                emit(_row(row), as_json=as_json)
                if not as_json:
                    typer.echo()


@app.command()
def flush(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Send now all that is queued, and count what is left to do."""
    ask(config, lambda client: client.flush())
    with closing(_open(config)) as outbox:
        counts = outbox.counts()
    emit({state: counts[state] for state in _TO_DO}, as_json=as_json)
    if counts["refused"]:
        say("The node refused some: `ledgerctl outbox list` says why.")


@app.command()
def retry(
    record_id: Annotated[str, typer.Argument(help="In hex; without it, all refused ones.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Queue refused records again, once what they were refused for is mended."""
    with closing(_open(config)) as outbox:
        queued = outbox.retry(parse_record_id(record_id) if record_id else None)
    emit({"queued": queued}, as_json=as_json)
    say("`ledgerctl outbox flush` sends them.")


@app.command()
def drop(
    record_id: RecordId,
    reason: Annotated[str, typer.Option(help="Why it need not be recorded; it is kept.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Give a record up: it is never sent again, and its ticket is gone."""
    if not reason.strip():
        raise FieldError("a reason says why the record is given up")
    with closing(_open(config)) as outbox:
        outbox.drop(parse_record_id(record_id), reason)


@app.command()
def ticket(
    record_id: RecordId,
    out: Annotated[Path, typer.Option(help="The ticket to make.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Write the ticket of a transfer again, with its receipt if there is one by now."""
    with closing(_open(config)) as outbox:
        row = outbox.get(parse_record_id(record_id))
    if row.ticket is None:
        raise NotFoundError(f"there is no ticket of this record: it is a {row.state} {row.kind}")
    write_new(out, row.ticket, mode=0o600)


def find_ticket(config: Path, ref: bytes) -> Ticket:
    """The ticket of a transfer that was declared here; raises NotFoundError."""
    with closing(_open(config)) as outbox:
        for row in _rows(outbox):
            if row.ref == ref and row.ticket is not None:
                return Ticket.parse(row.ticket)
    raise NotFoundError(
        "the outbox has no ticket of this transfer", action="name the ticket's file instead"
    )


def _open(config: Path) -> Outbox:
    path = Settings.from_file(config).outbox
    if path is None or not path.exists():
        raise InputError(
            "there is no outbox yet" if path else f"{config} names no outbox",
            action="use the settings of an institution that has declared something",
        )
    return Outbox.open(path, now=system_now)


def _rows(outbox: Outbox) -> Iterator[OutboxRecord]:
    after = None
    while page := outbox.list(limit=_PAGE, after=after):
        yield from page
        after = page[-1].record_id


def _row(row: OutboxRecord) -> dict[str, object]:
    return {
        "record_id": row.record_id,
        "kind": row.kind,
        "ref": row.ref,
        "state": row.state,
        "created_at": to_iso(row.created_at),
        "attempts": row.attempts,
        "last_reason": row.last_reason,
        "last_message": row.last_message,
    }
