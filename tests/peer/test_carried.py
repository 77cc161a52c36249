"""What is carried in a file is worth what a message is, and its age is known by our own clock."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import HONG_KONG, MAINLAND, new_key

from ledgerd.peer.carried import Carried, CarriedPeer, Envelope, Exchange
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import ConflictError, MalformedError, UnavailableError
from ledgerd_client.core.note import ED25519, Signer

ASKED, OURS = b"q" * 16, b"o" * 16
NOW = 1_000


def carried(answers: bytes = b"", start: int = 0, *, cosigned: bytes = b"") -> Carried:
    """Six headers in two pages, of a log that nobody checks."""
    note = note_of(HONG_KONG, start + 6)
    pages = [
        pb.ListHeadersResponse(checkpoint=note, first=start, headers=[b"a", b"b", b"c"]),
        pb.ListHeadersResponse(
            first=start + 3, headers=[b"d", b"e", b"f"],
            bodies=[pb.SharedBody(index=start + 3, body=b"x"), pb.SharedBody(index=start + 5, body=b"y")],
        ),
    ]  # fmt: skip
    return Carried(Envelope(HONG_KONG, MAINLAND, 0, ASKED, answers), cosigned, pages)


def note_of(origin: str, size: int) -> bytes:
    key = Signer(origin, ED25519, new_key())
    return sign_checkpoint(Checkpoint(origin, size, bytes(32)), key)


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
        one = carried()
        assert Carried.parse(one.format()) == one

    @pytest.mark.parametrize("left", range(1, 200, 7))
    def test_is_refused_when_it_is_cut(self, left: int) -> None:
        data = carried().format()
        with pytest.raises(MalformedError):
            Carried.parse(data[: len(data) - left])

    def test_is_refused_when_it_is_another(self) -> None:
        with pytest.raises(MalformedError):
            Carried.parse(b"something else")


class TestHeaders:
    async def test_are_given_from_where_they_are_wanted(self, exchange: Exchange) -> None:
        exchange.put(carried())
        peer = CarriedPeer(exchange, lambda: False)
        assert await headers(peer, 4) == [(4, [], []), (4, [b"e", b"f"], [5])]

    async def test_of_a_file_that_begins_too_late_are_not_given(self, exchange: Exchange) -> None:
        exchange.put(carried(start=10))
        with pytest.raises(UnavailableError) as caught:
            await headers(CarriedPeer(exchange, lambda: False), 9)
        assert caught.value.reason == "CARRIED_TOO_LITTLE"


class TestTheAgeOfAFile:
    def test_is_that_of_the_question_that_it_answers(self, exchange: Exchange) -> None:
        """Whatever the peer has recorded since may be missing in it: nobody is accused of that."""
        exchange.ask(OURS, NOW)
        exchange.put(carried(answers=OURS))
        assert CarriedPeer(exchange, lambda: False).asked_at() == NOW

    def test_is_none_when_it_answers_nothing_of_ours(self, exchange: Exchange) -> None:
        exchange.ask(OURS, NOW)
        exchange.put(carried(answers=b"x" * 16))
        assert CarriedPeer(exchange, lambda: False).asked_at() == 0


class TestAnUnconfirmedNode:
    """It has lost its memory, perhaps: what the peer said before that is not what it knows."""

    @pytest.fixture
    def peer(self, exchange: Exchange) -> CarriedPeer:
        return CarriedPeer(exchange, lambda: True)

    async def test_takes_no_file_from_before_it_asked(
        self, exchange: Exchange, peer: CarriedPeer
    ) -> None:
        exchange.ask(OURS, NOW)
        exchange.put(carried(answers=OURS))
        exchange.forget()
        with pytest.raises(UnavailableError) as caught:
            await peer.get_cosigned()
        assert caught.value.reason == "NOT_CARRIED"

    async def test_hears_nothing_by_such_a_file_either(
        self, exchange: Exchange, peer: CarriedPeer
    ) -> None:
        exchange.put(carried())
        with pytest.raises(UnavailableError):
            await headers(peer, 0)

    async def test_takes_the_answer_to_what_it_asked_since(
        self, exchange: Exchange, peer: CarriedPeer
    ) -> None:
        exchange.forget()
        exchange.ask(OURS, NOW)
        exchange.put(carried(answers=OURS, cosigned=b"note"))
        assert await peer.get_cosigned() == b"note"


class TestACosignature:
    async def test_that_was_carried_is_taken_by_whoever_shows_a_checkpoint(
        self, exchange: Exchange
    ) -> None:
        """As over a link: the peer has another size than was thought, and is asked which."""
        exchange.put(carried(cosigned=note_of(MAINLAND, 3)))
        with pytest.raises(ConflictError):
            await CarriedPeer(exchange, lambda: False).add_checkpoint(7, [], b"")

    async def test_that_was_not_carried_yet_is_waited_for(self, exchange: Exchange) -> None:
        exchange.put(carried())
        with pytest.raises(UnavailableError) as caught:
            await CarriedPeer(exchange, lambda: False).add_checkpoint(0, [], b"")
        assert caught.value.reason == "NOT_CARRIED"
