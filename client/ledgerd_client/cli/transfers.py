"""`ledgerctl ack`, `cancel` and `show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from ledgerd_client._results import Outcome, Submitted, TransferView
from ledgerd_client._session import IfUnreachable
from ledgerd_client._values import Code
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config, ask, parse_hex
from ledgerd_client.cli.output import TAMPERED, Json, Term, emit, say, to_iso, words
from ledgerd_client.cli.payloads import payload_of, sources_of
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.header import Header
from ledgerd_client.core.transfer import Ticket, parse_terms, ref_of
from ledgerd_client.keyfile import read_file

TicketFile = Annotated[Path, typer.Argument(help="The ticket that came with the data.")]
CallerRef = Annotated[
    str | None,
    typer.Option(help="Your own name for this: said again, it gives the first record again."),
]
Queue = Annotated[
    bool, typer.Option("--queue", help="If the node can't be reached, keep it and send it later.")
]

# By number, from 1 (protocol, "Header").
_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


def ack(
    ticket: TicketFile,
    payload: Annotated[
        list[Path] | None, typer.Option(help="A file that arrived; may be given again.")
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option(help="partial, rejected or digest_mismatch; else what the payload shows."),
    ] = None,
    received_subjects: Annotated[
        int | None, typer.Option(min=0, help="How many people it is about; else as declared.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why it is partial or rejected.")] = "",
    allow_queued: Annotated[
        bool, typer.Option("--allow-queued", help="Take a ticket that has no receipt yet.")
    ] = False,
    caller_ref: CallerRef = None,
    queue: Queue = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Check a ticket and what came with it, and record what you received.

    Exit code 1 when the payload is not the one that was declared; that is recorded too. Parts
    that are missing or have other names are not recorded unless you say the outcome.
    """
    opened = Ticket.parse(read_file(ticket))
    said = _outcome(outcome)
    files = payload or []
    with sources_of(files) as sources:
        received = payload_of(files, sources, parts=bool(opened.manifest))
        acknowledged = ask(
            config,
            lambda client: client.acknowledge(
                opened,
                received,
                outcome=said,
                received_subjects=received_subjects,
                reason=reason,
                allow_queued_ticket=allow_queued,
                caller_ref=caller_ref,
                if_unreachable=if_unreachable(queue),
            ),
        )
    differing = list(acknowledged.differing_parts)
    fields = {"outcome": Term(acknowledged.outcome), "differing_parts": differing}
    emit(submitted_fields(acknowledged) | fields, as_json=as_json)
    say_queued(acknowledged)
    if acknowledged.outcome == "digest_mismatch":
        say(words().word("not_as_declared"))
        raise typer.Exit(TAMPERED)


def cancel(
    ticket: TicketFile,
    reason: Annotated[str, typer.Option(help="Why it is taken back.")],
    cause: Annotated[str, typer.Option(help="Code or name of change_cause.")] = "",
    caller_ref: CallerRef = None,
    queue: Queue = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Take back a transfer of your own that was not sent, or not accepted."""
    opened = Ticket.parse(read_file(ticket))
    cancelled = ask(
        config,
        lambda client: client.cancel(
            opened,
            reason,
            cause=parse_code(cause) or 0,
            caller_ref=caller_ref,
            if_unreachable=if_unreachable(queue),
        ),
    )
    emit(submitted_fields(cancelled), as_json=as_json)
    say_queued(cancelled)


def show(
    transfer: Annotated[str, typer.Argument(help="A ticket file, or a transfer's ref in hex.")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show a transfer as the node on your side sees it: both halves, their state, findings."""
    ref = parse_transfer(transfer)
    emit(_view(ask(config, lambda client: client.transfer(ref))), as_json=as_json)


def parse_transfer(text: str) -> bytes:
    """The ref of a ticket file or of 64 hex digits; raises InputError."""
    if Path(text).is_file():
        return ref_of(parse_terms(Ticket.parse(read_file(text)).terms))
    return parse_hex(text, 32, "ticket file or ref")


def _view(view: TransferView) -> dict[str, object]:
    halves = [
        {
            "origin": half.origin,
            "index": half.index,
            "institution": half.institution,
            "kind": Term(half.header.kind.name.lower()),
            "outcome": Term(_outcome_name(half.header)),
            "recorded_at": to_iso(half.header.recorded_at),
        }
        for half in view.halves
    ]
    findings = [
        {
            "rule": finding.rule,
            "severity": finding.severity,
            "closed": finding.closed,
            "records": [f"{origin} {index}" for origin, index in finding.records],
            "says": words().finding(finding).says,
        }
        for finding in view.findings
    ]
    return {
        "ref": view.ref,
        "state": Term(view.state),
        "halves": halves,
        "findings": findings,
        "peer_size": view.peer_size,
        "peer_known_at": to_iso(view.peer_known_at) if view.peer_known_at else None,
    }


def submitted_fields(submitted: Submitted) -> dict[str, object]:
    return {
        "record_id": submitted.record_id,
        "ref": submitted.ref,
        "status": Term(submitted.status),
        "index": submitted.index,
    }


def say_queued(submitted: Submitted) -> None:
    if submitted.receipt is None:
        say(words().word("sent_later"))


def parse_code(text: str | None) -> Code | None:
    """A code as an option has it: digits are its number."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else text


def if_unreachable(queue: bool) -> IfUnreachable:
    return "queue" if queue else "raise"


def _outcome(text: str | None) -> Outcome | None:
    for known in _OUTCOMES:
        if text == known:
            return known
    if text is None:
        return None
    raise FieldError(f"outcome: {text!r} is none of {', '.join(_OUTCOMES)}")


def _outcome_name(header: Header) -> str:
    outcome = header.halves.outcome if header.halves else 0
    return _OUTCOMES[outcome - 1] if outcome else ""
