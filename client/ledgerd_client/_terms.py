"""Terms from what a caller states: codes by number or by name, defaults that claim nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType
from typing import TypedDict

from ledgerd_client._building import TABLES
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import Code, code_of, codes_of, date_of, make
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import DIGEST_SIZE
from ledgerd_client.core.transfer import NONCE_SIZE, parse_terms


class _Stated(TypedDict):
    # The recipient's institution id, say "hkbr.12345678"; it is on the other side.
    recipient: str
    contract_id: str
    # How many people it is about.
    subjects: int
    purposes: Iterable[Code]
    categories: Iterable[Code]
    legal_basis: Code


class _Details(TypedDict, total=False):
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
    # What is done with the data (PIPL 4).
    means: Iterable[Code]


class Statement(_Stated, _Details):
    """
    What an exporter states of a transfer.

    Codes are numbers or names of core/codes.py, lists of them in any order. What is left out claims
    nothing: a count of 0, no consent, no exemption, no protection, `other` for the transmission.
    """


class Changes(_Details, total=False):
    """What may be stated of a transfer otherwise than its contract says."""

    purposes: Iterable[Code]
    categories: Iterable[Code]


class Restated(Changes, total=False):
    """What a correction may say anew: all but the parties and the payload."""

    contract_id: str
    subjects: int
    legal_basis: Code


_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {"consent_form": "none", "exemption": "none", "transmission": "other"}
)
# Those of one code and of many, by their tables.
_ONE = ("legal_basis", "consent_form", "exemption", "transmission")
_MANY = ("purposes", "categories", "means", "sensitive_categories", "protections")


def make_terms(exporter: pb.Party, recipient_origin: str, statement: Statement) -> pb.Terms:
    """
    Terms without nonce and commitment, checked: seal() adds them.

    Raises TypeError for a field missing or unknown, as any call does, and FieldError or
    PersonalDataError for a value that no node would take.
    """
    _check_names(statement)
    fields = _in_numbers({**_DEFAULTS, **statement})
    fields["recipient"] = pb.Party(origin=recipient_origin, institution=statement["recipient"])
    terms = make(pb.Terms, exporter=exporter, **fields)
    seal(terms, bytes(NONCE_SIZE), bytes(DIGEST_SIZE))
    return terms


def restate(terms: pb.Terms, changes: Restated) -> bytes:
    """
    The terms of the same transfer, nonce and commitment with them, stated anew; encoded.

    Raises FieldError, PersonalDataError.
    """
    if unknown := changes.keys() - Restated.__annotations__.keys():
        raise FieldError(f"a correction does not change {min(unknown)!r}")
    kept = {field.name: value for field, value in terms.ListFields() if field.name not in changes}
    restated = make(pb.Terms, **kept, **_in_numbers(changes))
    return seal(restated, terms.nonce, terms.commitment)


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
    # protobuf would take it for what was left out.
    unset = {name for name, value in statement.items() if value is None}
    if unset := unset & Statement.__required_keys__:
        raise FieldError(f"{min(unset)} cannot be None", action=f"state {min(unset)}")
    if not isinstance(statement["recipient"], str):
        raise FieldError(
            f"recipient cannot be {statement['recipient']!r:.80}",
            action="give the recipient's id as text: hkbr.…, uscc.… or lei.…",
        )


def _in_numbers(statement: Mapping[str, object]) -> dict[str, object]:
    fields = dict(statement)
    for name, value in statement.items():
        if name in _MANY:
            fields[name] = codes_of(name, TABLES[name], value)
        elif name in _ONE:
            fields[name] = code_of(name, TABLES[name], value)
        elif name == "delete_by":
            fields[name] = date_of(name, value)
    return fields
