"""
What one party records of a contract, or of its data, by itself.

Plain values, as in contracts.py. They name a contract by its id, and stay on their side. A `matter`
(an onward provision, an incident, …) goes by 16 bytes, fresh by default: the same matter said again
replaces what was said of it, `dataclasses.replace(incident, notices=…)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar, TypeAlias

from ledgerd_client._building import build, items
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._terms import Restated, restate
from ledgerd_client._values import Code, Digest, code_of, to_micros
from ledgerd_client.contracts import (
    Contract,
    Disposal,
    Filing,
    Supplement,
    Termination,
    new_nonce,
)
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.transfer import Ticket, parse_terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipia:
    """The exporter's impact assessment (PIPL 55, 56). The report itself stays where it is."""

    KIND: ClassVar[str] = "pipia"

    contract_id: str
    report: Digest
    completed_on: date
    conclusion: Code
    keep_until: date

    def message(self) -> pb.Pipia:
        return build(pb.Pipia, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """From then on nothing is to be transferred under the contract."""

    KIND: ClassVar[str] = "suspend"

    contract_id: str
    at: datetime
    cause: Code
    reason: str = ""

    def message(self) -> pb.Suspend:
        return build(pb.Suspend, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """From then on transfers go on."""

    KIND: ClassVar[str] = "resume"

    contract_id: str
    at: datetime
    reason: str = ""

    def message(self) -> pb.Resume:
        return build(pb.Resume, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """The recipient passes data of a transfer on; the four conditions are as commentary has it."""

    KIND: ClassVar[str] = "onward"

    contract_id: str
    third_party: str
    third_party_place: Code
    # There is a genuine business need; subjects were told; they consented where consent is the
    # basis; the third party is listed in the contract.
    needed: bool
    told: bool
    consented: bool
    listed: bool
    agreement: Digest
    purposes: Sequence[Code]
    # Of the transfer that the data came in; empty: of several.
    ref: bytes = b""
    matter: bytes = field(default_factory=new_nonce)

    def message(self) -> pb.Onward:
        return build(pb.Onward, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something happened to the data (PIPL 57); say it again as authorities are notified."""

    KIND: ClassVar[str] = "incident"

    discovered_at: datetime
    grade: Code
    cause: Code
    affected_subjects: int
    contract_ids: Sequence[str] = ()
    categories: Sequence[Code] = ()
    sensitive_categories: Sequence[Code] = ()
    ciio: bool = False
    # Which authority was notified, and when.
    notices: Sequence[tuple[Code, datetime]] = ()
    subjects_notified_at: datetime | None = None
    counterparty_notified_at: datetime | None = None
    matter: bytes = field(default_factory=new_nonce)

    def message(self) -> pb.Incident:
        notices = [
            _notice(f"notices[{at}]", one) for at, one in enumerate(items("notices", self.notices))
        ]
        return build(pb.Incident, self, notices=notices)


@dataclass(frozen=True, slots=True, kw_only=True)
class GovAccess:
    """A government body asked the recipient for the data; say it again once the exporter knows."""

    KIND: ClassVar[str] = "gov_access"

    contract_id: str
    requester: Code
    territory: Code
    received_at: datetime
    disclosed: bool
    exporter_notified_at: datetime | None = None
    matter: bytes = field(default_factory=new_nonce)

    def message(self) -> pb.GovAccess:
        return build(pb.GovAccess, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentChange:
    """So many people withdrew their consent, or gave it anew; nobody is named."""

    KIND: ClassVar[str] = "consent_change"

    contract_id: str
    change: Code
    subjects: int
    from_date: date
    matter: bytes = field(default_factory=new_nonce)

    def message(self) -> pb.ConsentChange:
        return build(pb.ConsentChange, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """
    One's half of a transfer, stated anew; the other party states the same changes.

    ticket is the transfer's, corrects the record_id of one's half. changes are against the
    ticket's terms, also when an earlier correction changed them.
    """

    KIND: ClassVar[str] = "correction"

    ticket: Ticket
    corrects: bytes
    changes: Restated
    cause: Code = 0
    reason: str = ""

    def message(self) -> pb.Correction:
        terms = restate(parse_terms(self.ticket.terms), self.changes)
        return build(pb.Correction, self, terms=terms)


def _notice(field: str, notice: object) -> pb.Notice:
    if not isinstance(notice, tuple | list) or len(notice) != 2:
        raise FieldError(f"{field} is an authority and a time")
    authority, at = notice
    return pb.Notice(authority=code_of(field, "authority", authority), at=to_micros(field, at))


# What `record` and `check` take.
Recordable: TypeAlias = (
    Contract
    | Supplement
    | Filing
    | Termination
    | Disposal
    | Pipia
    | Suspend
    | Resume
    | Onward
    | Incident
    | GovAccess
    | ConsentChange
    | Correction
)
