from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from client.contract import NodeUnderTest
from client.sdk import World

from ledgerd_client import Settings
from ledgerd_client.testing import MemoryNode, ledger_node
from ledgerd_client.transport import Transport

__all__ = ["ledger_node", "node", "world"]


class MemoryNodeUnderTest:
    """One side of a border in memory."""

    peer: MemoryNodeUnderTest

    def __init__(self, node: MemoryNode, directory: Path) -> None:
        self._node = node
        self._directory = directory

    def enrol(self, institution: str) -> Settings:
        return self._node.enrol(institution, self._directory)

    def transport(self, settings: Settings) -> Transport:
        return self._node.transport(settings.institution or "")

    async def settle(self) -> None:
        self._node.cosign()

    async def go_down(self) -> None:
        self._node.go_down()

    async def come_up(self) -> None:
        self._node.come_up()

    async def lose_next_reply(self) -> None:
        self._node.lose_next_reply()


@asynccontextmanager
async def memory_node(directory: Path) -> AsyncIterator[NodeUnderTest]:
    mainland, hong_kong = MemoryNode.border()
    node = MemoryNodeUnderTest(mainland, directory)
    node.peer = MemoryNodeUnderTest(hong_kong, directory)
    node.peer.peer = node
    yield node


# Every node that is to keep the contract of test_node_contract.py, by name: the Mainland's, which
# knows its peer.
node_factories: dict[str, Callable[[Path], AbstractAsyncContextManager[NodeUnderTest]]] = {
    "memory": memory_node,
}

# Those of test_law_contract.py: what is recorded of contracts is judged, where a node can judge.
judging_factories = dict(node_factories)

if find_spec("ledgerd") is not None:  # it is not where the SDK is tested alone
    from daemon_node import Daemons

    daemons, judging_daemons = Daemons(), Daemons(law="newest")
    node_factories["daemon"] = daemons.mainland
    judging_factories["daemon"] = judging_daemons.mainland

    @pytest.fixture(scope="session", autouse=True)
    def stopped_daemons() -> Iterator[None]:
        yield
        daemons.close()
        judging_daemons.close()

    @pytest.fixture
    async def judging_daemon(tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
        async with judging_daemons.mainland(tmp_path) as node:
            yield node


@pytest.fixture(params=node_factories.values(), ids=node_factories.keys())
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    async with request.param(tmp_path) as node:
        yield node


@pytest.fixture(params=judging_factories.values(), ids=judging_factories.keys())
async def judging_node(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[NodeUnderTest]:
    async with request.param(tmp_path) as node:
        yield node


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)
