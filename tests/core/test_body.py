"""Bodies: one encoding per value at every depth, who may author what, and fields within range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from builders import EXPORTER, HONG_KONG, MAINLAND, START, new_key
from hypothesis import given
from hypothesis import strategies as st
from interop import reference as ref
from interop.reference import encode_field
from spellings import other_spellings, padded

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import (
    MAX_BODY_BYTES,
    check_institution,
    check_record_id,
    encode_message,
    kind_of,
    parse_body,
)
from ledgerd_client.core.errors import (
    FieldError,
    LedgerError,
    MalformedError,
    PersonalDataError,
    TooLargeError,
)

UUID7 = bytes.fromhex("019fc52537c47596897f3d075a7a2e3f")
COMMON = {"salt": bytes(range(16)), "origin": MAINLAND, "record_id": UUID7, "occurred_at": START}
KEY, OTHER_KEY = new_key(), new_key()
KEYS = {name: new_key().public for name in ("log_key", "entry_key", "cosigner_key", "authority_key")}
LOW_ORDER_KEY = bytes(32)

# Record: (number of its field, header's kind, author, fields that are as they should be).
RECORDS: dict[str, tuple[int, int, str, dict[str, Any]]] = {
    "genesis": (
        16, 0, "authority", {**KEYS, "peer_origin": HONG_KONG, "peer_authority_key": KEY.public},
    ),
    "key_event": (
        17, 1, "authority",
        {
            "action": 1, "role": 1, "subject": EXPORTER, "public_key": KEY.public,
            "possession": bytes(64), "place": 440300, "sector": 1, "name": "Example Ltd",
        },
    ),
    "transfer": (18, 2, EXPORTER, {"terms": b"terms"}),
    "ack": (
        19, 3, EXPORTER,
        {
            "terms": b"terms", "outcome": 1, "received_at": START, "received_subjects": 1200,
            "received_commitment": bytes(range(32)), "reason": "as sent",
        },
    ),
    "cancel": (20, 4, EXPORTER, {"terms": b"terms", "reason": "not needed"}),
    "correction": (21, 5, EXPORTER, {"terms": b"terms", "corrects": UUID7, "reason": "recounted"}),
    "anchor": (
        22, 6, "node", {"peer_origin": HONG_KONG, "checkpoint": b"note", "fetched_at": START},
    ),
    "evidence": (23, 7, "node", {"accused_origin": HONG_KONG, "bundle_digest": bytes(range(32))}),
    "loss": (24, 8, "authority", {"size": 300, "log_key": KEY.public}),
    "rule_set": (25, 10, "node", {"version": "2026-08", "digest": bytes(range(32))}),
    "finding": (
        26, 10, "node",
        {
            "finding_id": bytes(range(32)), "rule": "K15.mismatched", "severity": 3,
            "rule_set": 2, "ref": bytes(range(32)),
        },
    ),
}  # fmt: skip


def make(record: str, changes: Mapping[str, Any] | None = None, **common: Any) -> bytes:
    """A body as the independent encoder makes it."""
    _, _, author, fields = RECORDS[record]
    encoded = ref.encode(record, {**fields, **(changes or {})})
    return ref.encode("body", {**COMMON, "author": author, record: encoded, **common})


def refusal(data: bytes) -> str:
    """The reason for which a body is refused; it must be refused."""
    with pytest.raises(LedgerError) as refused:
        parse_body(data)
    return refused.value.reason


class TestABody:
    @pytest.mark.parametrize("record", RECORDS)
    def test_of_each_kind_is_read(self, record: str) -> None:
        assert parse_body(make(record)).WhichOneof("record") == record

    @pytest.mark.parametrize("record", RECORDS)
    def test_of_each_kind_is_written_as_the_independent_encoder_writes_it(
        self, record: str
    ) -> None:
        assert encode_message(parse_body(make(record))) == make(record)

    @pytest.mark.parametrize("record", RECORDS)
    def test_belongs_under_its_kind_of_header(self, record: str) -> None:
        assert kind_of(parse_body(make(record))) == RECORDS[record][1]

    def test_of_32_kib_is_read(self) -> None:
        spare = MAX_BODY_BYTES - len(make("anchor", {"checkpoint": bytes(20_000)}))
        assert parse_body(make("anchor", {"checkpoint": bytes(20_000 + spare)}))

    def test_of_32_kib_and_a_byte_is_refused(self) -> None:
        spare = MAX_BODY_BYTES - len(make("anchor", {"checkpoint": bytes(20_000)}))
        with pytest.raises(TooLargeError) as refused:
            parse_body(make("anchor", {"checkpoint": bytes(20_001 + spare)}))
        assert refused.value.reason == "BODY_TOO_LARGE"

    def test_without_a_record_is_refused(self) -> None:
        with pytest.raises(FieldError):
            parse_body(ref.encode("body", {**COMMON, "author": EXPORTER}))

    def test_of_nothing_is_refused(self) -> None:
        with pytest.raises(FieldError):
            parse_body(b"")


# The message in which the record is, as the whole body.
INSIDE = {
    "cancel": other_spellings(ref.encode("cancel", RECORDS["cancel"][3])),
    "correction": other_spellings(ref.encode("correction", RECORDS["correction"][3])),
    "genesis": other_spellings(ref.encode("genesis", RECORDS["genesis"][3])),
    "rule_set": other_spellings(ref.encode("rule_set", RECORDS["rule_set"][3])),
}
TRANSFER = make("transfer")
AGAIN = encode_field(18, ref.encode("transfer", {"terms": b"terms"}))
RECORD_REF = other_spellings(b"\x0a\x01a\x12\x01a")

# Canonical but for one thing; every one says the same to a lax reader.
SPELLED = {
    **{f"body: {what}": data for what, data in other_spellings(TRANSFER).items()},
    **{
        f"{record}: {what}": ref.encode(
            "body", {**COMMON, "author": RECORDS[record][2], record: data}
        )
        for record, spellings in INSIDE.items()
        for what, data in spellings.items()
    },
    "two records": TRANSFER + encode_field(20, ref.encode("cancel", {"terms": b"terms"})),
    "the same record twice": TRANSFER + AGAIN,
    "an empty record, then the record": TRANSFER[: -len(AGAIN)] + encode_field(18, [b""]) + AGAIN,
    "the record in two parts": TRANSFER + encode_field(18, [b""]),
    "an empty reason written out": make("cancel", {"reason": ""})[:-9] + b"\xa2\x01\x09\x0a\x05terms\x12\x00",
    "an outcome of 2^32 + 1": ref.encode(
        "body",
        {
            **COMMON,
            "author": EXPORTER,
            "ack": b"\x0a\x05terms\x10\x81\x80\x80\x80\x10\x18\x01",
        },
    ),
    "text that is not UTF-8": make("cancel", {"reason": b"\xff"}),
    "text with a surrogate": make("cancel", {"reason": b"\xed\xa0\x80"}),
    "text with an overlong NUL": make("cancel", {"reason": b"\xc0\x80"}),
    "a flag of 2": make("finding") [:0] + ref.encode(
        "body",
        {**COMMON, "author": "node", "finding": ref.encode("finding", RECORDS["finding"][3]) + b"\x38\x02"},
    ),
    "a flag of false": ref.encode(
        "body",
        {**COMMON, "author": "node", "finding": ref.encode("finding", RECORDS["finding"][3]) + b"\x38\x00"},
    ),
}
