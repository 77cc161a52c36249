"""What a regulator is shown of a log, verified as in _view."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path

from ledgerd_client._asking import Query
from ledgerd_client._entries import (
    FoundEntry,
    Page,
    ProvenHalf,
    Summary,
    TransferFile,
    check_order,
    check_whole,
    prove,
    read_entry,
    read_erased,
    read_shown,
)
from ledgerd_client._following import Followed, Stretch
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._results import ContractView, Half
from ledgerd_client._shown import check_half, to_contract, to_transfer
from ledgerd_client._values import make
from ledgerd_client._view import LogView
from ledgerd_client.core.checkpoint import Checkpoint, OpenedCheckpoint
from ledgerd_client.core.errors import ChainError, FieldError, NotReadyError, VerificationError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.receipt import Receipt, verify_receipt
from ledgerd_client.core.trust import Trust
from ledgerd_client.regulator_transport import RegulatorTransport
from ledgerd_client.transport import Transport

# A node gives at most so many entries at once.
PAGE = 500
_HEADER, _BODY = pb.ENTRY_PART_HEADER, pb.ENTRY_PART_BODY
_STANDING, _PROOF = pb.ENTRY_PART_STANDING, pb.ENTRY_PART_PROOF


class RegulatorView(LogView):
    """A LogView with whatever a grant lets one read. at: a signed note; b"" is the newest."""

    def __init__(
        self,
        transport: Transport,
        supervision: RegulatorTransport,
        trust: Trust,
        origin: str,
        directory: Path,
    ) -> None:
        super().__init__(transport, trust, origin, directory)
        self._supervision = supervision

    async def pages(
        self, query: Query, *, at: bytes = b"", proof: bool = False, size: int = PAGE
    ) -> AsyncGenerator[Page, None]:
        """What a query finds, page by page, all as of one checkpoint; each page is verified."""
        parts = [_HEADER, _BODY, _STANDING, *([_PROOF] if proof else [])]
        request = pb.ListEntriesRequest(query=query.to_message(at), page_size=size, parts=parts)
        note, last = at, None
        while True:
            floor = 0 if note else await self._shown()
            answer = await self._supervision.list_entries(request)
            entries = await self._judge(partial(_check_page, answer, request, note, last))
            await self._believe(answer.checkpoint, floor)
            note = answer.checkpoint
            last = entries[-1].index if entries else last
            yield Page(tuple(entries), note, answer.as_of)
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    async def tail(self, query: Query) -> AsyncGenerator[FoundEntry | int, None]:
        """What matches, as it comes, until the node ends the call; between, how far it looked."""
        await self._shown()
        request = pb.TailRequest(query=query.to_message(), parts=[_HEADER, _BODY, _STANDING])
        seen = query.first
        async for response in self._supervision.tail(request):
            if response.HasField("entry"):
                entry = await self._judge(partial(_check_tailed, response, request.query, seen))
                seen = entry.index + 1
                yield entry
            if response.size < seen:
                raise ChainError("the node says that it has fewer entries than it sent")
            yield response.size

    async def transfer_file(self, ref: bytes, at: bytes = b"") -> TransferFile:
        """A transfer whose every half verifies in its log."""
        floor = 0 if at else await self._shown()
        request = make(pb.RegulatorServiceGetTransferRequest, ref=ref, checkpoint=at)
        response = await self._supervision.get_transfer(request)
        shown = response.transfer
        view = await self._judge(lambda _: to_transfer(ref, shown))
        await self._judge(partial(_check_answered, shown.checkpoint, at))
        if not view.halves:
            raise VerificationError("a transfer that is shown has one half at least")
        halves = [
            await self._prove_half(half, one, shown.checkpoint)
            for half, one in zip(view.halves, shown.halves, strict=True)
        ]
        await self._believe(shown.checkpoint, floor)
        return TransferFile(
            ref, view.state, tuple(halves), view.findings, view.peer_size, view.peer_known_at,
            shown.checkpoint, response.as_of,
        )  # fmt: skip

    async def contract_views(self, contract_id: str, at: bytes = b"") -> list[ContractView]:
        """A contract as each of its parties on this side has stated it."""
        floor = 0 if at else await self._shown()
        request = make(
            pb.RegulatorServiceGetContractRequest, contract_id=contract_id, checkpoint=at
        )
        response = await self._supervision.get_contract(request)
        await self._judge(partial(_check_answered, response.checkpoint, at))
        views = await self._judge(
            lambda _: [to_contract(contract_id, view) for view in response.contracts]
        )
        for view in views:
            await self._check_halves(view.halves)
        await self._believe(response.checkpoint, floor)
        return views

    async def summary(
        self, query: Query, group_by: Sequence[pb.Dimension.ValueType], at: bytes = b""
    ) -> Summary:
        """Counts of what a query finds, ascending by the values of up to four dimensions."""
        floor = 0 if at else await self._shown()
        request = pb.SummarizeRequest(query=query.to_message(at), group_by=group_by)
        response = await self._supervision.summarize(request)
        await self._judge(partial(_check_answered, response.checkpoint, at))
        keys = [tuple(group.keys) for group in response.groups]
        if keys != sorted(set(keys)) or any(len(key) != len(group_by) for key in keys):
            raise VerificationError("the groups are not those that were asked for")
        await self._believe(response.checkpoint, floor)
        return Summary(tuple(response.groups), response.checkpoint, response.as_of)

    async def open_kept(self, note: bytes) -> OpenedCheckpoint:
        """Verify a checkpoint that somebody kept, and that the log extends it, or is its part."""
        origin = Checkpoint.parse(parse_note(note).text).origin
        if origin != self.origin:
            raise FieldError(
                f"the checkpoint is of {origin}, this is {self.origin}",
                reason="WRONG_ORIGIN",
                action="name a checkpoint of this log, or ask the node of that one",
            )
        opened = await self._judge(partial(open_log_checkpoint, note))
        await self._shown()
        await self._believe(note, 0)
        return opened

    async def replayed(
        self, end: OpenedCheckpoint, start: OpenedCheckpoint | None = None
    ) -> AsyncGenerator[Followed, None]:
        """
        Every entry between two checkpoints; what is yielded is proven when it ends.

        The other side's log is replayed from its beginning.
        """
        if start is not None and start.checkpoint.size > end.checkpoint.size:
            raise FieldError(
                f"it begins at {start.checkpoint.size} entries, after its end at"
                f" {end.checkpoint.size}: a newer checkpoint than the one it is made at",
                reason="BEGINS_LATER",
                action="end at a newer checkpoint (--newest, or once the other side's node has"
                " cosigned it), or begin at an older one",
            )
        origin = end.checkpoint.origin
        stretch = Stretch(origin, end.checkpoint)
        if start is not None and start.checkpoint.size:
            await self._begin(stretch, start.checkpoint)
        while stretch.size < end.checkpoint.size:
            before = stretch.size
            request = pb.FollowRequest(origin=origin, start=before)
            async with aclosing(self._supervision.follow(request)) as stream:
                async for response in stream:
                    take = partial(stretch.take, response)
                    for followed in await self.histories.judge(origin, take):
                        yield followed
                    if stretch.size == end.checkpoint.size:
                        break
            if stretch.size == before:
                raise ChainError(f"the node does not give entry {before}")
        await self._judge(lambda _: stretch.check_end())

    async def peers_checkpoint(self) -> OpenedCheckpoint:
        """The newest one of the peer's log that the node has replayed."""
        origin = await self.histories.peer()
        request = pb.FollowRequest(origin=origin)
        async with aclosing(self._supervision.follow(request)) as stream:
            async for response in stream:
                if response.checkpoint:
                    opening = partial(open_log_checkpoint, response.checkpoint)
                    return await self.histories.judge(origin, opening)
                break
        raise NotReadyError(f"the node shows nothing of {origin} yet", reason="REPLAY_BEHIND")

    async def _begin(self, stretch: Stretch, start: Checkpoint) -> None:
        last = start.size - 1
        request = pb.GetInclusionProofRequest(index=last, size=start.size)
        proof = (await self._transport.get_inclusion_proof(request)).proof
        header = await self._header(last)
        await self._judge(lambda _: stretch.begin(start, header, proof))

    async def _header(self, index: int) -> bytes:
        async with aclosing(self._supervision.follow(pb.FollowRequest(start=index))) as stream:
            async for response in stream:
                for entry in response.entries:
                    return entry.header
        raise ChainError(f"the node does not give entry {index}")

    async def _prove_half(self, half: Half, shown: pb.Half, note: bytes) -> ProvenHalf:
        own = half.origin == self.origin
        if not own and half.origin != await self.histories.peer():
            raise VerificationError(f"a half is said to be in {half.origin}, a log of neither side")
        receipt = Receipt(shown.header, tuple(shown.proof), shown.checkpoint)
        if own and shown.checkpoint != note:
            raise VerificationError("a half is proven under another checkpoint than the answer's")
        if not own and shown.body:
            raise VerificationError(f"a body of {half.origin} is not this node's to show")

        def check(history: KeyHistory) -> None:
            check_half(half, history)
            verify_receipt(receipt, history, strict=False)

        await self.histories.judge(half.origin, check)
        body, _ = await self._judge(lambda _: read_shown(shown.body, half.header))
        erased = await self._judge(lambda _: read_erased(shown, half.header))
        if own and body is None and erased is None and not shown.withheld:
            raise VerificationError(
                f"entry {half.index} came without its body", reason="BODY_MISMATCH"
            )
        return ProvenHalf(
            half.origin, half.institution, half.header, receipt, body, erased, shown.withheld
        )


