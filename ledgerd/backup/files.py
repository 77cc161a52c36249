"""
What a backup is made of: files of entries, and a manifest that says whose they are.

A backup is a directory that is whole by itself: files that it shares with the one before are linked
(docs/formats-operators.md). What it holds proves itself by the checkpoints in the manifest.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import file_digest
from io import BufferedReader
from pathlib import Path
from typing import ClassVar, Final, NamedTuple, Self

from google.protobuf.message import DecodeError

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import FieldError, InputError, LedgerError, StoreError
from ledgerd_client.core.note import parse_note
from ledgerd_client.jsonfile import JsonFile
from ledgerd_client.keyfile import open_now, open_private, read_file

OWN: Final = "own"
PEER: Final = "peer"
MANIFEST: Final = "backup.json"
SUMS: Final = "SHA256SUMS"
# Names of backups and files that are not whole yet, or no more, begin so.
UNFINISHED: Final = ".unfinished-"

_HEAD: Final = b"ledgerd-entries/v1\n"
# No honest page is nearly as large.
_MAX_PAGE: Final = 64 << 20
_NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
_ENTRIES: Final = re.compile(r"(own|peer)-(\d{20})-(\d{20})\.entries")


@dataclass(frozen=True, slots=True)
class Manifest(JsonFile):
    """
    Of which logs, up to where, and made when (µs). Checkpoints are notes; that of the peer's is b""
    when nothing of it was replayed yet.
    """

    FORMAT: ClassVar = "ledgerd-backup/v1"

    origin: str
    checkpoint: bytes
    peer_origin: str
    peer_checkpoint: bytes
    made_at: int

    @classmethod
    def read(cls, backup: Path) -> Self:
        """Read the manifest of a backup; raises StoreError BAD_BACKUP."""
        try:
            return cls.parse(read_file(backup / MANIFEST))
        except InputError as error:
            raise bad_backup(f"{backup / MANIFEST}: {error.message}") from error

    @property
    def sizes(self) -> tuple[int, int]:
        """How many entries it has of the log, and of the peer's."""
        peer_end = self.peer_end
        return self.end.size, peer_end.size if peer_end else 0

    @property
    def end(self) -> Checkpoint:
        """Where the log ends in it."""
        return Checkpoint.parse(parse_note(self.checkpoint).text)

    @property
    def peer_end(self) -> Checkpoint | None:
        """Where the peer's log does; None where there is none."""
        note = self.peer_checkpoint
        return Checkpoint.parse(parse_note(note).text) if note else None


class EntryFile(NamedTuple):
    """A file of entries of one log (OWN or PEER): those with first <= index < stop."""

    path: Path
    log: str
    first: int
    stop: int

    @classmethod
    def of(cls, directory: Path, log: str, first: int, stop: int) -> Self:
        return cls(directory / f"{log}-{first:020}-{stop:020}.entries", log, first, stop)


def entry_files(backup: Path, log: str) -> list[EntryFile]:
    """The files of one log, in order; raises StoreError BAD_BACKUP unless they are contiguous."""
    found = sorted(
        EntryFile(path, log, int(name[2]), int(name[3]))
        for path in backup.iterdir()
        if (name := _ENTRIES.fullmatch(path.name)) and name[1] == log
    )
    place = 0
    for each in found:
        if each.first != place or each.stop <= place:
            raise bad_backup(f"{each.path} does not begin at entry {place}")
        place = each.stop
    return found


def write_entries(file: EntryFile, pages: Iterable[list[pb.FollowedEntry]]) -> None:
    """Write a file, which is on the disk when this returns; raises OSError."""
    place = file.first
    with open(file.path, "xb", opener=open_private) as out:
        out.write(_HEAD)
        for entries in pages:
            page = pb.FollowResponse(first=place, entries=entries).SerializeToString()
            out.write(len(page).to_bytes(4, "big") + page)
            place += len(entries)
        out.flush()
        os.fsync(out.fileno())
        # Whoever verifies it reads what the disk has, and not what we have just written.
        os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_entries(file: EntryFile) -> Iterator[list[pb.FollowedEntry]]:
    """The pages of a file; raises StoreError BAD_BACKUP for one that is cut or damaged."""
    place = file.first
    try:
        with _open(file.path) as source:
            if source.read(len(_HEAD)) != _HEAD:
                raise bad_backup(f"{file.path} is no file of entries")
            while length := source.read(4):
                size = int.from_bytes(length, "big")
                data = source.read(size) if len(length) == 4 and size <= _MAX_PAGE else b""
                page = pb.FollowResponse.FromString(data)
                if len(data) != size or page.first != place or not page.entries:
                    raise bad_backup(f"{file.path} is damaged behind entry {place}")
                place += len(page.entries)
                yield list(page.entries)
    except (OSError, DecodeError) as error:
        raise bad_backup(f"{file.path} can't be read: {error}") from error
    if place != file.stop:
        raise bad_backup(f"{file.path} ends at entry {place}")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex; raises OSError."""
    with _open(path) as file:
        return file_digest(file, "sha256").hexdigest()


def _open(path: Path) -> BufferedReader:
    """A file, and nothing that has no end or that waits for somebody; raises OSError."""
    file = open(path, "rb", opener=open_now)  # noqa: SIM115 - for whoever closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a file", str(path))
    return file


def sums_of(backup: Path, digest: Callable[[Path], str] = digest_of) -> str:
    """What `sha256sum --check` reads, of every file of entries."""
    files = sorted(backup.glob("*.entries"))
    return "".join(f"{digest(path)}  {path.name}\n" for path in files)


def backups_in(directory: Path) -> list[Path]:
    """The backups of a directory, of whatever logs, the oldest first."""
    return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))


def backups_at(path: Path) -> list[Path]:
    """
    What a path names: the backup there, or those of the directory; none where it is neither.

    Raises InputError where it cannot be looked at.
    """
    try:
        if (path / MANIFEST).is_file():
            return [path]
        return backups_in(path) if path.is_dir() else []
    except OSError as error:
        raise InputError(
            f"cannot look into {path}: {error.strerror}",
            action="run it as the user whose backups they are, or as root",
        ) from error


def find_backup(path: Path, origin: str) -> Path | None:
    """
    The newest of a log's backups that a path names; None where there is none of any log.

    Raises FieldError WRONG_ORIGIN where all are of other logs, StoreError BAD_BACKUP.
    """
    others: dict[str, None] = {}
    for each in reversed(backups_at(path)):
        held = Manifest.read(each).origin
        if held == origin:
            return each
        others[held] = None
    if others:
        raise wrong_origin(
            f"{path} has backups of {', '.join(sorted(others))}, and none of {origin}"
        )
    return None


def drop(backup: Path) -> None:
    """Remove a backup: at no time is there a half one that looks whole. Raises OSError."""
    gone = backup if backup.name.startswith(UNFINISHED) else None
    if gone is None:
        gone = backup.rename(backup.with_name(UNFINISHED + backup.name))
    shutil.rmtree(gone)


def wrong_origin(message: str) -> FieldError:
    return FieldError(
        message,
        reason="WRONG_ORIGIN",
        action="name what is of this log, or see whether `origin` in the configuration is right",
    )


def bad_backup(message: str) -> LedgerError:
    return StoreError(
        message,
        reason="BAD_BACKUP",
        action="move it away as it is, and take the backup before it",
    )
