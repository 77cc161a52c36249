"""How a node stands, found out when somebody asks: a scrape, an operator, a health check."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ledgerd.config import Config
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.replicated import Standby
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.ledger.standing import Standing
from ledgerd.ledger.tally import Tally
from ledgerd.observe.results import AuditResult, BackupResult
from ledgerd.observe.vitals import OPEN, CertificateEnd, Inventory, Vitals
from ledgerd.peer.node import PeerSide
from ledgerd.projections.transfer_row import UNJUDGED
from ledgerd.store.base import Store
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.header import recorded_at_of
from ledgerd_client.core.history import KeyHistory

_SECOND: Final = 1_000_000
_KEYS: Final = MappingProxyType(
    {
        "log": pb.ROLE_LOG,
        "entry": pb.ROLE_ENTRY,
        "cosigner": pb.ROLE_COSIGNER,
        "authority": pb.ROLE_AUTHORITY,
    }
)


@dataclass(slots=True)
class Watch:
    """
    Looks at the parts of a node that runs, and changes nothing. Any thread may ask.

    What belongs to the event loop is read as it is at that moment: single values, each whole.
    """

    config: Config
    store: Store
    reader: Reader
    sequencer: Sequencer
    peer: PeerSide
    standing: Standing
    tally: Tally
    standby: Standby
    history: Callable[[], KeyHistory]
    # Bytes of append requests that are being handled.
    in_flight: Callable[[], int]
    clock: Callable[[], int]
    # Of this node and of both authorities; replaced when the node's is.
    certificates: tuple[CertificateEnd, ...]

    def vitals(self) -> Vitals:
        """What health is judged by; some 100 µs."""
        now, refusal = self.clock(), self.standing.refusal or self.standby.refusal
        head, anchor, peer = self.reader.head(), self.reader.anchor(), self.peer.status()
        disk, made = os.statvfs(self.config.data), BackupResult.read(self.config.data)
        audited = AuditResult.read(self.config.data)
        return Vitals(
            at=now,
            state=refusal.reason if refusal else OPEN,
            why_not=refusal.message if refusal else "",
            size=head.size,
            recorded_at=head.last_time,
            waiting_records=self.sequencer.waiting_records,
            in_flight_bytes=self.in_flight(),
            stalled_s=self.sequencer.stalled_s,
            cosigned_size=peer.own_cosigned_size,
            cosign_lag_s=self._waited_s(now, peer.own_cosigned_size, head.size),
            shown_size=peer.shown_size,
            replayed_size=peer.replayed_size,
            witnessed_size=peer.cosigned_size,
            anchored_size=anchor.size,
            standby_size=self.standby.held,
            standby_lag_s=(
                self._waited_s(now, self.standby.held, head.size)
                if self.standby.is_looked_for
                else 0.0
            ),
            standby_away_s=self.standby.away_s,
            fetched_at=peer.fetched_at,
            anchored_at=anchor.known_until,
            silence_s=self.config.peer.silence_s,
            overdue_s=self._overdue_s(now),
            failures=peer.failures,
            failing=peer.reason,
            replica_full=peer.replica_full,
            latched=peer.latched,
            spent=peer.spent,
            backed_up_at=made.finished_at if made else 0,
            audit_ok=audited is None or bool(audited.ok),
            audited_at=audited.finished_at if audited else 0,
            disk_free=disk.f_bavail * disk.f_frsize,
            disk_reserve=self.config.limits.reserve_bytes,
            certificates=self.certificates,
        )

    def inventory(self) -> Inventory:
        """What there is to count; see Tally for what that costs."""
        counts, history = self.tally.count(), self.history()
        admitted = {name: history.key_in_force(role).admitted_at for name, role in _KEYS.items()}
        return Inventory(
            transfers={state.name.lower(): count for state, count in counts.transfers.items()},
            findings=counts.findings,
            rooms={"ledger": self.store.room(), "peer": self.peer.room()},
            evidence=len(self.peer.accusations.kept()),
            keys={
                name: recorded_at_of(self.reader.header(index)) for name, index in admitted.items()
            },
        )

    def _waited_s(self, now: int, done: int, size: int) -> float:
        """For how long the oldest entry has waited that is not done: cosigned, say."""
        if done >= size:
            return 0.0
        return max(0, now - recorded_at_of(self.reader.header(done))) / _SECOND

    def _overdue_s(self, now: int) -> float:
        deadline = self.reader.next_deadline()
        if deadline is None or deadline == UNJUDGED:
            return 0.0
        return max(0, now - deadline) / _SECOND
