"""
The part of LedgerService that speaks of the law: what a record would raise, contracts, findings.

Each institution sees its own alone. A contract's other half, and whatever the peer found, is shown
as far as headers tell.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from time import monotonic

from ledgerd.api.encode import Views, encode_finding
from ledgerd.api.errors import Context
from ledgerd.api.identity import Caller, current_caller
from ledgerd.api.paging import make_token, read_token, size_of_page
from ledgerd.api.threads import InThread
from ledgerd.ledger.checker import Checker
from ledgerd.ledger.reader import Reader
from ledgerd_client._proto import body_pb2, service_pb2_grpc
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import BusyError, FieldError, LedgerError, TooLargeError
from ledgerd_client.core.transfer import check_contract_id

# Of one call of Check.
MAX_BODIES = 100
MAX_BODIES_BYTES = 1 << 20
# How long one tail lasts; its caller goes on from where it got to.
TAIL_S = 300
_LOOK_EVERY_S = 1.0
_SIGN_OF_LIFE_S = 10.0
_TAIL_PAGE = 100
_TAILS_OF_ONE = 4


class LawHandlers(service_pb2_grpc.LedgerServiceServicer):
    """For institutions."""

    def __init__(self, reader: Reader, checker: Checker, views: Views, in_thread: InThread) -> None:
        self._reader = reader
        self._checker = checker
        self._views = views
        self._in_thread = in_thread
        self._tails: Counter[Caller] = Counter()
        self._stopping = asyncio.Event()

    def end_tails(self) -> None:
        """Let the streams that are under way end; none begins after this."""
        self._stopping.set()

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
        if self._tails[caller] >= _TAILS_OF_ONE:
            raise BusyError("too many tails at once", reason="TOO_MANY_TAILS")
        self._tails[caller] += 1
        try:
            async for reply in self._tail(caller, getattr(request, "from")):
                yield reply
        finally:
            self._tails[caller] -= 1

    async def _tail(
        self, caller: Caller, start: int
    ) -> AsyncGenerator[pb.TailFindingsResponse, None]:
        began = heard = monotonic()
        while monotonic() < began + TAIL_S and not self._stopping.is_set():
            page = await self._in_thread(self._reader.new_findings, caller.id, start, _TAIL_PAGE)
            for found in page.findings:
                yield pb.TailFindingsResponse(finding=encode_finding(found), size=found.index + 1)
            start = max(start, page.size) if page.next is None else page.next
            if page.findings:
                heard = monotonic()
            elif monotonic() >= heard + _SIGN_OF_LIFE_S:
                heard = monotonic()
                yield pb.TailFindingsResponse(size=start)
            if page.next is None:
                await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _LOOK_EVERY_S)

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
