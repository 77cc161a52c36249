"""A mirror as it runs: once, or until it is told to end, whatever its node does meanwhile."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import pytest
from ledger.law_world import LawWorld
from mirror.served import Mirror, note_of, with_note
from peer.sides import trust_of

from ledgerd.mirror.node import MirrorNode
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import LedgerServiceStub
from ledgerd_client.core.errors import (
    ForbiddenError,
    InputError,
    LedgerError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.header import Header


async def nothing() -> None:
    """What is done before it catches up."""


class Running:
    """A MirrorNode on a Served, and what it said."""

    def __init__(self, mirror: Mirror) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.mirror = mirror

    def node(self) -> MirrorNode:
        law = self.mirror.law
        return MirrorNode(
            self.mirror.directory,
            law.mainland.log.origin,
            trust_of(law.mainland.log, law.hong_kong.log),
            "cac",
            workers=1,
            progress=lambda _done, _total: None,
            say=lambda error: self.said.put_nowait(error.reason),
        )

    async def once(self) -> None:
        await self.node().run(self.mirror.served, None, before=nothing)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[asyncio.Task[None]]:
        socket = self.mirror.directory / "mirror.sock"
        task = asyncio.create_task(self.node().run(self.mirror.served, socket, before=nothing))
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, LedgerError):
                await task


@pytest.fixture
async def running(mirror: Mirror) -> Running:
    return Running(mirror)


def too_long() -> UnavailableError:
    return UnavailableError("long enough", reason="STREAM_TOO_LONG")


async def key_history(socket: Path) -> list[int]:
    """Indexes of the entries that a mirror shows of its keys."""
    options = (("grpc.default_authority", "localhost"),)
    async with grpc.aio.insecure_channel(f"unix:{socket}", options) as channel:
        reply = await LedgerServiceStub(channel).GetKeyHistory(pb.GetKeyHistoryRequest())
    return [Header.parse(entry.header).index for entry in reply.entries]


class TestOnce:
    async def test_it_returns_when_it_has_caught_up(
        self, law: LawWorld, mirror: Mirror, running: Running
    ) -> None:
        await running.once()
        assert await mirror.shown() == law.mainland.size

    async def test_it_needs_as_many_streams_as_the_node_makes_of_it(
        self, law: LawWorld, mirror: Mirror, running: Running
    ) -> None:
        mirror.served.page = 1
        mirror.served.cut_after, mirror.served.cut = law.mainland.size - 3, too_long()
        await running.once()
        assert len(mirror.served.starts) > 1
        assert await mirror.shown() == law.mainland.size

    async def test_streams_that_bring_nothing_are_not_asked_for_for_ever(
        self, mirror: Mirror, running: Running
    ) -> None:
        mirror.served.cut_after, mirror.served.cut = 0, too_long()
        with pytest.raises(UnavailableError):
            await running.once()

    @pytest.mark.parametrize("error", [UnavailableError("down"), ForbiddenError("expired")])
    async def test_what_keeps_it_from_that_is_raised(
        self, mirror: Mirror, running: Running, error: LedgerError
    ) -> None:
        mirror.served.cut_after, mirror.served.cut = 0, error
        with pytest.raises(type(error)):
            await running.once()


class TestServing:
    async def test_it_answers_while_its_node_does_not(
        self, mirror: Mirror, running: Running
    ) -> None:
        await mirror.step()
        mirror.served.cut_after = 0
        async with running.serving():
            assert await running.said.get() == "UNAVAILABLE"
            assert (mirror.directory / "mirror.sock").is_socket()

    @pytest.mark.parametrize(
        "error",
        [
            ForbiddenError("it has ended", reason="GRANT_EXPIRED"),
            InputError("it covers less", reason="GRANT_TOO_NARROW"),
        ],
    )
    async def test_it_answers_from_what_it_has_whatever_becomes_of_the_grant(
        self, mirror: Mirror, running: Running, error: LedgerError
    ) -> None:
        await mirror.step()
        mirror.served.cut_after, mirror.served.cut = 0, error
        async with running.serving():
            assert await running.said.get() == error.reason
            assert (mirror.directory / "mirror.sock").is_socket()

    async def test_a_grant_that_was_never_wide_enough_ends_it(
        self, mirror: Mirror, running: Running
    ) -> None:
        mirror.served.cut_after = 0
        mirror.served.cut = InputError("it covers less", reason="GRANT_TOO_NARROW")
        async with running.serving() as task:
            with pytest.raises(InputError):
                await task

    async def test_no_key_is_shown_that_no_root_covers(
        self, law: LawWorld, mirror: Mirror, running: Running
    ) -> None:
        size = await mirror.step()
        law.clock.advance(1)
        added = law.mainland.enrol("hkbr.50000009").admitted_at
        mirror.served.change = with_note(note_of(law.mainland, law.mainland.size, bytes(32)))
        with pytest.raises(VerificationError):
            await mirror.step()
        mirror.served.cut_after = 0
        async with running.serving():
            await running.said.get()
            keys = await key_history(mirror.directory / "mirror.sock")
        assert (max(keys) < size <= added, 0 in keys) == (True, True)

    async def test_it_ends_when_something_does_not_verify(
        self, law: LawWorld, mirror: Mirror, running: Running
    ) -> None:
        await mirror.step()
        mirror.served.shown = law.mainland.size - 1
        async with running.serving() as task:
            with pytest.raises(VerificationError):
                await task

    async def test_the_socket_is_its_owners_alone(self, mirror: Mirror, running: Running) -> None:
        await mirror.step()
        mirror.served.cut_after = 0
        async with running.serving():
            await running.said.get()
            mode = (mirror.directory / "mirror.sock").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600

    async def test_the_socket_goes_with_it(self, mirror: Mirror, running: Running) -> None:
        await mirror.step()
        mirror.served.cut_after = 0
        async with running.serving():
            await running.said.get()
        assert not (mirror.directory / "mirror.sock").exists()
