"""
Messages of a stream of headers, looked at before they are parsed.

A field of two bytes takes sixteen and more once it is parsed: one message could fill the memory.
"""

from __future__ import annotations

from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from ledgerd.ledger.reader import SHARED_PAGE_HEADERS
from ledgerd_client.core.errors import MalformedError

M = TypeVar("M", bound=Message)

# A header and a body for each entry, the checkpoint, and where the page begins.
_MOST_FIELDS: Final = 2 * SHARED_PAGE_HEADERS + 2
_VARINT, _BYTES = 0, 2


def read_page(cls: type[M], raw: bytes) -> M:
    """Read one message; raises MalformedError, also for more fields than an honest page has."""
    try:
        _check_fields(raw)
        return cls.FromString(raw)
    except (DecodeError, IndexError):
        raise MalformedError("the peer sent what is no page of headers") from None


def _check_fields(raw: bytes) -> None:
    place = 0
    for _ in range(_MOST_FIELDS):
        if place >= len(raw):
            return
        tag, place = _varint(raw, place)
        value, place = _varint(raw, place)
        if tag & 7 == _BYTES:
            place += value
        elif tag & 7 != _VARINT:
            raise MalformedError("the peer sent a page with fields that pages do not have")
    if place < len(raw):
        raise MalformedError("the peer sent a page with more fields than its entries can have")


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    """A number of 64 bits at most, and where it ends; raises IndexError when it does not end."""
    value = 0
    for shift in range(0, 64, 7):
        value |= (raw[place] & 0x7F) << shift
        place += 1
        if raw[place - 1] < 0x80:
            return value, place
    raise MalformedError("the peer sent a number that does not end")
