"""
Bodies: one encoding per value, and fields within what docs/format.md allows.

`parse_message` is the only way bytes from outside become a message: it refuses whatever is not
the canonical encoding of its known fields, so that a digest names one value and one value has one
digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.errors import FieldError, MalformedError, TooLargeError
from ledgerd_client.core.fields import (
    DIGEST_SIZE,
    SALT_SIZE,
    check_count,
    check_institution,
    check_record_id,
    check_size,
    check_text,
    check_time,
)
from ledgerd_client.core.header import Kind, check_origin
from ledgerd_client.core.key_events import (
    check_genesis,
    check_key_event,
    check_loss,
    check_lost_bodies,
)
from ledgerd_client.core.supervision import check_erasure, check_query_log

MAX_BODY_BYTES = 32 * 1024

AUTHORITY = "authority"
NODE = "node"

KIND_OF_RECORD: Mapping[str, Kind] = MappingProxyType({
    "genesis": Kind.GENESIS, "key_event": Kind.KEY, "transfer": Kind.TRANSFER, "ack": Kind.ACK,
    "cancel": Kind.CANCEL, "correction": Kind.CORRECTION, "anchor": Kind.ANCHOR,
    "evidence": Kind.EVIDENCE, "loss": Kind.LOSS, "rule_set": Kind.NODE, "finding": Kind.NODE,
    "tick": Kind.NODE, "query_log": Kind.NODE, "erasure": Kind.NODE,
    "lost_bodies": Kind.NODE,
    "contract": Kind.CONTRACT, "filing": Kind.CONTRACT,
    "supplement": Kind.CONTRACT, "termination": Kind.CONTRACT, "disposal": Kind.CONTRACT,
    "pipia": Kind.RECORD, "suspend": Kind.RECORD, "resume": Kind.RECORD, "onward": Kind.RECORD,
    "incident": Kind.RECORD, "gov_access": Kind.RECORD, "consent_change": Kind.RECORD,
})  # fmt: skip
BY_INSTITUTIONS = frozenset(
    (Kind.TRANSFER, Kind.ACK, Kind.CANCEL, Kind.CORRECTION, Kind.RECORD, Kind.CONTRACT)
)
BY_AUTHORITY = frozenset((Kind.GENESIS, Kind.KEY, Kind.LOSS))

M = TypeVar("M", bound=Message)


def parse_message(cls: type[M], data: bytes, what: str) -> M:
    """
    Read the canonical encoding of a message.

    Raises MalformedError when data does not parse, or is not the one encoding of its known fields.
    """
    try:
        message = cls.FromString(data)
        # Unknown fields survive Parse → Serialize at any depth; dropped first, they show.
        message.DiscardUnknownFields()
        again = message.SerializeToString(deterministic=True)
    except (DecodeError, EncodeError):
        raise MalformedError(f"{what} is not a {cls.DESCRIPTOR.name} message") from None
    if again != data:
        raise MalformedError(
            f"{what} is not canonically encoded",
            reason="NOT_CANONICAL",
            action="encode known fields only, in ascending order, defaults omitted",
        )
    return message


def encode_message(message: Message) -> bytes:
    """Return the canonical encoding of a message made by ourselves."""
    return message.SerializeToString(deterministic=True)


def parse_body(data: bytes) -> pb.Body:
    """
    Read a body and check its envelope and the fields of its record.

    Terms, and what kinds RECORD and CONTRACT hold, are left to record.read_facts. Raises
    TooLargeError, MalformedError, FieldError or PersonalDataError.
    """
    return read_body(data)[0]


def read_body(data: bytes) -> tuple[pb.Body, str]:
    """As parse_body; returns the name of the record's field beside the body."""
    if len(data) > MAX_BODY_BYTES:
        raise TooLargeError(
            f"a body is at most {MAX_BODY_BYTES} bytes, not {len(data)}", reason="BODY_TOO_LARGE"
        )
    body = parse_message(pb.Body, data, "body")
    record = check_envelope(body)
    if check := _CHECKS.get(record):
        check(body)
    return body, record


def kind_of(body: pb.Body) -> Kind:
    """The header's kind for a body that parse_body took."""
    return KIND_OF_RECORD[body.WhichOneof("record") or ""]


def check_envelope(body: pb.Body) -> str:
    """
    Check what every body has; return the name of its record's field.

    Raises FieldError or MalformedError.
    """
    record = body.WhichOneof("record")
    if record is None:
        raise FieldError("body holds no record")
    check_size("salt", body.salt, SALT_SIZE)
    check_record_id("record_id", body.record_id)
    check_origin(body.origin)
    check_time("occurred_at", body.occurred_at)
    _check_author(body.author, KIND_OF_RECORD[record])
    return record


def _check_author(author: str, kind: Kind) -> None:
    if kind in BY_INSTITUTIONS:
        check_institution("author", author)
    elif author != (AUTHORITY if kind in BY_AUTHORITY else NODE):
        raise FieldError(f"{kind.name} is not by {author!r}", reason="WRONG_AUTHOR")


def _check_ack(body: pb.Body) -> None:
    ack = body.ack
    if ack.outcome not in pb.Outcome.values() or not ack.outcome:
        raise FieldError(
            "outcome is accepted, partial, rejected or mismatch", reason="UNKNOWN_CODE"
        )
    check_time("received_at", ack.received_at)
    check_count("received_subjects", ack.received_subjects)
    if ack.received_commitment:
        check_size("received_commitment", ack.received_commitment, DIGEST_SIZE)
    check_text("reason", ack.reason, 500)


def _check_cancel(body: pb.Body) -> None:
    check_text("reason", body.cancel.reason, 500)
    _check_cause(body.cancel.cause)


def _check_correction(body: pb.Body) -> None:
    check_record_id("corrects", body.correction.corrects)
    check_text("reason", body.correction.reason, 500)
    _check_cause(body.correction.cause)


def _check_cause(cause: int) -> None:
    if cause:
        codes.check_codes("cause", codes.CHANGE_CAUSES, (cause,))


def _check_anchor(body: pb.Body) -> None:
    check_origin(body.anchor.peer_origin)
    check_time("fetched_at", body.anchor.fetched_at)


def _check_evidence(body: pb.Body) -> None:
    check_origin(body.evidence.accused_origin)
    check_size("bundle_digest", body.evidence.bundle_digest, DIGEST_SIZE)


def _check_rule_set(body: pb.Body) -> None:
    check_size("digest", body.rule_set.digest, DIGEST_SIZE)
    check_text("version", body.rule_set.version, 64)
    check_text("law", body.rule_set.law, 64)


def _check_finding(body: pb.Body) -> None:
    finding = body.finding
    check_size("finding_id", finding.finding_id, DIGEST_SIZE)
    check_text("rule", finding.rule, 64)
    if finding.severity not in pb.Severity.values():
        raise FieldError("severity is information, medium or high", reason="UNKNOWN_CODE")
    if finding.ref:
        check_size("ref", finding.ref, DIGEST_SIZE)
    if finding.institution:
        check_institution("institution", finding.institution)
    check_text("contract_id", finding.contract_id, 64)


_CHECKS: Mapping[str, Callable[[pb.Body], None]] = MappingProxyType({
    "genesis": check_genesis, "key_event": check_key_event, "ack": _check_ack,
    "cancel": _check_cancel, "correction": _check_correction, "anchor": _check_anchor,
    "evidence": _check_evidence, "loss": check_loss, "rule_set": _check_rule_set,
    "finding": _check_finding, "query_log": check_query_log, "erasure": check_erasure,
    "lost_bodies": check_lost_bodies,
})  # fmt: skip
