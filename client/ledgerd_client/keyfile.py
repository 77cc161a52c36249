"""
Key files (docs/format.md, "Key file"), and how files that matter are written and read.

A file is made once and whole, or not at all; a secret one is for its owner's eyes only.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Self

from ledgerd_client.core.encoding import encode_base64, parse_base64
from ledgerd_client.core.errors import InputError, MalformedError, TooLargeError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.sealing import FILE_HEAD as SEALED_HEAD
from ledgerd_client.sealing import SealedKey

FILE_HEAD = "ledgerd-key/v1"
# Of keys made by `ledgerd dev`, so that nobody takes one for a real one.
THROWAWAY_HEAD = "ledgerd-throwaway-key/v1"

PASSPHRASE_VARIABLE = "LEDGER_PASSPHRASE_FILE"  # noqa: S105 - it names a file

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


def read_key_file(
    path: str | os.PathLike[str], passphrase: str | os.PathLike[str] | None = None
) -> KeyFile:
    """
    Read a key file; a sealed one with the passphrase in a file.

    passphrase: its path, else what LEDGER_PASSPHRASE_FILE names, else it is asked for at a
    terminal. Raises as read_secret and KeyFile.parse do, InputError KEY_SEALED without a
    passphrase, and WRONG_PASSPHRASE.
    """
    data = read_secret(path)
    if not is_sealed(data):
        return KeyFile.parse(data)
    return KeyFile(SealedKey.parse(data).open(find_passphrase(path, passphrase)))


def is_sealed(data: bytes) -> bool:
    """Whether a key file holds a sealed key."""
    return data.startswith(f"{SEALED_HEAD}\n".encode())


def public_key(data: bytes) -> bytes:
    """The public half of the key in a key file's data; nobody is asked for a passphrase."""
    return SealedKey.parse(data).public if is_sealed(data) else KeyFile.parse(data).key.public


def read_passphrase(path: str | os.PathLike[str]) -> bytes:
    """The passphrase in a file that only its owner may read; raises InputError."""
    passphrase = read_secret(path).removesuffix(b"\n")
    if not passphrase:
        raise InputError(f"there is no passphrase in {path}")
    return passphrase


def find_passphrase(path: str | os.PathLike[str], file: str | os.PathLike[str] | None) -> bytes:
    """The passphrase of the sealed key file at path, as read_key_file looks for it."""
    if found := file or os.environ.get(PASSPHRASE_VARIABLE):
        return read_passphrase(found)
    if not sys.stdin.isatty():
        raise InputError(
            f"{path} is sealed",
            reason="KEY_SEALED",
            action=f"name a file with its passphrase: keys.passphrase or {PASSPHRASE_VARIABLE}",
        )
    return getpass(f"Passphrase of {path}: ").encode()


def write_key_file(path: str | os.PathLike[str], key_file: KeyFile) -> None:
    """Make a key file; raises as write_new does."""
    write_new(path, key_file.format(), mode=0o600)


def read_secret(path: str | os.PathLike[str]) -> bytes:
    """
    Read a file that only its owner may read, or one of this service's systemd credentials.

    Raises InputError: KEY_EXPOSED when group or others may do anything with it.
    """
    return _read(path, secret=True)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a small file that is no secret; raises InputError."""
    return _read(path, secret=False)


def _read(path: str | os.PathLike[str], *, secret: bool) -> bytes:
    try:
        with open(path, "rb", opener=open_now) as file:
            # Of the file that is read, not of whatever has its name by then.
            exposed = os.fstat(file.fileno()).st_mode & _OTHERS
            if secret and exposed and not is_credential(path):
                raise InputError(
                    f"{path} is open to others than its owner",
                    reason="KEY_EXPOSED",
                    action=f"chmod 600 {path}; if others could have read it, make a new key",
                )
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, or half a character
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot read {path}: {why}", action="name a file that can be read"
        ) from error
    if len(data) > _MAX_BYTES:
        raise file_too_large(path, _MAX_BYTES)
    return data


def file_too_large(path: str | os.PathLike[str], most: int) -> TooLargeError:
    """Why a file of over `most` bytes is not looked at."""
    return TooLargeError(
        f"{path} has over {most} bytes, and cannot be what it is taken for",
        reason="FILE_TOO_LARGE",
        action="name the right file",
    )


def is_credential(path: str | os.PathLike[str]) -> bool:
    """Whether the service manager guards it: what it grants us shows as a right of the group."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and Path(path).parent == Path(str(directory))


def open_now(path: str, flags: int) -> int:
    """Open a pipe to which nobody writes, too: it reads as empty, where open() would wait."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def open_private(path: str, flags: int) -> int:
    """For open(): a file that is made is its owner's alone, and no link of its name is followed."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


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
        sync_directory(path.parent)
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


def sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
