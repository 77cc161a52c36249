"""
The part of LedgerService that speaks of the law: what a record would raise, contracts, findings.

Each institution sees its own alone. A contract's other half, and whatever the peer found, is shown
as far as headers tell.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from ledgerd.api.encode import Views, encode_finding
from ledgerd.api.errors import Context
from ledgerd.api.identity import current_caller
from ledgerd.api.paging import make_token, read_token, size_of_page
from ledgerd.api.streams import TAIL_PAGE, Batch, Streams
from ledgerd.api.threads import InThread
from ledgerd.ledger.checker import Checker
from ledgerd.ledger.reader import Reader
from ledgerd_client._proto import body_pb2, service_pb2_grpc
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import FieldError, LedgerError, TooLargeError
from ledgerd_client.core.transfer import check_contract_id

# Of one call of Check.
MAX_BODIES = 100
MAX_BODIES_BYTES = 1 << 20


class LawHandlers(service_pb2_grpc.LedgerServiceServicer):
    """For institutions."""

    def __init__(self, reader: Reader, checker: Checker, views: Views, in_thread: InThread) -> None:
        self._reader = reader
        self._checker = checker
        self._views = views
        self._in_thread = in_thread
        self._streams = Streams()

    def end_tails(self) -> None:
        """Let the streams that are under way end; none begins after this."""
        self._streams.end()

    async def Check(self, request: pb.CheckRequest, context: Context) -> pb.CheckResponse:
        bodies = list(request.bodies)
        if not 1 <= len(bodies) <= MAX_BODIES:
            raise FieldError(f"a check is of 1 to {MAX_BODIES} bodies, not {len(bodies)}")
        if sum(map(len, bodies)) > MAX_BODIES_BYTES:
            raise TooLargeError(f"the bodies of a check have at most {MAX_BODIES_BYTES} bytes")
        return await self._in_thread(self._check, bodies, current_caller().id)

    async def GetContract(
        self, request: pb.GetContractRequest, context: Context
    ) -> pb.GetContractResponse:
        check_contract_id(request.contract_id)
        caller = current_caller()
        return await self._in_thread(self._view_contract, caller.id, request.contract_id)

    async def ListFindings(
        self, request: pb.ListFindingsRequest, context: Context
    ) -> pb.ListFindingsResponse:
        count = size_of_page(request)
        start = read_token(request).start if request.page_token else 0
        look = partial(self._reader.findings_of, open_only=request.open_only)
        page = await self._in_thread(look, current_caller().id, start, count)
        return pb.ListFindingsResponse(
            findings=map(encode_finding, page.findings),
            next_page_token=make_token(request, page.next),
            checkpoint=page.checkpoint,
        )

    async def TailFindings(
        self, request: pb.TailFindingsRequest, context: Context
    ) -> AsyncGenerator[pb.TailFindingsResponse, None]:
        """Ends after TAIL_S, and when the node stops."""
        caller = current_caller()

        async def look(start: int) -> Batch[pb.TailFindingsResponse]:
            page = await self._in_thread(self._reader.new_findings, caller.id, start, TAIL_PAGE)
            replies = (
                pb.TailFindingsResponse(finding=encode_finding(found), size=found.index + 1)
                for found in page.findings
            )
            start = max(start, page.size) if page.next is None else page.next
            return Batch(replies, start, page.next is not None)

        tail = self._streams.tail(
            look, getattr(request, "from"), lambda size: pb.TailFindingsResponse(size=size)
        )
        with self._streams.one(caller):
            async with aclosing(tail):
                async for reply in tail:
                    yield reply

    def _view_contract(self, institution: str, contract_id: str) -> pb.GetContractResponse:
        answer = self._reader.contract(institution, contract_id)
        return pb.GetContractResponse(contract=self._views.contract(contract_id, answer))

    def _check(self, bodies: list[bytes], author: str) -> pb.CheckResponse:
        # Before: the log held at least this much when they were judged.
        size = self._reader.head().size
        judged = self._checker.check(bodies, author)
        return pb.CheckResponse(outcomes=map(_outcome, judged), size=size)


def _outcome(judged: list[body_pb2.Finding] | LedgerError) -> pb.CheckOutcome:
    if isinstance(judged, LedgerError):
        return pb.CheckOutcome(refused=pb.Refusal(reason=judged.reason, message=judged.message))
    return pb.CheckOutcome(findings=map(encode_message, judged))
