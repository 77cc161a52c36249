"""
What an institution may rely on when it records contracts, whichever node it talks to.

Runs against every node of conftest.judging_factories. A node in memory does not judge, so what is
found is tested where a node does, in test_judging.py.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from client.contract import NodeUnderTest
from client.contracts import a_contract, events
from client.sdk import EXPORTER, RECIPIENT, STATEMENT

from ledgerd_client import (
    Contract,
    ForbiddenError,
    LedgerClient,
    NotFoundError,
    Settings,
    Supplement,
)
from ledgerd_client._proto import service_pb2 as pb


@pytest.fixture
def node(judging_node: NodeUnderTest) -> NodeUnderTest:
    return judging_node


@pytest.fixture
def exporter(node: NodeUnderTest) -> Settings:
    return node.enrol(EXPORTER)


@pytest.fixture
def recipient(node: NodeUnderTest) -> Settings:
    return node.peer.enrol(RECIPIENT)


@pytest.fixture
def contract(exporter: Settings, recipient: Settings) -> Contract:
    """A new one: tests share the nodes."""
    contract_id = f"GBA-SC-{os.urandom(4).hex()}"
    return a_contract(exporter.origin, recipient.origin, contract_id=contract_id)


def open_client(node: NodeUnderTest, settings: Settings) -> LedgerClient:
    return LedgerClient(settings, transport=node.transport(settings))


async def settle(node: NodeUnderTest) -> None:
    """Return when both sides know all that is in the logs now."""
    await node.settle()
    await node.peer.settle()


class TestContracts:
    async def test_what_both_parties_record_alike_is_agreed_on_both_sides(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings, contract: Contract
    ) -> None:
        async with open_client(node, exporter) as ours, open_client(node.peer, recipient) as theirs:
            await ours.record(contract)
            await theirs.record(Contract.parse(contract.file()))
            await settle(node)
            views = [await ledger.contract(contract.contract_id) for ledger in (ours, theirs)]
        assert [(view.state, len(view.halves)) for view in views] == [("agreed", 2)] * 2

    async def test_what_they_record_otherwise_differs(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings, contract: Contract
    ) -> None:
        async with open_client(node, exporter) as ours, open_client(node.peer, recipient) as theirs:
            await ours.record(contract)
            await theirs.record(replace(contract, retention_days=366))
            await settle(node)
            view = await ours.contract(contract.contract_id)
        assert [(one.outcome, one.state) for one in view.statements] == [(1, "differs")]

    async def test_what_only_one_has_recorded_is_open(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings, contract: Contract
    ) -> None:
        async with open_client(node, exporter) as ledger:
            recorded = await ledger.record(contract)
            view = await ledger.contract(contract.contract_id)
        assert (view.state, view.ref, view.statements[0].own) == (
            "open", recorded.ref, recorded.index,
        )  # fmt: skip

    async def test_its_terms_are_the_newest_version(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings, contract: Contract
    ) -> None:
        amended = contract.amended(planned_scale=200_000, document=bytes(32))
        async with open_client(node, exporter) as ledger:
            await ledger.record(contract)
            await ledger.record(Supplement(contract=amended))
            assert (await ledger.contract(contract.contract_id)).terms == amended.file()

    async def test_everything_that_can_be_recorded_of_it_is(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings, contract: Contract
    ) -> None:
        async with open_client(node, exporter) as ledger:
            recorded = [await ledger.record(what) for what in (contract, *events(contract))]
        assert {one.status for one in recorded} == {"recorded"}

    async def test_a_contract_that_was_not_recorded_is_not_found(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            with pytest.raises(NotFoundError):
                await ledger.contract("GBA-SC-0000")

    async def test_a_third_institution_records_nothing_of_it(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings, contract: Contract
    ) -> None:
        async with open_client(node, node.enrol("uscc.OTHER")) as ledger:
            with pytest.raises(ForbiddenError):
                await ledger.record(contract)


class TestChecking:
    async def test_nothing_is_stored(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings, contract: Contract
    ) -> None:
        async with open_client(node, exporter) as ledger:
            assert await ledger.check(contract, *events(contract)) is not None
            with pytest.raises(NotFoundError):
                await ledger.contract(contract.contract_id)

    async def test_each_record_has_an_answer_of_its_own(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings, contract: Contract
    ) -> None:
        async with open_client(node, exporter) as ledger:
            assert len(await ledger.check(contract, Supplement(contract=contract.amended()))) == 2

    async def test_a_transfer_can_be_checked_before_it_is_declared(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            assert isinstance(await ledger.check_transfer(**STATEMENT), tuple)

    async def test_what_would_be_refused_is_said(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        body = b"no body"
        way = node.transport(exporter)
        (outcome,) = (await way.check(pb.CheckRequest(bodies=[body]))).outcomes
        assert outcome.refused.reason == "MALFORMED"
