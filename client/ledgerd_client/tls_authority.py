"""
The TLS authority of a side: one self-signed certificate, which issues leaves and nothing else.

Its certificate stands in the trust file. Needs the extra [cli] (cryptography). Times come from the
caller; keys and serial numbers are random.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from ledgerd_client.core.errors import FieldError, MalformedError
from ledgerd_client.identity import PEER
from ledgerd_client.pki import (
    CLOCKS_BEHIND,
    Certificate,
    CertificateRequest,
    TlsKey,
    Validity,
    alternative_names,
    common_name,
    load_certificate,
)

MAX_AUTHORITY_LIFE = timedelta(days=3653)
MAX_CERTIFICATE_LIFE = timedelta(days=398)


@dataclass(frozen=True, slots=True)
class TlsAuthority:
    """Certificate and key of whoever issues a side's certificates."""

    certificate: x509.Certificate
    key: TlsKey = field(repr=False)

    @classmethod
    def create(cls, name: str, validity: Validity) -> Self:
        """
        Make a new one under a common name of 1 to 64 characters.

        Raises FieldError for another name, or a validity above MAX_AUTHORITY_LIFE.
        """
        _check_life(validity, MAX_AUTHORITY_LIFE)
        key = TlsKey.generate()
        subject = common_name(name)
        builder = (
            _builder(subject, subject, key.private.public_key(), validity)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(issues=True), critical=True)
        )
        return cls(builder.sign(key.private, hashes.SHA256()), key)

    @classmethod
    def parse(cls, certificate_pem: bytes, key_pem: bytes) -> Self:
        """Read both; raises MalformedError unless they belong together."""
        certificate, key = load_certificate(certificate_pem), TlsKey.parse(key_pem)
        if certificate.public_key() != key.private.public_key():
            raise MalformedError("the TLS authority's certificate and key do not belong together")
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """As it stands in a trust file."""
        return self.certificate.public_bytes(Encoding.DER)

    def issue(self, request: CertificateRequest, validity: Validity) -> Certificate:
        """
        Issue a certificate: for a peer (a node) of a server and client, else of a client.

        The caller has made sure that the asker is the holder; of the request only holder, hosts
        and key are taken over. Raises FieldError for a validity above MAX_CERTIFICATE_LIFE or
        beyond this authority's own, a node without hosts, or a client with some.
        """
        _check_life(validity, MAX_CERTIFICATE_LIFE, within=Validity.of(self.certificate))
        is_node = request.holder.role == PEER
        if is_node != bool(request.hosts):
            raise FieldError("a node's certificate has DNS names or IP addresses, no other has any")
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if is_node:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        subject, issuer = common_name(request.holder.id), self.certificate.subject
        issued = (
            _builder(subject, issuer, request.public, validity)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(issues=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(alternative_names(request.holder, request.hosts), critical=False)
            .add_extension(self._key_identifier(), critical=False)
            .sign(self.key.private, hashes.SHA256())
        )
        return Certificate.parse(issued.public_bytes(Encoding.PEM))

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.private.public_key())


def _check_life(validity: Validity, limit: timedelta, within: Validity | None = None) -> None:
    if not timedelta() < validity.not_after - validity.not_before <= limit:
        raise FieldError(f"such a certificate is valid for 1 to {limit.days} days")
    if within and not (
        within.not_before <= validity.not_before and validity.not_after <= within.not_after
    ):
        early = validity.not_before < within.not_before
        later = f"wait until {within.not_before + CLOCKS_BEHIND}, if this machine's clock is right"
        fewer = "ask for fewer (--days), or make a new TLS authority and trust files with it"
        raise FieldError(
            f"the TLS authority is valid from {within.not_before} to {within.not_after}",
            action=later if early else fewer,
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, issues: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issues,
        key_cert_sign=issues,
        crl_sign=issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
