"""The server of the metrics: whatever callers do, it takes few threads and prints nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Lock
from time import monotonic
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

# At once, each with a thread; one more takes the place of the one that has kept us waiting longest.
MOST_CONNECTIONS: Final = 8
# How long a caller may take to say what it wants, and again to take it; a scraper does at once.
_PATIENCE_S: Final = 5
# How long a thread may take to end whose connection was closed.
_ENDING_S: Final = 1
_CONNECTION: Final = "ledgerd.connection"


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Of one registry, at host and port. Raises OSError for an address that can't be had."""

    daemon_threads = True
    # Those that come meanwhile keep no scraper waiting.
    request_queue_size = 128

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self._free = BoundedSemaphore(MOST_CONNECTIONS)
        self._awaited = _Awaited()
        # The first, as it is for what is asked by the same name.
        self.address_family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        super().__init__((str(address[0]), port), _Handler)
        app = make_wsgi_app(registry)

        def answer(environ: Any, start_response: Any) -> Iterable[bytes]:
            connection = environ[_CONNECTION]
            if not self._awaited.end(connection):
                raise ConnectionAbortedError  # it was closed, and is owed nothing
            found: list[bytes] = app(environ, start_response)
            self._awaited.begin(connection)
            return found

        self.set_app(answer)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return self._free.acquire(blocking=False) or (
            self._awaited.close_first() and self._free.acquire(timeout=_ENDING_S)
        )

    def service_actions(self) -> None:
        """Called after each connection, and twice a second."""
        self._awaited.close_late()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._awaited.begin(request)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread is to be had
            self._ended(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ended(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of a connection that broke, or that no thread was left for."""

    def _ended(self, request: Any) -> None:
        self._awaited.end(request)
        self._free.release()


class _Awaited:
    """Connections on which the other end keeps us waiting, with until when it may. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._until: dict[socket.socket, float] = {}

    def begin(self, connection: socket.socket) -> None:
        with self._lock:
            self._until[connection] = monotonic() + _PATIENCE_S

    def end(self, connection: socket.socket) -> bool:
        """Wait no more; whether we did."""
        with self._lock:
            return self._until.pop(connection, None) is not None

    def close_first(self) -> bool:
        """Close the one that has been waited for longest; whether there was one."""
        with self._lock:
            found = list(self._until)[:1]
            self._close(found)
        return bool(found)

    def close_late(self) -> None:
        """Close those that have had their time, however busy they seem."""
        now = monotonic()
        with self._lock:
            self._close([each for each, until in self._until.items() if until <= now])

    def _close(self, connections: Iterable[socket.socket]) -> None:
        for connection in connections:
            del self._until[connection]
            # Wakes the thread that reads from it, or writes to it, and that one closes it.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), _CONNECTION: self.connection}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so in the base
        """Log nothing."""
