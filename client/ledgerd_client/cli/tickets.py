"""`ledgerctl open`: was this the file? Asked with a ticket, perhaps years later."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config, parse_hex
from ledgerd_client.cli.outbox import find_ticket
from ledgerd_client.cli.output import Json, emit, say
from ledgerd_client.cli.payloads import payload_of
from ledgerd_client.cli.receipts import Keys, proven, verify_offline
from ledgerd_client.core.errors import FieldError, InputError, VerificationError
from ledgerd_client.core.header import Kind
from ledgerd_client.core.receipt import Receipt, VerifiedReceipt
from ledgerd_client.core.transfer import Ticket, parse_manifest, parse_terms, ref_of
from ledgerd_client.keyfile import read_file
from ledgerd_client.payload import check_part, digest_payload


def open_ticket(
    ticket: Annotated[str, typer.Argument(help="A ticket file, or a ref in your outbox.")],
    payload: Annotated[list[Path], typer.Option(help="A file to check; may be given again.")],
    trust: Annotated[Path | None, typer.Option(help="Also verify the ticket's receipt.")] = None,
    keys: Keys | None = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Check that a file is the one that a transfer declared; asks no node.

    With --trust and --keys it also proves that this was recorded, by whom and when.
    """
    if (trust is None) != (not keys):
        raise InputError("--trust and --keys go together")
    if Path(ticket).is_file():
        opened = Ticket.parse(read_file(ticket))
    else:
        opened = find_ticket(config, parse_hex(ticket, 32, "ticket file or ref"))
    _check_payload(opened, payload)
    fields: dict[str, object] = {"ref": ref_of(parse_terms(opened.terms)), "payload": "matches"}
    if trust and keys:
        fields |= proven(_check_receipt(opened, trust, keys), parse_terms(opened.terms).exporter.origin)
    else:
        say("The file fits the ticket. That the ticket was recorded, --trust and --keys prove.")
    emit(fields, as_json=as_json)
