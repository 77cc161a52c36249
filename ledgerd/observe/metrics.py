"""What the daemon counts, and what it is found to be when it is scraped, for Prometheus."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread
from typing import Final, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Histogram,
    Info,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ledgerd.observe.scraped import MetricsServer
from ledgerd.observe.vitals import OPEN, Vitals, Watched
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.rulebook import RULES

_STATES = (OPEN, "UNCONFIRMED", "ROLLED_BACK", "REPLACED", "MARK_FAILED", "STANDBY_AWAY")
_COMMIT_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_CALL_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_ENTRIES_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
_SEVERITIES: Final = {1: "information", 2: "medium", 3: "high"}

# Label values, and a value.
_Samples = Iterable[tuple[tuple[str, ...], float]]


class _Gauge(NamedTuple):
    """A family that is read when it is scraped; one that ends in _total is a counter."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


def _s(micros: int) -> float:
    return micros / 1_000_000


def _alone(name: str, text: str) -> _Gauge:
    return _Gauge(f"ledgerd_{name}", text)


# By field of Vitals, each with a value of its own; _timestamp_seconds of µs.
_VITALS: Final = {
    "size": _alone("log_entries", "Entries in this log."),
    "recorded_at": _alone(
        "last_entry_timestamp_seconds", "When this log's newest entry was recorded."
    ),
    "waiting_records": _alone("queue_records", "Records that wait for a commit."),
    "in_flight_bytes": _alone("in_flight_bytes", "Of append requests that are being handled."),
    "stalled_s": _alone(
        "stalled_seconds", "For how long there has been work, and none of it was finished."
    ),
    "cosigned_size": _alone("cosigned_entries", "Entries of this log that the peer has cosigned."),
    "cosign_lag_s": _alone(
        "cosign_lag_seconds", "For how long the oldest entry has waited that it has not cosigned."
    ),
    "shown_size": _alone("peer_shown_entries", "Entries that the peer says that its log has."),
    "replayed_size": _alone(
        "replayed_entries", "Entries of the peer's log that are replayed and verified."
    ),
    "witnessed_size": _alone(
        "witnessed_entries", "Entries of the peer's log that this node has cosigned."
    ),
    "anchored_size": _alone("anchored_entries", "Entries of the peer's log under an anchor here."),
    "standby_size": _alone(
        "standby_entries", "Entries of this log that the standby says that it has; 0: none asks."
    ),
    "standby_lag_s": _alone(
        "standby_lag_seconds", "For how long the oldest entry has waited that the standby lacks."
    ),
    "standby_away_s": _alone(
        "standby_away_seconds", "For how long a standby that there should be has not asked."
    ),
    "fetched_at": _alone(
        "peer_fetched_timestamp_seconds", "When the peer's newest verified checkpoint was fetched."
    ),
    "anchored_at": _alone(
        "anchor_timestamp_seconds", "When what the newest anchor carries was fetched."
    ),
    "silence_s": _alone(
        "peer_silent_after_seconds", "How long nothing new need come from the peer."
    ),
    "overdue_s": _alone(
        "overdue_seconds", "For how long a deadline has passed that no anchor has judged."
    ),
    "failures": _alone("peer_failures_total", "Rounds with the peer that failed."),
    "replica_full": _alone("replica_full", "1 when the replica has reached its quota."),
    "latched": _alone("evidence_latched", "1 when evidence against the peer waits."),
    "disagrees": _alone(
        "peer_disagrees", "1 when what one node shows of a log does not verify at the other."
    ),
    "spent": _alone("cosigner_spent", "1 when the cosigner key signs nothing more."),
    "audit_ok": _alone("audit_ok", "0 when the newest audit found something wrong."),
    "audited_at": _alone("audit_finished_timestamp_seconds", "When the newest audit ended."),
    "backed_up_at": _alone(
        "backup_finished_timestamp_seconds", "When the newest backup was finished."
    ),
    "disk_free": _alone("disk_free_bytes", "Free on the disk of the data directory."),
    "disk_reserve": _alone("disk_reserve_bytes", "Below so much free, appends are refused."),
}
_CERTIFICATES: Final = _Gauge(
    "ledgerd_certificate_expiry_timestamp_seconds", "When a certificate ends.",
    ("certificate", "fingerprint"),
)  # fmt: skip
_INVENTORY: Final = (
    (
        _Gauge("ledgerd_transfers", "TRANSFER and ACK entries by their transfer's state.",
               ("state",)),
        lambda found: (((state,), count) for state, count in found.transfers.items()),
    ),
    (
        _Gauge("ledgerd_findings_open", "Findings that stand.", ("rule", "severity")),
        lambda found: (
            ((rule, _SEVERITIES[RULES[rule].severity]), count)
            for rule, count in found.findings.items()
        ),
    ),
    (
        _Gauge("ledgerd_store_bytes", "Pages of a store's file.", ("store", "state")),
        lambda found: (
            ((store, state), getattr(room, state))
            for store, room in found.rooms.items()
            for state in ("used", "free")
        ),
    ),
    (
        _Gauge("ledgerd_store_max_bytes", "What a store may grow to.", ("store",)),
        lambda found: (((store,), room.limit) for store, room in found.rooms.items()),
    ),
    (
        _Gauge("ledgerd_evidence_bundles", "Contradictions of the peer that are kept."),
        lambda found: [((), found.evidence)],
    ),
    (
        _Gauge("ledgerd_key_since_timestamp_seconds", "Since when a key has been in force.",
               ("key",)),
        lambda found: (((name,), _s(at)) for name, at in found.keys.items()),
    ),
)  # fmt: skip


