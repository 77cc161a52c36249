"""What is known of a node at one moment: metrics, status and health are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from ledgerd.store.base import Room

# Appends are taken.
OPEN: Final = "OPEN"
# Why a round with the peer fails that has come to an answer, and to one that can't be.
_DISAGREEING: Final = frozenset(
    ("FORK", "BAD_CHAIN", "BAD_ROOT", "BAD_PROOF", "BAD_SIGNATURE", "EVIDENCE")
)


class CertificateEnd(NamedTuple):
    """
    When a certificate ends, µs.

    name: node, authority or peer_authority; fingerprint: of its SHA-256, 16 hex digits.
    """

    name: str
    fingerprint: str
    at: int


@dataclass(frozen=True, slots=True)
class Vitals:
    """
    How a node stands. Sizes in entries, times in µs since the epoch, UTC; 0: never.

    Read in any thread, so that parts of it may be a moment apart.
    """

    at: int
    # OPEN, or the reason for which appends are refused, and that in words.
    state: str
    why_not: str
    # This log, and when its newest entry was recorded.
    size: int
    recorded_at: int
    # What waits for the disk, requests that are being handled, and for how long there has been work
    # of which nothing was finished.
    waiting_records: int
    in_flight_bytes: int
    stalled_s: float
    # Of this log, cosigned by the peer; for how long the oldest entry has waited that is not.
    cosigned_size: int
    cosign_lag_s: float
    # Of the peer's log: shown by it, verified, cosigned here, anchored here.
    shown_size: int
    replayed_size: int
    witnessed_size: int
    anchored_size: int
    # Of this log, on the standby's disk, as it says; 0: there is none.
    standby_size: int
    # For how long the oldest entry has waited that it lacks, and for how long it has not asked; 0
    # where no standby is looked for.
    standby_lag_s: float
    standby_away_s: float
    # When the newest verified checkpoint of the peer was fetched, and the newest anchored one.
    fetched_at: int
    anchored_at: int
    # How long the peer may be silent.
    silence_s: float
    # For how long a deadline of the peer's has passed that no anchor has judged.
    overdue_s: float
    # Rounds that failed since the start, and why the newest one did: "" if it went well.
    failures: int
    failing: str
    # Of its quota; of the disk, disk_free says it.
    replica_full: bool
    latched: bool
    # The cosigner key signs nothing more.
    spent: bool
    # When the newest backup was finished.
    backed_up_at: int
    # What the newest audit said, True before any, and when.
    audit_ok: bool
    audited_at: int
    disk_free: int
    disk_reserve: int
    certificates: tuple[CertificateEnd, ...]

    @property
    def disagrees(self) -> bool:
        """Whether the nodes are heard, and what one shows of a log does not verify at the other."""
        return self.failing in _DISAGREEING

    @property
    def is_full(self) -> bool:
        """Whether appends are refused with DISK_FULL, whatever the state."""
        return self.disk_free < self.disk_reserve


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a node holds; dearer to find out. In any thread, as Vitals."""

    # TRANSFER and ACK entries by what their transfer has come to, standing findings by rule.
    transfers: Mapping[str, int]
    findings: Mapping[str, int]
    # By store: ledger, peer.
    rooms: Mapping[str, Room]
    # Bundles kept, acknowledged ones too.
    evidence: int
    # Since when each key has been in force, µs.
    keys: Mapping[str, int]


class Watched(Protocol):
    """Whoever can say how a node stands. In any thread."""

    def vitals(self) -> Vitals: ...
    def inventory(self) -> Inventory: ...
