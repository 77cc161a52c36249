"""
What one party records of its contracts, beside the contract's own statements: assessments,
suspensions, what third parties and public bodies were given, incidents, changes of consent.

Their entries have kind RECORD and no halves: the other side sees that there is one, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import (
    DIGEST_SIZE,
    check_count,
    check_institution,
    check_size,
    check_text,
    check_time,
)
from ledgerd_client.core.org_id import check_org_id
from ledgerd_client.core.past import check_order, check_past, check_past_date
from ledgerd_client.core.transfer import check_contract_id, check_date

MATTER_SIZE = 16


def check_event(body: pb.Body) -> None:
    """Check every field of a record of kind RECORD; raises FieldError or PersonalDataError."""
    _CHECKS[body.WhichOneof("record") or ""](body)


def _check_pipia(body: pb.Body) -> None:
    """PIPL 55 and 56."""
    pipia = body.pipia
    check_contract_id(pipia.contract_id)
    check_size("report_digest", pipia.report_digest, DIGEST_SIZE)
    check_date("completed_on", pipia.completed_on)
    check_past_date("completed_on", pipia.completed_on, body.occurred_at)
    codes.check_codes("conclusion", codes.PIPIA_CONCLUSIONS, (pipia.conclusion,))
    check_date("keep_until", pipia.keep_until)


def _check_suspend(body: pb.Body) -> None:
    check_contract_id(body.suspend.contract_id)
    check_time("at", body.suspend.at)
    codes.check_codes("cause", codes.CHANGE_CAUSES, (body.suspend.cause,))
    check_text("reason", body.suspend.reason, 500)


def _check_resume(body: pb.Body) -> None:
    check_contract_id(body.resume.contract_id)
    check_time("at", body.resume.at)
    check_text("reason", body.resume.reason, 500)


def _check_onward(body: pb.Body) -> None:
    onward = body.onward
    check_contract_id(onward.contract_id)
    _check_matter(onward.matter)
    if onward.ref:
        check_size("ref", onward.ref, DIGEST_SIZE)
    check_institution("third_party", onward.third_party)
    check_org_id("third_party", onward.third_party)
    codes.check_codes("third_party_place", codes.ONWARD_PLACES, (onward.third_party_place,))
    check_size("agreement_digest", onward.agreement_digest, DIGEST_SIZE)
    codes.check_code_list("purposes", codes.PURPOSES, onward.purposes)
    if not onward.purposes:
        raise FieldError("purposes: an onward provision has at least one")


def _check_incident(body: pb.Body) -> None:
    """PIPL 57. What is not known yet may be left out, and stated with the matter's next record."""
    incident = body.incident
    _check_matter(incident.matter)
    contracts = list(incident.contract_ids)
    for at, name in enumerate(contracts):
        check_contract_id(name, f"contract_ids[{at}]")
    if sorted(set(contracts)) != contracts:
        raise FieldError("contract_ids are not strictly ascending")
    check_time("discovered_at", incident.discovered_at)
    check_past("discovered_at", incident.discovered_at, body.occurred_at)
    codes.check_code_list("categories", codes.CATEGORIES, incident.categories)
    codes.check_code_list(
        "sensitive_categories", codes.SENSITIVE_CATEGORIES, incident.sensitive_categories
    )
    check_count("affected_subjects", incident.affected_subjects)
    codes.check_codes("grade", codes.GRADES, (incident.grade,))
    codes.check_codes("cause", codes.INCIDENT_CAUSES, (incident.cause,))
    for at, notice in enumerate(incident.notices):
        codes.check_codes(f"notices[{at}].authority", codes.AUTHORITIES, (notice.authority,))
        check_time(f"notices[{at}].at", notice.at)
    told = {f"notices[{at}].at": notice.at for at, notice in enumerate(incident.notices)}
    told["subjects_notified_at"] = incident.subjects_notified_at
    told["counterparty_notified_at"] = incident.counterparty_notified_at
    for field, when in told.items():
        _check_told(field, when, "discovered_at", incident.discovered_at, body.occurred_at)


def _check_gov_access(body: pb.Body) -> None:
    access = body.gov_access
    check_contract_id(access.contract_id)
    _check_matter(access.matter)
    codes.check_codes("requester", codes.REQUESTERS, (access.requester,))
    codes.check_codes("territory", codes.ONWARD_PLACES, (access.territory,))
    check_time("received_at", access.received_at)
    check_past("received_at", access.received_at, body.occurred_at)
    told = access.exporter_notified_at
    _check_told("exporter_notified_at", told, "received_at", access.received_at, body.occurred_at)


def _check_consent_change(body: pb.Body) -> None:
    change = body.consent_change
    check_contract_id(change.contract_id)
    _check_matter(change.matter)
    codes.check_codes("change", codes.CONSENT_CHANGES, (change.change,))
    check_count("subjects", change.subjects)
    check_date("from_date", change.from_date)


def _check_matter(matter: bytes) -> None:
    check_size("matter", matter, MATTER_SIZE)


def _check_told(field: str, at: int, cause: str, since: int, occurred_at: int) -> None:
    """When somebody was told of what came at a time; 0: not yet."""
    if at:
        check_time(field, at)
        check_past(field, at, occurred_at)
        check_order(field, at, cause, since)


_CHECKS: Mapping[str, Callable[[pb.Body], None]] = MappingProxyType({
    "pipia": _check_pipia, "suspend": _check_suspend, "resume": _check_resume,
    "onward": _check_onward, "incident": _check_incident, "gov_access": _check_gov_access,
    "consent_change": _check_consent_change,
})  # fmt: skip
