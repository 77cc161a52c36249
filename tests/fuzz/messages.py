"""
Requests that are almost right: of each field of a message too little, too much, or the wrong thing.

Made from descriptors, so that a new field is filled from its first day. What is made is bytes: no
library would write some of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
EDGES = [
    0,
    1,
    2,
    3,
    127,
    128,
    1000,
    1001,
    2**31 - 1,
    2**31,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
]
SIZES = [0, 1, 15, 16, 17, 31, 32, 33, 64, 65, 1000, 40_000]
TEXTS = [
    "", "a", ".", "..", "../../etc/passwd", "/etc/passwd", "\0", "\n", "%s%n", "é合\u202e\ufeff", "' OR 1=1 --",
    "a" * 64, "a" * 201, "a" * 5000, "uscc.A", "GBA-SC-2026-001", "2026-05-01", "-1", "NaN",
]  # fmt: skip
DEEP = 40
MANY = 3000
# Of one field: a little over what a request may be.
LARGEST = 5 << 20


class Maker:
    """
    Makes messages out of chance.

    likely: bytes and texts that mean something to whoever is asked, of any field; readable: any
    library reads what is made, and nothing is said of its being right.
    """

    def __init__(
        self, random: Random, likely: Sequence[bytes] = (), *, readable: bool = False
    ) -> None:
        self._random = random
        self._likely = likely
        self._readable = readable

    def message(self, descriptor: Descriptor, depth: int = 0) -> bytes:
        chance = 0.5 if self._readable else self._random.random()
        if depth == 0 and chance < 0.05:
            return self._random.randbytes(self._random.choice(SIZES))
        share = self._random.choice([0.05, 0.2, 0.6, 1])
        parts = [
            self._field(field, depth)
            for field in descriptor.fields
            if self._random.random() < share
        ]
        if chance > 0.8:
            parts.append(self._unknown(depth))
        if chance > 0.9:
            self._random.shuffle(parts)
        whole = b"".join(parts)
        if depth == 0 and chance > 0.95:
            return whole[: self._random.randrange(len(whole) + 1)]
        return whole

    def _field(self, field: Any, depth: int) -> bytes:
        counts = [0, 1, 1, 1, 2, 40, MANY] if field.is_repeated else [0, 1, 1, 1, 1, 2]
        count = self._random.choice(counts)
        if depth and count == MANY:
            count = 40
        value = self._value(field, depth) if count else b""
        # The same again: many different ones would take longer to make than to refuse.
        return value * min(count, LARGEST // (len(value) or 1) or 1)

    def _value(self, field: Any, depth: int) -> bytes:
        random = self._random
        if random.random() < 0.03 and not self._readable:
            return tagged(
                field.number,
                random.choice([VARINT, FIXED64, BYTES, FIXED32, 3, 4]),
                random.randbytes(8),
            )
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            inner = self.message(field.message_type, depth + 1) if depth < DEEP else b""
            return tagged(field.number, BYTES, sized(inner))
        if field.type in {FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING}:
            return tagged(field.number, BYTES, sized(self._blob(field.type)))
        return tagged(field.number, VARINT, varint(self._number(field)))

    def _number(self, field: Any) -> int:
        if field.type == FieldDescriptor.TYPE_BOOL:
            return self._random.choice([0, 1, 2])
        if field.type == FieldDescriptor.TYPE_ENUM:
            known = [value.number for value in field.enum_type.values]
            return self._random.choice([*known, *known, 99, 2**31, 2**64 - 1])
        return self._random.choice([*EDGES, *range(12), 20260301, 1_800_000_000_000_000])

    def _blob(self, kind: int) -> bytes:
        random = self._random
        if self._likely and random.random() < 0.6:
            found = random.choice(self._likely)
            if kind == FieldDescriptor.TYPE_BYTES or found.isascii():
                return found
        if kind == FieldDescriptor.TYPE_STRING:
            texts = [*(text.encode() for text in TEXTS), b"\xff\xfe"]
            return random.choice(texts[:-1] if self._readable else texts)
        return random.randbytes(random.choice(SIZES))

    def _unknown(self, depth: int) -> bytes:
        number = self._random.choice([15, 100, 536_870_911])
        nested = b""
        for _ in range(self._random.choice([1, 99, 200])):
            nested = tagged(number, BYTES, sized(nested))
        return nested


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def sized(data: bytes) -> bytes:
    return varint(len(data)) + data


def tagged(number: int, kind: int, value: bytes) -> bytes:
    return varint(number << 3 | kind) + value
