"""
Canonical protobuf by hand: each message as its fields' names and numbers (docs/format.md).

Shares no code with the product, and needs nothing but Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _numbered(names: str, start: int = 1) -> dict[str, int]:
    return {name: start + at for at, name in enumerate(names.split())}


RECORDS = _numbered(
    "genesis key_event transfer ack cancel correction anchor evidence loss rule_set finding"
    " contract filing supplement termination disposal pipia suspend resume onward incident"
    " gov_access consent_change tick query_log erasure lost_bodies",
    16,
)
SCHEMA = {
    "body": _numbered("salt origin author record_id occurred_at") | RECORDS,
    "genesis": _numbered(
        "log_key entry_key cosigner_key authority_key peer_origin peer_authority_key"
    ),
    "key_event": _numbered(
        "action role subject public_key possession previous_key_id compromised_since"
        " place sector name group grant lost history_digest"
    ),
    "grant": _numbered("places sectors kinds valid_from valid_until"),
    "party": _numbered("origin institution"),
    "terms": _numbered(
        "exporter recipient nonce contract_id commitment subjects subjects_first_this_year"
        " sensitive_subjects sensitive_first_this_year minors_present purposes categories"
        " sensitive_categories legal_basis consent_form notice_digest notice_version exemption"
        " protections transmission delete_by onward_declared means"
    ),
    "transfer": _numbered("terms"),
    "ack": _numbered("terms outcome received_at received_subjects received_commitment reason"),
    "cancel": _numbered("terms reason cause"),
    "correction": _numbered("terms corrects reason cause"),
    "anchor": _numbered("peer_origin checkpoint fetched_at"),
    "evidence": _numbered("accused_origin bundle_digest"),
    "loss": _numbered("size log_key root cosigner_key log_possession cosigner_possession"),
    "lost_bodies": _numbered("ranges"),
    "range": _numbered("first end"),
    "rule_set": _numbered(
        "version digest acknowledge_within correct_within record_within law agree_within"
    ),
    "record_ref": _numbered("origin index"),
    "finding": _numbered(
        "finding_id rule severity records rule_set ref closed institution contract_id numbers"
    ),
    "tick": {},
    "query_log": _numbered("regulator since asked unlisted"),
    "asked": _numbered("method request digest size times"),
    "erasure": _numbered("order signature remains"),
    "erasure_order": _numbered("origin order_id institution indexes reason ordered_at"),
    "remains": _numbered("index body"),
    "contract_terms": _numbered(
        "exporter recipient nonce contract_id version document_digest mechanism direction"
        " exporter_place recipient_place exporter_sector recipient_sector exporter_role"
        " recipient_role signed_on effective_on expires_on purposes means categories"
        " sensitive_categories subject_types planned_scale retention_days storage_places"
        " transmissions third_parties zone list_ref"
    ),
    "contract_side": _numbered(
        "ciio important_data total_subjects_band group_id hgr_ref authorisation_ref"
        " authorised_on authorised_scale"
    ),
    "termination_terms": _numbered(
        "exporter recipient nonce contract_id terminated_on cause method"
    ),
    "disposal_terms": _numbered(
        "exporter recipient nonce contract_id method done_at certificate_digest due_by refs"
        " transfers subjects"
    ),
    "contract": _numbered("terms side"),
    "filing": _numbered("terms authority filed_on filing_no result document_digests"),
    "supplement": _numbered("terms side reason"),
    "termination": _numbered("terms authority_notified_on reason"),
    "disposal": _numbered("terms reason"),
    "pipia": _numbered("contract_id report_digest completed_on conclusion keep_until"),
    "suspend": _numbered("contract_id at cause reason"),
    "resume": _numbered("contract_id at reason"),
    "onward": _numbered(
        "contract_id matter ref third_party third_party_place needed told consented listed"
        " agreement_digest purposes"
    ),
    "notice": _numbered("authority at"),
    "incident": _numbered(
        "matter contract_ids discovered_at categories sensitive_categories affected_subjects"
        " grade cause ciio notices subjects_notified_at counterparty_notified_at"
    ),
    "gov_access": _numbered(
        "contract_id matter requester territory received_at exporter_notified_at disclosed"
    ),
    "consent_change": _numbered("contract_id matter change subjects from_date"),
    "part": _numbered("name size digest"),
    "manifest": _numbered("parts"),
    "ticket": _numbered("terms salt manifest receipt body key_id signature"),
}


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def encode_field(at: int, value: Any) -> bytes:
    """One field: int, str, bytes, or a list: of ints (packed), texts, bytes, encoded messages."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        value = b"".join(map(varint, value))
    if isinstance(value, list):
        items = [item.encode() if isinstance(item, str) else item for item in value]
        return b"".join(varint(at << 3 | 2) + varint(len(item)) + item for item in items)
    if not value:
        return b""
    if isinstance(value, int):
        return varint(at << 3) + varint(value)
    return varint(at << 3 | 2) + varint(len(value)) + value


def encode(name: str, fields: Mapping[str, Any]) -> bytes:
    """The one encoding: ascending field numbers, minimal varints, defaults left out."""
    numbers = {SCHEMA[name][key]: value for key, value in fields.items()}
    return b"".join(encode_field(at, numbers[at]) for at in sorted(numbers))
