"""
Who may call what: every method of every service, for everybody who may be at the other end.

A node that serves, over real mutual TLS. Whoever is let in is told that the garbage sent is no
request: it is looked at only then. The servers of a recovery, of a mirror and of a standby have
tables of their own: tests/recovery, tests/mirror and tests/e2e.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from api.callers import (
    CALLERS,
    MATRIX,
    METHODS,
    NAMES,
    Callers,
    Channels,
    answer,
    channels_to,
    expected,
)
from nodes import Node, Side

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channels(node: Node, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Channels]:
    stranger = Side(tmp_path_factory.mktemp("stranger") / "side", node.side.origin, node.side.name)
    everybody = await Callers(node, stranger).everybody()
    async with channels_to(node.side, node.port, everybody) as made:
        yield made


class TestTheMatrix:
    async def test_has_a_row_for_every_method_and_no_other(self) -> None:
        assert MATRIX.keys() == METHODS.keys()

    async def test_knows_of_no_method_that_takes_a_stream(self) -> None:
        """To one of those garbage would be a message of many."""
        assert not [name for name, method in METHODS.items() if method.client_streaming]

    @pytest.mark.parametrize(("role", "wrong"), CALLERS, ids=[" ".join(each) for each in CALLERS])
    @pytest.mark.parametrize("method", METHODS)
    async def test_is_what_the_node_does(
        self, channels: Channels, method: str, role: str, wrong: str
    ) -> None:
        assert await answer(channels[role, wrong], method) == expected(method, role, wrong)

    @pytest.mark.parametrize("role", NAMES)
    async def test_has_no_row_for_what_is_no_method(self, channels: Channels, role: str) -> None:
        path = "/ledger.v1.LedgerService/Nothing"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channels[role, ""].unary_unary(path)(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
