"""What a node in memory answers to one institution (see proto/ledger/v1/service.proto)."""

from __future__ import annotations

from collections.abc import Iterator

from ledgerd_client._memory import MemoryLog
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import MAX_BODY_BYTES, encode_message, parse_body
from ledgerd_client.core.contract import contract_ref, parse_contract_terms
from ledgerd_client.core.errors import (
    LedgerError,
    NotFoundError,
    NotReadyError,
    TooLargeError,
)
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import SignedRecord, admit, check_clock, read_record
from ledgerd_client.core.transfer import side_of
from ledgerd_client.transport import MAX_REQUEST_BYTES

MAX_RECORDS = 1_000

_STATES: dict[int, str] = {
    body_pb2.OUTCOME_PARTIAL: "partial",
    body_pb2.OUTCOME_REJECTED: "refused",
    body_pb2.OUTCOME_DIGEST_MISMATCH: "refused",
}
# From best to worst.
_CONTRACT_STATES = ("agreed", "open", "differs")


class MemoryService:
    """LedgerService for one institution. Methods raise LedgerError."""

    def __init__(self, log: MemoryLog, peer: MemoryLog, institution: str) -> None:
        self._log = log
        self._peer = peer
        self._us = institution

    def append(self, request: pb.AppendRequest) -> pb.AppendResponse:
        if not 1 <= len(request.records) <= MAX_RECORDS:
            raise TooLargeError(f"a call holds 1 to {MAX_RECORDS} records")
        first = self._log.size
        outcomes = [self._append_one(record) for record in request.records]
        for outcome in outcomes:
            if outcome.WhichOneof("result") == "repeated":
                # Known by its header only: proof and checkpoint are those of the call's end.
                index = Header.parse(outcome.repeated.header).index
                outcome.repeated.CopyFrom(_receipt(self._log.receipt(index)))
        return pb.AppendResponse(
            outcomes=outcomes,
            first=first,
            headers=self._log.headers[first:],
            range_proof=self._log.range_proof(first),
            checkpoint=self._log.checkpoint(),
        )

    def _append_one(self, record: pb.Record) -> pb.AppendOutcome:
        signed = SignedRecord(record.body, record.key_id, record.signature)
        keys = self._log.keys_of(self._us)
        try:
            item = admit(signed, origin=self._log.origin, author=self._us, keys=keys)
            known = self._log.find_same(item)
            if known is None:
                return pb.AppendOutcome(recorded=self._log.append(item))
        except LedgerError as error:
            refusal = pb.Refusal(reason=error.reason, message=error.message)
            return pb.AppendOutcome(refused=refusal)
        return pb.AppendOutcome(repeated=pb.Receipt(header=self._log.headers[known]))

    def get_receipt(self, request: pb.GetReceiptRequest) -> pb.GetReceiptResponse:
        index: int | None = request.index
        if request.WhichOneof("which") == "record_id":
            index = self._log.find(self._us, request.record_id)
        if index is None or not self._is_ours(index):
            raise NotFoundError("no such record of this institution")
        receipt = self._log.receipt(index, cosigned=request.cosigned)
        return pb.GetReceiptResponse(receipt=_receipt(receipt))

    def get_entry(self, request: pb.GetEntryRequest) -> pb.GetEntryResponse:
        if not self._is_ours(request.index):
            raise NotFoundError("no such entry for this institution")
        receipt = self._log.receipt(request.index)
        body = self._log.bodies[request.index]
        return pb.GetEntryResponse(receipt=_receipt(receipt), body=body)

    def get_transfer(self, request: pb.GetTransferRequest) -> pb.GetTransferResponse:
        halves = [*_halves(self._log, request.ref), *_halves(self._peer, request.ref)]
        if not any(half.institution == self._us for half in halves):
            raise NotFoundError("no such transfer of this institution")
        view = pb.TransferView(
            ref=request.ref,
            state=_state([Header.parse(half.header) for half in halves]),
            halves=halves,
            peer_size=self._peer.size,
            peer_known_at=self._peer.last_time,
            checkpoint=self._log.checkpoint(),
        )
        return pb.GetTransferResponse(transfer=view)

    def check(self, request: pb.CheckRequest) -> pb.CheckResponse:
        """Admit each body, and say no more of it."""
        outcomes = [pb.CheckOutcome(refused=self._refusal(body)) for body in request.bodies]
        return pb.CheckResponse(outcomes=outcomes, size=self._log.size)

    def _refusal(self, body: bytes) -> pb.Refusal | None:
        unsigned = SignedRecord(body, b"", b"")
        try:
            facts = read_record(unsigned, origin=self._log.origin, author=self._us)
            check_clock(facts, self._log.now())
        except LedgerError as error:
            return pb.Refusal(reason=error.reason, message=error.message)
        return None

    def get_contract(self, request: pb.GetContractRequest) -> pb.GetContractResponse:
        stated = [
            (parse_contract_terms(terms).version, terms)
            for terms in self._stated_terms(request.contract_id)
        ]
        if not stated:
            raise NotFoundError("no such contract of this institution")
        terms = parse_contract_terms(max(stated)[1])
        ref = contract_ref(side_of(terms.exporter), terms.nonce)
        own, peer = list(_halves(self._log, ref)), list(_halves(self._peer, ref))
        statements = _statements(own, peer)
        view = pb.ContractView(
            contract_id=request.contract_id,
            ref=ref,
            state=max((one.state for one in statements), key=_CONTRACT_STATES.index),
            halves=[*own, *peer],
            terms=encode_message(terms),
            statements=statements,
            peer_size=self._peer.size,
            peer_known_at=self._peer.last_time,
            checkpoint=self._log.checkpoint(),
        )
        return pb.GetContractResponse(contract=view)

    def _stated_terms(self, contract_id: str) -> Iterator[bytes]:
        """Of the contract and its supplements, as this institution stated them."""
        for index in range(self._log.size):
            body = parse_body(self._log.bodies[index])
            record = body.WhichOneof("record") or ""
            if body.author == self._us and record in {"contract", "supplement"}:
                terms: bytes = getattr(body, record).terms
                if parse_contract_terms(terms).contract_id == contract_id:
                    yield terms

    def list_findings(self, request: pb.ListFindingsRequest) -> pb.ListFindingsResponse:
        return pb.ListFindingsResponse(checkpoint=self._log.checkpoint())

    def tail_findings(self, request: pb.TailFindingsRequest) -> pb.TailFindingsResponse:
        """The one sign of life of a node that judges nothing."""
        return pb.TailFindingsResponse(size=self._log.size)

    def get_checkpoint(self, request: pb.GetCheckpointRequest) -> pb.GetCheckpointResponse:
        note = self._log.cosigned if request.cosigned else self._log.checkpoint()
        if not note:
            raise NotReadyError("no checkpoint is cosigned yet", reason="NOT_COSIGNED_YET")
        return pb.GetCheckpointResponse(checkpoint=note)

    def get_inclusion_proof(
        self, request: pb.GetInclusionProofRequest
    ) -> pb.GetInclusionProofResponse:
        size = request.size or self._log.size
        proof = self._log.inclusion_proof(request.index, size)
        return pb.GetInclusionProofResponse(size=size, proof=proof)

    def get_consistency_proof(
        self, request: pb.GetConsistencyProofRequest
    ) -> pb.GetConsistencyProofResponse:
        size = request.new_size or self._log.size
        proof = self._log.consistency_proof(request.old_size, size)
        return pb.GetConsistencyProofResponse(new_size=size, proof=proof)

    def get_key_history(self, request: pb.GetKeyHistoryRequest) -> pb.GetKeyHistoryResponse:
        wanted = request.origin or self._log.origin
        for log in (self._log, self._peer):
            if log.origin == wanted:
                entries = [pb.KeyEntry(header=h, body=b) for h, b in log.history.entries]
                return pb.GetKeyHistoryResponse(entries=entries)
        raise NotFoundError(f"this node knows nothing of {wanted}")

    def get_info(self, request: pb.GetInfoRequest) -> pb.GetInfoResponse:
        return pb.GetInfoResponse(
            version="memory",
            origin=self._log.origin,
            peer_origin=self._peer.origin,
            max_records=MAX_RECORDS,
            max_body_bytes=MAX_BODY_BYTES,
            max_message_bytes=MAX_REQUEST_BYTES,
            size=self._log.size,
            cosigned_size=self._log.cosigned_size,
            appends=True,
        )

    def _is_ours(self, index: int) -> bool:
        return index < self._log.size and parse_body(self._log.bodies[index]).author == self._us


