"""Who may call what of a node that waits for its institutions to return bodies."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from api.callers import (
    CALLERS,
    METHODS,
    WRONG,
    Callers,
    Channels,
    Who,
    answer,
    channels_to,
    expected,
)
from nodes import Credentials, Node, Side, found_sides, now, serve

from ledgerd.recovery.collecting import peer_of, recover, take_back
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.identity import PEER

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVED = {
    "ledger.v1.RecoveryService/ListMissing",
    "ledger.v1.RecoveryService/ReturnBodies",
}
HOW = {"clock": now, "random": os.urandom}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channels(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Channels]:
    """To a node that has lost its store, of everybody whom it, or its authority, knew before."""
    home = tmp_path_factory.mktemp("recovering")
    side, peer = found_sides(home)
    async with serve(peer, side):
        async with serve(side, peer) as node:
            everybody = await lived(node, Side(home / "stranger", side.origin, side.name))
        shutil.move(side.config.store, home / "lost")
        async with peer_of(side.config) as client:
            await recover(side.config, client, **HOW)
    stop: asyncio.Event = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(take_back(side.config, stop, port.set_result, **HOW))
    await asyncio.wait((waiting, port), return_when=asyncio.FIRST_COMPLETED)
    try:
        async with channels_to(side, port.result(), everybody) as made:
            yield made
    finally:
        stop.set()
        await waiting


async def lived(node: Node, stranger: Side) -> dict[Who, Credentials | None]:
    """Everybody, and a record of whose body the peer knows nothing; all of it cosigned."""
    everybody = await Callers(node, stranger).everybody()
    institution = await node.institution()
    index = await institution.place(institution.transfer())
    while (await institution.ledger.GetInfo(pb.GetInfoRequest())).cosigned_size <= index:
        pass  # until the peer has asked
    return everybody


def is_let_in_by_tls(role: str, wrong: str) -> bool:
    """The own side's authority alone is believed: the peer has no part in a recovery."""
    by_peers = (role == PEER) != (wrong == "whose certificate is by the other side's authority")
    return WRONG.get(wrong) != "UNAVAILABLE" and not by_peers


def foreseen(method: str, role: str, wrong: str) -> str:
    if not is_let_in_by_tls(role, wrong):
        return "UNAVAILABLE"
    return expected(method, role, wrong) if method in SERVED else "UNIMPLEMENTED"


class TestTheMatrix:
    async def test_knows_of_the_methods_that_it_serves(self) -> None:
        assert SERVED - METHODS.keys() == set()

    @pytest.mark.parametrize(("role", "wrong"), CALLERS, ids=[" ".join(each) for each in CALLERS])
    async def test_is_what_the_server_does(self, channels: Channels, role: str, wrong: str) -> None:
        answers = {method: await answer(channels[role, wrong], method) for method in METHODS}
        assert answers == {method: foreseen(method, role, wrong) for method in METHODS}
