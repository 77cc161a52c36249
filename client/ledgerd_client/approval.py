"""What an authority hands back, by file (docs/enrolment.md). Needs the extra [cli]."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import AUTHORITY, BY_AUTHORITY, kind_of, parse_body
from ledgerd_client.core.errors import FieldError, MalformedError, TrustError
from ledgerd_client.core.header import Kind, check_origin, encode_halves, signed_bytes
from ledgerd_client.core.keys import key_id, verify
from ledgerd_client.core.note import Verifier
from ledgerd_client.core.record import SignedRecord
from ledgerd_client.core.trust import OriginTrust
from ledgerd_client.enrolment import ROLE_NUMBERS
from ledgerd_client.identity import PEER
from ledgerd_client.jsonfile import JsonFile
from ledgerd_client.pki import Certificate


@dataclass(frozen=True, slots=True)
class Approval(JsonFile):
    """
    What an authority decided: a record for the log (GENESIS or KEY), a certificate, or both.

    certificate is PEM. What is not there is empty: an operator's approval has no record, a
    revocation no certificate. It holds no secret.
    """

    FORMAT: ClassVar = "ledgerd-approval/v1"

    origin: str
    role: str
    id: str
    body: bytes = field(default=b"", repr=False)
    key_id: bytes = b""
    signature: bytes = field(default=b"", repr=False)
    certificate: str = field(default="", repr=False)

    @classmethod
    def of(
        cls, origin: str, role: str, subject: str,
        record: SignedRecord | None, certificate: Certificate | None,
    ) -> Self:  # fmt: skip
        """Put together what was decided on."""
        record = record or SignedRecord(b"", b"", b"")
        pem = certificate.pem.decode() if certificate else ""
        approval = cls(origin, role, subject, record.body, record.key_id, record.signature, pem)
        approval.check()
        return approval

    @property
    def record(self) -> SignedRecord:
        """For the log; raises FieldError when there is none."""
        if not self.body:
            raise FieldError(
                "the approval holds a certificate only, nothing for the log",
                action="a node takes its own with `ledgerd rotate --approval`, an applicant with"
                " `ledgerctl enrol install`",
            )
        return SignedRecord(self.body, self.key_id, self.signature)

    @property
    def tls_certificate(self) -> Certificate:
        """For the holder; raises FieldError when there is none."""
        if not self.certificate:
            raise FieldError("the approval holds no certificate: it is a revocation")
        return Certificate.parse(self.certificate.encode())

    def read_body(self) -> pb.Body:
        """The record's body; raises as parse_body does."""
        return parse_body(self.record.body)

    def check(self) -> None:
        """Raise FieldError or MalformedError unless all its parts are of whom it names."""
        check_origin(self.origin)
        if not self.body and not self.certificate:
            raise MalformedError("the approval holds neither a record nor a certificate")
        if self.body and not self._names(self.read_body()):
            raise FieldError(f"the approval's record is not of {self.role} {self.id}")
        if self.certificate:
            holder = self.tls_certificate.holder
            if (holder.role, holder.id) != (self.role, self.id):
                raise FieldError(f"the approval's certificate is of {holder.uri}")

    def _names(self, body: pb.Body) -> bool:
        kind = kind_of(body)
        if body.origin != self.origin:
            return False
        if kind == Kind.KEY:
            return (self.role, self.id) == _holder(body.key_event)
        # The id in the node's certificate is not in its log.
        return kind in BY_AUTHORITY and self.role == PEER

    def is_by(self, authority: Verifier) -> bool:
        """Whether it claims that key's signature on its record, or has none to sign."""
        return not self.body or self.key_id == key_id(authority.public)

    def verify(self, trust: OriginTrust) -> None:
        """
        Refuse what the authority of trust did not sign.

        Raises TrustError or SignatureError; FieldError WRONG_ORIGIN for one of another log.
        """
        if trust.origin != self.origin:
            raise FieldError(
                f"the approval is for {self.origin}, not for {trust.origin}",
                reason="WRONG_ORIGIN",
                action="take the approval that your side's authority sent",
            )
        if self.body:
            if not self.is_by(trust.authority):
                raise TrustError(
                    f"the approval is not by the authority of {self.origin}",
                    action="if the authority has replaced its own key, take its new trust file",
                )
            digest, kind = sha256(self.body).digest(), kind_of(self.read_body())
            message = signed_bytes(self.origin, kind, digest, self.key_id, encode_halves(None))
            verify(trust.authority.public, message, self.signature)
        if self.certificate:
            self.tls_certificate.check_issuer(trust.certificates)


def _holder(event: pb.KeyEvent) -> tuple[str, str]:
    """Role and id of whose key or certificate it is."""
    if event.role == pb.ROLE_TLS:
        role, _, subject = event.subject.partition("/")
        return role, subject
    if event.role == pb.ROLE_AUTHORITY:
        return AUTHORITY, event.subject
    roles = {number: role for role, number in ROLE_NUMBERS.items()}
    return roles.get(event.role, PEER), event.subject
