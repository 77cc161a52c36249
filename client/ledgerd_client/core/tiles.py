"""
Where the files of a published log are (C2SP tlog-tiles): hashes in tiles, entries in bundles.

A tile of level L holds up to 256 hashes, each the root of a complete subtree of 256**L leaves; the
bundle of the same number holds the entries of a tile of level 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ledgerd_client.core.encoding import lp16
from ledgerd_client.core.errors import MalformedError

WIDTH: Final = 256
ENTRIES: Final = "entries"

_MAX_LEVEL: Final = 63
# Six groups of three digits: all that a size below 2^63 needs.
_PATH: Final = re.compile(
    r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([0-9]{1,3}))?"
)


class Tile(NamedTuple):
    """
    One file of a published log; level None is a bundle of entries.

    width: how many hashes or entries it holds, 1 to 256; a tile of fewer than 256 is partial.
    """

    level: int | None
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """The path below the log's prefix, without a leading slash."""
        kind = ENTRIES if self.level is None else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{kind}/{_number_path(self.number)}{partial}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read the path of a tile; raises MalformedError for all but its one spelling."""
        found = _PATH.fullmatch(path)
        if found is None:
            raise MalformedError("not the path of a tile")
        kind, number, width = found.groups(default="256")
        tile = cls(
            None if kind == ENTRIES else int(kind),
            int(number.replace("x", "").replace("/", "")),
            int(width),
        )
        if (tile.level or 0) > _MAX_LEVEL or not 0 < tile.width <= WIDTH or tile.path != path:
            raise MalformedError("the path of a tile is not canonical")
        return tile


def tiles_of(size: int, known: int = 0) -> Iterator[Tile]:
    """
    Every file that a log of size needs, and one of known entries, a smaller size, did not have.

    Hashes before the hashes over them, and each bundle before its tile.
    """
    for number, width in _row(size, known):
        yield Tile(None, number, width)
        yield Tile(0, number, width)
    level = 1
    while size >> 8 * level:
        for number, width in _row(size >> 8 * level, known >> 8 * level):
            yield Tile(level, number, width)
        level += 1


def bundle_of(entries: Iterable[bytes]) -> bytes:
    """The content of a bundle: each entry with its length, of at most 65,535 bytes, before it."""
    return b"".join(map(lp16, entries))


def _row(hashes: int, known: int) -> Iterator[tuple[int, int]]:
    if hashes == known:
        return
    for number in range(known // WIDTH, -(-hashes // WIDTH)):
        yield number, min(WIDTH, hashes - number * WIDTH)


def _number_path(number: int) -> str:
    rest, last = divmod(number, 1000)
    groups = f"{last:03d}"
    while rest:
        rest, group = divmod(rest, 1000)
        groups = f"x{group:03d}/{groups}"
    return groups
