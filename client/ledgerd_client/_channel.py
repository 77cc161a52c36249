"""Channels to a node: mutually authenticated, with limits on messages and on silence."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from ledgerd_client._status import from_rpc_error
from ledgerd_client.config import LOCAL_ENDPOINT, Settings
from ledgerd_client.core.errors import InputError, UnavailableError
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_file, read_secret

# Request metadata: the largest checkpoint of the node that the caller has verified.
CHECKPOINT_METADATA = "ledgerd-checkpoint-bin"
# The largest of the other side's node: a ticket may show what our node was not shown.
PEER_CHECKPOINT_METADATA = "ledgerd-peer-checkpoint-bin"

# Of one message that a node sends: a page of 500 entries has 16 MiB of bodies at most.
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
# Of one message that a node takes: 1,000 records of 4 KiB, which is several times what they have.
MAX_REQUEST_BYTES = 4 * 1024 * 1024

# Of a stream in which something comes every ten seconds.
_SILENCE_S = 30
# A socket of this machine answers at once.
_PROBE_S = 5

_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Notice a cut cable within 40 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Look for a node that is down once a second, and give it five to shake hands.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),
)

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)


def open_channel(
    endpoint: str,
    *,
    authorities: Iterable[bytes],
    certificate: bytes,
    key: bytes,
    use_proxy: bool = False,
    largest: int = MAX_MESSAGE_BYTES,
) -> grpc.aio.Channel:
    """
    Open a mutually authenticated channel to `host:port`; nothing is sent before the first call.

    authorities are the TLS authorities of the trust file (DER) and the only ones believed;
    certificate and key are PEM. A proxy in the environment is ignored unless use_proxy. largest:
    bytes of a message that is taken.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates="".join(map(ssl.DER_cert_to_PEM_cert, authorities)).encode(),
        private_key=key,
        certificate_chain=certificate,
    )
    options = (
        *_OPTIONS,
        ("grpc.max_receive_message_length", largest),
        ("grpc.enable_http_proxy", int(use_proxy)),
    )
    return grpc.aio.secure_channel(endpoint, credentials, options)


def connect(settings: Settings, trust: Trust) -> grpc.aio.Channel:
    """
    Open a channel as settings say; the first call connects. Raises as read_tls_pair does.

    A mirror's socket is its owner's alone, so that there is nobody to prove anything to; raises
    UnavailableError NO_MIRROR where nobody listens.
    """
    if settings.endpoint.startswith(LOCAL_ENDPOINT):
        _check_listening(settings.endpoint.removeprefix(LOCAL_ENDPOINT))
        # Without it, the path of the socket would be named as the server's host.
        local = (
            *_OPTIONS,
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.default_authority", "localhost"),
        )
        return grpc.aio.insecure_channel(settings.endpoint, local)
    certificate, key = read_tls_pair(settings.tls_certificate, settings.tls_key)
    return open_channel(
        settings.endpoint,
        authorities=trust[settings.origin].certificates,
        certificate=certificate,
        key=key,
        use_proxy=settings.use_proxy,
    )


async def read_stream(
    call: grpc.aio.UnaryStreamCall[_Request, _Response],
    kind: type[_Response],
    silence_s: float = _SILENCE_S,
) -> AsyncGenerator[_Response, None]:
    """
    What comes in a stream: its end is the node's to say; that it is there, its signs of life say.

    Raises the error that the node stated, or UnavailableError. The call is over when this is.
    """
    try:
        while True:
            async with asyncio.timeout(silence_s):
                response = await call.read()
            if not isinstance(response, kind):  # the end of the stream
                return
            yield response
    except TimeoutError:
        raise UnavailableError("the node has fallen silent") from None
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
    finally:
        call.cancel()


def _check_listening(path: str) -> None:
    """Nobody starts a mirror by waiting for it, and gRPC says in many words what it tried."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_PROBE_S)
            probe.connect(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, or half a character
        raise UnavailableError(
            f"no mirror answers at {path}: {getattr(error, 'strerror', None) or error}",
            reason="NO_MIRROR",
            action="start it with `ledgerd mirror`, or name its socket: mirror.sock in its --data",
        ) from None


def read_tls_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """
    Read a certificate (chain) and its private key, PEM both.

    Raises InputError when a file cannot be read, others may read the key, or they don't match.
    """
    chain, secret = read_file(certificate), read_secret(key)
    try:
        chain = certificate.read_bytes()
        # A password that is no password: without one OpenSSL would ask at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise InputError(
            f"{key} is not the private key of {certificate}, or not in PEM: {error.reason}",
            reason="TLS_PAIR",
            action="name the certificate and the unencrypted key that it was issued for",
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {certificate}: {error.strerror}") from error
    return chain, secret
