"""
A side's authority: its key and TLS authority, and what it decides. It works offline.

Times are aware datetimes from the caller; salts, record ids and serial numbers are random. Needs
the extra [cli].
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import to_micros
from ledgerd_client.approval import Approval
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import SALT_SIZE
from ledgerd_client.core.header import check_origin
from ledgerd_client.core.keys import SigningKey, key_id
from ledgerd_client.core.note import Verifier
from ledgerd_client.core.record import SignedRecord, make_body, make_record_id, sign_record
from ledgerd_client.core.trust import OriginTrust, Trust
from ledgerd_client.enrolment import EnrolmentRequest, GenesisRequest
from ledgerd_client.identity import OPERATOR, PEER, SpiffeId
from ledgerd_client.jsonfile import format_json, parse_json
from ledgerd_client.keyfile import KeyFile, read_file, read_key_file, read_secret, write_new
from ledgerd_client.pki import Validity
from ledgerd_client.tls_authority import TlsAuthority

SETTINGS = "ledgerd-authority/v1"
CERTIFICATE_LIFE = timedelta(days=397)


@dataclass(frozen=True, slots=True)
class Authority:
    """Whom a side's certificates, GENESIS and key events are by."""

    origin: str
    # The trust domain of the side's certificates.
    domain: str
    key_file: KeyFile
    tls: TlsAuthority

    @classmethod
    def create(
        cls, origin: str, domain: str, *, validity: Validity, throwaway: bool = False
    ) -> Self:
        """Make one with new keys; validity is the TLS authority's. Raises InputError."""
        check_origin(origin)
        SpiffeId(domain, PEER, "node")
        key = SigningKey(secrets.token_bytes(32))
        tls = TlsAuthority.create(f"TLS authority of {domain}"[:64], validity)
        return cls(origin, domain, KeyFile(key, throwaway), tls)

    @property
    def verifier(self) -> Verifier:
        """The public key, as the other side and the trust file name it."""
        return Verifier(f"{self.origin}/authority", 1, self.key_file.key.public)

    @property
    def trust(self) -> OriginTrust:
        """This side's part of a trust file."""
        return OriginTrust(self.origin, self.verifier, (self.tls.der,))

    def begin(
        self, request: GenesisRequest, *,
        peer_origin: str, peer_authority: bytes, now: datetime, life: timedelta = CERTIFICATE_LIFE,
    ) -> Approval:  # fmt: skip
        """
        Sign GENESIS of a new log and issue its node's certificate, valid for life.

        peer_authority is the raw public key of the other side's. Raises FieldError for a request
        of another origin or trust domain, or values that GENESIS does not take.
        """
        asked = request.certificate_request
        self._check_mine(request.origin, asked.holder)
        genesis = pb.Genesis(
            log_key=request.log_key,
            entry_key=request.entry_key,
            cosigner_key=request.cosigner_key,
            authority_key=self.key_file.key.public,
            peer_origin=peer_origin,
            peer_authority_key=peer_authority,
        )
        record = self._sign(now, genesis=genesis)
        certificate = self.tls.issue(asked, Validity.starting(now, life))
        return Approval.of(self.origin, PEER, asked.holder.id, record, certificate)

    def approve(
        self, request: EnrolmentRequest, *, now: datetime, life: timedelta = CERTIFICATE_LIFE,
        replaces: bytes = b"", compromised_since: int = 0, renewal: bool = False,
        grant: pb.Grant | None = None,
    ) -> Approval:  # fmt: skip
        """
        Let in who asks: a certificate valid for life and, but for an operator, an ADMIT event.

        replaces, a public key, makes it a ROTATE event; compromised_since (µs, 0: never) is of
        that old key. A renewal is of the certificate only. grant: what a regulator may read; with
        its event it comes, and with nobody else's. Raises FieldError, also for a request of
        another origin or trust domain.
        """
        asked = request.certificate_request
        self._check_mine(request.origin, asked.holder)
        record = None
        if not renewal and request.role != OPERATOR:
            event = request.key_event()
            if replaces:
                event.action = pb.KEY_ACTION_ROTATE
                event.previous_key_id = key_id(replaces)
                event.compromised_since = compromised_since
            if grant is not None:
                event.grant.CopyFrom(grant)
            record = self._sign(now, key_event=event)
        certificate = self.tls.issue(asked, Validity.starting(now, life))
        return Approval.of(self.origin, request.role, request.id, record, certificate)

    def revoke(self, admission: Approval, *, now: datetime, compromised_since: int = 0) -> Approval:
        """
        Revoke the key that an approval by this authority admitted.

        compromised_since: µs since the epoch from which the key was in other hands; 0: it was not.
        Raises FieldError for an approval without a key, TrustError for one by another authority.
        """
        admission.verify(self.trust)
        event = admission.read_body().key_event
        if not event.public_key:
            raise FieldError("the approval admits no key that could be revoked")
        revocation = pb.KeyEvent(
            action=pb.KEY_ACTION_REVOKE,
            role=event.role,
            subject=event.subject,
            public_key=event.public_key,
            compromised_since=compromised_since,
        )
        record = self._sign(now, key_event=revocation)
        return Approval.of(self.origin, admission.role, admission.id, record, None)

    def _check_mine(self, origin: str, holder: SpiffeId) -> None:
        if (origin, holder.domain) != (self.origin, self.domain):
            raise FieldError(
                f"the request is for {origin} in trust domain {holder.domain};"
                f" this authority decides for {self.origin} in {self.domain}",
                action="ask the sender for a request with your origin and trust domain",
            )

    def _sign(self, now: datetime, **record: pb.Genesis | pb.KeyEvent) -> SignedRecord:
        occurred_at = to_micros("now", now)
        body = make_body(
            origin=self.origin,
            author=AUTHORITY,
            record_id=make_record_id(occurred_at, secrets.token_bytes(10)),
            occurred_at=occurred_at,
            salt=secrets.token_bytes(SALT_SIZE),
            **record,
        )
        return sign_record(body, self.key_file.key)

    def save(self, directory: Path) -> None:
        """
        Write keys, certificate, settings and trust file (of this side) into an empty directory.

        Raises InputError when one is there already, or cannot be written.
        """
        settings = Settings(self.origin, self.domain)
        write_new(directory / "authority.key", self.key_file.format(), mode=0o600)
        write_new(directory / "tls-ca.key", self.tls.key.pem, mode=0o600)
        write_new(directory / "tls-ca.crt", self.tls.pem, mode=0o644)
        write_new(directory / "trust.txt", Trust.of([self.trust]).format(), mode=0o644)
        write_new(directory / "authority.json", format_json(SETTINGS, settings), mode=0o644)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what save wrote; raises InputError."""
        settings = parse_json(SETTINGS, Settings, read_file(directory / "authority.json"))
        tls = TlsAuthority.parse(
            read_file(directory / "tls-ca.crt"), read_secret(directory / "tls-ca.key")
        )
        key_file = read_key_file(directory / "authority.key")
        return cls(settings.origin, settings.domain, key_file, tls)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an authority's directory says of it, beside its keys."""

    origin: str
    domain: str
