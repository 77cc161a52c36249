"""What the daemon counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
_STATES = (OPEN, "UNCONFIRMED", "ROLLED_BACK")
_COMMIT_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_CALL_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


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
        self.cosigned_size = Gauge(
            "ledgerd_cosigned_entries", "Entries that the peer has cosigned.",
            registry=registry,
        )  # fmt: skip
        self.cosign_lag = Gauge(
            "ledgerd_cosign_lag_seconds", "For how long the newest entries have not been cosigned.",
            registry=registry,
        )  # fmt: skip
        self.replayed_size = Gauge(
            "ledgerd_replayed_entries", "Entries of the peer's log that are replayed.",
            registry=registry,
        )  # fmt: skip
        self.appends_state = Enum(
            "ledgerd_appends_state", "Whether appends are taken, or why not.",
            states=_STATES, registry=registry,
        )  # fmt: skip
        self.appends_state.state(OPEN)

    @contextmanager
    def serve(self, host: str, port: int) -> Iterator[int]:
        """Serve them over plain HTTP; yields the bound port. Raises UnavailableError."""
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise UnavailableError(
                f"metrics can't be served at {host}:{port}: {error.strerror}",
                reason="CANNOT_LISTEN",
                action="choose another metrics_listen",
            ) from error
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
