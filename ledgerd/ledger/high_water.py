"""The high-water mark: how many entries a store is known to have held, in a file outside of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple, Self

from ledgerd.synced import read_file, replace_file
from ledgerd_client.core.encoding import parse_decimal
from ledgerd_client.core.errors import MalformedError

MARK_FILE: Final = "high-water"

_MARK_HEAD: Final = "ledgerd-high-water/v1"


class HighWater(NamedTuple):
    """Which store it was (16 bytes), and how many entries it is known to have held."""

    instance: bytes
    size: int

    def format(self) -> bytes:
        return f"{_MARK_HEAD}\n{self.instance.hex()}\n{self.size}\n".encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the file; raises MalformedError unless data is its one spelling."""
        try:
            _, instance, size, _ = data.decode("ascii").split("\n")
            mark = cls(bytes.fromhex(instance), parse_decimal(size))
        except (ValueError, MalformedError):  # UnicodeDecodeError is a ValueError
            raise MalformedError(f"not a {_MARK_HEAD} file") from None
        if mark.format() != data or len(mark.instance) != 16:
            raise MalformedError(f"not a {_MARK_HEAD} file")
        return mark


def read_mark(directory: Path) -> HighWater | None:
    """
    Read the mark; None for none, and for one that can't be made out: the peer is asked then.

    Raises StoreError when the file can't be read.
    """
    try:
        return HighWater.parse(read_file(directory / MARK_FILE))
    except MalformedError:
        return None


def write_mark(directory: Path, mark: HighWater) -> None:
    """Replace the mark, durably; raises StoreError, and the old one is still there."""
    replace_file(directory / MARK_FILE, mark.format())
