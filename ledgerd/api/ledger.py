"""LedgerService: what institutions, and some of it everybody, ask of this log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ledgerd.api.encode import Views, encode_append, encode_erased, encode_receipt
from ledgerd.api.errors import Context
from ledgerd.api.identity import Caller, current_caller
from ledgerd.api.law import LawHandlers
from ledgerd.api.limits import Rates, Shares
from ledgerd.api.peer import OwnCosigned, Witness
from ledgerd.api.public import Public, PublicHandlers
from ledgerd.api.roles import Access
from ledgerd.api.threads import InThread
from ledgerd.ledger.admission import Admission, Request
from ledgerd.ledger.batch import Outcome
from ledgerd.ledger.checker import Checker
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.replicated import nobody_waits
from ledgerd.ledger.sequencer import Appends
from ledgerd.observe.metrics import Metrics
from ledgerd_client import tracing
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import (
    FieldError,
    LedgerError,
    NotFoundError,
)
from ledgerd_client.core.fields import DIGEST_SIZE, check_record_id, check_size
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header, Kind
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.transport import MAX_REQUEST_BYTES

# Of append requests that are being handled, together; on their way through the workers to the disk
# there are several copies of each.
MAX_IN_FLIGHT_BYTES = 16 * MAX_REQUEST_BYTES


@dataclass(frozen=True, slots=True)
class Log:
    """What this node says of its own log, and of its peer's."""

    origin: str
    peer_origin: str
    reader: Reader
    keyring: Keyring
    admission: Admission
    sequencer: Appends
    checker: Checker
    own_cosigned: OwnCosigned
    witness: Witness
    # Returns when the standby has what a checkpoint covers, where that is waited for.
    replicated: Callable[[bytes], Awaitable[None]] = nobody_waits


class LedgerHandlers(LawHandlers, PublicHandlers):
    """For institutions; proofs, keys and information for every caller."""

    def __init__(
        self,
        log: Log,
        access: Access,
        views: Views,
        metrics: Metrics,
        in_thread: InThread,
        rates: Rates,
    ) -> None:
        LawHandlers.__init__(self, log.reader, log.checker, views, in_thread)
        PublicHandlers.__init__(self, _public(log))
        self._log = log
        self._span = tracing.span if tracing.is_on() else tracing.no_span
        self._access = access
        self._metrics = metrics
        self._rates = rates
        # Of append requests that are being handled, in bytes.
        self.in_flight = Shares(
            MAX_IN_FLIGHT_BYTES,
            each=MAX_IN_FLIGHT_BYTES,
            what="records",
            reason="TOO_MANY_IN_FLIGHT",
        )

    async def Append(  # type: ignore[override] # raw bytes: parsing is the workers' (guard)
        self, request: bytes, context: Context
    ) -> pb.AppendResponse:
        caller, log = current_caller(), self._log
        if (refused := log.sequencer.refuse) is not None:
            # Before the workers check what will not be stored anyhow.
            raise refused.with_traceback(None)
        with self.in_flight.hold(caller, len(request)):
            keys = log.keyring.institution_keys(caller.id)
            with self._span("check", bytes=len(request)):
                checked = await log.admission.check(Request(request, caller.id, keys))
            with self._span("commit", records=checked.records) as span:
                result = await log.sequencer.append(checked)
                span.set(first=result.first, recorded=len(result.headers))
        self._rates.used(caller, records=len(result.outcomes))
        self._count(result.outcomes)
        return encode_append(result)

    async def GetReceipt(
        self, request: pb.GetReceiptRequest, context: Context
    ) -> pb.GetReceiptResponse:
        caller, log = current_caller(), self._log
        match request.WhichOneof("which"):
            case "record_id":
                check_record_id("record_id", request.record_id)
                index = log.reader.find(caller.id, request.record_id)
            case "index":
                index = request.index
            case _:
                raise FieldError("name a record_id or an index")
        if not self._access.is_own(caller, Header.parse(log.reader.header(index))):
            raise _no_entry(index)
        receipt = log.reader.receipt(index, self.checkpoint(cosigned=request.cosigned))
        await log.replicated(receipt.checkpoint)
        return pb.GetReceiptResponse(receipt=encode_receipt(receipt))

    async def GetEntry(self, request: pb.GetEntryRequest, context: Context) -> pb.GetEntryResponse:
        caller, reader = current_caller(), self._log.reader
        receipt = reader.receipt(request.index)
        await self._log.replicated(receipt.checkpoint)
        header = Header.parse(receipt.header)
        own = self._access.is_own(caller, header)
        if not own and header.kind not in KINDS_SHARED_WITH_PEER | {Kind.NODE}:
            raise _no_entry(request.index)
        body, erased = reader.body(request.index)
        # A finding's transfer may be long to read.
        shown = own or await self._in_thread(self._may_see_body, caller, header.kind, body)
        response = pb.GetEntryResponse(receipt=encode_receipt(receipt), body=body if shown else b"")
        if erased is not None:  # only what is an institution's own
            response.erased.CopyFrom(encode_erased(erased))
        return response

    async def GetTransfer(
        self, request: pb.GetTransferRequest, context: Context
    ) -> pb.GetTransferResponse:
        caller = current_caller()
        return await self._in_thread(self._view_transfer, caller, request.ref)

    # -- what they share ------------------------------------------------------------------

    def _may_see_body(self, caller: Caller, kind: Kind, body: bytes) -> bool:
        if kind != Kind.NODE:
            return True
        entry = body_pb2.Body.FromString(body)
        record = entry.WhichOneof("record")
        if record != "finding":
            return record in {"rule_set", "tick"}
        if not entry.finding.ref:
            return entry.finding.institution == caller.id
        return self._access.is_party(caller, self._log.reader.transfer(entry.finding.ref).halves)

    def _view_transfer(self, caller: Caller, ref: bytes) -> pb.GetTransferResponse:
        check_size("ref", ref, DIGEST_SIZE)
        answer = self._log.reader.transfer(ref)
        if not self._access.is_party(caller, answer.halves):
            # Word for word what a transfer that nobody knows gets.
            raise NotFoundError(f"no transfer {ref.hex()} is known here")
        return pb.GetTransferResponse(transfer=self._views.transfer(ref, answer))

    def _count(self, outcomes: list[Outcome]) -> None:
        counts: dict[str, int] = {}
        for outcome in outcomes:
            name = _name(outcome)
            counts[name] = counts.get(name, 0) + 1
        for name, count in counts.items():
            self._metrics.appends.labels(name).inc(count)


def _public(log: Log) -> Public:
    return Public(
        origin=log.origin,
        peer_origin=log.peer_origin,
        reader=log.reader,
        keys=lambda: log.keyring.history,
        peer_keys=log.witness.key_history,
        cosigned=log.own_cosigned.newest,
        refused=lambda: log.sequencer.refuse,
    )


def _name(outcome: Outcome) -> str:
    if isinstance(outcome, LedgerError):
        return outcome.reason
    return "repeated" if isinstance(outcome, Receipt) else "recorded"


def _no_entry(index: int) -> NotFoundError:
    # Word for word what an index that no entry has gets.
    return NotFoundError(f"there is no entry {index}")
