"""
A file that one node has for another where no link is allowed (docs/formats-operators.md).

Whoever carries it can take any part of it from another file: each part is believed for what it is
itself, and nothing is believed of an envelope.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from google.protobuf.message import DecodeError

from ledgerd.peer.answer import QUESTION_SIZE, Answer
from ledgerd.peer.notes import parse_known
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import MalformedError
from ledgerd_client.jsonfile import format_json, parse_json

_HEAD: Final = b"ledgerd-carried/v1\n"
_ENVELOPE: Final = "ledgerd-envelope/v1"
# Of one message: those of a stream of headers have little more than 1 MiB.
_MAX_FRAME: Final = 2 << 20
_AGAIN: Final = "carry it again: it was cut or changed on its way"


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    Whose log it is, and for whom; held: how many entries of the receiver's the sender has replayed.

    asks: fresh, random, 16 bytes. Nobody signed any of it.
    """

    origin: str
    to: str
    held: int
    asks: bytes

    def __post_init__(self) -> None:
        if len(self.asks) != QUESTION_SIZE:
            raise MalformedError("a question has 16 bytes")


class Carried(NamedTuple):
    """
    What one side says to the other.

    answer: to the newest file of the receiver's that the sender had; None before the first. pages:
    as of ListHeaders, the first with the checkpoint of the sender's log.
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

    def format(self) -> bytes:
        frames = [
            format_json(_ENVELOPE, self.envelope),
            self.answer.format() if self.answer else b"",
            *(page.SerializeToString() for page in self.pages),
        ]
        return _HEAD + b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a file; raises MalformedError. Nothing of what it says is verified here."""
        try:
            envelope, answer, *pages = _frames(data)
            read = [pb.ListHeadersResponse.FromString(page) for page in pages]
        except (ValueError, DecodeError):
            raise MalformedError("not a whole ledgerd-carried/v1 file", action=_AGAIN) from None
        said = Answer.parse(answer) if answer else None
        carried = cls(parse_json(_ENVELOPE, Envelope, envelope), said, read)
        # A file that lost its end, at the end of a page.
        if not read or parse_known(carried.checkpoint).size != carried.stop:
            raise MalformedError(
                "the file does not hold the headers up to its checkpoint", action=_AGAIN
            )
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
