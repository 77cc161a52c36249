"""
Terms, the commitment to a payload, and the ticket that travels with the data.

Terms are private to the two institutions and equal in both halves. The commitment's salt is in no
body: destroying ticket and salt cuts the link between ledger and data for good.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple, Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.body import encode_message, parse_message
from ledgerd_client.core.encoding import lp8
from ledgerd_client.core.errors import FieldError, MalformedError, VerificationError
from ledgerd_client.core.fields import (
    DIGEST_SIZE,
    check_count,
    check_id,
    check_institution,
    check_size,
)
from ledgerd_client.core.header import check_origin

NONCE_SIZE = 16
COMMITMENT_SALT_SIZE = 32

# Earlier than any data under these contracts; day 0 of the epoch stands for "none stated".
_FIRST_DELETE_BY = 2000_01_01

_REF_TAG = b"ledgerd/transfer-ref/v1\n"
_PAYLOAD_TAG = b"ledgerd/payload/v1\n"
_PARTS_TAG = b"ledgerd/payload-parts/v1\n"


class Side(NamedTuple):
    """A party of a transfer: its log and its institution's id."""

    origin: str
    institution: str


def side_of(party: pb.Party) -> Side:
    return Side(party.origin, party.institution)


def transfer_ref(exporter: Side, nonce: bytes) -> bytes:
    """The 32 bytes that name a transfer in both logs and tell nothing of it."""
    return sha256(ref_prefix(exporter) + nonce).digest()


@lru_cache(maxsize=4096)
def ref_prefix(exporter: Side) -> bytes:
    """What a transfer_ref is the hash of, but for the nonce."""
    return _REF_TAG + lp8(exporter.origin.encode()) + lp8(exporter.institution.encode())


def ref_of(terms: pb.Terms) -> bytes:
    return transfer_ref(side_of(terms.exporter), terms.nonce)


def commit_payload(salt: bytes, digest: bytes, *, parts: bool) -> bytes:
    """
    Commit to a payload.

    digest is SHA-256 of the content, or of the manifest when the payload has several parts.
    """
    return sha256((_PARTS_TAG if parts else _PAYLOAD_TAG) + salt + digest).digest()


class SharedTerms(NamedTuple):
    """
    Of terms, what many transfers under a contract say alike.

    like: the terms without nonce, counts, digests and notice_version, in canonical bytes.
    """

    exporter: Side
    recipient: Side
    like: bytes


class ReadTerms(NamedTuple):
    """Of terms that were checked, what ties a record to its transfer; like: see SharedTerms."""

    exporter: Side
    recipient: Side
    like: bytes
    nonce: bytes
    commitment: bytes


def parse_terms(data: bytes) -> pb.Terms:
    """Read terms and check every field; raises MalformedError, FieldError, PersonalDataError."""
    read_terms(data)
    return pb.Terms.FromString(data)


def read_terms(data: bytes) -> ReadTerms:
    """Check terms as parse_terms does, and raise what it raises."""
    terms = parse_message(pb.Terms, data, "terms")
    nonce, commitment = terms.nonce, terms.commitment
    check_size("nonce", nonce, NONCE_SIZE)
    if commitment:
        check_size("commitment", commitment, DIGEST_SIZE)
    elif terms.transmission != codes.REMOTE_VIEW:
        raise FieldError("only remote viewing (transmission 5) goes without a commitment")
    if terms.notice_digest:
        check_size("notice_digest", terms.notice_digest, DIGEST_SIZE)
    _check_counts(terms)
    # What differs from one transfer to the next under a contract.
    terms.ClearField("nonce")
    terms.ClearField("commitment")
    terms.ClearField("notice_digest")
    terms.ClearField("subjects")
    terms.ClearField("subjects_first_this_year")
    terms.ClearField("sensitive_subjects")
    terms.ClearField("sensitive_first_this_year")
    return ReadTerms(*check_shared(encode_message(terms)), nonce, commitment)


# Few answers serve all transfers of a contract.
@lru_cache(maxsize=4096)
def check_shared(data: bytes) -> SharedTerms:
    """
    Check canonical terms but for what one transfer states of itself.

    Raises MalformedError, FieldError, PersonalDataError.
    """
    terms = pb.Terms.FromString(data)
    exporter, recipient = side_of(terms.exporter), side_of(terms.recipient)
    check_parties(exporter, recipient)
    check_contract_id(terms.contract_id)
    _check_codes(terms)
    check_id("notice_version", terms.notice_version, 64)
    if terms.delete_by:
        check_date("delete_by", terms.delete_by)
        if terms.delete_by < _FIRST_DELETE_BY:
            raise FieldError(f"delete_by: {terms.delete_by} is before {_FIRST_DELETE_BY}")
    # No rule reads it, and it is not among what remains of an erased body.
    terms.ClearField("notice_version")
    return SharedTerms(exporter, recipient, encode_message(terms))


def check_contract_id(name: str, field: str = "contract_id") -> None:
    check_id(field, name, 64)
    if not name:
        raise FieldError(f"{field} is missing")


