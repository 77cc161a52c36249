"""
What both parties state of a contract: its terms, that they were filed, amended, ended, and that
data was disposed of.

Each is a half (header kind CONTRACT): the terms are the same bytes in both logs, and everything
beside them is its author's own. contract_ref is the same for the contract's whole life.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.body import parse_message
from ledgerd_client.core.encoding import lp8
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import (
    DIGEST_SIZE,
    check_count,
    check_id,
    check_institution,
    check_size,
    check_text,
    check_time,
)
from ledgerd_client.core.org_id import check_org_id
from ledgerd_client.core.past import check_order, check_past, check_past_date
from ledgerd_client.core.transfer import (
    NONCE_SIZE,
    Side,
    check_contract_id,
    check_date,
    check_parties,
    side_of,
)

MAX_DISPOSAL_REFS = 500
# A hundred years: more is a unit mistaken.
MAX_RETENTION_DAYS = 36_525

# The outcome in the header, by what was stated.
CONTRACT, FILING, SUPPLEMENT, TERMINATION, DISPOSAL = range(1, 6)

_REF_TAG = b"ledgerd/contract-ref/v1\n"

AnyTerms: TypeAlias = pb.ContractTerms | pb.TerminationTerms | pb.DisposalTerms


class ContractHead(NamedTuple):
    """What the terms of all five statements begin with."""

    exporter: Side
    recipient: Side
    nonce: bytes
    contract_id: str


def head_of(terms: AnyTerms) -> ContractHead:
    return ContractHead(
        side_of(terms.exporter), side_of(terms.recipient), terms.nonce, terms.contract_id
    )


def contract_ref(exporter: Side, nonce: bytes) -> bytes:
    """The 32 bytes that name a contract in both logs and tell nothing of it."""
    return sha256(_ref_prefix(exporter) + nonce).digest()


@lru_cache(maxsize=4096)
def _ref_prefix(exporter: Side) -> bytes:
    return _REF_TAG + lp8(exporter.origin.encode()) + lp8(exporter.institution.encode())


def parse_contract_terms(data: bytes) -> pb.ContractTerms:
    """Read a contract's terms; raises MalformedError, FieldError or PersonalDataError."""
    terms = parse_message(pb.ContractTerms, data, "contract terms")
    _check_head(terms)
    check_size("document_digest", terms.document_digest, DIGEST_SIZE)
    _check_codes(terms)
    _check_period(terms)
    _check_extent(terms)
    _check_third_parties(list(terms.third_parties))
    check_id("list_ref", terms.list_ref, 64)
    return terms


def parse_termination_terms(data: bytes) -> pb.TerminationTerms:
    """Read the terms of a termination; raises MalformedError, FieldError or PersonalDataError."""
    terms = parse_message(pb.TerminationTerms, data, "termination terms")
    _check_head(terms)
    check_date("terminated_on", terms.terminated_on)
    codes.check_codes("cause", codes.CHANGE_CAUSES, (terms.cause,))
    codes.check_codes("method", codes.METHODS, (terms.method,))
    return terms


def parse_disposal_terms(data: bytes) -> pb.DisposalTerms:
    """Read the terms of a disposal; raises MalformedError, FieldError or PersonalDataError."""
    terms = parse_message(pb.DisposalTerms, data, "disposal terms")
    _check_head(terms)
    codes.check_codes("method", codes.METHODS, (terms.method,))
    check_time("done_at", terms.done_at)
    check_size("certificate_digest", terms.certificate_digest, DIGEST_SIZE)
    _check_scope(terms)
    check_count("transfers", terms.transfers)
    check_count("subjects", terms.subjects)
    return terms


def parse_statement(body: pb.Body) -> tuple[ContractHead, bytes, int]:
    """
    Check a body of kind CONTRACT, its private part too; return head, terms and outcome.

    Raises MalformedError, FieldError or PersonalDataError.
    """
    record = body.WhichOneof("record") or ""
    outcome, read = _STATEMENTS[record]
    terms: bytes = getattr(body, record).terms
    return head_of(read(body)), terms, outcome


def _check_head(terms: AnyTerms) -> None:
    check_parties(side_of(terms.exporter), side_of(terms.recipient))
    check_size("nonce", terms.nonce, NONCE_SIZE)
    check_contract_id(terms.contract_id)


def _check_codes(terms: pb.ContractTerms) -> None:
    for field, table in _ONE_CODE.items():
        codes.check_codes(field, table, (getattr(terms, field),))
    for field, table in _CODE_LISTS.items():
        codes.check_code_list(field, table, getattr(terms, field))
    for field in ("purposes", "categories", "subject_types", "storage_places", "transmissions"):
        if not getattr(terms, field):
            raise FieldError(f"a contract states its {field}")
    if terms.zone:
        codes.check_codes("zone", codes.ZONES, (terms.zone,))


def _check_period(terms: pb.ContractTerms) -> None:
    check_date("signed_on", terms.signed_on)
    check_date("effective_on", terms.effective_on)
    if terms.expires_on:
        check_date("expires_on", terms.expires_on)
        if terms.expires_on < terms.effective_on:
            raise FieldError("expires_on is before effective_on")


