"""What a node takes at once, and no more."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc
import pytest
from ledger.world import World
from nodes import Client, refused

from ledgerd.api.identity import Caller, set_caller
from ledgerd.api.ledger import MAX_IN_FLIGHT_BYTES, LedgerHandlers, Log
from ledgerd.ledger.keyring import Keyring
from ledgerd.metrics import Metrics
from ledgerd_client.core.errors import BusyError
from ledgerd_client.identity import INSTITUTION
from ledgerd_client.transport import MAX_MESSAGE_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

NONE: Any = None
LARGEST = bytes(MAX_MESSAGE_BYTES)


class Hanging:
    """An admission that comes to no end, behind a sequencer that takes appends."""

    refuse = None

    async def check(self, _request: object) -> None:
        await asyncio.Event().wait()


@pytest.fixture
async def handlers() -> LedgerHandlers:
    world, hanging = World().mainland, cast("Any", Hanging())
    keyring = Keyring(world.store, world.log.origin, world.log.authority.public)
    log = Log(
        origin=world.log.origin, peer_origin=world.peer.origin, reader=world.reader,
        keyring=keyring, admission=hanging, sequencer=hanging, own_cosigned=NONE, witness=NONE,
    )  # fmt: skip
    return LedgerHandlers(log, NONE, NONE, Metrics())


class TestInFlight:
    async def test_appends_over_the_limit_are_told_to_come_again(
        self, handlers: LedgerHandlers
    ) -> None:
        set_caller(Caller(INSTITUTION, "uscc.BUSY"))
        waiting = [
            asyncio.create_task(handlers.Append(LARGEST, NONE))
            for _ in range(MAX_IN_FLIGHT_BYTES // MAX_MESSAGE_BYTES)
        ]
        await asyncio.wait(waiting, timeout=0)
        with pytest.raises(BusyError) as caught:
            await handlers.Append(b"one more", NONE)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (caught.value.reason, caught.value.retryable) == ("TOO_MANY_IN_FLIGHT", True)

    async def test_a_caller_that_goes_away_makes_room(self, handlers: LedgerHandlers) -> None:
        set_caller(Caller(INSTITUTION, "uscc.BUSY"))
        for _ in range(2 * MAX_IN_FLIGHT_BYTES // MAX_MESSAGE_BYTES):
            task = asyncio.create_task(handlers.Append(LARGEST, NONE))
            await asyncio.wait((task,), timeout=0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


class TestMessages:
    async def test_over_the_limit_are_refused(self, exporter: Client) -> None:
        """By gRPC, before any of it is looked at."""
        node, credentials = exporter.node, exporter.credentials
        channel = grpc.aio.secure_channel(
            f"localhost:{node.port}",
            grpc.ssl_channel_credentials(
                node.side.authority.tls.pem, credentials.tls_key, credentials.certificate
            ),
            options=(("grpc.max_send_message_length", -1),),
        )
        append = channel.unary_unary("/ledger.v1.LedgerService/Append")
        error = await refused(append(LARGEST + b"\x00"))
        await channel.close()
        assert isinstance(error, BusyError)
