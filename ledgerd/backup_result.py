"""What became of a node's newest backup: a file in its data directory, for the node to tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from ledgerd.ledger.standing import replace_file
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.jsonfile import format_json, parse_json

RESULT_FILE: Final = "backup-result.json"
_FORMAT: Final = "ledgerd-backup-result/v1"


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A backup that was finished at a time (µs): entries in it, and where it is."""

    finished_at: int
    entries: int
    backup: str

    def write(self, data: Path) -> None:
        """Put it into a node's data directory, durably; raises StoreError."""
        replace_file(data / RESULT_FILE, format_json(_FORMAT, self))

    @classmethod
    def read(cls, data: Path) -> Self | None:
        """The one in a node's data directory; None where there is none that can be read."""
        try:
            return parse_json(_FORMAT, cls, (data / RESULT_FILE).read_bytes())
        except (OSError, LedgerError):
            return None
