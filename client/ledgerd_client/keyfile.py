"""
Key files (docs/format.md, "Key file"), and how files that matter are written and read.

A file is made once and whole, or not at all; a secret one is for its owner's eyes only.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ledgerd_client.core.encoding import encode_base64, parse_base64
from ledgerd_client.core.errors import InputError, MalformedError, TooLargeError
from ledgerd_client.core.keys import SigningKey

FILE_HEAD = "ledgerd-key/v1"
# Of keys made by `ledgerd dev`, so that nobody takes one for a real one.
THROWAWAY_HEAD = "ledgerd-throwaway-key/v1"

# Key histories are the largest: 600 bytes a key.
_MAX_BYTES = 64 * 1024 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A signing key, and whether it was made for a trial and proves nothing."""

    key: SigningKey
    throwaway: bool = False

    def format(self) -> bytes:
        head = THROWAWAY_HEAD if self.throwaway else FILE_HEAD
        return f"{head}\ned25519 {encode_base64(self.key.seed)}\n".encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a key file; raises MalformedError, which never quotes data."""
        try:
            head, key, rest = data.decode("ascii").split("\n")
        except ValueError:  # UnicodeDecodeError is one
            raise MalformedError("not a key file") from None
        algorithm, _, seed = key.partition(" ")
        if head not in {FILE_HEAD, THROWAWAY_HEAD} or algorithm != "ed25519" or rest:
            raise MalformedError(f"not a {FILE_HEAD} file")
        return cls(SigningKey(parse_base64(seed)), head == THROWAWAY_HEAD)


def read_key_file(path: str | os.PathLike[str]) -> KeyFile:
    """Read a key file; raises as read_secret and KeyFile.parse do."""
    return KeyFile.parse(read_secret(path))


def write_key_file(path: str | os.PathLike[str], key_file: KeyFile) -> None:
    """Make a key file; raises as write_new does."""
    write_new(path, key_file.format(), mode=0o600)


def read_secret(path: str | os.PathLike[str]) -> bytes:
    """
    Read a file that only its owner may read.

    Raises InputError: KEY_EXPOSED when group or others may do anything with it.
    """
    return _read(path, secret=True)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a small file that is no secret; raises InputError."""
    return _read(path, secret=False)


def _read(path: str | os.PathLike[str], *, secret: bool) -> bytes:
    try:
        with open(path, "rb", opener=_open_now) as file:
            # Of the file that is read, not of whatever has its name by then.
            exposed = os.fstat(file.fileno()).st_mode & _OTHERS
            if secret and exposed:
                raise InputError(
                    f"{path} is open to others than its owner",
                    reason="KEY_EXPOSED",
                    action=f"chmod 600 {path}; if others could have read it, make a new key",
                )
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, or half a character
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {path}: {why}") from error
    if len(data) > _MAX_BYTES:
        raise TooLargeError(f"{path} is larger than {_MAX_BYTES} bytes: is it the right file?")
    return data


def _open_now(path: str, flags: int) -> int:
    """Open a pipe to which nobody writes, too: it reads as empty, where open() would wait."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def write_new(path: str | os.PathLike[str], data: bytes, *, mode: int) -> None:
    """
    Make a file that is not there yet; file and name are on disk (fsync) when it returns.

    Raises InputError when there is one already, which stays as it is, or it cannot be made.
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            _write_durably(descriptor, data)
        except OSError:
            path.unlink()  # half a key would stand in the way of a whole one
            raise
        _sync_directory(path.parent)
    except FileExistsError:
        raise _is_there(path) from None
    except (OSError, ValueError) as error:  # as in _read
        raise cannot_write(path, error) from error


def write_together(files: Mapping[Path, bytes], *, mode: int) -> None:
    """As write_new, of several files: where one cannot be made, none is left."""
    made: list[Path] = []
    try:
        for path, data in files.items():
            write_new(path, data, mode=mode)
            made.append(path)
    except InputError:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def check_free(*paths: Path) -> None:
    """Refuse names of files that are there already, before the work; raises InputError."""
    for path in paths:
        if os.path.lexists(path):
            raise _is_there(path)


def cannot_write(path: Path, error: OSError | ValueError) -> InputError:
    """Why a file cannot be made, and what to do."""
    why = getattr(error, "strerror", None) or error
    full = getattr(error, "errno", None) in _FULL
    action = "make room there, or name another place" if full else None
    return InputError(f"cannot write {path}: {why}", action=action)


def _is_there(path: Path) -> InputError:
    return InputError(
        f"{path} is there already",
        reason="FILE_EXISTS",
        action="give another name: this program writes over no file",
    )


def _write_durably(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
