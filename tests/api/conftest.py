from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from nodes import Client, Node, Side, found_one, serve


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Side]:
    """A founded side, and its peer, of whose node nothing is ever heard."""
    return found_one(tmp_path_factory.mktemp("border"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(sides: tuple[Side, Side]) -> AsyncIterator[Node]:
    """A node that a whole module of tests talks to, each with institutions of its own."""
    async with serve(*sides) as node:
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exporter(node: Node) -> Client:
    return await node.institution()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(node: Node) -> Client:
    """A second institution of the same side."""
    return await node.institution("uscc.OTHER")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def regulator(node: Node) -> Client:
    return await node.regulator()


@pytest.fixture(scope="module")
def the_peer(node: Node) -> Client:
    return node.the_peer()