def _receipt(receipt: Receipt) -> pb.Receipt:
    return pb.Receipt(header=receipt.header, proof=receipt.proof, checkpoint=receipt.checkpoint)


def _halves(log: MemoryLog, ref: bytes) -> Iterator[pb.Half]:
    for raw in log.headers:
        header = Header.parse(raw)
        if header.halves is not None and header.halves.ref == ref:
            key = log.history.find(header.key_id)
            subject = "" if key is None else key.subject
            yield pb.Half(origin=log.origin, index=header.index, header=raw, institution=subject)


def _statements(own: list[pb.Half], peer: list[pb.Half]) -> list[pb.Statement]:
    """Of each outcome, whether the newest halves of both sides are of equal terms."""
    newest: list[dict[int, Header]] = [{}, {}]
    for side, halves in zip(newest, (own, peer), strict=True):
        for header in (Header.parse(half.header) for half in halves):
            if header.halves is not None:
                side[header.halves.outcome] = header
    return [
        _statement(outcome, *(side.get(outcome) for side in newest))
        for outcome in sorted(newest[0].keys() | newest[1].keys())
    ]


def _statement(outcome: int, own: Header | None, peer: Header | None) -> pb.Statement:
    digests = [header.halves.terms_digest for header in (own, peer) if header and header.halves]
    state = "open"
    if len(digests) == 2:
        state = "agreed" if digests[0] == digests[1] else "differs"
    return pb.Statement(
        outcome=outcome,
        state=state,
        terms_digest=digests[0],
        own=own.index + 1 if own else 0,
        peer=peer.index + 1 if peer else 0,
    )


def _state(halves: list[Header]) -> str:
    """The first column of the reconciliation table that needs neither clock nor finding."""
    by_kind = {header.kind: header.halves for header in halves}
    transfer, ack = by_kind.get(Kind.TRANSFER), by_kind.get(Kind.ACK)
    if Kind.CANCEL in by_kind and (ack is None or ack.outcome != body_pb2.OUTCOME_ACCEPTED):
        return "cancelled"
    if transfer is None or ack is None:
        return "open"
    if ack.outcome != body_pb2.OUTCOME_ACCEPTED:
        return _STATES[ack.outcome]
    return "matched" if ack.terms_digest == transfer.terms_digest else "mismatched"
