"""What an institution sees of a node that judges: findings before, as they come, and cured."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from importlib.util import find_spec

import pytest
from client.contract import NodeUnderTest
from client.contracts import a_contract
from client.sdk import EXPORTER, PAYLOAD, RECIPIENT, STATEMENT

from ledgerd_client import Catalogue, Contract, LedgerClient, Settings

pytestmark = pytest.mark.skipif(find_spec("ledgerd") is None, reason="the SDK is tested alone")


@pytest.fixture
def node(judging_daemon: NodeUnderTest) -> NodeUnderTest:
    return judging_daemon


@pytest.fixture
def exporter(node: NodeUnderTest) -> Settings:
    """A new one: tests share the node."""
    return node.enrol(f"{EXPORTER[:-8]}{os.urandom(4).hex().upper()}")


@pytest.fixture
def contract(node: NodeUnderTest, exporter: Settings) -> Contract:
    recipient = node.peer.enrol(RECIPIENT)
    contract = a_contract(exporter.origin, recipient.origin)
    return Contract.parse(contract.file().replace(EXPORTER.encode(), our(exporter).encode()))


def our(settings: Settings) -> str:
    return settings.institution or ""


def open_client(node: NodeUnderTest, settings: Settings) -> LedgerClient:
    return LedgerClient(settings, transport=node.transport(settings))


async def rules(ledger: LedgerClient, *, open_only: bool = True) -> list[str]:
    return [entry.finding.rule async for entry in ledger.findings(open_only=open_only)]


class TestAContractThatIsNotRecorded:
    async def test_is_found(self, node: NodeUnderTest, exporter: Settings) -> None:
        async with open_client(node, exporter) as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            assert "K3.unknown_contract" in await rules(ledger)

    async def test_is_found_by_a_check_before(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            found = [finding.rule for finding in await ledger.check_transfer(**STATEMENT)]
            assert "K3.unknown_contract" in found
            assert await rules(ledger, open_only=False) == []

    async def test_is_found_in_a_tail(self, node: NodeUnderTest, exporter: Settings) -> None:
        async with open_client(node, exporter) as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
            tail = ledger.tail_findings(declared.index or 0)
            async with asyncio.timeout(20), aclosing(tail):
                async for entry in tail:
                    if entry.finding.rule == "K3.unknown_contract":
                        break
            assert entry.finding.records == ((exporter.origin, declared.index),)

    async def test_is_told_in_words(self, node: NodeUnderTest, exporter: Settings) -> None:
        async with open_client(node, exporter) as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            found = [entry.finding async for entry in ledger.findings()]
        told = [Catalogue.load("zh-Hant").finding(finding) for finding in found]
        assert any("未見轉移方記錄該合約" in one.says for one in told)

    async def test_is_cured_by_the_contract(
        self, node: NodeUnderTest, exporter: Settings, contract: Contract
    ) -> None:
        async with open_client(node, exporter) as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            recorded = await ledger.record(contract)
            assert "K3.unknown_contract" not in await rules(ledger)
            (closed,) = [
                entry
                async for entry in ledger.findings(open_only=False)
                if entry.finding.rule == "K3.unknown_contract"
            ]
        assert closed.closed_by is not None
        assert closed.closed_by > (recorded.index or 0)
        assert (closed.closed_at or 0) >= closed.recorded_at

    async def test_what_stands_is_named_in_the_contracts_view(
        self, node: NodeUnderTest, exporter: Settings, contract: Contract
    ) -> None:
        async with open_client(node, exporter) as ledger:
            await ledger.record(contract)
            await ledger.declare_under(contract, PAYLOAD, subjects=1200, legal_basis=1)
            view = await ledger.contract(contract.contract_id)
            standing = {entry.index: entry.finding.rule async for entry in ledger.findings()}
        assert "K5.no_pipia" in [standing[index] for index in view.findings]
        assert view.first_transfer_on is not None


class TestOfOthers:
    async def test_nothing_is_listed(self, node: NodeUnderTest, exporter: Settings) -> None:
        other = node.enrol(f"{EXPORTER[:-8]}{os.urandom(4).hex().upper()}")
        async with open_client(node, exporter) as ours, open_client(node, other) as theirs:
            await ours.declare(PAYLOAD, **STATEMENT)
            assert await rules(theirs, open_only=False) == []
