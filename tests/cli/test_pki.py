"""Certificates: who may be named, what is issued, and what TLS stacks make of it."""

from __future__ import annotations

import subprocess
from base64 import encodebytes
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core.errors import (
    FieldError,
    InputError,
    LedgerError,
    MalformedError,
    SignatureError,
    TrustError,
)
from ledgerd_client.identity import SpiffeId
from ledgerd_client.pki import Certificate, CertificateRequest, TlsKey, Validity
from ledgerd_client.tls_authority import MAX_AUTHORITY_LIFE, MAX_CERTIFICATE_LIFE, TlsAuthority

NOW = datetime(2026, 3, 1, 12, 30, 15, 999_999, tzinfo=UTC)
YEAR = timedelta(days=365)
INSTITUTION = SpiffeId("dev.invalid", "institution", "uscc.91440300MA5EXAMPLE")
NODE = SpiffeId("dev.invalid", "peer", "mainland")
HOSTS = ("node.example", "localhost", "127.0.0.1", "::1")


def validity(life: timedelta = YEAR, start: datetime = NOW) -> Validity:
    return Validity.starting(start, life)


def request(
    holder: SpiffeId = INSTITUTION, hosts: tuple[str, ...] = (), key: TlsKey | None = None
) -> CertificateRequest:
    return CertificateRequest.make(key or TlsKey.generate(), holder, hosts)


PEM = request(NODE, HOSTS).pem


@pytest.fixture(scope="module")
def authority() -> TlsAuthority:
    return TlsAuthority.create("TLS authority of dev.invalid", validity(10 * YEAR))


@pytest.fixture(scope="module")
def leaf(authority: TlsAuthority) -> Certificate:
    return authority.issue(request(), validity())


@pytest.fixture(scope="module")
def node(authority: TlsAuthority) -> Certificate:
    return authority.issue(request(NODE, HOSTS), validity())


def policy(authority: TlsAuthority, at: datetime = NOW) -> PolicyBuilder:
    return PolicyBuilder().store(Store([authority.certificate])).time(at.replace(tzinfo=None))


PEM = request(NODE, HOSTS).pem


class TestSpiffeId:
    def test_the_uri_names_domain_role_and_id(self) -> None:
        assert INSTITUTION.uri == "spiffe://dev.invalid/institution/uscc.91440300MA5EXAMPLE"

    def test_the_uri_reads_back(self) -> None:
        assert SpiffeId.parse(INSTITUTION.uri) == INSTITUTION

    @pytest.mark.parametrize(
        "uri",
        [
            "",
            "spiffe://dev.invalid",
            "spiffe://dev.invalid/peer",
            "spiffe://dev.invalid/peer/",
            "spiffe://dev.invalid/peer/a/b",
            "spiffe://dev.invalid/peer/..",
            "spiffe://dev.invalid/peer/a%20b",
            "spiffe://dev.invalid/peer/a?b",
            "spiffe://dev.invalid/peer/a\n",
            "spiffe://dev.invalid/admin/a",
            "spiffe://Dev.invalid/peer/a",
            "spiffe://dev.invalid:8443/peer/a",
            "spiffe:///peer/a",
            "SPIFFE://dev.invalid/peer/a",
            "https://dev.invalid/peer/a",
            f"spiffe://dev.invalid/peer/{'a' * 65}",
        ],
    )
    def test_whatever_is_no_name_of_a_caller_is_refused(self, uri: str) -> None:
        with pytest.raises(InputError):
            SpiffeId.parse(uri)


class TestTlsKey:
    def test_a_key_survives_a_round_trip(self) -> None:
        key = TlsKey.generate()
        assert TlsKey.parse(key.pem).pem == key.pem

    def test_a_key_does_not_print_its_secret(self) -> None:
        assert "PRIVATE" not in repr(TlsKey.generate())

    @pytest.mark.parametrize(
        "private",
        [
            rsa.generate_private_key(public_exponent=65537, key_size=2048),
            ec.generate_private_key(ec.SECP384R1()),
        ],
        ids=["rsa", "p384"],
    )
    def test_a_key_of_another_kind_is_refused(
        self, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    ) -> None:
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        with pytest.raises(MalformedError):
            TlsKey.parse(pem)

    def test_a_key_under_a_password_is_refused(self) -> None:
        pem = TlsKey.generate().private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        with pytest.raises(MalformedError):
            TlsKey.parse(pem)

    @pytest.mark.parametrize("data", [b"", b"\xff", b"-----BEGIN PRIVATE KEY-----\n"])
    def test_what_is_no_key_is_refused(self, data: bytes) -> None:
        with pytest.raises(MalformedError):
            TlsKey.parse(data)


