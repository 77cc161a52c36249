"""AdminService: operators hand in what the authority signed, and ask what may be erased."""

from __future__ import annotations

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
from ledgerd_client.core.record import Key, SignedRecord, admit


class AdminHandlers(service_pb2_grpc.AdminServiceServicer):
    """For operators."""

    def __init__(
        self,
        keyring: Keyring,
        sequencer: Sequencer,
        reader: Reader,
        clock: Callable[[], int],
    ) -> None:
        self._keyring = keyring
        self._sequencer = sequencer
        self._reader = reader
        self._clock = clock

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
        outcome = (await self._sequencer.append(Call.of([item]))).outcomes[0]
        if isinstance(outcome, LedgerError):
            raise outcome
        # Now and not a moment after the reply: whoever was admitted may call at once.
        self._keyring.refresh()
        receipt = outcome if isinstance(outcome, Receipt) else self._reader.receipt(outcome)
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