def check_parties(exporter: Side, recipient: Side) -> None:
    """Refuse two institutions that no border lies between; raises FieldError, MalformedError."""
    for role, party in (("exporter", exporter), ("recipient", recipient)):
        check_origin(party.origin)
        check_institution(role, party.institution)
    if exporter.origin == recipient.origin:
        raise FieldError("exporter and recipient are on the same side: nothing crosses")


def _check_counts(terms: pb.Terms) -> None:
    for name, total, first in (
        ("subjects", terms.subjects, terms.subjects_first_this_year),
        ("sensitive_subjects", terms.sensitive_subjects, terms.sensitive_first_this_year),
    ):
        check_count(name, total)
        if first > total:
            raise FieldError(f"more {name} are new this year than there are")


def _check_codes(terms: pb.Terms) -> None:
    codes.check_code_list("purposes", codes.PURPOSES, terms.purposes)
    codes.check_code_list("categories", codes.CATEGORIES, terms.categories)
    codes.check_code_list(
        "sensitive_categories", codes.SENSITIVE_CATEGORIES, terms.sensitive_categories
    )
    codes.check_code_list("protections", codes.PROTECTIONS, terms.protections)
    codes.check_code_list("means", codes.MEANS, terms.means)
    if not terms.purposes or not terms.categories:
        raise FieldError("a transfer has at least one purpose and one category")
    codes.check_codes("legal_basis", codes.LEGAL_BASES, (terms.legal_basis,))
    codes.check_codes("consent_form", codes.CONSENT_FORMS, (terms.consent_form,))
    codes.check_codes("exemption", codes.EXEMPTIONS, (terms.exemption,))
    codes.check_codes("transmission", codes.TRANSMISSIONS, (terms.transmission,))


def check_date(field_name: str, value: int) -> None:
    """Refuse a yyyymmdd that is no day of the Gregorian calendar; raises FieldError."""
    year, month, day = value // 10_000, value // 100 % 100, value % 100
    # 2000 was a leap year, and 2100 is beyond.
    lengths = (31, 28 if year % 4 else 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not (1970 <= year < 2100 and 1 <= month <= 12 and 1 <= day <= lengths[month - 1]):
        raise FieldError(f"{field_name}: {value} is no date (yyyymmdd)")


@dataclass(frozen=True, slots=True)
class Ticket:
    """Terms, salt and receipt: what the recipient needs to check what it was sent."""

    terms: bytes
    salt: bytes = field(repr=False)
    manifest: bytes = b""
    receipt: bytes = b""
    body: bytes = b""
    key_id: bytes = b""
    signature: bytes = b""

    @property
    def queued(self) -> bool:
        """Whether the transfer had no receipt yet when the ticket was written."""
        return not self.receipt

    def encode(self) -> bytes:
        names = self.__slots__
        return encode_message(pb.Ticket(**{name: getattr(self, name) for name in names}))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a ticket file; raises MalformedError, FieldError."""
        if not data:
            raise MalformedError(
                "the ticket is empty",
                action="copy it again, or ask the exporter for it: `ledgerctl outbox ticket`"
                " writes one anew",
            )
        message = parse_message(pb.Ticket, data, "ticket")
        terms = parse_terms(message.terms)
        check_size("salt", message.salt, COMMITMENT_SALT_SIZE if terms.commitment else 0)
        if message.manifest:
            parse_manifest(message.manifest)
        record = (message.body, message.key_id, message.signature)
        if any(record) if message.receipt else not all(record):
            raise MalformedError("a ticket holds a receipt or, while queued, the signed record")
        return cls(
            message.terms, message.salt, message.manifest, message.receipt,
            message.body, message.key_id, message.signature,
        )  # fmt: skip

    def check_payload(self, digest: bytes, *, parts: bool) -> None:
        """
        Check a payload against the commitment in the terms.

        Raises VerificationError PAYLOAD_MISMATCH. digest as in commit_payload.
        """
        if self.recommit(digest, parts=parts) != parse_terms(self.terms).commitment:
            raise VerificationError(
                "the payload is not the one that was declared",
                reason="PAYLOAD_MISMATCH",
                action="acknowledge it as digest_mismatch and ask the exporter to send it again",
            )

    def recommit(self, digest: bytes, *, parts: bool) -> bytes:
        return commit_payload(self.salt, digest, parts=parts)


def parse_manifest(data: bytes) -> pb.Manifest:
    """Read a manifest of parts; raises MalformedError, FieldError."""
    manifest = parse_message(pb.Manifest, data, "manifest")
    names = [part.name.encode() for part in manifest.parts]
    # Compared from "" on, so that a part without a name is refused too.
    if not names or any(a >= b for a, b in pairwise((b"", *names))):
        raise FieldError("a manifest has parts, named, and strictly ascending by name")
    for part in manifest.parts:
        check_size("a part's digest", part.digest, DIGEST_SIZE)
    return manifest
