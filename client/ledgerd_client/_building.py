"""Messages from records as callers state them: each field as its type says, under its own name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, TypeVar

from google.protobuf.message import Message

from ledgerd_client._values import code_of, codes_of, date_of, digest_of, make, time_of
from ledgerd_client.core.errors import FieldError

M = TypeVar("M", bound=Message)

# By field, the table of its codes; of some records another one. `place` and `sector` are those of
# a request to enrol.
TABLES: Mapping[str, str] = MappingProxyType({
    "authority": "authority",
    "categories": "category",
    "cause": "change_cause",
    "change": "consent_change",
    "conclusion": "pipia_conclusion",
    "consent_form": "consent_form",
    "direction": "direction",
    "exemption": "exemption",
    "exporter_place": "contract_place",
    "exporter_role": "party_role",
    "exporter_sector": "sector",
    "grade": "grade",
    "incident.cause": "incident_cause",
    "legal_basis": "legal_basis",
    "means": "means",
    "mechanism": "mechanism",
    "method": "method",
    "notices": "authority",
    "place": "place",
    "protections": "protection",
    "purposes": "purpose",
    "recipient_place": "contract_place",
    "recipient_role": "party_role",
    "recipient_sector": "sector",
    "requester": "requester",
    "result": "filing_result",
    "sector": "sector",
    "sensitive_categories": "sensitive_category",
    "storage_places": "contract_place",
    "subject_types": "subject_type",
    "territory": "onward_place",
    "third_party_place": "onward_place",
    "total_subjects_band": "band",
    "transmission": "transmission",
    "transmissions": "transmission",
    "zone": "zone",
})  # fmt: skip


def build(cls: type[M], what: Any, **besides: object) -> M:
    """
    A message with those of a record's fields that it has, and what is said besides.

    what is a dataclass. A digest `report` is the message's report_digest, `documents` its
    document_digests; a list is in ascending order. Raises FieldError, and InputError for a file
    that cannot be hashed.
    """
    stated = dict(besides)
    for field in fields(what):
        kind = str(field.type).removesuffix(" | None")
        name = _name_in_message(field.name, kind)
        if name in cls.DESCRIPTOR.fields_by_name and name not in stated:
            read = _READERS.get(kind, _as_it_is)
            stated[name] = read(field.name, table_of(what, field.name), getattr(what, field.name))
    return make(cls, **stated)


def _name_in_message(field: str, kind: str) -> str:
    if kind == "Digest":
        return f"{field}_digest"
    return f"{field.removesuffix('s')}_digests" if kind == "Sequence[Digest]" else field


def table_of(what: Any, field: str) -> str:
    """The table of a field's codes; empty if it has none."""
    kind = getattr(what, "KIND", "")
    return TABLES.get(f"{kind}.{field}") or TABLES.get(field, "")


def _as_it_is(_: str, __: str, value: object) -> object:
    return value


def _digests(field: str, _: str, value: object) -> list[bytes]:
    return sorted({digest_of(field, one) for one in items(field, value)})


def _ascending(field: str, _: str, value: object) -> list[Any]:
    try:
        return sorted(set(items(field, value)))
    except TypeError:
        raise FieldError(f"{field} is a list of one type, not {value!r:.80}") from None


def items(field: str, value: object) -> Iterable[Any]:
    """What is in a list; raises FieldError for what is none, a text too."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise FieldError(f"{field} is a list, not {value!r:.80}")
    return value


_READERS: Mapping[str, Callable[[str, str, Any], object]] = MappingProxyType({
    "Code": code_of,
    "Sequence[Code]": codes_of,
    "Digest": lambda field, _, value: digest_of(field, value),
    "Sequence[Digest]": _digests,
    "date": lambda field, _, value: date_of(field, value),
    "datetime": lambda field, _, value: time_of(field, value),
    "Sequence[str]": _ascending,
    "Sequence[bytes]": _ascending,
})  # fmt: skip
