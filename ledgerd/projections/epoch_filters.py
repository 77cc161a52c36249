"""
In which epochs something may be: a Bloom filter for each epoch (CACM 13(7), 1970).

An epoch's filter is a bit of every word, so that one look at four words asks 64 epochs at once.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

# Epochs of a group, whose filters lie across each other.
GROUP: Final = 64
# Words of a group. An epoch of 16,384 sets four for each: of what it has not it shows one in 400.
SLOTS: Final = 1 << 18
PREFIX: Final = 8
"""Bytes of a digest that are asked for."""

_LAST: Final = SLOTS - 1


class Words(Protocol):
    """A group's words."""

    def __getitem__(self, slot: int, /) -> int: ...


def no_words() -> array[int]:
    """A group in which nothing is."""
    return array("Q", bytes(8 * SLOTS))


def enter(words: array[int], epoch: int, prefixes: Sequence[bytes]) -> None:
    """Have an epoch of a group show these."""
    mask = 1 << epoch % GROUP
    for value in _values(prefixes):
        words[value & _LAST] |= mask
        words[value >> 18 & _LAST] |= mask
        words[value >> 36 & _LAST] |= mask
        words[value >> 46] |= mask


def without(words: array[int], epoch: int) -> array[int]:
    """A group's words as they were before an epoch of it."""
    mask = (1 << epoch % GROUP) - 1
    return array("Q", [word & mask for word in words])


def shown(groups: Sequence[Words], prefixes: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    """Each prefix with each epoch that shows it, the newest first."""
    for group in reversed(range(len(groups))):
        words = groups[group]
        for prefix, value in zip(prefixes, _values(prefixes), strict=True):
            bits = words[value & _LAST] & words[value >> 18 & _LAST]
            bits = bits and bits & words[value >> 36 & _LAST] & words[value >> 46]
            while bits:
                bit = bits.bit_length() - 1
                yield prefix, group * GROUP + bit
                bits ^= 1 << bit


def groups_of(epochs: int) -> int:
    """How many groups so many epochs make."""
    return -(-epochs // GROUP)


def _values(prefixes: Sequence[bytes]) -> tuple[int, ...]:
    """Each prefix as a number, of which its four slots are parts."""
    return struct.unpack(f">{len(prefixes)}Q", b"".join(prefixes))
