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

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._terms import Restated, restate
from ledgerd_client._values import (
    Code,
    Digest,
    code_of,
    codes_of,
    date_of,
    digest_of,
    make,
    time_of,
    to_micros,
)
from ledgerd_client.contracts import (
    Contract,
    Disposal,
    Filing,
    Supplement,
    Termination,
    new_nonce,
)
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
        return make(
            pb.Pipia,
            contract_id=self.contract_id,
            report_digest=digest_of("report", self.report),
            completed_on=date_of(self.completed_on),
            conclusion=code_of("conclusion", "pipia_conclusion", self.conclusion),
            keep_until=date_of(self.keep_until),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """From then on nothing is to be transferred under the contract."""

    KIND: ClassVar[str] = "suspend"

    contract_id: str
    at: datetime
    cause: Code
    reason: str = ""

    def message(self) -> pb.Suspend:
        return make(
            pb.Suspend,
            contract_id=self.contract_id,
            at=to_micros(self.at),
            cause=code_of("cause", "change_cause", self.cause),
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """From then on transfers go on."""

    KIND: ClassVar[str] = "resume"

    contract_id: str
    at: datetime
    reason: str = ""

    def message(self) -> pb.Resume:
        at = to_micros(self.at)
        return make(pb.Resume, contract_id=self.contract_id, at=at, reason=self.reason)


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
        return make(
            pb.Onward,
            contract_id=self.contract_id,
            matter=self.matter,
            ref=self.ref,
            third_party=self.third_party,
            third_party_place=code_of("third_party_place", "onward_place", self.third_party_place),
            needed=self.needed,
            told=self.told,
            consented=self.consented,
            listed=self.listed,
            agreement_digest=digest_of("agreement", self.agreement),
            purposes=codes_of("purposes", "purpose", self.purposes),
        )


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
            pb.Notice(authority=code_of("notices", "authority", authority), at=to_micros(at))
            for authority, at in self.notices
        ]
        sensitive = codes_of(
            "sensitive_categories", "sensitive_category", self.sensitive_categories
        )
        return make(
            pb.Incident,
            matter=self.matter,
            contract_ids=sorted(set(self.contract_ids)),
            discovered_at=to_micros(self.discovered_at),
            categories=codes_of("categories", "category", self.categories),
            sensitive_categories=sensitive,
            affected_subjects=self.affected_subjects,
            grade=code_of("grade", "grade", self.grade),
            cause=code_of("cause", "incident_cause", self.cause),
            ciio=self.ciio,
            notices=notices,
            subjects_notified_at=time_of(self.subjects_notified_at),
            counterparty_notified_at=time_of(self.counterparty_notified_at),
        )


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
        return make(
            pb.GovAccess,
            contract_id=self.contract_id,
            matter=self.matter,
            requester=code_of("requester", "requester", self.requester),
            territory=code_of("territory", "onward_place", self.territory),
            received_at=to_micros(self.received_at),
            exporter_notified_at=time_of(self.exporter_notified_at),
            disclosed=self.disclosed,
        )


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
        return make(
            pb.ConsentChange,
            contract_id=self.contract_id,
            matter=self.matter,
            change=code_of("change", "consent_change", self.change),
            subjects=self.subjects,
            from_date=date_of(self.from_date),
        )


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
        return make(
            pb.Correction,
            terms=restate(parse_terms(self.ticket.terms), self.changes),
            corrects=self.corrects,
            cause=code_of("cause", "change_cause", self.cause),
            reason=self.reason,
        )


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
