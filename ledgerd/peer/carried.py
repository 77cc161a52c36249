"""
A file that one node has for another where no link is allowed (docs/formats-operators.md).

Whoever carries it can take any part of it from another file: each part is believed for what it is
itself, and nothing is believed of an envelope.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Final, NamedTuple, Self

from ledgerd.ledger.peer_pages import read_page
from ledgerd.ledger.reader import SHARED_PAGE_HEADERS
from ledgerd.peer.answer import QUESTION_SIZE, Answer
from ledgerd.peer.notes import parse_known
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import MalformedError
from ledgerd_client.jsonfile import JsonFile

# Of headers and shared bodies: whoever writes ends a file here, and goes on in the next.
PART_BYTES: Final = 32 << 20
# Of a whole file. With the counts below it bounds what reading one takes, whoever wrote it.
MAX_BYTES: Final = 64 << 20

_HEAD: Final = b"ledgerd-carried/v1\n"
# Of one message: those of a stream of headers have little more than 1 MiB.
_MAX_FRAME: Final = 2 << 20
_MAX_FRAMES: Final = 1024
_AGAIN: Final = "carry it again: it was cut or changed on its way"


@dataclass(frozen=True, slots=True)
class Envelope(JsonFile):
    """
    Whose log it is, and for whom; held: how many entries of the receiver's the sender has replayed.

    stop: where the headers in the file end. asks: fresh, random, 16 bytes. Nobody signed any of it.
    """

    FORMAT: ClassVar = "ledgerd-envelope/v1"

    origin: str
    to: str
    held: int
    stop: int
    asks: bytes

    def __post_init__(self) -> None:
        if len(self.asks) != QUESTION_SIZE:
            raise MalformedError("a question has 16 bytes")


class Carried(NamedTuple):
    """
    What one side says to the other.

    answer: to the newest file of the receiver's that the sender had; None before the first. pages:
    as of ListHeaders, the first with the checkpoint of the sender's log. They may end before it:
    then another file goes on from there.
    """

    envelope: Envelope
    answer: Answer | None
    pages: Sequence[pb.ListHeadersResponse]

    @property
    def cosigned(self) -> bytes:
        """What the sender vouches for of the receiver's log, a note; b"" for nothing."""
        return self.answer.cosigned if self.answer else b""

    @property
    def start(self) -> int:
        return self.pages[0].first

    @property
    def stop(self) -> int:
        return self.pages[-1].first + len(self.pages[-1].headers)

    @property
    def checkpoint(self) -> bytes:
        return self.pages[0].checkpoint

    @property
    def size(self) -> int:
        """Of the sender's log, by its checkpoint."""
        return parse_known(self.checkpoint).size

    @property
    def is_part(self) -> bool:
        """Whether it ends before its checkpoint."""
        return self.stop < self.size

    def format(self) -> bytes:
        frames = [
            self.envelope.format(),
            self.answer.format() if self.answer else b"",
            *(page.SerializeToString() for page in self.pages),
        ]
        return _HEAD + b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a file; raises MalformedError. Nothing of what it says is verified here."""
        try:
            frames = _frames(data)
            envelope, answer = islice(frames, 2)
            # One frame at a time: a file is large.
            read = list(_pages(frames))
        except (ValueError, MalformedError):
            raise MalformedError("not a whole ledgerd-carried/v1 file", action=_AGAIN) from None
        said = Answer.parse(answer) if answer else None
        carried = cls(Envelope.parse(envelope), said, read)
        # A file that lost its end, at the end of a page; or what nobody writes.
        if not read or carried.stop != carried.envelope.stop or carried.stop > carried.size:
            raise MalformedError("the file does not hold the headers that it says", action=_AGAIN)
        return carried


def _frames(data: bytes) -> Iterator[bytes]:
    if not data.startswith(_HEAD):
        raise ValueError("another file")
    place, count = len(_HEAD), 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        frame = data[place + 4 : place + 4 + size]
        if size > _MAX_FRAME or len(frame) != size or len(data) < place + 4:
            raise ValueError("cut")
        if count == _MAX_FRAMES:
            raise ValueError("too many")
        yield frame
        place, count = place + 4 + size, count + 1


def _pages(frames: Iterator[bytes]) -> Iterator[pb.ListHeadersResponse]:
    """In one piece, and none larger than one of a stream."""
    stop = None
    for frame in frames:
        page = read_page(pb.ListHeadersResponse, frame)
        count = len(page.headers)
        # Only the first may be empty: it has the checkpoint to bring.
        if stop is not None and (page.first != stop or not count):
            raise ValueError("a gap")
        if count > SHARED_PAGE_HEADERS or len(page.bodies) > count:
            raise ValueError("no page of a stream")
        stop = page.first + count
        yield page
