"""AdminService: operators hand in what the authority signed, orders to erase among it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ledgerd.api.encode import encode_receipt
from ledgerd.api.errors import Context
from ledgerd.ledger.call import Call
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.sequencer import Sequencer
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc
from ledgerd_client.core.body import AUTHORITY
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
        sequencer: Sequencer,
        reader: Reader,
        clock: Callable[[], int],
        sign: Callable[..., Admitted],
    ) -> None:
        """sign: makes an entry of the node's own of a field of pb.Body's oneof."""
        self._keyring = keyring
        self._sequencer = sequencer
        self._reader = reader
        self._clock = clock
        self._sign = sign
        self._erasing = asyncio.Lock()

    async def SubmitKeyEvent(
        self, request: pb.SubmitKeyEventRequest, context: Context
    ) -> pb.SubmitKeyEventResponse:
        history, record = self._keyring.history, request.record
        # One signature, once in a while: not worth a passage to the workers.
        item = admit(
            SignedRecord(record.body, record.key_id, record.signature),
            origin=history.origin,
            author=AUTHORITY,
            keys={key_id(history.authority): Key(0, history.authority)},
        )
        if item.facts.kind != Kind.KEY:
            raise FieldError(f"this is no key event but {Kind(item.facts.kind).name}")
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
        open_order(
            request.order, request.signature, origin=history.origin, authority=history.authority
        )
        # To its end, whatever becomes of the caller: the next order is judged by what this one did.
        receipt = await asyncio.shield(self._erase(request.order, request.signature))
        return pb.SubmitErasureResponse(receipt=encode_receipt(receipt))

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
