"""
`ledgerd backup --list`: which backups lie in a directory, of which logs, and whether each is whole.

It needs no configuration and no key, so that a copy on another machine can be looked at there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ledgerd.backup.files import (
    OWN,
    PEER,
    SUMS,
    UNFINISHED,
    Manifest,
    backups_at,
    bad_backup,
    digest_of,
    entry_files,
    sums_of,
)
from ledgerd_client.core.errors import InputError, LedgerError
from ledgerd_client.keyfile import read_file


class Listed(NamedTuple):
    """
    A backup: when it was made (µs), of which log, with how many entries of it and of the peer's.

    size is in bytes, with files that others share. fault: why it is not whole, "" if it is; the
    other values are then what could be read.
    """

    path: Path
    made_at: int
    origin: str
    entries: int
    peer_entries: int
    size: int
    fault: str


def find_backups(directory: Path) -> list[Path]:
    """The backups of a directory, the oldest first; raises InputError NO_BACKUP."""
    if found := backups_at(directory):
        return found
    raise InputError(
        f"there is no backup in {directory}: {_what_is_there(directory)}",
        reason="NO_BACKUP",
        action="name what `ledgerd backup --to` was given, and see whether its disk is mounted",
    )


def examine(backups: list[Path], *, verify: bool) -> Iterator[Listed]:
    """
    Look at each backup: whether there are files for every entry up to its checkpoints.

    verify: read them too, those that several share once, and compare with the digests of when they
    were read back. Signatures are left to whoever restores.
    """
    known: dict[tuple[int, int], str] = {}

    def digest(path: Path) -> str:
        found = path.stat()
        place = found.st_dev, found.st_ino
        if place not in known:
            known[place] = digest_of(path)
        return known[place]

    for backup in backups:
        listed = Listed(backup, 0, "", 0, 0, 0, "")
        try:
            manifest = Manifest.read(backup)
            entries, peers = manifest.sizes
            size = sum(each.stat().st_size for each in backup.iterdir())
            listed = Listed(backup, manifest.made_at, manifest.origin, entries, peers, size, "")
            _check_files(backup, OWN, entries)
            _check_files(backup, PEER, peers)
            sums = read_file(backup / SUMS)
            if verify and sums_of(backup, digest).encode() != sums:
                raise bad_backup(f"its files are not what its {SUMS} says")
        except LedgerError as error:
            listed = listed._replace(fault=error.message)
        except OSError as error:
            listed = listed._replace(fault=f"{error.filename}: {error.strerror}")
        yield listed


def _check_files(backup: Path, log: str, size: int) -> None:
    files = entry_files(backup, log)
    stop = files[-1].stop if files else 0
    if stop != size:
        raise bad_backup(f"the files of {log} end at entry {stop}, and its checkpoint at {size}")


def _what_is_there(directory: Path) -> str:
    if not directory.is_dir():
        return "there is no such directory"
    names = [path.name for path in directory.iterdir()]
    if not names:
        return "it is empty"
    if any(name.startswith(UNFINISHED) for name in names):
        return "one is being made, or was cut short"
    if "data.mdb" in names or "store" in names:
        return "it holds a store, which `--from` takes as it is"
    return "it holds something else"
