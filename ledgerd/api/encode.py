"""Answers as messages."""

from __future__ import annotations

from ledgerd.api.peer import Replica
from ledgerd.ledger.contract_reader import ContractAnswer, StatementAnswer
from ledgerd.ledger.law_reader import FoundFinding
from ledgerd.ledger.reader import Reader, TransferAnswer
from ledgerd.ledger.writer import AppendResult
from ledgerd.projections.transfers import Half
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.core.receipt import Receipt


def encode_receipt(receipt: Receipt) -> pb.Receipt:
    return pb.Receipt(header=receipt.header, proof=receipt.proof, checkpoint=receipt.checkpoint)


def encode_append(result: AppendResult) -> pb.AppendResponse:
    """The reply to an append: all that Python does for each record stands in this loop."""
    response = pb.AppendResponse(
        first=result.first,
        headers=result.headers,
        range_proof=result.range_proof,
        checkpoint=result.checkpoint,
    )
    add = response.outcomes.add
    for outcome in result.outcomes:
        if isinstance(outcome, int):
            add(recorded=outcome)
        elif isinstance(outcome, Receipt):
            add(repeated=encode_receipt(outcome))
        else:
            add(refused=pb.Refusal(reason=outcome.reason, message=outcome.message))
    return response


def encode_finding(found: FoundFinding) -> pb.FindingEntry:
    return pb.FindingEntry(
        index=found.index,
        header=found.header,
        body=found.body,
        closed_by=found.closed_by,
        closed_at=found.closed_at,
    )


class Views:
    """Makes views of transfers and contracts, whose halves lie in two logs."""

    def __init__(self, origin: str, peer_origin: str, reader: Reader, replica: Replica) -> None:
        self._origin = origin
        self._peer_origin = peer_origin
        self._reader = reader
        self._replica = replica

    def transfer(self, ref: bytes, answer: TransferAnswer) -> pb.TransferView:
        """Raises UnavailableError while the replica is rebuilt."""
        return pb.TransferView(
            ref=ref,
            state=answer.state.name.lower(),
            halves=map(self._encode_half, answer.halves),
            findings=answer.findings,
            peer_size=answer.peer_size,
            peer_known_at=answer.peer_known_at,
            checkpoint=answer.checkpoint,
        )

    def contract(self, contract_id: str, answer: ContractAnswer) -> pb.ContractView:
        """Raises UnavailableError while the replica is rebuilt."""
        return pb.ContractView(
            contract_id=contract_id,
            ref=answer.ref,
            state=answer.state,
            halves=map(self._encode_half, answer.halves),
            terms=answer.terms,
            statements=map(_encode_statement, answer.statements),
            findings=answer.findings,
            subjects=answer.subjects,
            first_transfer_on=answer.first_transfer_on,
            peer_size=answer.peer_size,
            peer_known_at=answer.peer_known_at,
            checkpoint=answer.checkpoint,
        )

    def _encode_half(self, half: Half) -> pb.Half:
        if half.own:
            origin, header = self._origin, self._reader.entry(half.position)[0]
        else:
            origin, header = self._peer_origin, self._peer_header(half.position)
        return pb.Half(
            origin=origin, index=half.position, header=header, institution=half.institution
        )

    def _peer_header(self, index: int) -> bytes:
        for header in self._replica.headers(index, index + 1):
            return header.encode()
        raise UnavailableError("the peer's log is being replayed anew", reason="REPLAY_BEHIND")


def _encode_statement(answer: StatementAnswer) -> pb.Statement:
    return pb.Statement(
        outcome=answer.outcome,
        state=answer.state,
        terms_digest=answer.terms_digest,
        own=answer.own,
        peer=answer.peer,
    )
