"""`ledgerctl outbox`: what waits to be recorded, and what a node refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client._time import system_now
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config, ask, parse_record_id
from ledgerd_client.cli.output import COULD_NOT_ASK, Json, emit, say, shorten, to_iso, words
from ledgerd_client.cli.textfile import Family, format_families
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import FieldError, InputError, NotFoundError
from ledgerd_client.core.fields import check_text
from ledgerd_client.core.transfer import Ticket
from ledgerd_client.keyfile import write_new
from ledgerd_client.outbox import Outbox, OutboxRecord, State, Stats

app = typer.Typer(no_args_is_help=True, help="Records that wait for the node, or were refused.")

RecordId = Annotated[str, typer.Argument(metavar="RECORD_ID", help="In hex, from `outbox list`.")]

_PAGE = 1_000
# What a receipt may wait for its cosignature where the nodes have a link.
COSIGNED_WITHIN_S = 3_600
# Of refused records named one by one.
_SHOWN = 20
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
    listed = 0
    with closing(_open(config)) as outbox:
        for row in _rows(outbox):
            if everything or row.state in _TO_DO:
                listed += 1
                emit(_row(row), as_json=as_json)
                if not as_json:
                    typer.echo()
    if not listed:
        say(words().word("outbox_empty" if everything else "nothing_to_do"))


@app.command()
def status(
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="As metrics, for a textfile collector.")
    ] = False,
    cosigned_within: Annotated[
        int,
        typer.Option(
            min=1,
            help="As a metric, for the alert: how many seconds a receipt may wait for the other"
            " side's cosignature. Say more where the nodes exchange files.",
        ),
    ] = COSIGNED_WITHIN_S,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Say how much is to do, and since when the oldest of each sort waits; asks no node."""
    institution = Settings.from_file(config).institution or ""
    with closing(_open(config)) as outbox:
        stats = outbox.stats()
    if prometheus:
        typer.echo(as_metrics(stats, institution, cosigned_within), nl=False)
        return
    fields: dict[str, object] = {}
    for state, at in stats.oldest.items():
        fields |= {state: stats.counts[state], f"oldest_{state}_at": to_iso(at) if at else None}
    emit(fields, as_json=as_json)


@app.command()
def flush(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """
    Send now all that is queued, and count what is left to do.

    Exit code 3 as long as there are records that the node refused, now or earlier.
    """
    ask(config, lambda client: client.flush())
    with closing(_open(config)) as outbox:
        counts, refused = outbox.counts(), outbox.list("refused", limit=_SHOWN)
    emit({state: counts[state] for state in _TO_DO}, as_json=as_json)
    for row in refused:
        why = shorten(f"{row.last_message} ({row.last_reason})")
        refusal = words().word("set_aside").format(kind=words().word(row.kind))
        say(f"{refusal} {row.record_id.hex()}: {why}")
    if refused:
        more = counts["refused"] - len(refused)
        if more:
            say(words().word("set_aside_more").format(count=more))
        say(words().word("mend_set_aside"))
        raise typer.Exit(COULD_NOT_ASK)


@app.command()
def retry(
    record_id: Annotated[
        str, typer.Argument(metavar="[RECORD_ID]", help="In hex, from `outbox list`.")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="All that were refused.")] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Queue refused records again, once what they were refused for is mended."""
    if everything == bool(record_id):
        raise FieldError(
            "which of the refused records?", action="name a RECORD_ID, or say --all for all of them"
        )
    with closing(_open(config)) as outbox:
        queued = outbox.retry(None if everything else parse_record_id(record_id))
    emit({"queued": queued}, as_json=as_json)
    if queued:
        say(words().word("flush_sends"))


@app.command()
def drop(
    record_id: RecordId,
    reason: Annotated[str, typer.Option(help="Why it need not be recorded; it is kept.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Give up a record that is not in the log: it is never sent again, and its ticket is gone."""
    if not reason.strip():
        raise FieldError("a reason says why the record is given up")
    check_text("reason", reason, 500)
    wanted = parse_record_id(record_id)
    with closing(_open(config)) as outbox:
        attempts = outbox.get(wanted).attempts
        outbox.drop(wanted, reason)
    say(words().word("given_up"))
    if attempts:
        say(words().word("given_up_sent"))


@app.command("return")
def return_bodies(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """
    Give the bodies of recorded records back to a node that has lost its disk and asks for them.

    The node must be recovering at that time, as its operator says. Exit code 3 as long as it misses
    records of this institution that are not in this outbox.
    """
    from ledgerd_client import _returning  # noqa: PLC0415 -- gRPC takes its time to load

    with closing(_open(config)) as outbox:
        returned = asyncio.run(_returning.return_bodies(Settings.from_file(config), outbox))
    emit({"returned": returned.taken, "missing": returned.left}, as_json=as_json)
    if returned.left:
        raise typer.Exit(COULD_NOT_ASK)


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


def as_metrics(stats: Stats, institution: str, cosigned_within_s: int = COSIGNED_WITHIN_S) -> str:
    """
    How full an outbox is, for Prometheus; the id of the institution is a label.

    cosigned_within_s: what a receipt may wait for its cosignature, before an alert says so.
    """
    where = {"institution": institution}
    return format_families(
        Family(
            "ledgerd_outbox_records",
            "Records of the outbox by state.",
            [({**where, "state": state}, count) for state, count in stats.counts.items()],
        ),
        Family(
            "ledgerd_outbox_oldest_timestamp_seconds",
            "When the oldest record was stored that is still in a state.",
            [({**where, "state": s}, at / 1_000_000) for s, at in stats.oldest.items() if at],
        ),
        Family(
            "ledgerd_outbox_cosigned_within_seconds",
            "How long a receipt may wait for the other side's cosignature.",
            [(where, cosigned_within_s)],
        ),
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
