"""
What is checked of a node's answer before anybody believes it.

Pure functions. A reply that does not parse, or does not prove what it claims, raises whatever fits;
Histories.judge turns that into a VerificationError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import ChainError, LedgerError, VerificationError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.merkle import Frontier, leaf_hash
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.ranges import cut_inclusion, verify_range
from ledgerd_client.core.receipt import Receipt, VerifiedReceipt, receipts_of, verify_receipt
from ledgerd_client.core.record import SignedRecord, read_facts
from ledgerd_client.transport import from_refusal


class Prefix(NamedTuple):
    """The root that a checkpoint's tree had when it was this size, as a range proof shows it."""

    size: int
    root: bytes


class Appended(NamedTuple):
    """
    A verified reply: a receipt or a refusal for each record, and the checkpoints it rests on.

    prefix: the tree just before the new records, if there are any.
    """

    outcomes: list[Receipt | LedgerError]
    checkpoints: list[bytes]
    prefix: Prefix | None


def check_append(
    records: Sequence[SignedRecord], response: pb.AppendResponse, history: KeyHistory
) -> Appended:
    """Check the answer to an append of records: all of it is believed, or nothing."""
    if len(response.outcomes) != len(records):
        raise VerificationError("the reply has not one outcome for each record")
    pairs = list(zip(records, response.outcomes, strict=True))
    new = [record for record, outcome in pairs if outcome.WhichOneof("result") == "recorded"]
    receipts = iter(_check_new(new, response, history))
    outcomes = [_check_outcome(*pair, receipts, history) for pair in pairs]
    notes = {outcome.checkpoint for outcome in outcomes if isinstance(outcome, Receipt)}
    return Appended(outcomes, list(notes), _prefix(response) if new else None)


def check_receipt(
    receipt: Receipt, history: KeyHistory, peer: KeyHistory | None
) -> VerifiedReceipt:
    """Check a receipt that the node gave; with peer, it must be cosigned by that side's node."""
    cosigned = peer is not None
    return verify_receipt(receipt, history, peer, require_cosignature=cosigned, strict=cosigned)


def check_same(record: SignedRecord, verified: VerifiedReceipt) -> None:
    """
    Refuse a receipt of another record; verified is what check_receipt made of it.

    An accepted ACK said again is not stored again: it gets the receipt of the first one, whose
    body differs in salt and record_id.
    """
    header = verified.header
    if header.body_digest == sha256(record.body).digest():
        return
    facts = read_facts(record.body)[1]
    if facts.kind == Kind.ACK and facts.outcome == body_pb2.OUTCOME_ACCEPTED:
        said = (Kind.ACK, facts.halves, facts.author)
        if (header.kind, header.halves, verified.institution) == said:
            return
    raise other_record(header)


def to_receipt(receipt: pb.Receipt) -> Receipt:
    return Receipt(receipt.header, tuple(receipt.proof), receipt.checkpoint)


def _check_new(
    records: Sequence[SignedRecord], response: pb.AppendResponse, history: KeyHistory
) -> list[Receipt]:
    raw, proof, first = list(response.headers), list(response.range_proof), response.first
    if len(raw) != len(records):
        raise VerificationError("the reply has not one header for each new record")
    if not raw:
        return []
    checkpoint = open_log_checkpoint(response.checkpoint, history).checkpoint
    leaves = [leaf_hash(header) for header in raw]
    verify_range(leaves, first, checkpoint.size, proof, checkpoint.root)
    headers = [Header.parse(header) for header in raw]
    for header, record in zip(headers, records, strict=True):
        _check_header(header, record, history)
    _check_chain(headers, leaves, first)
    return receipts_of(
        raw, cut_inclusion(leaves, first, checkpoint.size, proof), response.checkpoint
    )


def _prefix(response: pb.AppendResponse) -> Prefix:
    # What is left of the new records in a range proof are the peaks of the tree before them.
    peaks = response.range_proof[: response.first.bit_count()]
    return Prefix(response.first, Frontier(response.first, peaks).root())


def _check_header(header: Header, record: SignedRecord, history: KeyHistory) -> None:
    facts = read_facts(record.body)[1]
    digest = sha256(record.body).digest()
    sent = (facts.kind, digest, record.key_id, record.signature, facts.halves)
    found = (header.kind, header.body_digest, header.key_id, header.signature, header.halves)
    if found != sent:
        raise other_record(header)
    history.institution_key(header.key_id, header.key_index, header.index)


def _check_chain(headers: Sequence[Header], leaves: Sequence[bytes], first: int) -> None:
    for place, header in enumerate(headers):
        if header.index != first + place:
            raise ChainError(f"entry {first + place} says that it is entry {header.index}")
        if place and header.previous_leaf_hash != leaves[place - 1]:
            raise ChainError(f"entry {header.index} does not follow from the one before")
        if place and header.recorded_at < headers[place - 1].recorded_at:
            raise ChainError(f"entry {header.index} is older than the one before")


def _check_outcome(
    record: SignedRecord,
    outcome: pb.AppendOutcome,
    receipts: Iterator[Receipt],
    history: KeyHistory,
) -> Receipt | LedgerError:
    match outcome.WhichOneof("result"):
        case "recorded":
            receipt = next(receipts)
            if receipt.index != outcome.recorded:
                raise ChainError(f"entry {receipt.index} is announced as {outcome.recorded}")
            return receipt
        case "repeated":
            receipt = to_receipt(outcome.repeated)
            check_same(record, check_receipt(receipt, history, None))
            return receipt
        case "refused":
            return from_refusal(outcome.refused.reason, outcome.refused.message)
        case _:
            raise VerificationError("the reply says nothing of a record")


def other_record(header: Header) -> VerificationError:
    return VerificationError(
        f"entry {header.index} is not the record that was sent", reason="OTHER_RECORD"
    )
