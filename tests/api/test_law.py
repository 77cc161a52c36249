"""What an institution asks about the law: what a record would raise, its contracts, its findings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import pytest_asyncio
from builders import EXPORTER, HONG_KONG_PLACE, RECIPIENT, SHENZHEN
from ledger.world import World
from nodes import Client, Node, Side, make_sides, now, refused, serve

from ledgerd.api.identity import Caller, set_caller
from ledgerd.api.law import LawHandlers
from ledgerd.api.threads import InThread
from ledgerd.init import found
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import NODE
from ledgerd_client.core.errors import FieldError, ForbiddenError, NotFoundError, TooLargeError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.record import make_body, make_record_id
from ledgerd_client.identity import INSTITUTION

pytestmark = pytest.mark.asyncio(loop_scope="module")

NONE: Any = None


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Side]:
    """As for other tests, but contents are judged."""
    side, peer = make_sides(tmp_path_factory.mktemp("border"))
    side.configure(peer, law="newest")
    found(side.config, side.approve_genesis(peer), clock=now, random=os.urandom)
    return side, peer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(sides: tuple[Side, Side]) -> AsyncIterator[Node]:
    async with serve(*sides) as node:
        yield node


@pytest.fixture
def contract_id() -> str:
    """Of a contract that no other test knows."""
    return f"GBA-{os.urandom(8).hex()}"


def body(client: Client, **record: Any) -> bytes:
    return make_body(
        origin=client.node.side.origin,
        author=client.id,
        record_id=make_record_id(now(), os.urandom(10)),
        occurred_at=now(),
        salt=os.urandom(16),
        **record,
    )


def contract(client: Client, contract_id: str, **changes: Any) -> bytes:
    """A CONTRACT by its exporter, in effect, that no rule objects to; then changed."""
    peer = client.node.peer.origin
    terms: dict[str, Any] = {
        "exporter": body_pb2.Party(origin=client.node.side.origin, institution=client.id),
        "recipient": body_pb2.Party(origin=peer, institution=RECIPIENT),
        "nonce": os.urandom(16),
        "contract_id": contract_id,
        "document_digest": bytes(32),
        "mechanism": 1,
        "direction": 1,
        "exporter_place": SHENZHEN,
        "recipient_place": HONG_KONG_PLACE,
        "exporter_sector": 1,
        "recipient_sector": 1,
        "exporter_role": 1,
        "recipient_role": 1,
        "signed_on": 20260101,
        "effective_on": 20260101,
        "purposes": [2, 7],
        "categories": [1, 7],
        "subject_types": [1],
        "planned_scale": 5000,
        "retention_days": 365,
        "storage_places": [HONG_KONG_PLACE],
        "transmissions": [1],
    }
    encoded = body_pb2.ContractTerms(**{**terms, **changes}).SerializeToString(deterministic=True)
    return body(client, contract=body_pb2.Contract(terms=encoded))


async def check(client: Client, *bodies: bytes) -> pb.CheckResponse:
    return await client.ledger.Check(pb.CheckRequest(bodies=bodies))


def rules(outcome: pb.CheckOutcome) -> set[str]:
    """The rules of the findings that a record would open."""
    found = [body_pb2.Finding.FromString(finding) for finding in outcome.findings]
    return {finding.rule for finding in found if not finding.closed}


async def size(client: Client) -> int:
    return (await client.ledger.GetInfo(pb.GetInfoRequest())).size


class TestCheck:
    async def test_says_which_findings_a_record_would_raise(
        self, exporter: Client, contract_id: str
    ) -> None:
        record = exporter.transfer(contract_id=contract_id)
        reply = await check(exporter, record.body)
        assert "K3.unknown_contract" in rules(reply.outcomes[0])

    async def test_says_what_is_found_when_the_record_is_appended(
        self, exporter: Client, contract_id: str
    ) -> None:
        record = exporter.transfer(contract_id=contract_id)
        foretold = rules((await check(exporter, record.body)).outcomes[0])
        index = await exporter.place(record)
        assert {one.rule for one in await findings(exporter) if one.index > index} == foretold

    async def test_stores_nothing(self, exporter: Client, contract_id: str) -> None:
        before = await size(exporter)
        reply = await check(exporter, exporter.transfer(contract_id=contract_id).body)
        assert (reply.size, await size(exporter)) == (before, before)

    async def test_judges_each_as_if_those_before_it_stood_in_the_log(
        self, exporter: Client, contract_id: str
    ) -> None:
        transfer = exporter.transfer(contract_id=contract_id).body
        reply = await check(exporter, contract(exporter, contract_id), transfer)
        assert "K3.unknown_contract" not in rules(reply.outcomes[1])
        assert "K5.no_pipia" in rules(reply.outcomes[1])

    async def test_refuses_a_malformed_record_alone(
        self, exporter: Client, contract_id: str
    ) -> None:
        bad = contract(exporter, contract_id, effective_on=20260230)
        reply = await check(exporter, bad, contract(exporter, contract_id))
        assert [outcome.refused.reason for outcome in reply.outcomes] == ["FIELD_OUT_OF_RANGE", ""]

    async def test_refuses_a_record_by_somebody_else(
        self, exporter: Client, other: Client, contract_id: str
    ) -> None:
        reply = await check(other, contract(exporter, contract_id))
        assert reply.outcomes[0].refused.reason == "WRONG_AUTHOR"

    @pytest.mark.parametrize("count", [0, 101])
    async def test_is_of_1_to_100_records(self, exporter: Client, count: int) -> None:
        assert isinstance(await refused(check(exporter, *[b"body"] * count)), FieldError)

    async def test_is_of_at_most_1_mib(self, exporter: Client) -> None:
        bodies = [bytes(1 << 19), bytes(1 << 19), b"a"]
        assert isinstance(await refused(check(exporter, *bodies)), TooLargeError)


async def view(client: Client, contract_id: str) -> pb.ContractView:
    reply = await client.ledger.GetContract(pb.GetContractRequest(contract_id=contract_id))
    return reply.contract


class TestAContract:
    async def test_is_shown_with_its_state_and_what_was_stated(
        self, exporter: Client, contract_id: str
    ) -> None:
        stated = contract(exporter, contract_id)
        index = await exporter.place(exporter.sign(stated))
        seen = await view(exporter, contract_id)
        assert (seen.state, seen.terms) == (
            "open", body_pb2.Body.FromString(stated).contract.terms,
        )  # fmt: skip
        assert [(one.outcome, one.own, one.peer) for one in seen.statements] == [(1, index + 1, 0)]
        assert [half.index for half in seen.halves] == [index]

    async def test_shows_how_many_persons_went_and_when_the_first(
        self, exporter: Client, contract_id: str
    ) -> None:
        await exporter.place(exporter.sign(contract(exporter, contract_id)))
        await exporter.place(exporter.transfer(contract_id=contract_id))
        seen = await view(exporter, contract_id)
        assert (seen.subjects, seen.first_transfer_on > 20260101) == (300, True)

    async def test_that_only_transfers_name_is_unknown(
        self, exporter: Client, contract_id: str
    ) -> None:
        await exporter.place(exporter.transfer(contract_id=contract_id))
        seen = await view(exporter, contract_id)
        assert (seen.state, len(seen.halves)) == ("unknown", 0)

    async def test_of_somebody_else_reads_as_if_there_were_none(
        self, exporter: Client, other: Client, contract_id: str
    ) -> None:
        await exporter.place(exporter.sign(contract(exporter, contract_id)))
        hidden = await refused(view(other, contract_id))
        absent = await refused(view(other, "NOBODY"))
        assert (type(hidden), hidden.message) == (
            NotFoundError, absent.message.replace("NOBODY", contract_id),
        )  # fmt: skip

    @pytest.mark.parametrize("name", ["", "a" * 65])
    async def test_without_a_name_that_could_be_one_is_refused(
        self, exporter: Client, name: str
    ) -> None:
        assert isinstance(await refused(view(exporter, name)), FieldError)


class Found:
    """A FINDING entry as a client reads it."""

    def __init__(self, entry: pb.FindingEntry) -> None:
        finding = body_pb2.Body.FromString(entry.body).finding
        self.index, self.closed_by = entry.index, entry.closed_by
        self.closed_at = entry.closed_at
        self.rule, self.contract_id = finding.rule, finding.contract_id
        self.institution, self.closed = finding.institution, finding.closed
        self.header = Header.parse(entry.header)


async def findings(client: Client, **query: Any) -> list[Found]:
    """All pages."""
    read: list[Found] = []
    token = b""
    while True:
        request = pb.ListFindingsRequest(page_token=token, **query)
        reply = await client.ledger.ListFindings(request)
        read += map(Found, reply.findings)
        if not (token := reply.next_page_token):
            return read


async def raise_one(client: Client, contract_id: str) -> int:
    """Place a transfer under a contract that nobody stated; the index of the finding on it."""
    index = await client.place(client.transfer(contract_id=contract_id))
    return next(one.index for one in await findings(client) if one.index > index)


class TestFindings:
    async def test_are_listed_in_log_order_with_header_and_body(
        self, exporter: Client, contract_id: str
    ) -> None:
        index = await raise_one(exporter, contract_id)
        listed = await findings(exporter)
        one = next(one for one in listed if one.index == index)
        assert [one.index for one in listed] == sorted(one.index for one in listed)
        assert (one.header.index, one.header.kind, one.contract_id, one.institution) == (
            index, Kind.NODE, contract_id, exporter.id,
        )  # fmt: skip

    async def test_come_in_pages_that_follow_each_other(
        self, exporter: Client, contract_id: str
    ) -> None:
        await raise_one(exporter, contract_id)
        await raise_one(exporter, contract_id + "2")
        one_by_one = await findings(exporter, page_size=1)
        assert [one.index for one in one_by_one] == [one.index for one in await findings(exporter)]

    async def test_that_closed_name_what_closed_them(
        self, exporter: Client, contract_id: str
    ) -> None:
        opened = await raise_one(exporter, contract_id)
        await exporter.place(exporter.sign(contract(exporter, contract_id)))
        listed = {one.index: one for one in await findings(exporter)}
        found = listed[opened]
        request = pb.GetEntryRequest(index=found.closed_by)
        entry = await exporter.ledger.GetEntry(request)
        closing = body_pb2.Body.FromString(entry.body).finding
        assert (closing.closed, closing.rule) == (True, found.rule)
        assert found.closed_at == Header.parse(entry.receipt.header).recorded_at

    async def test_are_listed_once_each(self, exporter: Client, contract_id: str) -> None:
        await raise_one(exporter, contract_id)
        await exporter.place(exporter.sign(contract(exporter, contract_id)))
        assert not [one for one in await findings(exporter) if one.closed]

    async def test_that_closed_are_left_out_when_those_that_stand_are_asked_for(
        self, exporter: Client, contract_id: str
    ) -> None:
        opened = await raise_one(exporter, contract_id)
        await exporter.place(exporter.sign(contract(exporter, contract_id)))
        standing = await findings(exporter, open_only=True)
        assert opened not in [one.index for one in standing]
        assert not [one for one in standing if one.closed or one.closed_by]

    async def test_of_somebody_else_are_not_listed(
        self, exporter: Client, other: Client, contract_id: str
    ) -> None:
        index = await raise_one(exporter, contract_id)
        assert index not in [one.index for one in await findings(other)]

    async def test_of_somebody_else_show_their_header_alone(
        self, exporter: Client, other: Client, contract_id: str
    ) -> None:
        request = pb.GetEntryRequest(index=await raise_one(exporter, contract_id))
        ours = await exporter.ledger.GetEntry(request)
        theirs = await other.ledger.GetEntry(request)
        assert body_pb2.Body.FromString(ours.body).author == NODE
        assert theirs.body == b""

    async def test_of_too_many_at_once_are_refused(self, exporter: Client) -> None:
        error = await refused(exporter.ledger.ListFindings(pb.ListFindingsRequest(page_size=501)))
        assert isinstance(error, FieldError)

    async def test_by_a_token_of_another_query_are_refused(
        self, exporter: Client, contract_id: str
    ) -> None:
        await raise_one(exporter, contract_id)
        await raise_one(exporter, contract_id + "2")
        first = await exporter.ledger.ListFindings(pb.ListFindingsRequest(page_size=1))
        request = pb.ListFindingsRequest(
            page_size=1, open_only=True, page_token=first.next_page_token
        )
        error = await refused(exporter.ledger.ListFindings(request))
        assert error.reason == "BAD_PAGE_TOKEN"


class TestATail:
    async def test_sends_what_is_there_and_what_comes(
        self, exporter: Client, contract_id: str
    ) -> None:
        there = await raise_one(exporter, contract_id)
        tail = exporter.ledger.TailFindings(pb.TailFindingsRequest(**{"from": there}))
        replies = aiter(tail)
        first = await anext(replies)
        await exporter.place(exporter.transfer(contract_id=contract_id + "2"))
        async with asyncio.timeout(30):
            while Found((await anext(replies)).finding).contract_id != contract_id + "2":
                pass
        tail.cancel()
        assert (first.finding.index, first.size) == (there, there + 1)

    async def test_of_one_caller_are_few(self, exporter: Client) -> None:
        request = pb.TailFindingsRequest()
        tails = [exporter.ledger.TailFindings(request) for _ in range(4)]
        for tail in tails:
            await anext(aiter(tail))
        error = await refused(anext(aiter(exporter.ledger.TailFindings(request))))
        for tail in tails:
            tail.cancel()
        assert (error.reason, error.retryable) == ("TOO_MANY_TAILS", True)

    async def test_ends_when_the_node_stops(self) -> None:
        reader = World().mainland.reader
        set_caller(Caller(INSTITUTION, EXPORTER))
        with ThreadPoolExecutor(1) as pool:
            handlers = LawHandlers(reader, NONE, NONE, InThread(pool))
            tail = handlers.TailFindings(pb.TailFindingsRequest(), NONE)
            waiting = asyncio.ensure_future(anext(tail, None))
            await asyncio.wait((waiting,), timeout=0)
            handlers.end_tails()
            async with asyncio.timeout(30):
                assert await waiting is None


class TestErasure:
    async def test_of_a_young_record_is_not_allowed(
        self, node: Node, exporter: Client, contract_id: str
    ) -> None:
        index = await exporter.place(exporter.transfer(contract_id=contract_id))
        request = pb.CheckErasureRequest(index=index)
        reply = await node.operator.admin.CheckErasure(request)
        assert (reply.allowed, reply.reason) == (False, "RETENTION")

    async def test_of_no_entry_is_not_found(self, node: Node) -> None:
        request = pb.CheckErasureRequest(index=10**9)
        error = await refused(node.operator.admin.CheckErasure(request))
        assert isinstance(error, NotFoundError)

    async def test_is_no_institutions_business(self, exporter: Client) -> None:
        error = await refused(exporter.admin.CheckErasure(pb.CheckErasureRequest()))
        assert isinstance(error, ForbiddenError)