class Metrics:
    """One node's; a registry of its own, so that a process may hold several nodes."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        # Who is asked at each scrape, once there is somebody.
        self.watched: Watched | None = None
        registry.register(_Gauges(self))
        Info("ledgerd_build", "What runs.", registry=registry).info(
            {"version": version("ledgerd"), "python": platform.python_version()}
        )
        self.calls = Counter(
            "ledgerd_calls", "Calls by method and gRPC status.", ["method", "code"],
            registry=registry,
        )  # fmt: skip
        self.call_seconds = Histogram(
            "ledgerd_call_seconds", "How long calls took, by method.", ["method"],
            buckets=_CALL_BUCKETS, registry=registry,
        )  # fmt: skip
        self.appends = Counter(
            "ledgerd_append_records", "Records by outcome: recorded, repeated, or why refused.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.commit_seconds = Histogram(
            "ledgerd_commit_seconds", "How long commits took, fsync included.",
            buckets=_COMMIT_BUCKETS, registry=registry,
        )  # fmt: skip
        self.sync_seconds = Histogram(
            "ledgerd_commit_sync_seconds", "How long the disk took of that.",
            buckets=_COMMIT_BUCKETS, registry=registry,
        )  # fmt: skip
        self.commit_entries = Histogram(
            "ledgerd_commit_entries", "Entries in one commit.",
            buckets=_ENTRIES_BUCKETS, registry=registry,
        )  # fmt: skip
        self.appends_state = Enum(
            "ledgerd_appends_state", "Whether appends are taken, or why not.",
            states=_STATES, registry=registry,
        )  # fmt: skip
        self.appends_state.state(OPEN)

    def committed(self, entries: int, seconds: float, sync_seconds: float) -> None:
        """Count one commit."""
        self.commit_seconds.observe(seconds)
        if entries:
            self.sync_seconds.observe(sync_seconds)
            self.commit_entries.observe(entries)

    @contextmanager
    def serve(self, endpoint: str) -> Iterator[int]:
        """Serve them at host:port over plain HTTP; yields the port. Raises UnavailableError."""
        host, _, port = endpoint.rpartition(":")
        try:
            server = MetricsServer(host.strip("[]"), int(port), self.registry)
        except OSError as error:
            raise UnavailableError(
                f"metrics can't be served at {endpoint}: {error.strerror}",
                reason="CANNOT_LISTEN",
                action="choose another metrics_listen",
            ) from error
        thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Gauges(Collector):
    """What is read when it is scraped, and costs nothing between two scrapes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        watched = self._metrics.watched
        vitals = watched.vitals() if watched else None
        for field, gauge in _VITALS.items():
            yield _family(gauge, [((), _value(gauge, vitals, field))] if vitals else [])
        ends = vitals.certificates if vitals else ()
        yield _family(_CERTIFICATES, (((end.name, end.fingerprint), _s(end.at)) for end in ends))
        inventory = watched.inventory() if watched else None
        for gauge, samples in _INVENTORY:
            yield _family(gauge, samples(inventory) if inventory else ())


def _value(gauge: _Gauge, vitals: Vitals, field: str) -> float:
    value: float = getattr(vitals, field)
    return _s(int(value)) if gauge.name.endswith("_timestamp_seconds") else value


def _family(gauge: _Gauge, samples: _Samples) -> Metric:
    kind = CounterMetricFamily if gauge.name.endswith("_total") else GaugeMetricFamily
    family = kind(gauge.name, gauge.text, labels=gauge.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
