"""Terms from what a caller states: codes by number or by name, defaults that claim nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType
from typing import TypeAlias, TypedDict

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.body import DIGEST_SIZE, encode_message
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.transfer import NONCE_SIZE, parse_terms

# A number of core/codes.py, or its name there.
Code: TypeAlias = int | str


class _Stated(TypedDict):
    # The recipient's institution id, say "hkbr.12345678"; it is on the other side.
    recipient: str
    contract_id: str
    # How many people it is about.
    subjects: int
    purposes: Iterable[Code]
    categories: Iterable[Code]
    legal_basis: Code


class Statement(_Stated, total=False):
    """
    What an exporter states of a transfer.

    Codes are numbers or names of core/codes.py, lists of them in any order. What is left out claims
    nothing: a count of 0, no consent, no exemption, no protection, `other` for the transmission.
    """

    # How many of the subjects are in it for the first time since 1 January.
    subjects_first_this_year: int
    # The same two of sensitive personal information.
    sensitive_subjects: int
    sensitive_first_this_year: int
    # Whether anyone is under 14.
    minors_present: bool
    sensitive_categories: Iterable[Code]
    consent_form: Code
    # SHA-256 of the notice that the subjects were given, and its version.
    notice_digest: bytes
    notice_version: str
    exemption: Code
    protections: Iterable[Code]
    transmission: Code
    # When the recipient deletes the data.
    delete_by: date
    # Whether the recipient is to pass it on.
    onward_declared: bool


_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {"consent_form": "none", "exemption": "none", "transmission": "other"}
)
_LISTS: Mapping[str, Mapping[int, str]] = MappingProxyType({
    "purposes": codes.PURPOSES, "categories": codes.CATEGORIES,
    "sensitive_categories": codes.SENSITIVE_CATEGORIES, "protections": codes.PROTECTIONS,
})  # fmt: skip
_SINGLE: Mapping[str, Mapping[int, str]] = MappingProxyType({
    "legal_basis": codes.LEGAL_BASES, "consent_form": codes.CONSENT_FORMS,
    "exemption": codes.EXEMPTIONS, "transmission": codes.TRANSMISSIONS,
})  # fmt: skip


def make_terms(exporter: pb.Party, recipient_origin: str, statement: Statement) -> pb.Terms:
    """
    Terms without nonce and commitment, checked: seal() adds them.

    Raises TypeError for a field missing or unknown, as any call does, and FieldError or
    PersonalDataError for a value that no node would take.
    """
    _check_names(statement)
    fields: dict[str, object] = {**_DEFAULTS, **statement}
    for name, value in fields.items():
        if name in _LISTS:
            fields[name] = _codes(name, value)
        elif name in _SINGLE:
            fields[name] = _code(name, _SINGLE[name], value)
        elif isinstance(value, date):
            fields[name] = int(value.strftime("%Y%m%d"))
    fields["recipient"] = pb.Party(origin=recipient_origin, institution=statement["recipient"])
    try:
        terms = pb.Terms(exporter=exporter, **fields)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:  # protobuf's way to say so
        raise FieldError(f"a field of the transfer is of another type or size: {error}") from None
    seal(terms, bytes(NONCE_SIZE), bytes(DIGEST_SIZE))
    return terms


def seal(terms: pb.Terms, nonce: bytes, commitment: bytes) -> bytes:
    """Encode terms under their nonce and commitment; raises as make_terms does."""
    sealed = pb.Terms()
    sealed.CopyFrom(terms)
    sealed.nonce, sealed.commitment = nonce, commitment
    encoded = encode_message(sealed)
    parse_terms(encoded)
    return encoded


def _check_names(statement: Statement) -> None:
    if unknown := statement.keys() - Statement.__annotations__.keys():
        raise TypeError(f"declare() got an unexpected keyword argument {min(unknown)!r}")
    if missing := Statement.__required_keys__ - statement.keys():
        raise TypeError(f"declare() misses the keyword argument {min(missing)!r}")


def _codes(name: str, value: object) -> list[int]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise FieldError(f"{name} is a list of codes, not {value!r}")
    return sorted({_code(name, _LISTS[name], code) for code in value})


def _code(name: str, table: Mapping[int, str], value: object) -> int:
    for number, meaning in table.items():
        if value in (number, meaning) and not isinstance(value, bool):
            return number
    raise FieldError(
        f"{name}: {value!r} is not a known code",
        reason="UNKNOWN_CODE",
        action="use one of " + ", ".join(f"{number} {text!r}" for number, text in table.items()),
    )
