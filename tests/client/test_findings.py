"""Findings: one for each in a transfer's view, and as entries that the node signed in a list."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from builders import MAINLAND, new_body
from client.sdk import Detour, World

from ledgerd_client import FindingEntry, LedgerClient, UnavailableError, VerificationError
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._results import Finding
from ledgerd_client._shown import to_transfer
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.header import Header, header_bytes
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.record import sign_admitted

REF = bytes(32)
ONE, OTHER = b"1" * 32, b"2" * 32


def finding(finding_id: bytes, **fields: Any) -> bytes:
    records = [body_pb2.RecordRef(origin=MAINLAND, index=7)]
    said = {"rule": "K15.mismatch", "ref": REF} | fields
    entry = body_pb2.Finding(finding_id=finding_id, records=records, **said)
    return new_body(MAINLAND, "node", finding=entry)


def opened(finding_id: bytes) -> bytes:
    return finding(finding_id, severity=body_pb2.SEVERITY_HIGH)


def closed(finding_id: bytes) -> bytes:
    return finding(finding_id, closed=True)


def shown(*entries: bytes) -> list[Finding]:
    view = pb.TransferView(ref=REF, state="matched", findings=entries)
    return list(to_transfer(REF, view).findings)


def a_finding(finding_id: bytes, *, closed: bool) -> Finding:
    return Finding(finding_id, "K15.mismatch", 3, ((MAINLAND, 7),), closed, REF)


def test_an_open_one_is_shown_as_it_was_opened() -> None:
    assert shown(opened(ONE)) == [a_finding(ONE, closed=False)]


def test_a_cured_one_is_shown_once_with_the_severity_that_it_had() -> None:
    assert shown(opened(ONE), closed(ONE)) == [a_finding(ONE, closed=True)]


def test_one_that_was_opened_again_is_open() -> None:
    assert shown(opened(ONE), closed(ONE), opened(ONE)) == [a_finding(ONE, closed=False)]


def test_each_has_a_state_of_its_own() -> None:
    assert shown(opened(ONE), opened(OTHER), closed(ONE)) == [
        a_finding(ONE, closed=True),
        a_finding(OTHER, closed=False),
    ]


class TestListed:
    """What is listed is an entry that the node signed, or the list is not believed."""

    async def test_a_finding_is_listed_with_its_place(self, listing: Listing) -> None:
        listing.add(opened(ONE))
        assert [(entry.index, entry.finding.finding_id) for entry in await listing.read()] == [
            (listing.first, ONE)
        ]

    async def test_numbers_are_named_by_their_rule(self, listing: Listing) -> None:
        overdue = {"rule": "K4.overdue", "numbers": [20260227], "contract_id": "C-1"}
        listing.add(finding(ONE, **overdue))
        (entry,) = await listing.read()
        assert (entry.finding.numbers, entry.finding.contract_id) == (
            {"deadline_on": 20260227}, "C-1",
        )  # fmt: skip

    async def test_of_a_rule_that_is_not_known_they_are_counted(self, listing: Listing) -> None:
        listing.add(finding(ONE, rule="K99.new", numbers=[7, 8]))
        (entry,) = await listing.read()
        assert entry.finding.numbers == {"0": 7, "1": 8}

    async def test_a_list_may_have_pages(self, listing: Listing) -> None:
        for name in (ONE, OTHER):
            listing.add(opened(name))
        assert [entry.finding.finding_id for entry in await listing.read(page=1)] == [ONE, OTHER]

    async def test_a_tail_begins_where_it_is_asked_to(self, listing: Listing) -> None:
        for name in (ONE, OTHER):
            listing.add(opened(name))
        async with listing.client() as ledger:
            tail = ledger.tail_findings(listing.first + 1)
            assert (await anext(tail)).finding.finding_id == OTHER
            await tail.aclose()

    async def test_a_tail_goes_on_when_the_node_was_away(self, listing: Listing) -> None:
        listing.add(opened(ONE))
        async with listing.client() as ledger:
            tail = ledger.tail_findings()
            await anext(tail)
            listing.add(opened(OTHER))
            listing.failures = 2
            found = await listing.world.time.finish(anext(tail))
            await tail.aclose()
        assert found.finding.finding_id == OTHER

    async def test_one_that_another_key_signed_is_not_believed(self, listing: Listing) -> None:
        listing.add(opened(ONE), key=SigningKey(os.urandom(32)))
        with pytest.raises(VerificationError):
            await listing.read()

    async def test_one_at_another_place_is_not_believed(self, listing: Listing) -> None:
        listing.add(opened(ONE))
        listing.entries[0].index += 1
        with pytest.raises(VerificationError):
            await listing.read()

    async def test_one_with_another_body_is_not_believed(self, listing: Listing) -> None:
        listing.add(opened(ONE))
        listing.entries[0].body = opened(OTHER)
        with pytest.raises(VerificationError):
            await listing.read()


class Listing:
    """The Mainland's node of a world, which also has findings."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.entries: list[pb.FindingEntry] = []
        self.failures = 0
        self.first = world.mainland.log.size
        self._page = 500

    def add(self, body: bytes, *, key: SigningKey | None = None) -> None:
        log = self.world.mainland.log
        item = sign_admitted(named(body, log.origin), key or log._entry_key, key_index=0)
        raw = header_bytes(log.size, log.last_time, bytes(32), item.tail)
        log.add(Header.parse(raw), item.body)
        self.entries.append(pb.FindingEntry(index=log.size - 1, header=raw, body=item.body))

    async def read(self, *, page: int = 500) -> list[FindingEntry]:
        self._page = page
        async with self.client() as ledger:
            return [entry async for entry in ledger.findings()]

    def client(self) -> LedgerClient:
        return self.world.client(transport=Findings(self))

    def after(self, token: bytes) -> pb.ListFindingsResponse:
        start = int(token or b"0")
        entries = self.entries[start : start + self._page]
        end = start + len(entries)
        return pb.ListFindingsResponse(
            findings=entries,
            next_page_token=b"%d" % end if end < len(self.entries) else b"",
            checkpoint=self.world.mainland.log.checkpoint(),
        )


class Findings(Detour):
    """A way to a node in memory that lists findings."""

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing.world.way())
        self._listing = listing

    async def list_findings(self, request: pb.ListFindingsRequest) -> pb.ListFindingsResponse:
        return self._listing.after(request.page_token)

    async def tail_findings(
        self, request: pb.TailFindingsRequest
    ) -> AsyncIterator[pb.TailFindingsResponse]:
        if self._listing.failures:
            self._listing.failures -= 1
            raise UnavailableError("the node is down")
        start = getattr(request, "from")
        for entry in self._listing.entries:
            if entry.index >= start:
                yield pb.TailFindingsResponse(finding=entry, size=entry.index + 1)


def named(body: bytes, origin: str) -> bytes:
    """The same body for another log."""
    parsed = body_pb2.Body.FromString(body)
    parsed.origin = origin
    return encode_message(parsed)


@pytest.fixture
def listing(world: World) -> Listing:
    return Listing(world)
