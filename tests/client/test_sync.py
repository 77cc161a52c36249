from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import enumerate as threads

import pytest
from client.contracts import a_contract
from client.sdk import EXPORTER, PAYLOAD, STATEMENT

from ledgerd_client import FieldError, InputError, UnavailableError
from ledgerd_client.sync import LedgerClient
from ledgerd_client.testing import HONG_KONG, MAINLAND, MemoryNode


@pytest.fixture
def ledger(ledger_node: MemoryNode, tmp_path: Path) -> LedgerClient:
    settings = ledger_node.enrol(EXPORTER, tmp_path)
    return LedgerClient(settings, transport=ledger_node.transport(EXPORTER))


class TestBlocking:
    def test_a_call_returns_what_the_other_client_returns(self, ledger: LedgerClient) -> None:
        with ledger:
            assert ledger.declare(PAYLOAD, **STATEMENT).status == "recorded"

    def test_it_raises_what_the_other_client_raises(self, ledger: LedgerClient) -> None:
        with ledger, pytest.raises(FieldError):
            ledger.declare(PAYLOAD, **STATEMENT | {"subjects": -1})

    def test_threads_may_call_it_at_once(self, ledger: LedgerClient) -> None:
        with ledger, ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(ledger.declare, PAYLOAD, **STATEMENT) for _ in range(24)]
            indexes = sorted(call.result().index or 0 for call in calls)
        assert indexes == list(range(2, 26))

    def test_its_thread_ends_with_it(self, ledger: LedgerClient) -> None:
        with ledger:
            ledger.info()
        assert "ledgerd-client" not in {thread.name for thread in threads()}

    def test_its_thread_ends_when_it_cannot_be_opened(
        self, ledger_node: MemoryNode, tmp_path: Path
    ) -> None:
        settings = replace(ledger_node.enrol(EXPORTER, tmp_path), trust=Path("nowhere"))
        with pytest.raises(InputError), LedgerClient(settings):
            pass
        assert "ledgerd-client" not in {thread.name for thread in threads()}


class TestContracts:
    def test_they_are_recorded_and_shown(self, ledger: LedgerClient) -> None:
        contract = a_contract(MAINLAND, HONG_KONG)
        with ledger:
            recorded = ledger.record(contract)
            assert ledger.contract(contract.contract_id).ref == recorded.ref

    def test_findings_are_an_iterator(self, ledger: LedgerClient) -> None:
        with ledger:
            assert list(ledger.findings()) == []

    def test_what_an_iterator_meets_it_raises(
        self, ledger: LedgerClient, ledger_node: MemoryNode
    ) -> None:
        with ledger:
            ledger.info()
            ledger_node.go_down()
            with pytest.raises(UnavailableError):
                next(ledger.findings())
