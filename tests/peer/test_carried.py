"""What is carried in a file is worth what a message is; a courier is in test_courier.py."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from builders import HONG_KONG, MAINLAND, new_key

from ledgerd.peer.answer import Answer
from ledgerd.peer.carried import Carried, Envelope
from ledgerd.peer.courier import CarriedPeer
from ledgerd.peer.exchange import Came, Exchange
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import ConflictError, MalformedError, UnavailableError
from ledgerd_client.core.note import ED25519, Signer

ASKED, OURS = b"q" * 16, b"o" * 16


def carried(start: int = 0, *, cosigned: bytes | None = None) -> Carried:
    """Six headers in two pages, of a log that nobody checks, and an answer with a note."""
    answer = None if cosigned is None else Answer(OURS, 1, bytes(32), cosigned, b"", bytes(64))
    note = note_of(HONG_KONG, start + 6)
    pages = [
        pb.ListHeadersResponse(checkpoint=note, first=start, headers=[b"a", b"b", b"c"]),
        pb.ListHeadersResponse(
            first=start + 3, headers=[b"d", b"e", b"f"],
            bodies=[pb.SharedBody(index=start + 3, body=b"x"), pb.SharedBody(index=start + 5, body=b"y")],
        ),
    ]  # fmt: skip
    return Carried(Envelope(HONG_KONG, MAINLAND, 0, start + 6, ASKED), answer, pages)


def note_of(origin: str, size: int) -> bytes:
    key = Signer(origin, ED25519, new_key())
    return sign_checkpoint(Checkpoint(origin, size, bytes(32)), key)


def page(first: int, count: int, *, bodies: int = 0) -> pb.ListHeadersResponse:
    shared = [pb.SharedBody(index=first, body=b"x")] * bodies
    return pb.ListHeadersResponse(first=first, headers=[b"h"] * count, bodies=shared)


class Noting(Exchange):
    """Remembers in which threads it has looked for a file."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.threads: list[int] = []

    def newest(self) -> Came | None:
        self.threads.append(threading.get_ident())
        return super().newest()


def client(exchange: Exchange, *, is_unconfirmed: bool = False) -> CarriedPeer:
    reader: Any = None
    return CarriedPeer(
        exchange,
        reader,
        origin=MAINLAND,
        peer_origin=HONG_KONG,
        key=new_key,
        is_unconfirmed=lambda: is_unconfirmed,
    )


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(tmp_path / "exchange")


async def headers(peer: CarriedPeer, start: int) -> list[tuple[int, list[bytes], list[int]]]:
    return [
        (page.first, list(page.headers), [each.index for each in page.bodies])
        async for page in peer.list_headers(start)
    ]


class TestTheFile:
    def test_is_read_as_it_was_written(self) -> None:
        one = carried(cosigned=b"note")
        assert Carried.parse(one.format()) == one

    @pytest.mark.parametrize("left", range(1, 200, 7))
    def test_is_refused_when_it_is_cut(self, left: int) -> None:
        data = carried(cosigned=b"note").format()
        with pytest.raises(MalformedError):
            Carried.parse(data[: len(data) - left])

    def test_is_refused_when_it_is_another(self) -> None:
        with pytest.raises(MalformedError):
            Carried.parse(b"something else")

    @pytest.mark.parametrize(
        "pages",
        [
            [],
            [page(3, 3)],
            [page(0, 513), page(513, 2)],
            [page(0, 3), page(4, 2)],
            [page(0, 3), page(3, 0), page(3, 3)],
            [page(0, 3), page(3, 3, bodies=4)],
            [page(first, 1) for first in range(1023)],
        ],
        ids=["none", "beyond", "large", "gap", "empty", "bodies", "many"],
    )
    def test_is_refused_with_pages_that_no_stream_has(
        self, pages: list[pb.ListHeadersResponse]
    ) -> None:
        """However small a file is, so is what is made of it."""
        note = note_of(HONG_KONG, 5 if len(pages) == 1 else 2000)
        for each in pages[:1]:
            each.checkpoint = note
        stop = pages[-1].first + len(pages[-1].headers) if pages else 0
        envelope = Envelope(HONG_KONG, MAINLAND, 0, stop, ASKED)
        with pytest.raises(MalformedError):
            Carried.parse(Carried(envelope, None, pages).format())


class TestTheNewestFile:
    """A round that has nothing new to read costs nothing, and one that has holds up no append."""

    async def test_is_read_beside_the_loop(self, tmp_path: Path) -> None:
        exchange = Noting(tmp_path)
        exchange.put(carried(cosigned=b"note"))
        peer = client(exchange)
        await headers(peer, 0)
        await peer.get_cosigned()
        assert (len(exchange.threads), threading.get_ident() in exchange.threads) == (2, False)

    def test_is_read_once(self, exchange: Exchange) -> None:
        exchange.put(carried())
        assert exchange.newest() is exchange.newest()

    def test_is_the_one_that_took_the_others_place(self, exchange: Exchange) -> None:
        for file in (carried(), carried(start=3)):
            exchange.put(file)
            newest = exchange.newest()
            assert newest is not None
            assert newest.carried == file

    def test_is_not_read_when_it_is_too_large(self, exchange: Exchange, tmp_path: Path) -> None:
        with (tmp_path / "exchange" / "from-peer").open("wb") as file:
            file.truncate((64 << 20) + 1)
        with pytest.raises(MalformedError, match="67108864"):
            exchange.newest()


class TestHeaders:
    async def test_are_given_from_where_they_are_wanted(self, exchange: Exchange) -> None:
        exchange.put(carried())
        peer = client(exchange)
        assert await headers(peer, 4) == [(4, [], []), (4, [b"e", b"f"], [5])]

    async def test_of_a_file_that_begins_too_late_are_not_given(self, exchange: Exchange) -> None:
        exchange.put(carried(start=10))
        with pytest.raises(UnavailableError) as caught:
            await headers(client(exchange), 9)
        assert caught.value.reason == "CARRIED_TOO_LITTLE"


class TestACosignature:
    async def test_that_was_carried_is_taken_by_whoever_shows_a_checkpoint(
        self, exchange: Exchange
    ) -> None:
        """As over a link: the peer has another size than was thought, and is asked which."""
        exchange.put(carried(cosigned=note_of(MAINLAND, 3)))
        with pytest.raises(ConflictError):
            await client(exchange).add_checkpoint(7, [], b"")

    async def test_that_was_not_carried_yet_is_waited_for(self, exchange: Exchange) -> None:
        exchange.put(carried())
        with pytest.raises(UnavailableError) as caught:
            await client(exchange).add_checkpoint(0, [], b"")
        assert caught.value.reason == "REPLAY_BEHIND"

    async def test_is_no_word_to_a_node_that_waits_for_an_answer(self, exchange: Exchange) -> None:
        exchange.put(carried(cosigned=note_of(MAINLAND, 3)))
        with pytest.raises(UnavailableError) as caught:
            await client(exchange, is_unconfirmed=True).get_cosigned()
        assert caught.value.reason == "NOT_CARRIED"
