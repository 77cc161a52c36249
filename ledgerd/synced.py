"""Small files of the node's alone: whole, old or new, and on the disk when a call returns."""

from __future__ import annotations

import os
from pathlib import Path

from ledgerd_client.core.errors import StoreError
from ledgerd_client.keyfile import open_private


def sync(path: Path) -> None:
    """Have a file, or the names in a directory, on the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_file(path: Path, data: bytes) -> None:
    """Put a file in the place of whatever is there; raises OSError, and that is still there."""
    new = path.with_name(path.name + ".new")
    with open(new, "wb", opener=open_private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """As put_file; raises StoreError."""
    try:
        put_file(path, data)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def read_file(path: Path) -> bytes:
    """What a file holds, b"" when there is none; raises StoreError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {error.strerror}",
            action="make it readable to the daemon; do not delete it",
        ) from error
