"""
What both parties of a contract record: the contract, its filing, supplements, end and disposals.

Each is a plain value. Codes are numbers or names of core/codes.py, a digest is 32 bytes or the Path
of the file to hash, a time is aware of its zone. The `terms` that go into the log must be equal
bytes on both sides: one party makes the Contract and gives the other its file(), and both go on
from that.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypedDict, Unpack

from google.protobuf.message import Message

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import (
    Code,
    Digest,
    code_of,
    codes_of,
    date_of,
    digest_of,
    make,
    time_of,
    to_date,
)
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.contract import contract_ref, parse_contract_terms
from ledgerd_client.core.transfer import NONCE_SIZE, Side, side_of


def new_nonce() -> bytes:
    """The 16 random bytes that a contract, or a matter, goes by."""
    return secrets.token_bytes(NONCE_SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSide:
    """What a party states of itself; the other side never sees it, and it is not compared."""

    # Whether it operates critical information infrastructure.
    ciio: bool = False
    # Whether authorities have named or published such data as important.
    important_data: bool = False
    total_subjects_band: Code = 0
    # Of affiliates that are to be seen as one.
    group_id: str = ""
    # Of the approval for human genetic resources.
    hgr_ref: str = ""
    # A security assessment, or a certificate: its number, its date, and for how many people.
    authorisation_ref: str = ""
    authorised_on: date | None = None
    authorised_scale: int = 0

    def message(self) -> pb.ContractSide:
        return make(
            pb.ContractSide,
            ciio=self.ciio,
            important_data=self.important_data,
            total_subjects_band=code_of("total_subjects_band", "band", self.total_subjects_band),
            group_id=self.group_id,
            hgr_ref=self.hgr_ref,
            authorisation_ref=self.authorisation_ref,
            authorised_on=date_of(self.authorised_on),
            authorised_scale=self.authorised_scale,
        )


class ContractChanges(TypedDict, total=False):
    """What a supplement may change: all but the parties, the id and the nonce."""

    document: Digest
    mechanism: Code
    direction: Code
    exporter_place: Code
    recipient_place: Code
    exporter_sector: Code
    recipient_sector: Code
    exporter_role: Code
    recipient_role: Code
    signed_on: date
    effective_on: date
    expires_on: date | None
    purposes: Sequence[Code]
    means: Sequence[Code]
    categories: Sequence[Code]
    sensitive_categories: Sequence[Code]
    subject_types: Sequence[Code]
    planned_scale: int
    retention_days: int
    storage_places: Sequence[Code]
    transmissions: Sequence[Code]
    third_parties: Sequence[str]
    zone: Code
    list_ref: str
    own: OwnSide


_NOTHING_OWN = OwnSide()

# By field, the table of its codes.
_CODES: Mapping[str, str] = MappingProxyType({
    "mechanism": "mechanism", "direction": "direction", "zone": "zone",
    "exporter_place": "contract_place", "recipient_place": "contract_place",
    "exporter_sector": "sector", "recipient_sector": "sector",
    "exporter_role": "party_role", "recipient_role": "party_role",
})  # fmt: skip
_LISTS: Mapping[str, str] = MappingProxyType({
    "purposes": "purpose", "means": "means", "categories": "category",
    "sensitive_categories": "sensitive_category", "subject_types": "subject_type",
    "storage_places": "contract_place", "transmissions": "transmission",
})  # fmt: skip
_DATES = ("signed_on", "effective_on", "expires_on")
_PLAIN = ("version", "planned_scale", "retention_days", "list_ref")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """
    A contract under which data crosses, in one direction; the other direction is another one.

    The party that makes it keeps file() and gives it to the other; `own` is not in it. nonce is
    the contract's for its whole life: one made anew is another contract.
    """

    KIND: ClassVar[str] = "contract"

    exporter: Side
    recipient: Side
    contract_id: str
    # The signed document of this version.
    document: Digest
    mechanism: Code
    direction: Code
    exporter_place: Code
    recipient_place: Code
    exporter_sector: Code
    recipient_sector: Code
    signed_on: date
    effective_on: date
    purposes: Sequence[Code]
    categories: Sequence[Code]
    subject_types: Sequence[Code]
    # In persons, over the contract's life.
    planned_scale: int
    retention_days: int
    storage_places: Sequence[Code]
    transmissions: Sequence[Code]
    means: Sequence[Code] = ()
    sensitive_categories: Sequence[Code] = ()
    # The last day; None: no end was agreed.
    expires_on: date | None = None
    exporter_role: Code = "controller"
    recipient_role: Code = "controller"
    # Ids of those to whom the recipient may pass data on, on its own side.
    third_parties: Sequence[str] = ()
    zone: Code = 0
    list_ref: str = ""
    # 0: the contract; n: its n-th supplement.
    version: int = 0
    nonce: bytes = field(default_factory=new_nonce)
    own: OwnSide = _NOTHING_OWN

    def file(self) -> bytes:
        """
        The ContractTerms, encoded: to keep, and to give to the other party.

        Raises FieldError, PersonalDataError, or InputError for a document that cannot be read.
        """
        fields: dict[str, object] = {name: getattr(self, name) for name in _PLAIN}
        for name, table in _CODES.items():
            fields[name] = code_of(name, table, getattr(self, name))
        for name, table in _LISTS.items():
            fields[name] = codes_of(name, table, getattr(self, name))
        for name in _DATES:
            fields[name] = date_of(getattr(self, name))
        fields["document_digest"] = digest_of("document", self.document)
        fields["third_parties"] = sorted(set(self.third_parties))
        terms = self.terms_of(pb.ContractTerms, **fields)
        parse_contract_terms(terms)
        return terms

    @classmethod
    def parse(cls, file: bytes, *, own: OwnSide = _NOTHING_OWN) -> Self:
        """Read a contract's file; raises MalformedError, FieldError, PersonalDataError."""
        terms = parse_contract_terms(file)
        fields: dict[str, Any] = {
            name: getattr(terms, name) for name in (*_PLAIN, *_CODES, "contract_id", "nonce")
        }
        fields |= {name: tuple(getattr(terms, name)) for name in (*_LISTS, "third_parties")}
        fields |= {name: to_date(getattr(terms, name)) for name in _DATES}
        return cls(
            exporter=side_of(terms.exporter),
            recipient=side_of(terms.recipient),
            document=terms.document_digest,
            own=own,
            **fields,
        )

    @property
    def ref(self) -> bytes:
        """The 32 bytes that name it in both logs."""
        return contract_ref(Side(*self.exporter), self.nonce)

    def amended(self, **changes: Unpack[ContractChanges]) -> Self:
        """The next version, as a supplement states it: all of it, with what is changed."""
        return replace(self, version=self.version + 1, **changes)

    def message(self) -> pb.Contract:
        return pb.Contract(terms=self.file(), side=self.own.message())

    def terms_of(self, cls: type[Message], **fields: object) -> bytes:
        """Terms of this contract of any sort, encoded: they begin with the same four fields."""
        message = make(
            cls,
            exporter=_party(self.exporter),
            recipient=_party(self.recipient),
            nonce=self.nonce,
            contract_id=self.contract_id,
            **fields,
        )
        return encode_message(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplement:
    """The contract as amended, whole: contract.amended(...). It is filed anew."""

    KIND: ClassVar[str] = "supplement"

    contract: Contract
    reason: str = ""

    def message(self) -> pb.Supplement:
        terms, side = self.contract.file(), self.contract.own.message()
        return make(pb.Supplement, terms=terms, side=side, reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """This version of the contract was filed with one's own side's authority."""

    KIND: ClassVar[str] = "filing"

    contract: Contract
    authority: Code
    filed_on: date
    filing_no: str = ""
    result: Code = "submitted"
    # What was filed.
    documents: Sequence[Digest] = ()

    def message(self) -> pb.Filing:
        return make(
            pb.Filing,
            terms=self.contract.file(),
            authority=code_of("authority", "authority", self.authority),
            filed_on=date_of(self.filed_on),
            filing_no=self.filing_no,
            result=code_of("result", "filing_result", self.result),
            document_digests=sorted({digest_of("documents", one) for one in self.documents}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """The contract ended; both parties state the same day, cause and method."""

    KIND: ClassVar[str] = "termination"

    contract: Contract
    # The last day on which it was in force.
    terminated_on: date
    cause: Code
    # What becomes of the data.
    method: Code
    # None: one's own authority does not know yet.
    authority_notified_on: date | None = None
    reason: str = ""

    def message(self) -> pb.Termination:
        terms = self.contract.terms_of(
            pb.TerminationTerms,
            terminated_on=date_of(self.terminated_on),
            cause=code_of("cause", "change_cause", self.cause),
            method=code_of("method", "method", self.method),
        )
        notified = date_of(self.authority_notified_on)
        return make(pb.Termination, terms=terms, authority_notified_on=notified, reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposal:
    """
    Data was returned or deleted: of the transfers due by a day, of some, or of all.

    due_by: of those with delete_by up to it; refs: of these transfers, at most 500; neither:
    everything. The recipient states it, and the exporter the same once it has the certificate.
    """

    KIND: ClassVar[str] = "disposal"

    contract: Contract
    method: Code
    done_at: datetime
    certificate: Digest
    # How many transfers, and how many people, it is about.
    transfers: int
    subjects: int
    due_by: date | None = None
    refs: Sequence[bytes] = ()
    reason: str = ""

    def message(self) -> pb.Disposal:
        terms = self.contract.terms_of(
            pb.DisposalTerms,
            method=code_of("method", "method", self.method),
            done_at=time_of(self.done_at),
            certificate_digest=digest_of("certificate", self.certificate),
            due_by=date_of(self.due_by),
            refs=sorted(set(self.refs)),
            transfers=self.transfers,
            subjects=self.subjects,
        )
        return make(pb.Disposal, terms=terms, reason=self.reason)


def _party(side: Side) -> pb.Party:
    origin, institution = side
    return make(pb.Party, origin=origin, institution=institution)
