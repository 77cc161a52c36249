"""
A peer that is reached by files alone: what it would have said, and somebody carried here.

A file is worth what a message is: everything in it is replayed and verified. Its age is known by
our own clock, from the question that it answers (docs/formats-operators.md).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

from google.protobuf.message import DecodeError

from ledgerd.peer.notes import parse_known
from ledgerd.synced import replace_file
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import (
    ConflictError,
    LedgerError,
    MalformedError,
    NotReadyError,
    StoreError,
    UnavailableError,
)
from ledgerd_client.jsonfile import format_json, parse_json

FROM_PEER: Final = "from-peer"
QUESTIONS: Final = "questions"
VOUCHED: Final = "vouched"

_HEAD: Final = b"ledgerd-carried/v1\n"
_ENVELOPE: Final = "ledgerd-envelope/v1"
# Of one message: those of a stream of headers have little more than 1 MiB.
_MAX_FRAME: Final = 2 << 20
_QUESTION: Final = 16
_KEPT_QUESTIONS: Final = 256


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    Whose log it is, and for whom; held: how many entries of the receiver's the sender has replayed.

    asks: fresh, random, 16 bytes; answers: what the newest file asked that the sender had from the
    receiver, b"" before the first.
    """

    origin: str
    to: str
    held: int
    asks: bytes
    answers: bytes

    def __post_init__(self) -> None:
        if len(self.asks) != _QUESTION or len(self.answers) not in {0, _QUESTION}:
            raise MalformedError("a question has 16 bytes")


class Carried(NamedTuple):
    """
    What one side says to the other. cosigned: what it vouches for of the receiver's log, a note;
    pages: as of ListHeaders, the first with the checkpoint of the sender's log.
    """

    envelope: Envelope
    cosigned: bytes
    pages: Sequence[pb.ListHeadersResponse]

    @property
    def start(self) -> int:
        return self.pages[0].first

    @property
    def stop(self) -> int:
        return self.pages[-1].first + len(self.pages[-1].headers)

    @property
    def checkpoint(self) -> bytes:
        return self.pages[0].checkpoint

    def format(self) -> bytes:
        frames = [
            format_json(_ENVELOPE, self.envelope),
            self.cosigned,
            *(page.SerializeToString() for page in self.pages),
        ]
        return _HEAD + b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a file; raises MalformedError. Nothing of what it says is verified here."""
        try:
            envelope, cosigned, *pages = _frames(data)
            read = [pb.ListHeadersResponse.FromString(page) for page in pages]
        except (ValueError, DecodeError):
            raise MalformedError("not a whole ledgerd-carried/v1 file") from None
        carried = cls(parse_json(_ENVELOPE, Envelope, envelope), cosigned, read)
        # A file that lost its end, at the end of a page.
        if not read or parse_known(carried.checkpoint).size != carried.stop:
            raise MalformedError("the file does not hold the headers up to its checkpoint")
        return carried


def _frames(data: bytes) -> Iterator[bytes]:
    if not data.startswith(_HEAD):
        raise ValueError("another file")
    place = len(_HEAD)
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        frame = data[place + 4 : place + 4 + size]
        if size > _MAX_FRAME or len(frame) != size or len(data) < place + 4:
            raise ValueError("cut")
        yield frame
        place += 4 + size


class Exchange:
    """
    The directory by which a node and `ledgerd peer` speak to each other; made when there is none.

    Files are replaced whole, and are on the disk afterwards. Methods raise StoreError.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {directory}: {error.strerror}") from error

    def newest(self) -> Carried | None:
        """The newest file that came from the peer."""
        data = self._read(FROM_PEER)
        return Carried.parse(data) if data else None

    def put(self, carried: Carried) -> None:
        replace_file(self._directory / FROM_PEER, carried.format())

    def vouched(self) -> bytes:
        """What the node vouches for of the peer's log, as it has said last."""
        return self._read(VOUCHED)

    def vouch(self, note: bytes) -> None:
        if note != self.vouched():
            replace_file(self._directory / VOUCHED, note)

    def ask(self, question: bytes, now: int) -> None:
        """Remember a question that goes out now (µs)."""
        lines = [*self._questions(), (question, now)][-_KEPT_QUESTIONS:]
        self._put_questions(lines)

    def asked_at(self, question: bytes) -> int:
        """When a question went out (µs); 0 for none of ours."""
        return dict(self._questions()).get(question, 0)

    def forget(self) -> None:
        """Take no answer to what was asked until now."""
        self._put_questions([])

    def _questions(self) -> list[tuple[bytes, int]]:
        lines = self._read(QUESTIONS).decode("ascii", "replace").split("\n")[:-1]
        try:
            return [(bytes.fromhex(line[:32]), int(line[33:])) for line in lines]
        except ValueError:
            raise StoreError(f"{self._directory / QUESTIONS} is damaged") from None

    def _put_questions(self, questions: Iterable[tuple[bytes, int]]) -> None:
        text = "".join(f"{question.hex()} {at}\n" for question, at in questions)
        replace_file(self._directory / QUESTIONS, text.encode())

    def _read(self, name: str) -> bytes:
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StoreError(f"cannot read {self._directory / name}: {error.strerror}") from error


