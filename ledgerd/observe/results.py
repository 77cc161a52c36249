"""What became of a node's newest backup and audit: files in `data`, for the node to tell of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from ledgerd.synced import replace_file
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.jsonfile import JsonFile


class _Result(JsonFile):
    """A file in a node's data directory."""

    __slots__ = ()
    FILE: ClassVar[str]

    def write(self, data: Path) -> None:
        """Put it into a node's data directory, durably; raises StoreError."""
        replace_file(data / self.FILE, self.format())

    @classmethod
    def read(cls, data: Path) -> Self | None:
        """The one in a node's data directory; None where there is none that can be read."""
        try:
            return cls.parse((data / cls.FILE).read_bytes())
        except (OSError, LedgerError):
            return None


@dataclass(frozen=True, slots=True)
class BackupResult(_Result):
    """A backup that was finished at a time (µs): entries in it, and where it is."""

    FILE: ClassVar = "backup-result.json"
    FORMAT: ClassVar = "ledgerd-backup-result/v1"

    finished_at: int
    entries: int
    backup: str


@dataclass(frozen=True, slots=True)
class AuditResult(_Result):
    """
    An audit that ended at a time (µs): of so many entries of size, in part (from 0) of parts.

    ok: 1, or 0 when something is wrong, which message then says.
    """

    FILE: ClassVar = "audit-result.json"
    FORMAT: ClassVar = "ledgerd-audit-result/v1"

    ok: int
    finished_at: int
    entries: int
    size: int
    part: int
    parts: int
    message: str
