"""
A side's authority: its key and TLS authority, and what it decides. It works offline.

Times are aware datetimes from the caller; salts, record ids and serial numbers are random. Needs
the extra [cli].
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import to_micros
from ledgerd_client.approval import Approval
from ledgerd_client.core.admission import authority_digest
from ledgerd_client.core.body import AUTHORITY, NODE
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import SALT_SIZE
from ledgerd_client.core.header import check_origin
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey, key_id
from ledgerd_client.core.note import Verifier
from ledgerd_client.core.record import SignedRecord, make_body, make_record_id, sign_record
from ledgerd_client.core.trust import OriginTrust
from ledgerd_client.enrolment import EnrolmentRequest, GenesisRequest
from ledgerd_client.identity import OPERATOR, PEER, SpiffeId
from ledgerd_client.keyfile import KeyFile
from ledgerd_client.loss_request import LossRequest
from ledgerd_client.node_key_request import NodeKeyRequest
from ledgerd_client.pki import Certificate, CertificateRequest, Validity
from ledgerd_client.tls_authority import TlsAuthority

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

    def rotate_node_key(
        self, request: NodeKeyRequest, *, now: datetime, compromised_since: int = 0
    ) -> Approval:
        """
        Let a node go over to another key.

        compromised_since (µs, 0: never) is of the old one. Raises FieldError for another log.
        """
        if request.origin != self.origin:
            raise FieldError(f"the request is for {request.origin}, not for {self.origin}")
        event = request.key_event()
        event.compromised_since = compromised_since
        return Approval.of(self.origin, PEER, event.subject, self._sign(now, key_event=event), None)

    def declare_loss(self, request: LossRequest, *, now: datetime) -> Approval:
        """
        End this side's log where its node could come back to, and let it go on with other keys.

        Raises FieldError for another log.
        """
        if request.end.origin != self.origin:
            raise FieldError(f"the request is for {request.end.origin}, not for {self.origin}")
        return Approval.of(self.origin, PEER, "node", self._sign(now, loss=request.loss()), None)

    def certify_node(
        self, request: CertificateRequest, *, now: datetime, life: timedelta = CERTIFICATE_LIFE
    ) -> Approval:
        """
        Issue another certificate to this side's node, valid for life; the log is not touched.

        Raises FieldError for a request of another trust domain, or of anybody but a node.
        """
        holder = request.holder
        self._check_mine(self.origin, holder)
        if holder.role != PEER:
            raise FieldError(f"a node's certificate request has the role {PEER}, not {holder.role}")
        certificate = self.tls.issue(request, Validity.starting(now, life))
        return Approval.of(self.origin, PEER, holder.id, None, certificate)

    def rotate(self, following: SigningKey, history: KeyHistory, *, now: datetime) -> Approval:
        """
        Sign the rotation of this authority's own key to another, as of a key history.

        history is all that the log has recorded of keys: if it goes on before the rotation is
        recorded, another has to be signed. Raises FieldError for a history of another log or of
        another authority's, or one that names that key already.
        """
        present = history.key_in_force(pb.ROLE_AUTHORITY).public
        if (history.origin, present) != (self.origin, self.key_file.key.public):
            raise FieldError(
                "the key history is not one of which this authority's key is in force",
                action="have an operator fetch this side's with `ledgerctl trust keys`",
            )
        previous, digest = key_id(present), history.history_digest
        stated = authority_digest(self.origin, previous, following.public, digest)
        event = pb.KeyEvent(
            action=pb.KEY_ACTION_ROTATE,
            role=pb.ROLE_AUTHORITY,
            subject=AUTHORITY,
            public_key=following.public,
            possession=following.sign(stated),
            previous_key_id=previous,
            history_digest=digest,
        )
        record = self._sign(now, key_event=event)
        return Approval.of(self.origin, AUTHORITY, AUTHORITY, record, None)

    def disown(
        self, public: bytes, history: KeyHistory, *, now: datetime, compromised_since: int
    ) -> Approval:
        """
        Say of a log key that was replaced that others had it, too: what it signed accuses nobody.

        history: of this side's log; compromised_since: µs since the epoch. Raises FieldError for
        a history of another log, and for a key that it does not name as one that was replaced.
        """
        replaced = {key.public for key in history.node_keys(pb.ROLE_LOG)[:-1]}
        if history.origin != self.origin or public not in replaced:
            raise FieldError(
                "the key history names no such log key that was replaced",
                action="rotate the one in force first, with `ledgerctl authority rotate-node`",
            )
        event = pb.KeyEvent(
            action=pb.KEY_ACTION_REVOKE,
            role=pb.ROLE_LOG,
            subject=NODE,
            public_key=public,
            compromised_since=compromised_since,
        )
        return Approval.of(self.origin, PEER, NODE, self._sign(now, key_event=event), None)

    def revoke_certificate(self, certificate: Certificate, *, now: datetime) -> Approval:
        """
        Revoke a certificate that this authority issued: nobody calls with it any more.

        Raises TrustError for one by another authority.
        """
        certificate.check_issuer([self.tls.der])
        holder = certificate.holder
        event = pb.KeyEvent(
            action=pb.KEY_ACTION_REVOKE,
            role=pb.ROLE_TLS,
            subject=f"{holder.role}/{holder.id}",
            public_key=certificate.digest,
        )
        return Approval.of(
            self.origin, holder.role, holder.id, self._sign(now, key_event=event), None
        )

    def _check_mine(self, origin: str, holder: SpiffeId) -> None:
        if (origin, holder.domain) != (self.origin, self.domain):
            raise FieldError(
                f"the request is for {origin} in trust domain {holder.domain};"
                f" this authority decides for {self.origin} in {self.domain}",
                action="ask the sender for a request with your origin and trust domain",
            )

    def _sign(self, now: datetime, **record: pb.Genesis | pb.KeyEvent | pb.Loss) -> SignedRecord:
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