class CarriedPeer:
    """
    A PeerClient out of an Exchange. Belongs to the event loop.

    is_unconfirmed: whether this node waits for the peer's word about its own past. It then takes no
    file that is older than its question: what was carried before it lost its memory proves nothing.
    """

    def __init__(self, exchange: Exchange, is_unconfirmed: Callable[[], bool]) -> None:
        self.known_checkpoint = b""
        self._exchange = exchange
        self._is_unconfirmed = is_unconfirmed

    def asked_at(self) -> int:
        """When what it says now was asked for, by our clock (µs); 0: it answers nothing of ours."""
        carried = self._exchange.newest()
        return self._exchange.asked_at(carried.envelope.answers) if carried else 0

    async def list_headers(self, start: int) -> AsyncGenerator[pb.ListHeadersResponse, None]:
        carried = self._need()
        if start < carried.start:
            raise UnavailableError(
                f"the peer's file begins at entry {carried.start}, and {start} are replayed",
                reason="CARRIED_TOO_LITTLE",
                action="carry a file to the peer, which says so, and its answer back",
            )
        note = carried.checkpoint
        for page in carried.pages:
            cut = min(max(0, start - page.first), len(page.headers))
            first = page.first + cut
            if note or cut < len(page.headers):
                yield pb.ListHeadersResponse(
                    checkpoint=note,
                    first=max(first, start),
                    headers=page.headers[cut:],
                    bodies=[each for each in page.bodies if each.index >= first],
                )
            note = b""

    async def list_replica(self, start: int) -> AsyncGenerator[pb.ListReplicaResponse, None]:
        for _ in (start,):
            raise NotReadyError("there is no link to the peer", reason="NO_LINK")
        yield pb.ListReplicaResponse()

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        cosigned = self._need().cosigned
        if (parse_known(cosigned).size if cosigned else 0) != old_size:
            raise ConflictError("the peer has cosigned another size", reason="SIZE_CONFLICT")
        raise UnavailableError(
            "no file of the peer's has a larger cosignature",
            reason="NOT_CARRIED",
            action="carry a file to the peer, and its answer back: `ledgerd peer export`",
        )

    async def get_cosigned(self) -> bytes:
        return self._need().cosigned

    async def renew(self, *, certificate: bytes, key: bytes) -> None:
        """Nobody is called."""

    async def close(self) -> None:
        """Nothing is open."""

    def _need(self) -> Carried:
        try:
            carried = self._exchange.newest()
        except LedgerError as error:
            raise UnavailableError(error.message, reason=error.reason) from error
        fresh = carried is not None and self._exchange.asked_at(carried.envelope.answers)
        if carried is None or (self._is_unconfirmed() and not fresh):
            raise UnavailableError(
                "nothing was carried here from the peer that answers a question of this node's",
                reason="NOT_CARRIED",
                action="carry a file to the peer, and its answer back: `ledgerd peer export`",
            )
        return carried
