"""
Whether the witness still knows what it cosigned: two files beside the store that holds its state.

A witness that has forgotten, by an older copy of its store or none, could cosign a second history
of its peer. So its key is spent: it cosigns nothing more, and another takes its place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ledgerd.synced import read_file, replace_file
from ledgerd_client.core.encoding import encode_base64, parse_base64
from ledgerd_client.core.errors import NotReadyError

WITNESS_FILE: Final = "witness"
SPENT_FILE: Final = "cosigner-spent"

_HEAD: Final = "ledgerd-witness/v1"


class Spent:
    """The files in a node's data directory. Methods raise StoreError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def is_of(self, instance: bytes) -> bool:
        """Whether the witness's state was kept in the store of that instance, or nowhere yet."""
        return read_file(self._directory / WITNESS_FILE) in {b"", _named(instance)}

    def keep(self, instance: bytes) -> None:
        """Remember, durably, in which store the state is."""
        if read_file(self._directory / WITNESS_FILE) != _named(instance):
            replace_file(self._directory / WITNESS_FILE, _named(instance))

    def spend(self, cosigner: bytes) -> None:
        """Note, durably, that a key (raw, public) cosigns nothing more."""
        replace_file(self._directory / SPENT_FILE, _line(cosigner))

    def key(self) -> bytes:
        """The key that was spent last, raw; b"" for none."""
        line = read_file(self._directory / SPENT_FILE)
        return parse_base64(line[:-1].decode("ascii", "replace")) if line else b""


def spent_error() -> NotReadyError:
    """What is said to whoever asks for a cosignature by a key that is spent."""
    return NotReadyError(
        "this node has lost what it cosigned, so its cosigner key signs nothing more",
        reason="COSIGNER_SPENT",
        action="operator: have the authority rotate the cosigner key",
    )


def _named(instance: bytes) -> bytes:
    return f"{_HEAD}\n{instance.hex()}\n".encode()


def _line(key: bytes) -> bytes:
    return f"{encode_base64(key)}\n".encode()
