"""The gRPC server: its options, its TLS, and the services that it offers."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import grpc

from ledgerd.api.admin import AdminHandlers
from ledgerd.api.desk import Desk
from ledgerd.api.encode import Views
from ledgerd.api.evidence import EvidenceDesk
from ledgerd.api.guard import MAX_CALLS, Guard, Registrar
from ledgerd.api.health import Health
from ledgerd.api.identity import Caller, Identities
from ledgerd.api.ledger import LedgerHandlers, Log
from ledgerd.api.limits import Rates
from ledgerd.api.peer import STREAM_S, PeerHandlers
from ledgerd.api.recovery import NothingMissing, RecoveryHandlers
from ledgerd.api.regulator import RegulatorHandlers
from ledgerd.api.roles import Access
from ledgerd.api.standby import StandbyHandlers
from ledgerd.api.status import StatusDesk
from ledgerd.api.threads import InThread
from ledgerd.ledger.replicated import Standby
from ledgerd.ledger.standing import Standing
from ledgerd.observe.metrics import Metrics
from ledgerd.observe.troubles import Trouble
from ledgerd_client._proto import body_pb2, service_pb2, service_pb2_grpc
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.core.record import Admitted
from ledgerd_client.transport import MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES

# Of one connection: more than one caller may have, so that it is told so. Without a bound, one that
# opens them faster than they are refused takes the calls of all (MAX_CALLS), and the memory.
MAX_STREAMS: Final = 128

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Callers may look whether we are there, also between calls, but not all the time.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    # Two daemons on one port would each get some of the calls.
    ("grpc.so_reuseport", 0),
)


_SERVICES = [each.full_name for each in service_pb2.DESCRIPTOR.services_by_name.values()]


@dataclass(frozen=True, slots=True)
class Services:
    """What the server is made of."""

    log: Log
    desk: Desk
    access: Access
    identities: Identities
    standing: Standing
    metrics: Metrics
    in_thread: InThread
    # µs since the epoch, UTC.
    clock: Callable[[], int]
    # Makes an entry of the node's own.
    sign: Callable[..., Admitted]
    # Has the key at hand that a key event puts in force.
    prepare: Callable[[body_pb2.KeyEvent], Awaitable[None]]
    evidence: EvidenceDesk
    status: StatusDesk
    # A checkpoint of the peer that a caller has seen.
    heard: Callable[[Caller, bytes], None]
    # What is cosigned of the peer once nothing more of it is under way.
    settled: Callable[[], Awaitable[bytes]]
    # A certificate is looked at when a connection begins: an expired one is good for no longer.
    connection_age_s: float
    rates: Rates
    standby: Standby


class Server:
    """Serves a node over mutual TLS. Belongs to the event loop that it was made on."""

    def __init__(self, services: Services) -> None:
        self._roots = b""
        self._renewed: grpc.ServerCertificateConfiguration | None = None
        log = services.log
        self._guard = guard = Guard(
            services.identities,
            services.access,
            services.standing,
            services.metrics,
            services.heard,
            services.rates,
        )
        views = Views(log.origin, log.peer_origin, log.reader.header, services.desk.replica)
        self._server = _make_server(services.connection_age_s)
        server: Any = Registrar(self._server, guard)
        self._ledger = LedgerHandlers(
            log, services.access, views, services.metrics, services.in_thread, services.rates
        )
        service_pb2_grpc.add_LedgerServiceServicer_to_server(self._ledger, server)
        service_pb2_grpc.add_PeerServiceServicer_to_server(
            PeerHandlers(
                log.reader,
                log.witness,
                services.desk.replica,
                services.settled,
                services.in_thread,
                services.clock,
                services.standby.wait,
            ),
            server,
        )
        service_pb2_grpc.add_StandbyServiceServicer_to_server(
            StandbyHandlers(services.desk, services.standby), server
        )
        self._regulator = RegulatorHandlers(services.desk)
        service_pb2_grpc.add_RegulatorServiceServicer_to_server(self._regulator, server)
        service_pb2_grpc.add_AdminServiceServicer_to_server(
            AdminHandlers(
                log.keyring,
                log.sequencer,
                log.reader,
                services.clock,
                services.sign,
                services.prepare,
                services.evidence,
                services.status,
            ),
            server,
        )
        service_pb2_grpc.add_RecoveryServiceServicer_to_server(NothingMissing(), server)
        self._health = Health(server, _SERVICES)

    async def start(
        self, listen: str, *, certificate: bytes, key: bytes, authorities: Iterable[bytes]
    ) -> int:
        """
        Serve at listen; return the bound port.

        certificate and key are PEM; authorities (DER) may issue callers' certificates. Raises
        UnavailableError CANNOT_LISTEN.
        """
        self._roots = "".join(map(ssl.DER_cert_to_PEM_cert, authorities)).encode()
        credentials = grpc.dynamic_ssl_server_credentials(
            self._identity(certificate, key),
            self._take_renewed,  # type: ignore[arg-type] # None: no change, says gRPC
            require_client_authentication=True,
        )
        return await _start(self._server, listen, credentials)

    def renew(self, *, certificate: bytes, key: bytes) -> None:
        """Show new callers another certificate; connections that are open keep theirs."""
        self._renewed = self._identity(certificate, key)

    def _identity(self, certificate: bytes, key: bytes) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(key, certificate)], self._roots)

    def _take_renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """What to change before a handshake; in a thread of gRPC's."""
        renewed, self._renewed = self._renewed, None
        return renewed

    @property
    def in_flight_bytes(self) -> int:
        """Of append requests that are being handled. In any thread."""
        return self._ledger.in_flight.held

    def tell(self, found: Iterable[Trouble]) -> None:
        """Have whoever asks for its health told how the node does."""
        self._health.tell(found)

    def cut(self) -> None:
        """End the calls of whoever's certificate is revoked by now."""
        self._guard.cut()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; return when those in flight are done, or grace_s has passed."""
        self._health.stop()
        self._ledger.end_tails()
        self._regulator.end_tails()
        await self._server.stop(grace_s)


class RecoveryServer:
    """Serves RecoveryService alone, of a node that is being recovered."""

    def __init__(
        self, guard: Guard, handlers: RecoveryHandlers, *, connection_age_s: float
    ) -> None:
        self._server = _make_server(connection_age_s)
        server: Any = Registrar(self._server, guard)
        service_pb2_grpc.add_RecoveryServiceServicer_to_server(handlers, server)

    async def start(
        self, listen: str, *, certificate: bytes, key: bytes, authorities: Iterable[bytes]
    ) -> int:
        """As Server.start."""
        credentials = grpc.ssl_server_credentials(
            [(key, certificate)],
            root_certificates="".join(map(ssl.DER_cert_to_PEM_cert, authorities)).encode(),
            require_client_auth=True,
        )
        return await _start(self._server, listen, credentials)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; return when those in flight are done, or grace_s has passed."""
        await self._server.stop(grace_s)


def _make_server(connection_age_s: float) -> grpc.aio.Server:
    age = (
        ("grpc.max_connection_age_ms", int(connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", (STREAM_S + 60) * 1000),
    )
    return grpc.aio.server(options=(*_OPTIONS, *age), maximum_concurrent_rpcs=MAX_CALLS)


async def _start(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials) -> int:
    try:
        port = server.add_secure_port(listen, credentials)
    except RuntimeError:
        port = 0
    if not port:
        raise UnavailableError(
            f"cannot listen at {listen}",
            reason="CANNOT_LISTEN",
            action="see whether the address is this machine's and the port is free: an earlier"
            " node may still run",
        )
    await server.start()
    return port
