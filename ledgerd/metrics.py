"""What the daemon counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from ledgerd_client.core.errors import UnavailableError

OPEN: Final = "OPEN"
_STATES = (OPEN, "UNCONFIRMED", "ROLLED_BACK", "MARK_FAILED")
_COMMIT_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_CALL_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


# What is known of the peer, and of this log with it: names and help of gauges.
_PEER: Final = MappingProxyType({
    "cosigned_entries": "Entries of this log that the peer has cosigned.",
    "cosign_lag_seconds": "For how long the oldest entry has waited that it has not cosigned.",
    "replayed_entries": "Entries of the peer's log that are replayed and verified.",
    "witnessed_entries": "Entries of the peer's log that this node has cosigned.",
    "peer_fetched_timestamp_seconds": "When the peer's newest verified checkpoint was fetched.",
    "peer_failures": "Rounds with the peer that failed since the start.",
    "replica_full": "1 when the replica has reached its quota.",
    "evidence_latched": "1 when evidence against the peer waits for an operator.",
})  # fmt: skip


class Metrics:
    """One node's; a registry of its own, so that a process may hold several nodes."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
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
        self.size = Gauge("ledgerd_log_entries", "Entries in this log.", registry=registry)
        self._peer = {
            name: Gauge(f"ledgerd_{name}", text, registry=registry) for name, text in _PEER.items()
        }
        self.appends_state = Enum(
            "ledgerd_appends_state", "Whether appends are taken, or why not.",
            states=_STATES, registry=registry,
        )  # fmt: skip
        self.appends_state.state(OPEN)

    def follow(self, peer: Mapping[str, float]) -> None:
        """Take over how things stand with the peer: a value for each gauge of it."""
        for name, value in peer.items():
            self._peer[name].set(value)

    @contextmanager
    def serve(self, endpoint: str) -> Iterator[int]:
        """Serve them at host:port over plain HTTP; yields the port. Raises UnavailableError."""
        host, _, port = endpoint.rpartition(":")
        try:
            server, thread = start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            raise UnavailableError(
                f"metrics can't be served at {endpoint}: {error.strerror}",
                reason="CANNOT_LISTEN",
                action="choose another metrics_listen",
            ) from error
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
