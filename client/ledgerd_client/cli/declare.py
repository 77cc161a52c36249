"""`ledgerctl declare`: what an exporter states before it sends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from ledgerd_client._results import Declared
from ledgerd_client._values import Code
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config, ask
from ledgerd_client.cli.output import Json, emit
from ledgerd_client.cli.payloads import payload_of, sources_of
from ledgerd_client.cli.transfers import (
    CallerRef,
    Queue,
    if_unreachable,
    parse_code,
    say_queued,
    submitted_fields,
)
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.keyfile import read_file, write_new

Codes = Annotated[list[str] | None, typer.Option(help="Code or name; may be given again.")]
CodeOrName = Annotated[str | None, typer.Option(help="Code or name.")]


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
    sensitive_category: Codes = None,
    consent: CodeOrName = None,
    notice: Annotated[Path | None, typer.Option(help="The notice that subjects got.")] = None,
    notice_version: Annotated[str | None, typer.Option(help="Its version.")] = None,
    exemption: CodeOrName = None,
    protection: Codes = None,
    transmission: CodeOrName = None,
    delete_by: Annotated[
        str | None, typer.Option(help="When the recipient deletes it, say 2027-12-31.")
    ] = None,
    means: Codes = None,
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
        "legal_basis": parse_code(legal_basis),
        "subjects_first_this_year": subjects_first_this_year,
        "sensitive_subjects": sensitive_subjects,
        "sensitive_first_this_year": sensitive_first_this_year,
        "minors_present": minors,
        "sensitive_categories": _codes(sensitive_category or []),
        "consent_form": parse_code(consent),
        "notice_digest": sha256(read_file(notice)).digest() if notice else None,
        "notice_version": notice_version,
        "exemption": parse_code(exemption),
        "protections": _codes(protection or []),
        "transmission": parse_code(transmission),
        "delete_by": _date(delete_by),
        "onward_declared": onward,
        "means": _codes(means or []),
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
    _check_writable(ticket, may_exist=caller_ref is not None)
    said = {name: value for name, value in statement.items() if value is not None}
    with sources_of(files) as sources:
        payload = payload_of(files, sources, parts=len(files) > 1)
        declared = ask(
            config,
            lambda client: client.declare(
                payload, caller_ref=caller_ref, if_unreachable=if_unreachable(queue), **said
            ),
        )
    _write_ticket(ticket, declared)
    emit(submitted_fields(declared) | {"ticket": str(ticket)}, as_json=as_json)
    say_queued(declared)


def _check_writable(ticket: Path, *, may_exist: bool) -> None:
    if not ticket.parent.is_dir() or (ticket.exists() and not may_exist):
        raise InputError(
            f"no ticket can be made at {ticket}",
            reason="NO_TICKET",
            action="give it a new name, in a directory that is there",
        )


def _write_ticket(path: Path, declared: Declared) -> None:
    """Make the ticket, unless a call with the same caller_ref has made this very one."""
    data = declared.ticket.encode()
    if path.exists() and read_file(path) == data:
        return
    try:
        write_new(path, data, mode=0o600)
    except InputError as error:
        raise InputError(
            f"the transfer is declared, but its ticket is not written: {error.message}",
            reason="NO_TICKET",
            action=f"`ledgerctl outbox ticket {declared.record_id.hex()} --out FILE` writes it",
        ) from error


def _codes(texts: list[str]) -> list[Code | None]:
    return [parse_code(text) for text in texts]


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise FieldError(f"{text!r} is no date", action="write it as 2027-12-31") from None
