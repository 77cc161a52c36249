"""AdminService: operators hand in what the authority signed, orders to erase among it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ledgerd.api.encode import encode_receipt
from ledgerd.api.errors import Context
from ledgerd.api.evidence import EvidenceDesk
from ledgerd.api.status import StatusDesk
from ledgerd.ledger.call import Call
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.sequencer import Appends
from ledgerd_client._proto import body_pb2, service_pb2_grpc
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import AUTHORITY, parse_body
from ledgerd_client.core.errors import FieldError, LedgerError
from ledgerd_client.core.header import Kind
from ledgerd_client.core.keys import key_id
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import Admitted, Key, SignedRecord, admit
from ledgerd_client.core.remains import open_order


class AdminHandlers(service_pb2_grpc.AdminServiceServicer):
    """For operators."""

    def __init__(
        self,
        keyring: Keyring,
        sequencer: Appends,
        reader: Reader,
        clock: Callable[[], int],
        sign: Callable[..., Admitted],
        prepare: Callable[[body_pb2.KeyEvent], Awaitable[None]],
        evidence: EvidenceDesk,
        status: StatusDesk,
    ) -> None:
        """
        Take what the handlers need.

        sign makes an entry of the node's own of a field of pb.Body's oneof; prepare has the key at
        hand that a key event puts in force.
        """
        self._keyring = keyring
        self._sequencer = sequencer
        self._reader = reader
        self._clock = clock
        self._sign = sign
        self._prepare = prepare
        self._evidence = evidence
        self._status = status
        self._erasing = asyncio.Lock()

    async def SubmitKeyEvent(
        self, request: pb.SubmitKeyEventRequest, context: Context
    ) -> pb.SubmitKeyEventResponse:
        history, record = self._keyring.history, request.record
        # By an earlier key too: what was recorded gets its receipt again.
        keys = history.node_keys(body_pb2.ROLE_AUTHORITY)
        # One signature, once in a while: not worth a passage to the workers.
        item = admit(
            SignedRecord(record.body, record.key_id, record.signature),
            origin=history.origin,
            author=AUTHORITY,
            keys={key_id(key.public): Key(key.admitted_at, key.public) for key in keys},
        )
        if item.facts.kind != Kind.KEY:
            raise FieldError(f"this is no key event but {Kind(item.facts.kind).name}")
        await self._prepare(parse_body(item.body).key_event)
        receipt = await self._append(item)
        # Now and not a moment after the reply: whoever was admitted may call at once.
        self._keyring.refresh()
        return pb.SubmitKeyEventResponse(receipt=encode_receipt(receipt))

    async def CheckErasure(
        self, request: pb.CheckErasureRequest, context: Context
    ) -> pb.CheckErasureResponse:
        found = self._reader.erasable(request.index, self._clock())
        return pb.CheckErasureResponse(
            allowed=found.allowed,
            keep_until=found.keep_until,
            reason=found.reason,
            message=found.message,
        )

    async def SubmitErasure(
        self, request: pb.SubmitErasureRequest, context: Context
    ) -> pb.SubmitErasureResponse:
        history = self._keyring.history
        authority = history.key_in_force(body_pb2.ROLE_AUTHORITY).public
        open_order(request.order, request.signature, origin=history.origin, authority=authority)
        # To its end, whatever becomes of the caller: the next order is judged by what this one did.
        receipt = await asyncio.shield(self._erase(request.order, request.signature))
        return pb.SubmitErasureResponse(receipt=encode_receipt(receipt))

    async def ListEvidence(
        self, request: pb.ListEvidenceRequest, context: Context
    ) -> pb.ListEvidenceResponse:
        return await self._evidence.list()

    async def GetEvidence(
        self, request: pb.GetEvidenceRequest, context: Context
    ) -> pb.GetEvidenceResponse:
        return await self._evidence.get(request.digest)

    async def AcknowledgeEvidence(
        self, request: pb.AcknowledgeEvidenceRequest, context: Context
    ) -> pb.AcknowledgeEvidenceResponse:
        return await self._evidence.acknowledge(request.digest)

    async def GetStatus(
        self, request: pb.GetStatusRequest, context: Context
    ) -> pb.GetStatusResponse:
        return await self._status.get()

    async def _erase(self, order: bytes, signature: bytes) -> Receipt:
        """Carry an order out; return the receipt of its ERASURE."""
        # One after the other, so that an order which comes twice at once gets one receipt.
        async with self._erasing:
            called_for = self._reader.erasure(order, signature)
            if isinstance(called_for, int):
                return self._reader.receipt(called_for)
            # Whether it is due is decided where it is applied.
            return await self._append(self._sign(erasure=called_for))

    async def _append(self, item: Admitted) -> Receipt:
        """Append one record; return its receipt, the first one if it is in the log already."""
        outcome = (await self._sequencer.append(Call.of([item]))).outcomes[0]
        if isinstance(outcome, LedgerError):
            raise outcome
        return outcome if isinstance(outcome, Receipt) else self._reader.receipt(outcome)
