"""What a recipient checks of a ticket before it acknowledges what came with it."""

from __future__ import annotations

from hashlib import sha256

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._view import LogView
from ledgerd_client.core.errors import ForbiddenError, VerificationError
from ledgerd_client.core.header import Halves, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.receipt import Receipt, VerifiedReceipt, verify_receipt
from ledgerd_client.core.record import Key, SignedRecord, admit
from ledgerd_client.core.transfer import Ticket, parse_terms, ref_of


async def check_ticket(
    view: LogView, ticket: Ticket, us: pb.Party, *, allow_queued: bool
) -> pb.Terms:
    """
    Make sure that the exporter declared these terms to us, in its own log; return them.

    Raises ForbiddenError NOT_RECIPIENT, and VerificationError when there is no receipt (and queued
    ones are not allowed) or it does not prove just that. For a queued one the exporter's keys are
    fetched anew: NotReadyError and UnavailableError when they cannot be had.
    """
    terms = parse_terms(ticket.terms)
    if terms.recipient != us:
        raise ForbiddenError(
            f"the ticket is for {terms.recipient.institution}, not for {us.institution}",
            reason="NOT_RECIPIENT",
            action="acknowledge only what was sent to you; check which ticket you opened",
        )
    exporter = terms.exporter.origin
    if not ticket.queued:
        own = await view.histories.get(view.origin)
        receipt = Receipt.parse(ticket.receipt)

        def check(log: KeyHistory) -> None:
            check_receipt(ticket, terms, verify_receipt(receipt, log, own))

        await view.histories.judge(exporter, check)
        # Perhaps another tree than our node was shown.
        view.saw_peer(receipt.checkpoint)
    elif allow_queued:
        # The key may have been revoked since its history was kept, and no index tells.
        await view.histories.refresh(exporter)
        await view.histories.judge(exporter, lambda log: _check_record(ticket, terms, log))
    else:
        raise VerificationError(
            "the ticket has no receipt: the transfer is not in the exporter's log yet",
            reason="TICKET_QUEUED",
            action="ask the exporter for the ticket with its receipt, or take it without one:"
            " allow_queued_ticket, or --allow-queued",
        )
    return terms


def check_receipt(ticket: Ticket, terms: pb.Terms, verified: VerifiedReceipt) -> None:
    """
    Refuse a receipt that is not of the transfer that the ticket declares; terms are the ticket's.

    Raises VerificationError TICKET_MISMATCH.
    """
    header = verified.header
    if header.kind != Kind.TRANSFER or header.halves != _halves(ticket, terms):
        raise _mismatch("the receipt is not of the transfer that the ticket's terms state")
    signer = (verified.checkpoint.origin, verified.institution)
    if signer != (terms.exporter.origin, terms.exporter.institution):
        raise _mismatch("the receipt is not of the exporter that the ticket's terms name")


def _check_record(ticket: Ticket, terms: pb.Terms, log: KeyHistory) -> None:
    exporter = terms.exporter.institution
    keys = {
        key_id: Key(key.admitted_at, key.public)
        for key_id, key in log.of_subject(pb.ROLE_INSTITUTION, exporter)
    }
    record = SignedRecord(ticket.body, ticket.key_id, ticket.signature)
    facts = admit(record, origin=log.origin, author=exporter, keys=keys).facts
    if facts.kind != Kind.TRANSFER or facts.halves != _halves(ticket, terms):
        raise _mismatch("the record is not of the transfer that the ticket's terms state")
    key = log.find(ticket.key_id)
    if key is None or key.revoked_at is not None:
        raise _mismatch("the record is signed by a key that is revoked")


def _halves(ticket: Ticket, terms: pb.Terms) -> Halves:
    digest = sha256(ticket.terms).digest()
    return Halves(ref_of(terms), digest, 0, terms.recipient.origin)


def _mismatch(message: str) -> VerificationError:
    return VerificationError(
        message, reason="TICKET_MISMATCH", action="do not use the data; ask the exporter"
    )