class TestCertificateRequest:
    def test_a_request_names_holder_and_hosts(self) -> None:
        made = request(NODE, HOSTS)
        assert (made.holder, set(made.hosts)) == (NODE, set(HOSTS))

    @pytest.mark.parametrize(
        "host", ["", "-a.example", "a..example", "A.example", "a/b", "*", "a b"]
    )
    def test_a_host_that_is_no_name_or_address_is_refused(self, host: str) -> None:
        with pytest.raises(FieldError):
            request(NODE, (host,))

    def test_a_request_that_its_key_did_not_sign_is_refused(self) -> None:
        signed = x509.load_pem_x509_csr(request().pem).public_bytes(serialization.Encoding.DER)
        forged = x509.load_der_x509_csr(signed[:-1] + bytes([signed[-1] ^ 1]))
        with pytest.raises(SignatureError):
            CertificateRequest.parse(forged.public_bytes(serialization.Encoding.PEM))

    @pytest.mark.parametrize("count", [0, 2])
    def test_a_request_without_exactly_one_spiffe_uri_is_refused(self, count: int) -> None:
        names = [x509.UniformResourceIdentifier(INSTITUTION.uri)] * count
        made = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(
                x509.SubjectAlternativeName([*names, x509.DNSName("a.example")]), critical=False
            )
            .sign(TlsKey.generate().private, hashes.SHA256())
        )
        with pytest.raises(MalformedError):
            CertificateRequest.parse(made.public_bytes(serialization.Encoding.PEM))

    def test_a_request_without_names_is_refused(self) -> None:
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        made = builder.sign(TlsKey.generate().private, hashes.SHA256())
        with pytest.raises(MalformedError):
            CertificateRequest.parse(made.public_bytes(serialization.Encoding.PEM))

    @given(st.integers(0), st.integers(0, 255))
    def test_no_damage_raises_anything_but_ours(self, place: int, value: int) -> None:
        data = bytearray(x509.load_pem_x509_csr(PEM).public_bytes(serialization.Encoding.DER))
        data[place % len(data)] = value
        label = b"CERTIFICATE REQUEST-----\n"
        damaged = b"-----BEGIN " + label + encodebytes(data) + b"-----END " + label
        with suppress(LedgerError):
            CertificateRequest.parse(damaged)