def _check_extent(terms: pb.ContractTerms) -> None:
    check_count("planned_scale", terms.planned_scale)
    if not terms.planned_scale:
        raise FieldError("a contract states its planned_scale")
    if not 1 <= terms.retention_days <= MAX_RETENTION_DAYS:
        raise FieldError(f"retention_days is 1 to {MAX_RETENTION_DAYS}")


def _check_third_parties(listed: list[str]) -> None:
    for name in listed:
        check_institution("third_parties", name)
        check_org_id("third_parties", name)
    if sorted(set(listed)) != listed:
        raise FieldError("third_parties are not strictly ascending")


def _check_scope(terms: pb.DisposalTerms) -> None:
    if terms.due_by:
        check_date("due_by", terms.due_by)
        if terms.refs:
            raise FieldError("a disposal has due_by or refs, not both")
    if len(terms.refs) > MAX_DISPOSAL_REFS:
        raise FieldError(f"refs: a disposal names at most {MAX_DISPOSAL_REFS} transfers")
    for ref in terms.refs:
        check_size("refs", ref, DIGEST_SIZE)
    if any(a >= b for a, b in pairwise(terms.refs)):
        raise FieldError("refs are not strictly ascending")


def _read_contract(body: pb.Body) -> AnyTerms:
    terms = parse_contract_terms(body.contract.terms)
    if terms.version:
        raise FieldError("a contract has version 0; what amends it is a supplement")
    check_past_date("signed_on", terms.signed_on, body.occurred_at)
    _check_side(body.contract.side, body.occurred_at)
    return terms


def _read_filing(body: pb.Body) -> AnyTerms:
    filing = body.filing
    codes.check_codes("authority", codes.AUTHORITIES, (filing.authority,))
    check_date("filed_on", filing.filed_on)
    check_id("filing_no", filing.filing_no, 64)
    codes.check_codes("result", codes.FILING_RESULTS, (filing.result,))
    for digest in filing.document_digests:
        check_size("document_digests", digest, DIGEST_SIZE)
    terms = parse_contract_terms(filing.terms)
    check_past_date("filed_on", filing.filed_on, body.occurred_at)
    check_order("filed_on", filing.filed_on, "signed_on", terms.signed_on)
    return terms


def _read_supplement(body: pb.Body) -> AnyTerms:
    terms = parse_contract_terms(body.supplement.terms)
    if not terms.version:
        raise FieldError("a supplement has version 1 or above")
    check_past_date("signed_on", terms.signed_on, body.occurred_at)
    _check_side(body.supplement.side, body.occurred_at)
    check_text("reason", body.supplement.reason, 500)
    return terms


def _read_termination(body: pb.Body) -> AnyTerms:
    if body.termination.authority_notified_on:
        check_date("authority_notified_on", body.termination.authority_notified_on)
    check_past_date(
        "authority_notified_on", body.termination.authority_notified_on, body.occurred_at
    )
    check_text("reason", body.termination.reason, 500)
    return parse_termination_terms(body.termination.terms)


def _read_disposal(body: pb.Body) -> AnyTerms:
    check_text("reason", body.disposal.reason, 500)
    terms = parse_disposal_terms(body.disposal.terms)
    check_past("done_at", terms.done_at, body.occurred_at)
    return terms


def _check_side(side: pb.ContractSide, occurred_at: int) -> None:
    if side.total_subjects_band:
        codes.check_codes("total_subjects_band", codes.BANDS, (side.total_subjects_band,))
    for field in ("group_id", "hgr_ref", "authorisation_ref"):
        check_id(field, getattr(side, field), 64)
    if side.authorised_on:
        check_date("authorised_on", side.authorised_on)
    check_past_date("authorised_on", side.authorised_on, occurred_at)
    check_count("authorised_scale", side.authorised_scale)


_ONE_CODE: Mapping[str, Mapping[int, str]] = MappingProxyType({
    "mechanism": codes.MECHANISMS, "direction": codes.DIRECTIONS,
    "exporter_place": codes.CONTRACT_PLACES, "recipient_place": codes.CONTRACT_PLACES,
    "exporter_sector": codes.SECTORS, "recipient_sector": codes.SECTORS,
    "exporter_role": codes.PARTY_ROLES, "recipient_role": codes.PARTY_ROLES,
})  # fmt: skip
_CODE_LISTS: Mapping[str, Mapping[int, str]] = MappingProxyType({
    "purposes": codes.PURPOSES, "means": codes.MEANS, "categories": codes.CATEGORIES,
    "sensitive_categories": codes.SENSITIVE_CATEGORIES, "subject_types": codes.SUBJECT_TYPES,
    "storage_places": codes.CONTRACT_PLACES, "transmissions": codes.TRANSMISSIONS,
})  # fmt: skip
_STATEMENTS: Mapping[str, tuple[int, Callable[[pb.Body], AnyTerms]]] = MappingProxyType({
    "contract": (CONTRACT, _read_contract), "filing": (FILING, _read_filing),
    "supplement": (SUPPLEMENT, _read_supplement),
    "termination": (TERMINATION, _read_termination), "disposal": (DISPOSAL, _read_disposal),
})  # fmt: skip
