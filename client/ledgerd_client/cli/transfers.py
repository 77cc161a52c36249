"""`ledgerctl declare`, `ack`, `cancel` and `show`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ledgerd_client._results import Outcome, Submitted, TransferView
from ledgerd_client._session import IfUnreachable
from ledgerd_client._terms import Code
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config, ask, parse_hex
from ledgerd_client.cli.output import TAMPERED, Json, emit, say, to_iso
from ledgerd_client.cli.payloads import payload_of, sources_of
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.core.transfer import Ticket, parse_terms, ref_of
from ledgerd_client.keyfile import read_file, write_new

TicketFile = Annotated[Path, typer.Argument(help="The ticket that came with the data.")]
CallerRef = Annotated[
    str | None,
    typer.Option(help="Your own name for this: said again, it gives the first record again."),
]
Queue = Annotated[
    bool, typer.Option("--queue", help="If the node can't be reached, keep it and send it later.")
]


def declare(
    to: Annotated[str, typer.Option(help="The recipient's id, on the other side.")],
    contract: Annotated[str, typer.Option(help="The contract's id.")],
    subjects: Annotated[int, typer.Option(min=0, help="How many people it is about.")],
    purpose: Annotated[list[str], typer.Option(help="Code or name; may be given again.")],
    category: Annotated[list[str], typer.Option(help="Code or name; may be given again.")],
    legal_basis: Annotated[str, typer.Option(help="Code or name.")],
    ticket: Annotated[Path, typer.Option(help="The ticket to make; send it with the data.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="What is sent; nothing for remote viewing.")
    ] = None,
    subjects_first_this_year: Annotated[
        int, typer.Option(min=0, help="How many for the first time since 1 January.")
    ] = 0,
    sensitive_subjects: Annotated[
        int, typer.Option(min=0, help="Of how many sensitive information is in it.")
    ] = 0,
    sensitive_first_this_year: Annotated[
        int, typer.Option(min=0, help="How many of those for the first time since 1 January.")
    ] = 0,
    minors: Annotated[bool, typer.Option("--minors", help="Some are under 14.")] = False,
    sensitive_category: Annotated[
        list[str] | None, typer.Option(help="Code or name; may be given again.")
    ] = None,
    consent: Annotated[str | None, typer.Option(help="Form of consent: code or name.")] = None,
    notice: Annotated[Path | None, typer.Option(help="The notice that subjects got.")] = None,
    notice_version: Annotated[str | None, typer.Option(help="Its version.")] = None,
    exemption: Annotated[str | None, typer.Option(help="Code or name.")] = None,
    protection: Annotated[
        list[str] | None, typer.Option(help="Code or name; may be given again.")
    ] = None,
    transmission: Annotated[str | None, typer.Option(help="Code or name.")] = None,
    delete_by: Annotated[
        str | None, typer.Option(help="When the recipient deletes it, say 2027-12-31.")
    ] = None,
    onward: Annotated[bool, typer.Option("--onward", help="It is to be passed on.")] = False,
    caller_ref: CallerRef = None,
    queue: Queue = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Record that you are about to send data across the boundary; then send it with the ticket.

    Codes are numbers or names; `ledgerctl codes` lists them.
    """
    statement: dict[str, Any] = {
        "recipient": to,
        "contract_id": contract,
        "subjects": subjects,
        "purposes": _codes(purpose),
        "categories": _codes(category),
        "legal_basis": _code(legal_basis),
        "subjects_first_this_year": subjects_first_this_year,
        "sensitive_subjects": sensitive_subjects,
        "sensitive_first_this_year": sensitive_first_this_year,
        "minors_present": minors,
        "sensitive_categories": _codes(sensitive_category or []),
        "consent_form": _code(consent),
        "notice_digest": sha256(read_file(notice)).digest() if notice else None,
        "notice_version": notice_version,
        "exemption": _code(exemption),
        "protections": _codes(protection or []),
        "transmission": _code(transmission),
        "delete_by": _date(delete_by),
        "onward_declared": onward,
    }
    _declare(config, files or [], statement, ticket, caller_ref, queue=queue, as_json=as_json)


def _declare(
    config: Path,
    files: list[Path],
    statement: Mapping[str, Any],
    ticket: Path,
    caller_ref: str | None,
    *,
    queue: bool,
    as_json: bool,
) -> None:
    if ticket.exists() and caller_ref is None:
        raise InputError(
            f"{ticket} is there already", reason="FILE_EXISTS", action="give the ticket a new name"
        )
    said = {name: value for name, value in statement.items() if value is not None}
    with sources_of(files) as sources:
        payload = payload_of(files, sources, parts=len(files) > 1)
        declared = ask(
            config,
            lambda client: client.declare(
                payload, caller_ref=caller_ref, if_unreachable=_if_unreachable(queue), **said
            ),
        )
    data = declared.ticket.encode()
    if not (ticket.exists() and read_file(ticket) == data):
        write_new(ticket, data, mode=0o600)
    emit(_submitted(declared) | {"ticket": str(ticket)}, as_json=as_json)
    _say_queued(declared)


def ack(
    ticket: TicketFile,
    payload: Annotated[
        list[Path] | None, typer.Option(help="A file that arrived; may be given again.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(help="partial or rejected; else what the payload shows.")
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

    Exit code 1 when the payload is not the one that was declared; that is recorded too.
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
                if_unreachable=_if_unreachable(queue),
            ),
        )
    emit(_submitted(acknowledged) | {"outcome": acknowledged.outcome}, as_json=as_json)
    _say_queued(acknowledged)
    if acknowledged.outcome == "digest_mismatch":
        say("What arrived is not what was declared. Do not use it; ask the exporter.")
        raise typer.Exit(TAMPERED)


def cancel(
    ticket: TicketFile,
    reason: Annotated[str, typer.Option(help="Why it is taken back.")],
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
            opened, reason, caller_ref=caller_ref, if_unreachable=_if_unreachable(queue)
        ),
    )
    emit(_submitted(cancelled), as_json=as_json)
    _say_queued(cancelled)


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
            "kind": half.header.kind.name.lower(),
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
        }
        for finding in view.findings
    ]
    return {
        "ref": view.ref,
        "state": view.state,
        "halves": halves,
        "findings": findings,
        "peer_size": view.peer_size,
        "peer_known_at": to_iso(view.peer_known_at) if view.peer_known_at else None,
    }


def _submitted(submitted: Submitted) -> dict[str, object]:
    return {
        "record_id": submitted.record_id,
        "ref": submitted.ref,
        "status": submitted.status,
        "index": submitted.index,
    }


def _say_queued(submitted: Submitted) -> None:
    if submitted.receipt is None:
        say("It is in the outbox and not recorded yet: `ledgerctl outbox flush` sends it.")


def _if_unreachable(queue: bool) -> IfUnreachable:
    return "queue" if queue else "raise"


def _outcome(text: str | None) -> Outcome | None:
    for known in get_args(Outcome):
        if text == known:
            return known  # type: ignore[no-any-return]
    if text is None:
        return None
    raise FieldError(f"outcome: {text!r} is none of {', '.join(get_args(Outcome))}")


def _code(text: str | None) -> Code | None:
    return int(text) if text and text.isascii() and text.isdigit() else text


def _codes(texts: list[str]) -> list[Code | None]:
    return [_code(text) for text in texts]


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise FieldError(f"{text!r} is no date", action="write it as 2027-12-31") from None
