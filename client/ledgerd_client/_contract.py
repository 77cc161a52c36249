"""A contract as its parties record it: a plain value, and the file that one gives the other."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Any, ClassVar, Self, TypedDict, TypeVar, Unpack

from google.protobuf.message import Message

from ledgerd_client._building import build
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import Code, Digest, make, to_date
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.contract import contract_ref, parse_contract_terms
from ledgerd_client.core.errors import FieldError, MalformedError
from ledgerd_client.core.header import check_origin
from ledgerd_client.core.transfer import NONCE_SIZE, Side, side_of

M = TypeVar("M", bound=Message)


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
        return build(pb.ContractSide, self)


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
# What a contract's terms hold as a date (yyyymmdd).
_DATES = ("signed_on", "effective_on", "expires_on")


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
        terms = self.terms_of(pb.ContractTerms, self)
        parse_contract_terms(terms)
        return terms

    @classmethod
    def parse(cls, file: bytes, *, own: OwnSide = _NOTHING_OWN) -> Self:
        """Read a contract's file; raises MalformedError, FieldError, PersonalDataError."""
        terms = parse_contract_terms(file)
        stated: dict[str, Any] = {
            one.name: getattr(terms, one.name)
            for one in fields(cls)
            if one.name in terms.DESCRIPTOR.fields_by_name
        }
        for name, value in stated.items():
            if isinstance(value, Sequence) and not isinstance(value, str | bytes):
                stated[name] = tuple(value)
        stated |= {name: to_date(stated[name]) for name in _DATES}
        stated |= {"exporter": side_of(terms.exporter), "recipient": side_of(terms.recipient)}
        return cls(document=terms.document_digest, own=own, **stated)

    @property
    def ref(self) -> bytes:
        """The 32 bytes that name it in both logs."""
        return contract_ref(Side(*self.exporter), self.nonce)

    def amended(self, **changes: Unpack[ContractChanges]) -> Self:
        """The next version, as a supplement states it: all of it, with what is changed."""
        return replace(self, version=self.version + 1, **changes)

    def message(self) -> pb.Contract:
        return pb.Contract(terms=self.file(), side=self.own.message())

    def terms_of(self, cls: type[M], what: object) -> bytes:
        """What a record states of this contract that both parties state alike, encoded."""
        message = build(
            cls,
            what,
            exporter=_party("exporter", self.exporter),
            recipient=_party("recipient", self.recipient),
            nonce=self.nonce,
            contract_id=self.contract_id,
        )
        return encode_message(message)


def _party(field: str, side: object) -> pb.Party:
    if not isinstance(side, tuple | list) or len(side) != 2:
        raise FieldError(f"{field} is a Side: an origin and an institution")
    party = make(pb.Party, origin=side[0], institution=side[1])
    try:
        check_origin(party.origin)
    except MalformedError as error:
        raise MalformedError(
            f"{field}.origin: {error.message}", reason=error.reason, action=error.action
        ) from None
    return party
