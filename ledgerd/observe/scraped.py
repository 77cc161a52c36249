"""The server of the metrics: whatever callers do, it takes few threads and prints nothing."""

from __future__ import annotations

import socket
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore
from typing import Any, ClassVar, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

# At once, each with a thread; one more is closed.
MOST_CONNECTIONS: Final = 8
# How long nothing may come of a request; one that scrapes sends it at once.
_PATIENCE_S: Final = 5


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Of one registry, at host and port. Raises OSError for an address that can't be had."""

    daemon_threads = True
    # Those that are over the cap are taken, to be closed, and keep no scraper waiting.
    request_queue_size = 128

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self._free = BoundedSemaphore(MOST_CONNECTIONS)
        # The first, as it is for what is asked by the same name.
        self.address_family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        super().__init__((str(address[0]), port), _Handler)
        self.set_app(make_wsgi_app(registry))

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return self._free.acquire(blocking=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread is to be had
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of a connection that broke, or that no thread was left for."""


class _Handler(WSGIRequestHandler):
    timeout: ClassVar[float | None] = _PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so in the base
        """Log nothing."""