def _check_answered(note: bytes, at: bytes, history: KeyHistory) -> Checkpoint:
    """The checkpoint of an answer, which is the one that was named, if one was."""
    if at and note != at:
        raise VerificationError(
            "the answer is given at another checkpoint than was asked for", reason="OTHER_RECORD"
        )
    return open_log_checkpoint(note, history).checkpoint


def _check_page(
    page: pb.ListEntriesResponse,
    request: pb.ListEntriesRequest,
    at: bytes,
    last: int | None,
    history: KeyHistory,
) -> list[FoundEntry]:
    asked = request.query
    checkpoint = _check_answered(page.checkpoint, at, history)
    entries = [read_entry(entry, asked, history) for entry in page.entries]
    before = [] if last is None else [last]
    check_order([*before, *(entry.index for entry in entries)], asked, checkpoint.size)
    for entry in entries:
        check_whole(entry)
    if _PROOF not in request.parts:
        return entries
    receipts = prove(page, checkpoint)
    return [replace(entry, receipt=one) for entry, one in zip(entries, receipts, strict=True)]


def _check_tailed(
    response: pb.TailResponse, asked: pb.Query, start: int, history: KeyHistory
) -> FoundEntry:
    entry = read_entry(response.entry, asked, history)
    if entry.index < start:
        raise ChainError(f"entry {entry.index} was sent out of its order, or twice")
    check_whole(entry)
    return entry
