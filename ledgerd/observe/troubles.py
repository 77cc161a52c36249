"""
What is wrong with a node, by what is known of it: for operators, health checks and nobody else.

Each trouble has an alert in deploy/alerts.yml, and so a section in docs/runbook.md: of PEER_SILENT
it is LedgerdPeerSilent. Alerts wait a while before they wake somebody; this says how it is now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from ledgerd.observe.vitals import OPEN, CertificateEnd, Vitals
from ledgerd.peer.replay import PEER_CLOCK_AHEAD
from ledgerd.peer.store import REPLICA_RESERVES

# What a trouble keeps from working: parts that a health check may ask for.
APPEND: Final = "append"
FRESH: Final = "fresh"
PEER: Final = "peer"
PARTS: Final = (APPEND, FRESH, PEER)

STALLED_S: Final = 10
CLOCK_S: Final = 5
# At least: what a silent peer makes late is no sooner late than the peer is silent.
NOT_COSIGNED_S: Final = 600
ANCHOR_LATE_S: Final = 1800
ENDS_SOON_S: Final = 14 * 86_400
ENDS_S: Final = 2 * 86_400
BACKUP_OLD_S: Final = 36 * 3_600
STANDBY_AWAY_S: Final = 60
STANDBY_BEHIND_S: Final = 300
AUDIT_OLD_S: Final = 3 * 86_400
# Times the reserve.
_LOW: Final = 8

# States that are troubles of their own.
_BY_NAME: Final = frozenset(("ROLLED_BACK", "REPLACED", "STANDBY_AWAY"))
_SECOND: Final = 1_000_000


class Trouble(NamedTuple):
    """code: stable, upper-case; part: what it keeps from working, "" for nothing yet."""

    code: str
    part: str
    says: str

    @property
    def parts(self) -> tuple[str, ...]:
        """What it hurts: a disk without room for records has none for the peer's log."""
        return (self.part, PEER) if self.code == "DISK_FULL" else (self.part,)

    @property
    def do(self) -> str:
        """What to do first; the runbook has the rest."""
        return _DO[self.code]


_DO: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ROLLED_BACK": "stop the node, keep this store, restore a newer copy; else recover",
        "REPLACED": "stop the node, keep its store: the log goes on at another one",
        "APPENDS_REFUSED": "reach the peer, or carry a file to it; see that data can be written",
        "STANDBY_AWAY": "see the standby's systemctl status; start it, or promote it if it is time",
        "STANDBY_BEHIND": "see the standby's systemctl status, its disk and the network to it",
        "DISK_FULL": "make room beside data: what waits for it goes on by itself",
        "STALLED": "look at the disk and its log; the watchdog ends the node",
        "CLOCK_JUMPED": "see that the clock is right and NTP does not step; tell the authority",
        "EVIDENCE": "copy it to both authorities (ledgerctl evidence get), call the other operator",
        "PEER_DISAGREES": "not the network: see ledgerctl evidence list here and there, call the"
        " other operator",
        "COSIGNER_SPENT": "have the authority rotate it (ledgerd rotate --key cosigner)",
        "REPLICA_FULL": "raise limits.replica_quota_bytes, and restart the node",
        "PEER_SILENT": "see network and monitor_failed, or carry a file; call the other operator",
        "NOT_COSIGNED": "see submit_failed, or carry files; call the other operator; back up",
        "ANCHOR_LATE": "see the peer's troubles first, then timing.anchor_interval_s",
        "AUDIT_FAILED": "keep a copy of the store, stop the node, run the whole ledgerd audit",
        "AUDIT_OLD": "see why the timer of ledgerd audit does not run",
        "BACKUP_OLD": "see why the timer of ledgerd backup does not run",
        "CERTIFICATE_ENDS": "have it replaced today (node: ledgerd rotate --key tls)",
        "CERTIFICATE_ENDS_SOON": "have it replaced (node: ledgerd rotate --key tls)",
        "DISK_LOW": "grow the disk, or compact the store",
    }
)


def troubles(vitals: Vitals) -> list[Trouble]:
    """What needs a person, the worst first; empty when all is well."""
    return [*_of_appends(vitals), *_of_time(vitals), *_of_peer(vitals), *_of_later(vitals)]


def alert(code: str) -> str:
    """The name of a trouble's alert, and of its section in the runbook."""
    return "Ledgerd" + "".join(word.capitalize() for word in code.split("_"))


def _of_appends(vitals: Vitals) -> Iterator[Trouble]:
    if vitals.state in _BY_NAME:
        yield Trouble(vitals.state, APPEND, vitals.why_not)
    elif vitals.state != OPEN:
        yield Trouble("APPENDS_REFUSED", APPEND, vitals.why_not)
    if vitals.is_full:
        yield Trouble("DISK_FULL", APPEND, f"{vitals.disk_free} bytes are free")


