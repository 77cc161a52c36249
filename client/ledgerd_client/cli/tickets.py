"""`ledgerctl open`: was this the file? Asked with a ticket, perhaps years later."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client._tickets import check_receipt
from ledgerd_client.bundle import Bundle, verify_bundle
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config, parse_hex
from ledgerd_client.cli.outbox import find_ticket
from ledgerd_client.cli.output import Json, emit, say, words
from ledgerd_client.cli.payloads import payload_of, sources_of
from ledgerd_client.cli.receipts import proven, verify_offline
from ledgerd_client.core.errors import InputError, VerificationError
from ledgerd_client.core.receipt import Receipt, VerifiedReceipt
from ledgerd_client.core.transfer import Ticket, parse_manifest, parse_terms, ref_of
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_file
from ledgerd_client.payload import check_part, digest_payload


def open_ticket(
    transfer: Annotated[str, typer.Argument(help="A ticket file, or a ref in your outbox.")],
    payload: Annotated[list[Path], typer.Option(help="A file to check; may be given again.")],
    trust: Annotated[
        Path | None, typer.Option(help="A trust file: verify the ticket's receipt too.")
    ] = None,
    keys: Annotated[
        list[Path] | None, typer.Option(help="Key histories: files, or a directory of *.keys.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="In place of --keys: a bundle that holds the transfer.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Check that a file is the one that a transfer declared; asks no node.

    With --trust and --keys, or --bundle, it proves also that this was recorded, by whom and when.
    """
    ticket = _find(transfer, config)
    terms = parse_terms(ticket.terms)
    if not terms.commitment:
        raise InputError("nothing was sent in this transfer: it was remote viewing")
    _check_payload(ticket, payload)
    fields: dict[str, object] = {"payload": "is what was declared", "ref": ref_of(terms)}
    if trust and bundle:
        fields |= _in_bundle(ticket, trust, bundle)
    elif trust and keys:
        fields |= proven(_verify_receipt(ticket, trust, keys))
    elif trust or keys or bundle:
        raise InputError("--trust goes with --keys or with --bundle")
    else:
        say(words().word("fits_ticket"))
    emit(fields, as_json=as_json)


def _find(transfer: str, config: Path) -> Ticket:
    if Path(transfer).is_file():
        return Ticket.parse(read_file(transfer))
    return find_ticket(config, parse_hex(transfer, 32, "ticket file or ref"))


def _check_payload(ticket: Ticket, paths: Sequence[Path]) -> None:
    """Check one file, or any parts of several; raises VerificationError, InputError."""
    with sources_of(paths) as sources:
        if not ticket.manifest:
            payload = payload_of(paths, sources, parts=False)
            ticket.check_payload(digest_payload(payload).digest, parts=False)
            return
        ticket.check_payload(sha256(ticket.manifest).digest(), parts=True)
        for path, source in zip(paths, sources, strict=True):
            check_part(ticket.manifest, path.name, source)
    left = len(parse_manifest(ticket.manifest).parts) - len({path.name for path in paths})
    if left:
        say(words().word("parts_left").format(count=left))


def _in_bundle(ticket: Ticket, trust: Path, bundle: Path) -> dict[str, object]:
    """What a bundle proves of the transfer that the ticket is of; raises VerificationError."""
    verified = verify_bundle(Bundle.parse(read_file(bundle)), Trust.parse(read_file(trust)))
    declared = verified.declared(ticket.terms)
    if declared is None:
        raise VerificationError(
            "no TRANSFER in the bundle states the ticket's terms",
            reason="OTHER_RECORD",
            action="give the bundle of the transfer that this ticket came with",
        )
    return proven(declared)


def _verify_receipt(ticket: Ticket, trust: Path, keys: Sequence[Path]) -> VerifiedReceipt:
    if ticket.queued:
        raise VerificationError(
            "the ticket has no receipt",
            reason="TICKET_QUEUED",
            action="ask the exporter for the ticket with its receipt",
        )
    verified = verify_offline(Receipt.parse(ticket.receipt), trust, keys)
    check_receipt(ticket, parse_terms(ticket.terms), verified)
    return verified
