"""Who calls: the client certificate's SPIFFE URI, by the TLS authority that may vouch for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Final, NamedTuple

from ledgerd_client.core.errors import LedgerError, UnauthenticatedError
from ledgerd_client.identity import PEER, SpiffeId
from ledgerd_client.pki import Certificate

# Certificates remembered, so that a caller's is read once and not with every call.
_REMEMBERED = 4096

AuthContext = Mapping[str, Iterable[bytes]]


class Caller(NamedTuple):
    """A role of ledgerd_client.identity, or STANDBY, and within it an id."""

    role: str
    id: str


class Identified(NamedTuple):
    """A caller, and the certificate that says so, by its Certificate.digest."""

    caller: Caller
    certificate: bytes


# Who shows a node a certificate of its own name.
STANDBY: Final = "standby"

_caller: ContextVar[Caller] = ContextVar("caller")
_certificate: ContextVar[bytes] = ContextVar("certificate", default=b"")


def current_caller() -> Caller:
    """Who makes the call that is being handled."""
    return _caller.get()


def current_certificate() -> bytes:
    """The digest of the certificate that it is made with; b"" where nobody is behind a guard."""
    return _certificate.get()


def set_caller(caller: Caller, certificate: bytes = b"") -> None:
    """Remember the caller for the rest of this call, which is a task of its own."""
    _caller.set(caller)
    _certificate.set(certificate)


class Identities:
    """
    Reads callers' certificates.

    Each side's TLS authorities vouch for their own side only: the other side's must not be able to
    make institutions of ours. own, peer: whom the nodes' certificates name. Authorities are DER.
    """

    def __init__(
        self,
        own: SpiffeId,
        authorities: Iterable[bytes],
        peer: SpiffeId,
        peer_authorities: Iterable[bytes],
    ) -> None:
        self._own = own
        self._authorities = tuple(authorities)
        self._peer = peer
        self._peer_authorities = tuple(peer_authorities)
        self._read = lru_cache(_REMEMBERED)(self._read_certificate)

    def identify(self, context: AuthContext) -> Identified:
        """
        Who is at the other end of a connection, by what gRPC knows of it.

        Raises UnauthenticatedError. That the certificate is valid at this time the handshake has
        shown, which every connection repeats within timing.connection_age_s; whether it is
        revoked, the log says.
        """
        # Python's gRPC can't refuse an older TLS in the handshake.
        if _only(context, "ssl_tls_version") != b"TLSv1.3":
            raise UnauthenticatedError(
                "the connection is not TLS 1.3",
                reason="TLS_VERSION",
                action="call with a library that speaks TLS 1.3",
            )
        return self._read(_only(context, "x509_pem_cert"))

    def _read_certificate(self, pem: bytes) -> Identified:
        try:
            certificate = Certificate.parse(pem)
            holder = certificate.holder
            if holder == self._own:
                certificate.check_issuer(self._authorities)
                return Identified(Caller(STANDBY, holder.id), certificate.digest)
            if holder.role == PEER:
                self._check_domain(holder, self._peer.domain)
                certificate.check_issuer(self._peer_authorities)
            else:
                self._check_domain(holder, self._own.domain)
                certificate.check_issuer(self._authorities)
        except UnauthenticatedError:
            raise
        except LedgerError as error:
            raise UnauthenticatedError(f"the client certificate: {error.message}") from None
        return Identified(Caller(holder.role, holder.id), certificate.digest)

    def _check_domain(self, holder: SpiffeId, domain: str) -> None:
        if holder.domain != domain:
            raise UnauthenticatedError(
                f"the client certificate is of trust domain {holder.domain}, not {domain}",
                reason="TRUST_DOMAIN",
            )


def _only(context: AuthContext, name: str) -> bytes:
    values = list(context.get(name, ()))
    return values[0] if len(values) == 1 else b""
