"""A node's log as far as it speaks of contracts and findings, verified as in _view."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._results import ContractView, Finding, FindingEntry
from ledgerd_client._shown import to_checked, to_contract, to_finding_entry
from ledgerd_client._values import make
from ledgerd_client._view import LogView
from ledgerd_client.core.errors import LedgerError, VerificationError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.opening import open_log_checkpoint

# Of findings; a node gives at most 500 at once.
_PAGE = 500


class LawView(LogView):
    """A LogView of contracts and findings, too."""

    async def contract(self, contract_id: str) -> ContractView:
        """The node's view of a contract; ContractView says what of it is proven."""
        floor = await self._shown()
        request = make(pb.GetContractRequest, contract_id=contract_id)
        response = await self._transport.get_contract(request)

        def check(history: KeyHistory) -> ContractView:
            open_log_checkpoint(response.contract.checkpoint, history)
            return to_contract(contract_id, response.contract)

        view = await self._judge(check)
        await self._check_halves(view.halves)
        await self._believe(view.checkpoint, floor)
        return view

    async def check(self, bodies: Sequence[bytes]) -> list[tuple[Finding, ...]]:
        """The findings that each of some bodies would raise; raises what one is refused for."""
        await self._shown()
        response = await self._transport.check(pb.CheckRequest(bodies=bodies))
        if len(response.outcomes) != len(bodies):
            raise VerificationError("the reply has not one outcome for each record")
        checked = await self._judge(lambda _: [to_checked(one) for one in response.outcomes])
        findings = []
        for outcome in checked:
            if isinstance(outcome, LedgerError):
                raise outcome
            findings.append(outcome)
        return findings

    async def findings(self, *, open_only: bool) -> AsyncGenerator[FindingEntry, None]:
        """The findings that concern us, in log order; each is verified as the node's."""
        token = b""
        while True:
            floor = await self._shown()
            request = pb.ListFindingsRequest(open_only=open_only, page_size=_PAGE, page_token=token)
            page = await self._transport.list_findings(request)
            entries = await self._judge(partial(_check_page, page))
            await self._believe(page.checkpoint, floor)
            for entry in entries:
                yield entry
            token = page.next_page_token
            if not token:
                return

    async def tail_findings(self, start: int) -> AsyncGenerator[FindingEntry | int, None]:
        """
        Findings from an index on as they come, until the node ends the call.

        Between them how many entries have been looked at.
        """
        await self._shown()
        request = make(pb.TailFindingsRequest, **{"from": start})
        async for response in self._transport.tail_findings(request):
            if response.HasField("finding"):
                yield await self._judge(partial(to_finding_entry, response.finding))
            yield response.size


def _check_page(page: pb.ListFindingsResponse, history: KeyHistory) -> list[FindingEntry]:
    open_log_checkpoint(page.checkpoint, history)
    return [to_finding_entry(entry, history) for entry in page.findings]