def _of_time(vitals: Vitals) -> Iterator[Trouble]:
    if vitals.stalled_s > STALLED_S:
        yield Trouble("STALLED", FRESH, f"for {vitals.stalled_s:.0f} s no work was finished")
    ahead = (vitals.recorded_at - vitals.at) / _SECOND
    if ahead > CLOCK_S:
        yield Trouble("CLOCK_JUMPED", FRESH, f"the newest entry is {ahead:.0f} s in the future")


def _of_peer(vitals: Vitals) -> Iterator[Trouble]:
    why = f" ({vitals.failing})" if vitals.failing else ""
    if vitals.latched:
        yield Trouble("EVIDENCE", PEER, f"the peer has signed what no honest log signs{why}")
    elif vitals.disagrees:
        yield Trouble("PEER_DISAGREES", PEER, f"what the nodes show does not go together{why}")
    if vitals.spent:
        yield Trouble("COSIGNER_SPENT", PEER, "this node cosigns nothing more with its key")
    if vitals.disk_reserve <= vitals.disk_free < REPLICA_RESERVES * vitals.disk_reserve:
        few = f"{vitals.disk_free} bytes are free"
        yield Trouble("DISK_FULL", PEER, f"{few}: the peer's log is not followed any more")
    if vitals.replica_full:
        yield Trouble("REPLICA_FULL", PEER, "the peer's headers have filled their quota")
    silent = (vitals.at - vitals.fetched_at) / _SECOND
    # No outage that may end by itself: a clock is wrong, here or there.
    away = silent > vitals.silence_s or vitals.failing == PEER_CLOCK_AHEAD
    if away and not vitals.disagrees:
        since = f"for {silent:.0f} s" if vitals.fetched_at else "yet"
        yield Trouble("PEER_SILENT", PEER, f"nothing of the peer was verified {since}{why}")
    if vitals.cosign_lag_s > max(NOT_COSIGNED_S, vitals.silence_s):
        waits = f"{vitals.size - vitals.cosigned_size} entries wait"
        lag = f"the oldest for {vitals.cosign_lag_s:.0f} s"
        yield Trouble("NOT_COSIGNED", PEER, f"{waits} for the peer's cosignature, {lag}")


def _of_later(vitals: Vitals) -> Iterator[Trouble]:
    """What stops nothing yet."""
    if vitals.standby_away_s > STANDBY_AWAY_S and vitals.state != "STANDBY_AWAY":
        silent = f"for {vitals.standby_away_s:.0f} s"
        yield Trouble("STANDBY_AWAY", "", f"the standby has not asked for entries {silent}")
    elif vitals.standby_lag_s > STANDBY_BEHIND_S and not vitals.standby_away_s:
        lacks = f"lacks {vitals.size - vitals.standby_size} entries"
        lag = f"the oldest for {vitals.standby_lag_s:.0f} s"
        yield Trouble("STANDBY_BEHIND", "", f"the standby {lacks}, {lag}")
    if not vitals.audit_ok:
        yield Trouble("AUDIT_FAILED", "", "the newest audit found something wrong")
    if vitals.overdue_s > max(ANCHOR_LATE_S, vitals.silence_s):
        late = f"{vitals.overdue_s:.0f} s ago"
        yield Trouble("ANCHOR_LATE", "", f"a deadline passed {late}, and no anchor has judged it")
    for end in vitals.certificates:
        yield from _of_certificate(end, (end.at - vitals.at) / _SECOND)
    full, low = (times * vitals.disk_reserve for times in (REPLICA_RESERVES, _LOW))
    if full <= vitals.disk_free < low:
        yield Trouble("DISK_LOW", "", f"{vitals.disk_free} bytes are free")
    # Of a node that never was, the alerts say it: a new one, or a trial, need not be.
    if vitals.backed_up_at and vitals.at - vitals.backed_up_at > BACKUP_OLD_S * _SECOND:
        yield Trouble("BACKUP_OLD", "", "no backup was finished within a day and a half")
    if vitals.audited_at and vitals.at - vitals.audited_at > AUDIT_OLD_S * _SECOND:
        yield Trouble("AUDIT_OLD", "", "no audit was finished within three days")


def _of_certificate(end: CertificateEnd, left_s: float) -> Iterator[Trouble]:
    if left_s < ENDS_SOON_S:
        code = "CERTIFICATE_ENDS" if left_s < ENDS_S else "CERTIFICATE_ENDS_SOON"
        days = f"in {left_s / 86_400:.0f} days" if left_s > 0 else "already"
        yield Trouble(code, "", f"the certificate {end.name} ({end.fingerprint}) ends {days}")
