from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cli.tool import Tool
from nodes import Node, Side, found_one, serve


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Side]:
    """A founded side, and its peer, of whose node nothing is ever heard."""
    return found_one(tmp_path_factory.mktemp("border"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(sides: tuple[Side, Side]) -> AsyncIterator[Node]:
    """A node that a whole module of tests talks to, each with institutions of its own."""
    async with serve(*sides) as node:
        yield node


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.chdir(tmp_path)
    return Tool(tmp_path)
