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
    "genesis key_event transfer ack cancel correction anchor evidence loss rule_set finding", 16
)
SCHEMA = {
    "body": _numbered("salt origin author record_id occurred_at") | RECORDS,
    "genesis": _numbered(
        "log_key entry_key cosigner_key authority_key peer_origin peer_authority_key"
    ),
    "key_event": _numbered(
        "action role subject public_key possession previous_key_id compromised_since"
        " place sector name"
    ),
    "party": _numbered("origin institution"),
    "terms": _numbered(
        "exporter recipient nonce contract_id commitment subjects subjects_first_this_year"
        " sensitive_subjects sensitive_first_this_year minors_present purposes categories"
        " sensitive_categories legal_basis consent_form notice_digest notice_version exemption"
        " protections transmission delete_by onward_declared"
    ),
    "transfer": _numbered("terms"),
    "ack": _numbered("terms outcome received_at received_subjects received_commitment reason"),
    "cancel": _numbered("terms reason"),
    "correction": _numbered("terms corrects reason"),
    "anchor": _numbered("peer_origin checkpoint fetched_at"),
    "evidence": _numbered("accused_origin bundle_digest"),
    "loss": _numbered("size log_key"),
    "rule_set": _numbered("version digest acknowledge_within correct_within record_within"),
    "record_ref": _numbered("origin index"),
    "finding": _numbered("finding_id rule severity records rule_set ref closed"),
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
    """One field: int, str, bytes, a list of ints (packed) or a list of encoded messages."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        value = b"".join(map(varint, value))
    if isinstance(value, list):
        return b"".join(varint(at << 3 | 2) + varint(len(item)) + item for item in value)
    if not value:
        return b""
    if isinstance(value, int):
        return varint(at << 3) + varint(value)
    return varint(at << 3 | 2) + varint(len(value)) + value


def encode(name: str, fields: Mapping[str, Any]) -> bytes:
    """The one encoding: ascending field numbers, minimal varints, defaults left out."""
    numbers = {SCHEMA[name][key]: value for key, value in fields.items()}
    return b"".join(encode_field(at, numbers[at]) for at in sorted(numbers))
