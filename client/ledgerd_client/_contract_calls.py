"""The calls of a client that are about contracts and findings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Unpack

from ledgerd_client._connection import Connection
from ledgerd_client._drafts import NO_PAYLOAD, draft_record, draft_transfer
from ledgerd_client._results import ContractView, Finding, FindingEntry, Recorded
from ledgerd_client._session import IfUnreachable
from ledgerd_client._terms import Statement, make_terms
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.events import Recordable

# How long to wait until a tail that ended with nothing new is asked for again.
_REST_S = 2.0


class ContractCalls(Connection):
    """See client.LedgerClient, of which these are a part."""

    async def record(
        self,
        what: Recordable,
        *,
        occurred_at: datetime | None = None,
        caller_ref: str | None = None,
        if_unreachable: IfUnreachable = "raise",
    ) -> Recorded:
        """
        Record something of a contract (contracts.py, events.py), or a half of a transfer anew.

        A lapse that it shows keeps nothing from being recorded: it raises a finding.
        """
        session = self._opened()
        how = self._how(occurred_at, caller_ref, if_unreachable)
        # Its digests may be of files.
        draft = await asyncio.to_thread(draft_record, what)
        row, receipt = await session.submit(how, draft)
        return Recorded(row.record_id, row.ref, receipt)

    async def check(self, *what: Recordable) -> list[tuple[Finding, ...]]:
        """
        The findings that each of these would open or close, recorded now; nothing is stored.

        At most 100; each is judged as if those before it were recorded. It is the node's word, and
        as of now: the other side's log, and time, go on. Raises what one would be refused for.
        """
        session = self._opened()
        drafts = [await asyncio.to_thread(draft_record, one) for one in what]
        return await session.check(drafts)

    async def check_transfer(self, **statement: Unpack[Statement]) -> tuple[Finding, ...]:
        """As check, of a transfer before it is declared; its payload does not matter."""
        session = self._opened()
        terms = make_terms(session.us, await session.peer_origin(), statement)
        draft = draft_transfer(terms, NO_PAYLOAD)
        return (await session.check([draft]))[0]

    async def contract(self, contract_id: str) -> ContractView:
        """
        A contract of ours as the node sees it: what both sides stated of it, and what stands.

        The signatures of the halves are verified; all else is the node's word.
        """
        return await self._opened().view.contract(contract_id)

    async def findings(self, *, open_only: bool = True) -> AsyncGenerator[FindingEntry, None]:
        """
        The findings that stand and concern us, oldest first; all that ever did if not open_only.

        Each comes once, verified as an entry that the node signed. That none is missing, and what
        closed one and when, is the node's word.
        """
        async for entry in self._opened().view.findings(open_only=open_only):
            yield entry

    async def tail_findings(self, start: int = 0) -> AsyncGenerator[FindingEntry, None]:
        """
        The findings that concern us, from index start on, and then as they come, without end.

        Closings too. Goes on by itself when the node was away; raises what else is in the way.
        """
        failures = 0
        while True:
            began = start
            try:
                async for found in self._opened().view.tail_findings(start):
                    failures = 0
                    if isinstance(found, FindingEntry):
                        start = found.index + 1
                        yield found
                    else:
                        start = max(start, found)
            except UnavailableError as error:
                failures += 1
                await self._time.sleep(self._time.backoff_s(failures, error))
            else:
                if start == began:
                    await self._time.sleep(_REST_S)