class TestIssuing:
    def test_a_client_certificate_passes_verification_as_a_client(
        self, authority: TlsAuthority, leaf: Certificate
    ) -> None:
        verified = policy(authority).build_client_verifier().verify(leaf.x509, [])
        assert verified.subjects == [x509.UniformResourceIdentifier(INSTITUTION.uri)]

    @pytest.mark.parametrize("host", ["node.example", "localhost"])
    def test_a_nodes_certificate_passes_verification_as_a_server(
        self, authority: TlsAuthority, node: Certificate, host: str
    ) -> None:
        verifier = policy(authority).build_server_verifier(x509.DNSName(host))
        assert verifier.verify(node.x509, []) == [node.x509, authority.certificate]

    def test_a_nodes_certificate_passes_verification_as_a_client(
        self, authority: TlsAuthority, node: Certificate
    ) -> None:
        subjects = policy(authority).build_client_verifier().verify(node.x509, []).subjects
        assert x509.UniformResourceIdentifier(NODE.uri) in (subjects or [])

    def test_a_client_certificate_serves_nobody(
        self, authority: TlsAuthority, leaf: Certificate
    ) -> None:
        usage = leaf.x509.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]

    def test_openssl_verifies_the_chain(
        self, authority: TlsAuthority, node: Certificate, tmp_path: Path
    ) -> None:
        (tmp_path / "ca.crt").write_bytes(authority.pem)
        (tmp_path / "node.crt").write_bytes(node.pem)
        at = str(int(NOW.timestamp()))
        purpose = f"-x509_strict -attime {at} -purpose sslserver -verify_hostname node.example"
        ran = subprocess.run(
            ["openssl", "verify", *purpose.split(), "-CAfile", "ca.crt", "node.crt"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.stdout == "node.crt: OK\n"

    def test_a_leaf_issues_nothing(self, authority: TlsAuthority) -> None:
        key = TlsKey.generate()
        leaf = authority.issue(request(key=key), validity())
        forged = TlsAuthority(leaf.x509, key).issue(request(), validity())
        with pytest.raises(VerificationError):
            policy(authority).build_client_verifier().verify(forged.x509, [leaf.x509])

    def test_an_expired_certificate_does_not_verify(
        self, authority: TlsAuthority, leaf: Certificate
    ) -> None:
        late = policy(authority, at=NOW + 2 * YEAR).build_client_verifier()
        with pytest.raises(VerificationError):
            late.verify(leaf.x509, [])

    def test_a_certificate_is_good_for_a_clock_that_is_behind(self, leaf: Certificate) -> None:
        assert leaf.validity.not_before == datetime(2026, 3, 1, 12, 25, 15, tzinfo=UTC)

    def test_serial_numbers_differ(self, authority: TlsAuthority, leaf: Certificate) -> None:
        again = authority.issue(request(), validity())
        assert again.x509.serial_number != leaf.x509.serial_number

    def test_nothing_but_holder_hosts_and_key_is_taken_from_a_request(
        self, authority: TlsAuthority
    ) -> None:
        key = TlsKey.generate()
        greedy = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(INSTITUTION.uri)]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key.private, hashes.SHA256())
        )
        pem = greedy.public_bytes(serialization.Encoding.PEM)
        issued = authority.issue(CertificateRequest.parse(pem), validity())
        found = issued.x509.extensions.get_extension_for_class(x509.BasicConstraints)
        assert found.value.ca is False

    def test_before_the_authority_begins_is_to_wait(self, authority: TlsAuthority) -> None:
        with pytest.raises(FieldError) as refused:
            authority.issue(request(), validity(start=NOW - timedelta(hours=1)))
        assert refused.value.action.startswith("wait until 2026-03-01 12:30:15")

    @pytest.mark.parametrize(
        "life", [timedelta(), timedelta(days=-1), MAX_CERTIFICATE_LIFE + timedelta(seconds=1)]
    )
    def test_a_certificate_of_no_or_too_long_life_is_refused(
        self, authority: TlsAuthority, life: timedelta
    ) -> None:
        with pytest.raises(FieldError):
            authority.issue(request(), validity(life))

    def test_an_authority_of_too_long_life_is_refused(self) -> None:
        with pytest.raises(FieldError):
            TlsAuthority.create("a", validity(MAX_AUTHORITY_LIFE + timedelta(days=1)))

    @pytest.mark.parametrize(
        "start", [NOW - timedelta(days=1), NOW + 10 * YEAR - timedelta(days=1)]
    )
    def test_no_certificate_outlives_its_authority(
        self, authority: TlsAuthority, start: datetime
    ) -> None:
        with pytest.raises(FieldError):
            authority.issue(request(), validity(start=start))

    @pytest.mark.parametrize(("holder", "hosts"), [(NODE, ()), (INSTITUTION, ("a.example",))])
    def test_a_node_has_hosts_and_nobody_else_has(
        self, authority: TlsAuthority, holder: SpiffeId, hosts: tuple[str, ...]
    ) -> None:
        with pytest.raises(FieldError):
            authority.issue(request(holder, hosts), validity())


class TestCertificate:
    def test_a_certificate_reads_back(self, node: Certificate) -> None:
        assert Certificate.parse(node.pem) == node

    def test_a_certificate_knows_its_key(self, authority: TlsAuthority) -> None:
        key = TlsKey.generate()
        assert authority.issue(request(key=key), validity()).is_of(key)

    def test_a_certificate_is_not_of_another_key(self, leaf: Certificate) -> None:
        assert not leaf.is_of(TlsKey.generate())

    def test_a_trusted_authority_is_recognised_among_others(
        self, authority: TlsAuthority, leaf: Certificate
    ) -> None:
        other = TlsAuthority.create("other", validity())
        leaf.check_issuer([b"garbage", other.der, authority.der])

    def test_an_authority_of_the_same_name_is_not_believed(self, leaf: Certificate) -> None:
        other = TlsAuthority.create("TLS authority of dev.invalid", validity())
        with pytest.raises(TrustError):
            leaf.check_issuer([other.der])

    def test_a_certificate_without_a_spiffe_uri_is_refused(self, authority: TlsAuthority) -> None:
        with pytest.raises(MalformedError):
            Certificate.parse(authority.pem)

    @pytest.mark.parametrize("data", [b"", b"\xff\0", b"-----BEGIN CERTIFICATE-----\nAA=="])
    def test_what_is_no_certificate_is_refused(self, data: bytes) -> None:
        with pytest.raises(MalformedError):
            Certificate.parse(data)


class TestTlsAuthority:
    def test_an_authority_survives_a_round_trip(self, authority: TlsAuthority) -> None:
        again = TlsAuthority.parse(authority.pem, authority.key.pem)
        assert again.der == authority.der

    def test_a_key_of_another_authority_is_refused(self, authority: TlsAuthority) -> None:
        with pytest.raises(MalformedError):
            TlsAuthority.parse(authority.pem, TlsKey.generate().pem)

    def test_an_authority_does_not_print_its_secret(self, authority: TlsAuthority) -> None:
        assert "key" not in repr(authority)
