"""Answers as messages."""

from __future__ import annotations

from collections.abc import Callable

from ledgerd.api.peer import Replica
from ledgerd.ledger.answers import FoundEntry
from ledgerd.ledger.batch import AppendResult
from ledgerd.ledger.contract_reader import ContractAnswer, StatementAnswer
from ledgerd.ledger.erasing import WhyErased
from ledgerd.ledger.law_reader import FoundFinding
from ledgerd.ledger.summary import Group
from ledgerd.ledger.views import TransferAnswer
from ledgerd.projections.transfer_row import Half
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.core.note import parse_note
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


def encode_entry(found: FoundEntry) -> pb.Entry:
    entry = pb.Entry(
        header=found.header,
        body=found.body,
        index=found.index,
        state=found.state,
        closed_by=found.closed_by,
        proof=found.proof,
    )
    if found.erased is not None:
        entry.erased.CopyFrom(encode_erased(found.erased))
    return entry


def encode_erased(why: WhyErased) -> pb.Erased:
    return pb.Erased(index=why.index, at=why.at, reason=why.reason, remains=why.remains)


def encode_group(group: Group) -> pb.Group:
    return pb.Group(**group._asdict())


class Views:
    """Makes views of transfers and contracts, whose halves lie in two logs."""

    def __init__(
        self,
        origin: str,
        peer_origin: str,
        header_of: Callable[[int], bytes],
        replica: Replica,
    ) -> None:
        """header_of: of an entry of this log."""
        self._origin = origin
        self._peer_origin = peer_origin
        self._header_of = header_of
        self._replica = replica

    def transfer(self, ref: bytes, answer: TransferAnswer) -> pb.TransferView:
        """Raises UnavailableError while the replica is rebuilt."""
        return pb.TransferView(
            ref=ref,
            state=answer.state.name.lower(),
            halves=map(self.half, answer.halves),
            findings=[body for _, body in answer.findings],
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
            halves=map(self.half, answer.halves),
            terms=answer.terms,
            statements=map(_encode_statement, answer.statements),
            findings=answer.findings,
            subjects=answer.subjects,
            first_transfer_on=answer.first_transfer_on,
            peer_size=answer.peer_size,
            peer_known_at=answer.peer_known_at,
            checkpoint=answer.checkpoint,
        )

    def half(self, half: Half) -> pb.Half:
        """Where it lies and its header; raises UnavailableError while the replica is rebuilt."""
        if half.own:
            origin, header = self._origin, self._header_of(half.position)
        else:
            origin, header = self._peer_origin, self._peer_header(half.position)
        return pb.Half(
            origin=origin, index=half.position, header=header, institution=half.institution
        )

    def _peer_header(self, index: int) -> bytes:
        for header in self._replica.headers(index, index + 1):
            return header.encode()
        raise UnavailableError("the peer's log is being replayed anew", reason="REPLAY_BEHIND")


class ProvenViews(Views):
    """
    Views for a regulator, whose halves come with proofs, and own ones with bodies.

    Good for one snapshot. found: the entry of an own half, with its proof, and without its body
    where that is not for him. checkpoint: of the answer; peers: the peer's, anchored by then.
    """

    def __init__(
        self,
        origin: str,
        peer_origin: str,
        found: Callable[[int], FoundEntry],
        replica: Replica,
        *,
        checkpoint: bytes,
        peers: bytes,
    ) -> None:
        super().__init__(origin, peer_origin, lambda index: found(index).header, replica)
        self._found = found
        self._checkpoint = checkpoint
        self._peers = peers

    def half(self, half: Half) -> pb.Half:
        """As Views.half, with its proof; never with a body of the peer's."""
        shown = super().half(half)
        if half.own:
            found = self._found(half.position)
            shown.body, shown.checkpoint = found.body, self._checkpoint
            shown.withheld = found.withheld
            shown.proof.extend(found.proof)
            if found.erased is not None:
                shown.erased.CopyFrom(encode_erased(found.erased))
        else:
            size = Checkpoint.parse(parse_note(self._peers).text).size
            shown.checkpoint = self._peers
            shown.proof.extend(self._replica.inclusion(half.position, size))
        return shown


def _encode_statement(answer: StatementAnswer) -> pb.Statement:
    return pb.Statement(
        outcome=answer.outcome,
        state=answer.state,
        terms_digest=answer.terms_digest,
        own=answer.own,
        peer=answer.peer,
    )
