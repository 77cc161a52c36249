"""Second spellings of canonical protobuf: other bytes that a lax reader takes for the same."""

from __future__ import annotations

from interop.protobuf import encode_field, varint

UNKNOWN = 99
# Wire types, as protobuf numbers them.
VARINT, FIXED64, LENGTH, START_GROUP, FIXED32 = 0, 1, 2, 3, 5


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def padded(minimal: bytes) -> bytes:
    """A varint with one byte more than it needs."""
    return minimal[:-1] + bytes([minimal[-1] | 0x80, 0])


def other_spellings(message: bytes) -> dict[str, bytes]:
    """
    Other spellings of a canonical message that begins with two texts or bytes, each shorter than 128.

    No reader may take any of them.
    """
    end = 2 + message[1]
    head, length, value, rest = message[:1], message[1:2], message[2:end], message[end:]
    first, second = message[:end], rest[: 2 + rest[1]]
    group = tag(UNKNOWN, START_GROUP)
    return {
        "an unknown number at the end": message + encode_field(UNKNOWN, 1),
        "an unknown zero at the end": message + tag(UNKNOWN, VARINT) + b"\x00",
        "an unknown number at the start": encode_field(UNKNOWN, 1) + message,
        "an unknown text": message + encode_field(UNKNOWN, "a"),
        "an unknown empty text": message + tag(UNKNOWN, LENGTH) + b"\x00",
        "an unknown group": message + group + tag(UNKNOWN, START_GROUP + 1),
        "unknown groups, 10,000 deep": message + group * 10_000,
        "an unknown fixed32": message + tag(UNKNOWN, FIXED32) + bytes(4),
        "an unknown fixed64": message + tag(UNKNOWN, FIXED64) + bytes(8),
        "the first field as a number": tag(head[0] >> 3, VARINT) + b"\x01" + message,
        "the first two fields exchanged": second + first + rest[len(second) :],
        "the first field twice": first + message,
        "the first field once more at the end": message + first,
        "an empty first field before it": head + b"\x00" + message,
        "a tag of one byte too many": padded(head) + length + value + rest,
        "a length of one byte too many": head + padded(length) + value + rest,
        "field number 0": message + b"\x02\x00",
        "cut short": message[:-1],
        "a zero byte at the end": message + b"\x00",
        "a varint without an end": message + b"\x80" * 11,
    }
