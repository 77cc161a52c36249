"""
TLS keys, certificate requests and certificates of a side, read strictly.

They say who calls, by a SPIFFE URI (identity.SpiffeId), and nothing about who signed a record: that
the registry in the log decides. All keys are ECDSA P-256. Needs the extra [cli] (cryptography).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from ledgerd_client.core.errors import FieldError, MalformedError, SignatureError, TrustError
from ledgerd_client.identity import SpiffeId

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*")
CLOCKS_BEHIND = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when, both inclusive, as aware datetimes of whole seconds."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def starting(cls, now: datetime, life: timedelta) -> Self:
        """For life, from a little before now: some machine's clock is behind."""
        start = now.replace(microsecond=0) - CLOCKS_BEHIND
        return cls(start, start + life)

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        return cls(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


class TlsKey:
    """A private key for TLS. Holds the secret; prints nothing of it."""

    __slots__ = ("private",)

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self.private = private

    @classmethod
    def generate(cls) -> Self:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def parse(cls, pem: bytes) -> Self:
        """Read an unencrypted PEM key; raises MalformedError unless it is ECDSA P-256."""
        with _parsing("an unencrypted private key"):
            private = load_pem_private_key(pem, password=None)
            _check_public_key(private.public_key())
        return cls(private)  # type: ignore[arg-type] # its public half is P-256

    @property
    def pem(self) -> bytes:
        """The secret itself (PKCS #8), for whoever writes the file."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """
    A PKCS #10 request whose asker has shown that it holds the key.

    hosts are the DNS names and IP addresses that a node is reached by.
    """

    pem: bytes
    holder: SpiffeId
    hosts: tuple[str, ...]
    public: ec.EllipticCurvePublicKey = field(repr=False)

    @classmethod
    def make(cls, key: TlsKey, holder: SpiffeId, hosts: Sequence[str] = ()) -> Self:
        """Ask for a certificate; raises FieldError for a host that is no name or address."""
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(common_name(holder.id))
            .add_extension(alternative_names(holder, hosts), critical=False)
            .sign(key.private, hashes.SHA256())
        )
        return cls.parse(request.public_bytes(Encoding.PEM))

    @classmethod
    def parse(cls, pem: bytes) -> Self:
        """Read a request; raises MalformedError, FieldError, or SignatureError NO_POSSESSION."""
        with _parsing("a certificate request"):
            request = x509.load_pem_x509_csr(pem)
            public = _check_public_key(request.public_key())
            holder, hosts = _read_names(request.extensions)
            signed = request.is_signature_valid
        if not signed:
            raise SignatureError(
                "the certificate request is not signed by its own key", reason="NO_POSSESSION"
            )
        return cls(pem, holder, hosts, public)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A leaf certificate, read and not yet believed."""

    pem: bytes
    holder: SpiffeId
    hosts: tuple[str, ...]
    validity: Validity
    x509: x509.Certificate = field(repr=False)

    @classmethod
    def parse(cls, pem: bytes) -> Self:
        """Read one PEM certificate with a SPIFFE URI; raises MalformedError or FieldError."""
        certificate = load_certificate(pem)
        with _parsing("a certificate of ours"):
            holder, hosts = _read_names(certificate.extensions)
        return cls(pem, holder, hosts, Validity.of(certificate), certificate)

    @property
    def digest(self) -> bytes:
        """
        SHA-256 of its public key (SubjectPublicKeyInfo, DER): what a revocation names it by.

        Not of the certificate: an ECDSA signature can be respelled by whoever holds it, and the
        certificate would have another digest and be good.
        """
        public = self.x509.public_key()
        return sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()

    def is_of(self, key: TlsKey) -> bool:
        """Whether it is for this key."""
        return self.x509.public_key() == key.private.public_key()

    def check_issuer(self, authorities: Iterable[bytes]) -> None:
        """Refuse a certificate that none of the TLS authorities (DER) issued; raises TrustError."""
        for der in authorities:
            with suppress(ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
                self.x509.verify_directly_issued_by(x509.load_der_x509_certificate(der))
                return
        raise TrustError("the certificate is by no TLS authority of the trust file")


def load_certificate(pem: bytes) -> x509.Certificate:
    """Read one PEM certificate; raises MalformedError unless its key is ECDSA P-256."""
    with _parsing("a certificate"):
        certificate = x509.load_pem_x509_certificate(pem)
        _check_public_key(certificate.public_key())
    return certificate


def read_end(certificate: bytes) -> tuple[str, datetime]:
    """Of a certificate, PEM or DER: its SHA-256 in hex, and when it ends; MalformedError."""
    pem = certificate.startswith(b"-----BEGIN")
    with _parsing("a certificate"):
        read = (x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate)(
            certificate
        )
    return read.fingerprint(hashes.SHA256()).hex(), read.not_valid_after_utc


def alternative_names(holder: SpiffeId, hosts: Iterable[str]) -> x509.SubjectAlternativeName:
    """The SPIFFE URI, then DNS names and IP addresses; raises FieldError for another host."""
    uri = x509.UniformResourceIdentifier(holder.uri)
    return x509.SubjectAlternativeName([uri, *map(_host_name, hosts)])


def common_name(name: str) -> x509.Name:
    """A subject for people to read; raises FieldError for one over 64 characters (X.520)."""
    if not 1 <= len(name) <= 64:
        raise FieldError("a certificate's common name has 1 to 64 characters")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host_name(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(host))
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise FieldError(f"{host!r} is neither a DNS name in small letters nor an IP address")
    return x509.DNSName(host)


def _read_names(extensions: x509.Extensions) -> tuple[SpiffeId, tuple[str, ...]]:
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise MalformedError("a certificate of ours names its holder by one SPIFFE URI")
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return SpiffeId.parse(uris[0]), (*names.get_values_for_type(x509.DNSName), *addresses)


def _check_public_key(public: object) -> ec.EllipticCurvePublicKey:
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return public
    raise MalformedError("a TLS key is ECDSA P-256")


@contextmanager
def _parsing(what: str) -> Iterator[None]:
    """Raise what cryptography raises on foreign bytes as an error of ours."""
    try:
        yield
    except (
        ValueError,
        TypeError,  # a key that wants a password
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ):
        raise MalformedError(f"not {what} in PEM") from None
