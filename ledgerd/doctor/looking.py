"""How the machine is asked; nothing that lasts is changed on it."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import ssl
import stat
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from ledgerd.config import Config
from ledgerd.doctor.judging import Listener, Owned
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.pki import Certificate

Address: TypeAlias = tuple[str, int]

_PATIENCE_S: Final = 5.0
_COMMITS: Final = 20
_PAGE: Final = 4096


class Descriptors(NamedTuple):
    """Of a process: how many it has open, and how many it may."""

    used: int
    limit: int


def listener_at(config: Config) -> Listener:
    """Who listens where the node is to be called."""
    return _listener(config.listen, lambda address: _presents_us(address, config))


def metrics_listener_at(endpoint: str) -> Listener:
    """Who listens where metrics are to be read."""
    return _listener(endpoint, _has_our_metrics)


def time_fsyncs(directory: Path) -> list[float]:
    """Seconds that each of some small durable writes in a directory took. Raises OSError."""
    taken = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for number in range(_COMMITS):
            os.pwrite(file.fileno(), os.urandom(_PAGE), number * _PAGE)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return taken


def owned(path: Path) -> Owned:
    """Raises OSError."""
    found = path.stat()
    return Owned(path, stat.S_IMODE(found.st_mode), _name_of(found.st_uid))


def _name_of(user: int) -> str:
    """Its number, where it has no name."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def descriptors_of(process: str) -> Descriptors:
    """Raises OSError, also where the process is somebody else's."""
    (limits,) = (
        line
        for line in Path(f"/proc/{process}/limits").read_text().splitlines()
        if line.startswith("Max open files")
    )
    used = len(list(Path(f"/proc/{process}/fd").iterdir()))
    return Descriptors(used, int(limits.split()[3]))


def _listener(endpoint: str, is_ours: Callable[[Address], bool]) -> Listener:
    host, _, port = endpoint.rpartition(":")
    host = host.strip("[]")
    if port == "0":
        return Listener.NOBODY
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return Listener.NOT_HERE
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return Listener.NOBODY
    ours = is_ours((_reached(host), int(port)))
    return Listener.THIS_NODE if ours else Listener.ANOTHER


def _reached(host: str) -> str:
    """By what this machine reaches whoever listens at a host."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what is configured


def _presents_us(address: Address, config: Config) -> bool:
    """Whether who answers presents a certificate of this node's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is only looked at
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(address, timeout=_PATIENCE_S) as connection,
            context.wrap_socket(connection) as tls,
        ):
            shown = tls.getpeercert(binary_form=True) or b""
        certificate = Certificate.parse(ssl.DER_cert_to_PEM_cert(shown).encode())
    except (OSError, LedgerError):  # SSLError is an OSError
        return False
    return certificate.holder == config.spiffe_id


def _has_our_metrics(address: Address) -> bool:
    connection = HTTPConnection(*address, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/metrics")
        return b"\nledgerd_log_entries " in connection.getresponse().read()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
