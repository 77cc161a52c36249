"""RegulatorService: entries, transfers and contracts for whoever holds a grant to read."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from ledgerd.api.asking import Asker, grant_clauses, read_dimensions, read_parts
from ledgerd.api.desk import Desk
from ledgerd.api.encode import ProvenViews, encode_entry, encode_group
from ledgerd.api.errors import Context
from ledgerd.api.identity import Caller, current_caller
from ledgerd.api.paging import make_token, not_of_this_query, read_token, size_of_page
from ledgerd.api.tailing import StreamHandlers
from ledgerd.ledger.answers import At, FoundEntry, Part
from ledgerd.ledger.search import Clause, covers
from ledgerd.ledger.summary import Summary
from ledgerd.ledger.views import contracts_at, peer_at, transfer_at, unknown_transfer
from ledgerd.store.base import Snapshot
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import NotFoundError
from ledgerd_client.core.fields import DIGEST_SIZE, check_size
from ledgerd_client.core.transfer import check_contract_id

_HALF = frozenset((Part.HEADER, Part.BODY, Part.STANDING))
_WITHHELD = frozenset((Part.HEADER,))


class RegulatorHandlers(StreamHandlers):
    """For regulators. Every answer is as of a checkpoint, and put on record before it leaves."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._summing: dict[Caller, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ListEntries(
        self, request: pb.ListEntriesRequest, context: Context
    ) -> pb.ListEntriesResponse:
        asker = self.asker(current_caller())
        count, parts = size_of_page(request), read_parts(request.parts)
        asked = self.read(request.query, asker)
        token = read_token(request) if request.page_token else None
        at = await self._desk.settle(token.note if token else request.query.checkpoint)
        answers, in_thread = self._desk.answers, self._desk.in_thread
        search = await in_thread(answers.search, asked, at.size)
        start = token.start if token else None
        if start is not None and not search.first <= start < search.end:
            raise not_of_this_query()
        await self.record(asker, "ListEntries", request, at.size)
        page = await in_thread(answers.page, search, start, count, parts)
        return pb.ListEntriesResponse(
            entries=map(encode_entry, page.entries),
            next_page_token=make_token(request, page.next, at.note),
            checkpoint=at.note,
            as_of=at.as_of,
            range_proof=page.range_proof,
        )

    async def Summarize(
        self, request: pb.SummarizeRequest, context: Context
    ) -> pb.SummarizeResponse:
        """One at a time for each regulator: the next waits."""
        caller = current_caller()
        dimensions = read_dimensions(request.group_by)
        async with self._summing[caller]:
            asker = self.asker(caller)
            asked = self.read(request.query, asker)
            at = await self._desk.settle(request.query.checkpoint)
            search = await self._desk.in_thread(self._desk.answers.search, asked, at.size)
            await self.record(asker, "Summarize", request, at.size)
            summary = Summary(search, dimensions, tuple(grant_clauses(asker)))
            await self._sum_up(summary)
        groups = map(encode_group, summary.groups())
        return pb.SummarizeResponse(groups=groups, checkpoint=at.note, as_of=at.as_of)

    async def GetTransfer(
        self, request: pb.RegulatorServiceGetTransferRequest, context: Context
    ) -> pb.RegulatorServiceGetTransferResponse:
        asker = self.asker(current_caller())
        check_size("ref", request.ref, DIGEST_SIZE)
        at = await self._desk.settle(request.checkpoint)
        await self.record(asker, "GetTransfer", request, at.size)
        view = await self._desk.in_thread(self._view_transfer, request.ref, asker, at)
        return pb.RegulatorServiceGetTransferResponse(transfer=view, as_of=at.as_of)

    async def GetContract(
        self, request: pb.RegulatorServiceGetContractRequest, context: Context
    ) -> pb.RegulatorServiceGetContractResponse:
        asker = self.asker(current_caller())
        check_contract_id(request.contract_id)
        at = await self._desk.settle(request.checkpoint)
        await self.record(asker, "GetContract", request, at.size)
        views = await self._desk.in_thread(self._view_contracts, request.contract_id, asker, at)
        return pb.RegulatorServiceGetContractResponse(
            contracts=views, checkpoint=at.note, as_of=at.as_of
        )

    async def _sum_up(self, summary: Summary) -> None:
        start: int | None = None
        while True:
            # A thread, and a snapshot, for one stretch: others are answered in between.
            start = await self._desk.in_thread(self._count, summary, start)
            if start is None:
                return

    def _count(self, summary: Summary, start: int | None) -> int | None:
        with self._desk.answers.snapshot() as snapshot:
            return summary.take(snapshot, start)

    def _view_transfer(self, ref: bytes, asker: Asker, at: At) -> pb.TransferView:
        clauses = tuple(grant_clauses(asker))
        with self._desk.answers.snapshot() as snapshot:
            answer = transfer_at(snapshot, ref, at.size, at.note, clauses)
            own = [half.position for half in answer.halves if half.own]
            if clauses and not any(covers(snapshot, clauses, index) for index in own):
                # Word for word what a transfer that nobody knows gets.
                raise unknown_transfer(ref)
            return self._views(snapshot, clauses, at).transfer(ref, answer)

    def _view_contracts(self, contract_id: str, asker: Asker, at: At) -> list[pb.ContractView]:
        clauses = tuple(grant_clauses(asker))
        with self._desk.answers.snapshot() as snapshot:
            found = contracts_at(snapshot, contract_id, clauses, at.size)
            if not found:
                raise NotFoundError(f"no contract {contract_id!r} is known here")
            views = self._views(snapshot, clauses, at)
            shown = [views.contract(contract_id, answer) for _, answer in found]
        for view, (institution, _) in zip(shown, found, strict=True):
            view.institution, view.checkpoint = institution, at.note
        return shown

    def _views(self, snapshot: Snapshot, clauses: Sequence[Clause], at: At) -> ProvenViews:
        desk = self._desk

        def found(index: int) -> FoundEntry:
            shown = covers(snapshot, clauses, index)
            parts = _HALF if shown else _WITHHELD
            entry = desk.answers.entry(snapshot, index, at.size, parts)
            entry.withheld = not shown
            entry.proof = desk.answers.inclusion(snapshot, index, at.size)
            return entry

        return ProvenViews(
            desk.origin,
            desk.peer_origin,
            found,
            desk.replica,
            checkpoint=at.note,
            peers=peer_at(snapshot, at.size)[1],
        )
