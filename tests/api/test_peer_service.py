"""What the other node asks: every header up to the newest checkpoint, with shared bodies."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ledger.world import World
from nodes import Client, Node, refused

from ledgerd.api.peer import PeerHandlers
from ledgerd.api.threads import InThread
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.chain import Replay, check_signatures
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import BusyError, MalformedError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Neither is looked at by a stream of headers.
NO_WITNESS: Any = None
CONTEXT: Any = None


async def headers(peer: Client, start: int = 0) -> list[pb.ListHeadersResponse]:
    return [page async for page in peer.peer.ListHeaders(pb.ListHeadersRequest(start=start))]


class TestListHeaders:
    async def test_replays_to_the_checkpoint_that_it_begins_with(
        self, node: Node, the_peer: Client, exporter: Client
    ) -> None:
        # More than one page, and findings among them.
        await exporter.append(*(exporter.transfer() for _ in range(700)))
        pages = await headers(the_peer)
        checkpoint = Checkpoint.parse(parse_note(pages[0].checkpoint).text)
        history = KeyHistory(node.side.origin, node.side.authority.verifier.public)
        replay = Replay.start(history, lambda _digest, _index: True)
        for page in pages:
            shared = {body.index: body.body for body in page.bodies}
            steps = [
                replay.step(header, shared.get(index))
                for index, header in enumerate(page.headers, page.first)
            ]
            check_signatures(check for _, check in steps)
        assert (replay.size, replay.tree.root()) == (checkpoint.size, checkpoint.root)

    async def test_goes_on_where_the_caller_wants(self, the_peer: Client, exporter: Client) -> None:
        index = await exporter.place(exporter.transfer())
        (page,) = await headers(the_peer, index)
        assert [Header.parse(header).index for header in page.headers] == [index]

    async def test_shows_its_checkpoint_to_a_caller_that_has_everything(
        self, the_peer: Client
    ) -> None:
        (page,) = await headers(the_peer, 10**6)
        assert (bool(page.checkpoint), list(page.headers)) == (True, [])

    async def test_holds_no_body_by_an_institution(
        self, the_peer: Client, exporter: Client
    ) -> None:
        record = exporter.transfer()
        index = await exporter.place(record)
        assert not (await headers(the_peer, index))[0].bodies


class TestStreams:
    """At the handler itself: over the wire a short one is over before another begins."""

    @pytest.fixture
    def handlers(self) -> Iterator[PeerHandlers]:
        with ThreadPoolExecutor(1) as pool:
            none: Any = None
            reader = World().mainland.reader
            yield PeerHandlers(reader, NO_WITNESS, none, none, InThread(pool), lambda: 0)

    async def test_are_one_at_a_time(self, handlers: PeerHandlers) -> None:
        under_way = handlers.ListHeaders(pb.ListHeadersRequest(), CONTEXT)
        await anext(under_way)
        with pytest.raises(BusyError) as caught:
            await anext(handlers.ListHeaders(pb.ListHeadersRequest(), CONTEXT))
        await under_way.aclose()
        assert caught.value.reason == "STREAM_UNDER_WAY"

    async def test_that_break_off_make_room_for_another(self, handlers: PeerHandlers) -> None:
        broken_off = handlers.ListHeaders(pb.ListHeadersRequest(), CONTEXT)
        await anext(broken_off)
        await broken_off.aclose()
        pages = handlers.ListHeaders(pb.ListHeadersRequest(), CONTEXT)
        assert [page.first async for page in pages] == [0]


class TestWitness:
    async def test_has_cosigned_nothing_yet(self, the_peer: Client) -> None:
        assert not (await the_peer.peer.GetCosigned(pb.GetCosignedRequest())).checkpoint

    async def test_refuses_what_is_no_checkpoint(self, the_peer: Client) -> None:
        request = pb.AddCheckpointRequest(checkpoint=b"no note")
        assert isinstance(await refused(the_peer.peer.AddCheckpoint(request)), MalformedError)
