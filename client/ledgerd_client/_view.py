"""One node's log as this client has verified it: every answer is checked before it is returned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from ledgerd_client._histories import Histories
from ledgerd_client._kept import KeptFile, TrustedHead
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._replies import (
    Prefix,
    check_append,
    check_receipt,
    check_same,
    other_record,
    to_receipt,
)
from ledgerd_client._results import (
    Half,
    NodeInfo,
    TransferView,
)
from ledgerd_client._shown import (
    check_half,
    to_transfer,
)
from ledgerd_client.core.body import parse_body
from ledgerd_client.core.checkpoint import OpenedCheckpoint
from ledgerd_client.core.errors import (
    InputError,
    LedgerError,
    NotReadyError,
    ProofError,
    RefusedError,
    TrustError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.opening import loss_below, open_log_checkpoint
from ledgerd_client.core.receipt import Receipt, VerifiedReceipt, check_body
from ledgerd_client.core.record import SignedRecord
from ledgerd_client.core.remains import facts_of_remains
from ledgerd_client.core.trust import Trust
from ledgerd_client.transport import REPLY_LOST, Transport

T = TypeVar("T")


class LogView:
    """
    Asks a node and believes nothing.

    Methods raise what the node states, UnavailableError, VerificationError when an answer does not
    prove itself or contradicts an earlier one, and StoreError when what was kept here is damaged.
    """

    def __init__(self, transport: Transport, trust: Trust, origin: str, directory: Path) -> None:
        """directory: where key histories and the newest verified checkpoint are kept."""
        self.origin = origin
        self.histories = Histories(transport, trust, directory, origin)
        self._transport = transport
        file = KeptFile.of_origin(directory, origin, "checkpoint")
        self._head = TrustedHead(file, lambda: self.histories.get(origin), self._prove)

    async def open(self) -> None:
        """
        Take over the checkpoint that earlier processes kept, so that the node hears of it.

        Raises StoreError when it is not as it was left. It is left to the first call if the keys
        that it is verified with are kept no more, and the node cannot be asked for them now.
        """
        with suppress(UnavailableError, NotReadyError):
            await self._shown()

    async def append(self, records: Sequence[SignedRecord]) -> list[Receipt | LedgerError]:
        """
        Send records; return for each its receipt, or why the node refused it.

        Raises as Transport.append does; REPLY_LOST also when the answer cannot be verified yet,
        whatever is in the way: the node may have stored what it was sent.
        """
        floor = await self._shown()
        request = pb.AppendRequest(
            records=[
                pb.Record(body=r.body, key_id=r.key_id, signature=r.signature) for r in records
            ]
        )
        response = await self._transport.append(request)
        try:
            appended = await self._judge(lambda history: check_append(records, response, history))
            for checkpoint in appended.checkpoints:
                newest = checkpoint == response.checkpoint
                await self._believe(checkpoint, floor, appended.prefix if newest else None)
        except VerificationError:
            raise
        except LedgerError as error:
            raise UnavailableError(
                f"the reply cannot be verified yet: {error.message}", reason=REPLY_LOST
            ) from error
        return appended.outcomes

    async def has_lost(self) -> bool:
        """Whether the authority has ever declared an end of the log lost; the node is asked."""
        return bool((await self.histories.refresh(self.origin)).losses())

    async def was_lost(self, receipt: Receipt) -> bool:
        """
        Whether the authority has declared lost the entry of a receipt that was verified before.

        The node is asked for its keys: a LOSS may be news.
        """
        loss = loss_below(receipt.checkpoint, await self.histories.refresh(self.origin))
        return loss is not None and loss.size <= receipt.index

    async def receipt(
        self,
        which: bytes | int,
        *,
        cosigned: bool = False,
        known: SignedRecord | Receipt | None = None,
    ) -> Receipt:
        """
        The receipt of a record_id or an index.

        known: what it must be of, the record itself or an earlier receipt. Without it the node must
        show the body of a record_id.
        """
        floor = 0 if cosigned else await self._shown()
        request = pb.GetReceiptRequest(cosigned=cosigned)
        if isinstance(which, bytes):
            request.record_id = which
        else:
            request.index = which
        receipt = to_receipt((await self._transport.get_receipt(request)).receipt)
        if cosigned:
            verified = await self._judge_both(partial(check_receipt, receipt))
        else:
            verified = await self._judge(lambda history: check_receipt(receipt, history, None))
        if known is not None or isinstance(which, int):
            await self._judge(lambda _: _check_known(which, known, receipt, verified))
        elif await self.record_id(receipt) != which:
            raise other_record(verified.header)
        await self._believe(receipt.checkpoint, floor)
        return receipt

    async def record_id(self, receipt: Receipt) -> bytes:
        """The record_id in the body of an entry of ours, of which this is a verified receipt."""
        entry = await self._transport.get_entry(pb.GetEntryRequest(index=receipt.index))
        return await self._judge(lambda _: _read_record_id(entry, receipt))

    async def prove(self, header: bytes, under: OpenedCheckpoint) -> Receipt:
        """The receipt of an entry under an earlier checkpoint, which verify_receipt can refuse."""
        request = pb.GetInclusionProofRequest(
            index=Header.parse(header).index, size=under.checkpoint.size
        )
        proof = (await self._transport.get_inclusion_proof(request)).proof
        return Receipt(header, tuple(proof), under.note)

    async def checkpoint(self, *, cosigned: bool = False) -> OpenedCheckpoint:
        """The newest checkpoint, or the newest that the other side's node cosigned."""
        floor = 0 if cosigned else await self._shown()
        request = pb.GetCheckpointRequest(cosigned=cosigned)
        note = (await self._transport.get_checkpoint(request)).checkpoint
        if cosigned:
            opened = await self._judge_both(partial(_open_cosigned, note))
        else:
            opened = await self._judge(partial(open_log_checkpoint, note))
        await self._believe(note, floor)
        return opened

    async def transfer(self, ref: bytes) -> TransferView:
        """The node's view of a transfer; TransferView says what of it is proven."""
        floor = await self._shown()
        response = await self._transport.get_transfer(pb.GetTransferRequest(ref=ref))
        note = response.transfer.checkpoint

        def check(history: KeyHistory) -> TransferView:
            open_log_checkpoint(note, history)
            return to_transfer(ref, response.transfer)

        view = await self._judge(check)
        await self._check_halves(view.halves)
        await self._believe(note, floor)
        return view

    async def info(self) -> NodeInfo:
        info = await self._transport.get_info(pb.GetInfoRequest())
        if info.origin != self.origin:
            raise TrustError(
                f"this is the node of {info.origin}, not of {self.origin}",
                reason="WRONG_ORIGIN",
                action="mend endpoint or origin in the settings",
            )
        return NodeInfo(*(getattr(info, name) for name in NodeInfo.__slots__))

    async def _check_halves(self, halves: Iterable[Half]) -> None:
        for half in halves:
            if half.origin != self.origin and half.origin != await self.histories.peer():
                raise TrustError(f"a half is said to be in {half.origin}, a log of neither side")
            await self.histories.judge(half.origin, partial(check_half, half))

    async def _judge(self, check: Callable[[KeyHistory], T]) -> T:
        return await self.histories.judge(self.origin, check)

    async def _judge_both(self, check: Callable[[KeyHistory, KeyHistory], T]) -> T:
        """As _judge, with the other side's keys too; on fresh ones if no known key cosigned."""
        origin = await self.histories.peer()
        peer = await self.histories.get(origin)
        try:
            return await self._judge(lambda own: check(own, peer))
        except TrustError as error:
            if error.reason not in {"NOT_COSIGNED", "NOT_TRUSTED"}:
                raise
        fresh = await self.histories.refresh(origin)
        return await self._judge(lambda own: check(own, fresh))

    def saw_peer(self, note: bytes) -> None:
        """Tell our node from now on that the other side's has shown this, which was verified."""
        self._transport.peer_checkpoint = note

    async def _shown(self) -> int:
        """How many entries the node has shown here."""
        size = await self._head.load()
        self._transport.known_checkpoint = self._head.note
        return size

    async def _believe(self, note: bytes, floor: int, prefix: Prefix | None = None) -> None:
        await self._head.advance(note, floor=floor, prefix=prefix)
        self._transport.known_checkpoint = self._head.note

    async def _prove(self, old_size: int, new_size: int) -> Sequence[bytes]:
        request = pb.GetConsistencyProofRequest(old_size=old_size, new_size=new_size)
        try:
            return list((await self._transport.get_consistency_proof(request)).proof)
        except (InputError, RefusedError) as error:
            # It signed both checkpoints, so it owes the proof.
            raise ProofError(f"the node gives no consistency proof: {error.message}") from error


def _open_cosigned(note: bytes, own: KeyHistory, peer: KeyHistory) -> OpenedCheckpoint:
    opened = open_log_checkpoint(note, own, peer)
    if not opened.cosigned:
        raise TrustError("the checkpoint is not cosigned", reason="NOT_COSIGNED")
    return opened


def _check_known(
    which: bytes | int,
    known: SignedRecord | Receipt | None,
    receipt: Receipt,
    verified: VerifiedReceipt,
) -> None:
    if isinstance(which, int) and verified.header.index != which:
        raise other_record(verified.header)
    if isinstance(known, SignedRecord):
        check_same(known, verified)
    # A receipt's checkpoint and proof change with time; its header never does.
    if isinstance(known, Receipt) and receipt.header != known.header:
        raise other_record(verified.header)


def _read_record_id(entry: pb.GetEntryResponse, receipt: Receipt) -> bytes:
    if entry.HasField("erased"):
        # The transfer is compared; for the id alone there is only the node's word left.
        return facts_of_remains(Header.parse(receipt.header), entry.erased.remains).record_id
    check_body(receipt, entry.body)
    return parse_body(entry.body).record_id
