"""Bodies: one encoding per value at every depth, who may author what, and fields within range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from builders import EXPORTER, HONG_KONG, MAINLAND, START, new_key
from hypothesis import given
from hypothesis import strategies as st
from interop import protobuf as ref
from interop.protobuf import encode_field
from spellings import other_spellings, padded

from ledgerd_client.core.body import encode_message, kind_of, parse_body
from ledgerd_client.core.errors import (
    FieldError,
    InputError,
    LedgerError,
    MalformedError,
    TooLargeError,
)
from ledgerd_client.core.fields import check_institution, check_record_id

UUID7 = bytes.fromhex("019fc52537c47596897f3d075a7a2e3f")
COMMON = {"salt": bytes(range(16)), "origin": MAINLAND, "record_id": UUID7, "occurred_at": START}
KEY, OTHER_KEY = new_key(), new_key()
KEYS = {
    name: new_key().public for name in ("log_key", "entry_key", "cosigner_key", "authority_key")
}
LOW_ORDER_KEY = bytes(32)


def grant(**changes: Any) -> bytes:
    return ref.encode("grant", {"valid_from": START, "valid_until": START + 1, **changes})


def asked(**changes: Any) -> bytes:
    query = {"method": "RegulatorService/ListEntries", "digest": bytes(range(32)), "times": 1}
    return ref.encode("asked", {**query, **changes})


GRANT = grant()

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
    "loss": (
        24, 8, "authority",
        {
            "size": 300, "log_key": KEY.public, "root": bytes(range(32)),
            "cosigner_key": KEYS["cosigner_key"],
            "log_possession": bytes(64), "cosigner_possession": bytes(range(64)),
        },
    ),
    "rule_set": (25, 10, "node", {"version": "2026-08", "digest": bytes(range(32))}),
    "finding": (
        26, 10, "node",
        {
            "finding_id": bytes(range(32)), "rule": "K15.mismatched", "severity": 3,
            "rule_set": 2, "ref": bytes(range(32)),
        },
    ),
    "tick": (39, 10, "node", {}),
    "query_log": (40, 10, "node", {"regulator": "cac", "since": START, "asked": [asked()]}),
    "erasure": (
        41, 10, "node",
        {"order": b"order", "signature": bytes(64), "remains": [ref.encode("remains", {})]},
    ),
    "lost_bodies": (
        42, 10, "node",
        {"ranges": [ref.encode("range", {"end": 3}), ref.encode("range", {"first": 5, "end": 6})]},
    ),
    # Of these the fields are read elsewhere (test_contract, test_events).
    "contract": (27, 11, EXPORTER, {"terms": b"terms"}),
    "filing": (28, 11, EXPORTER, {"terms": b"terms", "authority": 1}),
    "supplement": (29, 11, EXPORTER, {"terms": b"terms", "reason": "longer"}),
    "termination": (30, 11, EXPORTER, {"terms": b"terms"}),
    "disposal": (31, 11, EXPORTER, {"terms": b"terms"}),
    "pipia": (32, 9, EXPORTER, {"contract_id": "GBA-2026-0042", "conclusion": 1}),
    "suspend": (33, 9, EXPORTER, {"contract_id": "GBA-2026-0042", "at": START}),
    "resume": (34, 9, EXPORTER, {"contract_id": "GBA-2026-0042", "at": START}),
    "onward": (35, 9, EXPORTER, {"contract_id": "GBA-2026-0042", "needed": 1, "purposes": [5]}),
    "incident": (36, 9, EXPORTER, {"matter": bytes(range(16)), "contract_ids": ["A", "B"]}),
    "gov_access": (37, 9, EXPORTER, {"contract_id": "GBA-2026-0042", "requester": 2}),
    "consent_change": (38, 9, EXPORTER, {"contract_id": "GBA-2026-0042", "subjects": 4}),
}  # fmt: skip
FIELDS_READ_ELSEWHERE = [
    "transfer", "cancel", *(name for name, (_, kind, *_) in RECORDS.items() if kind in {9, 11}),
]  # fmt: skip


def make(record: str, changes: Mapping[str, Any] | None = None, **common: Any) -> bytes:
    """A body as the independent encoder makes it."""
    return around(record, encode_record(record, changes or {}), **common)


def encode_record(record: str, changes: Mapping[str, Any]) -> bytes:
    return ref.encode(record, {**RECORDS[record][3], **changes})


def around(record: str, encoded: bytes, **common: Any) -> bytes:
    """A body around a record that is encoded already, rightly or not."""
    author = RECORDS[record][2]
    return ref.encode("body", {**COMMON, "author": author, record: [encoded], **common})


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
        spare = 32 * 1024 - len(make("anchor", {"checkpoint": bytes(20_000)}))
        assert is_taken(make("anchor", {"checkpoint": bytes(20_000 + spare)}))

    def test_of_32_kib_and_a_byte_is_refused(self) -> None:
        spare = 32 * 1024 - len(make("anchor", {"checkpoint": bytes(20_000)}))
        with pytest.raises(TooLargeError) as refused:
            parse_body(make("anchor", {"checkpoint": bytes(20_001 + spare)}))
        assert refused.value.reason == "BODY_TOO_LARGE"

    def test_without_a_record_is_refused(self) -> None:
        with pytest.raises(FieldError):
            parse_body(ref.encode("body", {**COMMON, "author": EXPORTER}))

    def test_of_nothing_is_refused(self) -> None:
        with pytest.raises(FieldError):
            parse_body(b"")


TRANSFER, RECORD = make("transfer"), encode_field(18, [encode_record("transfer", {})])
FINDING = encode_record("finding", {})

# Each says the same as a canonical body to a lax reader, or the same as one of its two values.
SPELLED = {
    **{f"body: {what}": data for what, data in other_spellings(TRANSFER).items()},
    **{
        f"{record}: {what}": around(record, data)
        for record in ("genesis", "cancel", "correction", "rule_set")
        for what, data in other_spellings(encode_record(record, {})).items()
    },
    **{
        f"record of a finding: {what}": make("finding", {"records": [data]})
        for what, data in other_spellings(b"\x0a\x01a\x12\x01a").items()
    },
    "two records": TRANSFER + encode_field(20, [encode_record("cancel", {})]),
    "the record twice": TRANSFER + RECORD,
    "the record after an empty one": TRANSFER.replace(RECORD, encode_field(18, [b""]) + RECORD),
    "the record before an empty one": TRANSFER + encode_field(18, [b""]),
    "the record before its author": RECORD + TRANSFER.replace(RECORD, b""),
    "an empty reason written out": around("cancel", b"\x0a\x05terms\x12\x00"),
    "false written out": around("finding", FINDING + b"\x38\x00"),
    "true written as 2": around("finding", FINDING + b"\x38\x02"),
    "outcome 2^32 + 1": around("ack", b"\x0a\x05terms\x10\x81\x80\x80\x80\x10\x18\x01"),
    "time of one byte too many": TRANSFER.replace(ref.varint(START), padded(ref.varint(START))),
    "text that is not UTF-8": make("cancel", {"reason": b"\xff"}),
    "text with a surrogate": make("cancel", {"reason": b"\xed\xa0\x80"}),
    "text with a NUL in two bytes": make("cancel", {"reason": b"\xc0\x80"}),
}


class TestOneEncoding:
    @pytest.mark.parametrize("what", SPELLED)
    def test_another_is_refused(self, what: str) -> None:
        with pytest.raises(MalformedError):
            parse_body(SPELLED[what])

    def test_the_refusal_says_that_the_encoding_is_not_canonical(self) -> None:
        assert refusal(TRANSFER + encode_field(99, 1)) == "NOT_CANONICAL"

    @given(st.binary(max_size=200))
    def test_no_bytes_raise_anything_but_our_errors(self, data: bytes) -> None:
        with pytest.raises(LedgerError):
            parse_body(data)

    @given(st.sampled_from(list(RECORDS)), st.data())
    def test_what_is_read_of_changed_bytes_is_written_the_same(
        self, record: str, data: st.DataObject
    ) -> None:
        original = make(record)
        place = data.draw(st.integers(0, len(original) - 1))
        changed = original[:place] + data.draw(st.binary(max_size=4)) + original[place + 1 :]
        try:
            body = parse_body(changed)
        except LedgerError:
            return
        assert encode_message(body) == changed


class TestAuthors:
    @pytest.mark.parametrize("author", ["authority", "node", EXPORTER])
    @pytest.mark.parametrize("record", RECORDS)
    def test_each_kind_is_by_its_own_only(self, record: str, author: str) -> None:
        try:
            parse_body(make(record, author=author))
        except FieldError:
            read = False
        else:
            read = True
        assert read == (author == RECORDS[record][2])

    @pytest.mark.parametrize("record", ["genesis", "key_event", "loss", "anchor", "rule_set"])
    def test_an_institution_that_speaks_for_the_authority_or_node_is_told_so(
        self, record: str
    ) -> None:
        assert refusal(make(record, author=EXPORTER)) == "WRONG_AUTHOR"

    @pytest.mark.parametrize("author", ["", "nobody", "Authority", "node ", "."])
    @pytest.mark.parametrize("record", RECORDS)
    def test_nobody_else_is_an_author(self, record: str, author: str) -> None:
        with pytest.raises(FieldError):
            parse_body(make(record, author=author))


class TestInstitutionIds:
    @pytest.mark.parametrize(
        "name",
        [EXPORTER, "hkbr.76543210", "lei.5493001KJTIIGC8Y1R12", "a.0", "uscc." + "A" * 59],
    )
    def test_scheme_dot_and_capitals_or_digits_is_one(self, name: str) -> None:
        check_institution("author", name)

    @pytest.mark.parametrize(
        "name",
        [
            "", ".", "uscc", "uscc.", ".914403", "914403", "USCC.914403", "Uscc.914403",
            "uscc.914403a", "uscc.91440.3", "uscc 914403", "uscc.91 4403", "uscc.914403 ",
            " uscc.914403", "uscc.914403\n", "uscc2.914403", "uscc.914-403", "uscc.914/403",
            "uscc.\uff19\uff11", "uscc.\u00c9", "\u0443.914403", "uscc.\u00b2", "uscc:914403",
            "uscc." + "A" * 60,
        ],
    )  # fmt: skip
    def test_nothing_else_is(self, name: str) -> None:
        with pytest.raises(FieldError):
            check_institution("author", name)


class TestRecordIds:
    @pytest.mark.parametrize("version", range(16))
    def test_version_is_7(self, version: int) -> None:
        changed = UUID7[:6] + bytes([version << 4 | UUID7[6] & 15]) + UUID7[7:]
        assert is_taken(make("transfer", record_id=changed)) == (version == 7)

    @pytest.mark.parametrize("variant", range(4))
    def test_variant_is_binary_10(self, variant: int) -> None:
        changed = UUID7[:8] + bytes([variant << 6 | UUID7[8] & 63]) + UUID7[9:]
        assert is_taken(make("transfer", record_id=changed)) == (variant == 0b10)

    @pytest.mark.parametrize("size", [0, 15, 17, 36])
    def test_another_size_is_refused(self, size: int) -> None:
        with pytest.raises(FieldError):
            check_record_id("record_id", (UUID7 * 3)[:size])


def is_taken(data: bytes) -> bool:
    try:
        parse_body(data)
    except InputError:
        return False
    return True


ROTATE = {"action": 2, "previous_key_id": bytes(33)}
REVOKE = {"action": 3, "possession": b""}


def lost(*ranges: tuple[int, int]) -> dict[str, Any]:
    return {"ranges": [ref.encode("range", {"first": a, "end": b}) for a, b in ranges]}


OF_NODE = {"place": 0, "sector": 0, "name": "", **ROTATE}
NODE_ROTATION = {"role": 3, "subject": "node", **OF_NODE}
AUTHORITY_ROTATION = {
    "role": 6, "subject": "authority", "history_digest": bytes(32), **OF_NODE,
}  # fmt: skip
CERTIFICATE = {
    "role": 7, "subject": f"institution/{EXPORTER}", "place": 0, "sector": 0, "name": "", **REVOKE,
}  # fmt: skip
REGULATOR = {"role": 2, "subject": "reg.example", "place": 0, "sector": 0, "grant": [GRANT]}

# What no body says, by record: fields changed, and the reason given.
NOT_SAID: list[tuple[str, dict[str, Any], str]] = [
    *(("genesis", {name: b""}, "BAD_KEY") for name in (*KEYS, "peer_authority_key")),
    *(("genesis", {name: LOW_ORDER_KEY}, "BAD_KEY") for name in (*KEYS, "peer_authority_key")),
    ("genesis", {"log_key": KEYS["entry_key"]}, "FIELD_OUT_OF_RANGE"),
    ("genesis", {"cosigner_key": KEYS["entry_key"]}, "FIELD_OUT_OF_RANGE"),
    ("genesis", {"cosigner_key": KEYS["log_key"]}, "FIELD_OUT_OF_RANGE"),
    *(("genesis", {name: KEYS["authority_key"]}, "FIELD_OUT_OF_RANGE") for name in list(KEYS)[:3]),
    ("genesis", {"peer_origin": ""}, "BAD_ORIGIN"),
    ("genesis", {"peer_origin": "a" * 201}, "BAD_ORIGIN"),
    ("genesis", {"peer_origin": MAINLAND}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"action": 0}, "UNKNOWN_CODE"),
    ("key_event", {"action": 4}, "UNKNOWN_CODE"),
    ("key_event", {"action": 2**64 - 1}, "UNKNOWN_CODE"),
    ("key_event", {"role": 0}, "UNKNOWN_CODE"),
    ("key_event", {"role": 8}, "UNKNOWN_CODE"),
    # The node's keys, the authority's and certificates are not admitted.
    *(("key_event", {"role": role}, "FIELD_OUT_OF_RANGE") for role in range(3, 8)),
    *(
        ("key_event", {**event, **said}, "FIELD_OUT_OF_RANGE")
        for event in (NODE_ROTATION, AUTHORITY_ROTATION, CERTIFICATE)
        for said in (
            {"action": 1}, {"subject": ""}, {"place": 440300}, {"sector": 1}, {"name": "A"},
            {"group": "A"}, {"public_key": bytes(31)},
        )
    ),
    *(
        ("key_event", {**event, "subject": "peer"}, "FIELD_OUT_OF_RANGE")
        for event in (NODE_ROTATION, AUTHORITY_ROTATION)
    ),
    *(
        ("key_event", {**event, "lost": 1}, "FIELD_OUT_OF_RANGE")
        for event in (ROTATE, AUTHORITY_ROTATION, CERTIFICATE)
    ),
    *(
        ("key_event", {**event, "history_digest": bytes(32)}, "FIELD_OUT_OF_RANGE")
        for event in (ROTATE, NODE_ROTATION, CERTIFICATE)
    ),
    ("key_event", {**AUTHORITY_ROTATION, "history_digest": b""}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"subject": ""}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"subject": "node"}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"subject": "uscc." + "A" * 60}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"place": 0}, "UNKNOWN_CODE"),
    ("key_event", {"place": 110000}, "UNKNOWN_CODE"),
    ("key_event", {"sector": 0}, "UNKNOWN_CODE"),
    ("key_event", {"sector": 10}, "UNKNOWN_CODE"),
    ("key_event", {"public_key": bytes(31)}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"possession": b""}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"possession": bytes(65)}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"previous_key_id": bytes(33)}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"action": 2}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"action": 2, "previous_key_id": bytes(32)}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"action": 3}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"action": 3, "possession": b"", "place": 1}, "UNKNOWN_CODE"),
    ("key_event", {"action": 3, "possession": b"", "place": 0}, "UNKNOWN_CODE"),
    ("key_event", {"compromised_since": 2**63}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"place": 0, "sector": 0}, "UNKNOWN_CODE"),
    *(
        ("key_event", {**event, **said}, "UNKNOWN_CODE")
        for event in (ROTATE, REVOKE)
        for said in ({"place": 1, "sector": 0}, {"place": 0, "sector": 10}, {"place": 0})
    ),
    *(
        ("key_event", {**REGULATOR, **said}, reason)
        for said, reason in (
            ({"subject": ""}, "FIELD_OUT_OF_RANGE"),
            ({"subject": "a" * 65}, "FIELD_OUT_OF_RANGE"),
            ({"subject": "reg\nexample"}, "FIELD_OUT_OF_RANGE"),
            ({"subject": "A123456(3)"}, "PERSONAL_DATA"),
            ({"place": 440300}, "FIELD_OUT_OF_RANGE"),
            ({"sector": 1}, "FIELD_OUT_OF_RANGE"),
            ({"grant": []}, "FIELD_OUT_OF_RANGE"),
            ({"grant": [grant(valid_until=0)]}, "FIELD_OUT_OF_RANGE"),
            ({"grant": [grant(valid_until=START)]}, "FIELD_OUT_OF_RANGE"),
            ({"grant": [grant(valid_from=0)]}, "FIELD_OUT_OF_RANGE"),
            ({"grant": [grant(places=[110000])]}, "UNKNOWN_CODE"),
            ({"grant": [grant(places=[810000, 440300])]}, "FIELD_OUT_OF_RANGE"),
            ({"grant": [grant(sectors=[10])]}, "UNKNOWN_CODE"),
            ({"grant": [grant(sectors=[1, 1])]}, "FIELD_OUT_OF_RANGE"),
            ({"grant": [grant(kinds=[15])]}, "UNKNOWN_CODE"),
            ({"grant": [grant(kinds=[18, 17])]}, "FIELD_OUT_OF_RANGE"),
            ({**REVOKE}, "FIELD_OUT_OF_RANGE"),
            ({"action": 2, "previous_key_id": bytes(33), "grant": []}, "FIELD_OUT_OF_RANGE"),
        )
    ),
    ("key_event", {"grant": [GRANT]}, "FIELD_OUT_OF_RANGE"),
    ("query_log", {"regulator": ""}, "FIELD_OUT_OF_RANGE"),
    ("query_log", {"regulator": "a" * 65}, "FIELD_OUT_OF_RANGE"),
    ("query_log", {"since": 0}, "FIELD_OUT_OF_RANGE"),
    ("query_log", {"asked": []}, "FIELD_OUT_OF_RANGE"),
    ("query_log", {"asked": [asked()] * 25}, "FIELD_OUT_OF_RANGE"),
    ("query_log", {"asked": [asked(times=0)]}, "FIELD_OUT_OF_RANGE"),
    ("query_log", {"asked": [asked(digest=bytes(31))]}, "FIELD_OUT_OF_RANGE"),
    ("query_log", {"asked": [asked(method="a" * 65)]}, "FIELD_OUT_OF_RANGE"),
    ("query_log", {"asked": [asked(request=bytes(1025))]}, "FIELD_OUT_OF_RANGE"),
    ("erasure", {"signature": bytes(63)}, "FIELD_OUT_OF_RANGE"),
    ("erasure", {"remains": []}, "FIELD_OUT_OF_RANGE"),
    ("erasure", {"remains": [ref.encode("remains", {})] * 2}, "FIELD_OUT_OF_RANGE"),
    (
        "erasure",
        {"remains": [ref.encode("remains", {"index": i}) for i in range(65)]},
        "FIELD_OUT_OF_RANGE",
    ),
    ("key_event", {"name": "a" * 201}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"name": "Example\nLtd"}, "FIELD_OUT_OF_RANGE"),
    ("key_event", {"name": "A123456(3)"}, "PERSONAL_DATA"),
    ("key_event", {"role": 2, "subject": "reg.example"}, "FIELD_OUT_OF_RANGE"),
    ("ack", {"outcome": 0}, "UNKNOWN_CODE"),
    ("ack", {"outcome": 5}, "UNKNOWN_CODE"),
    ("ack", {"outcome": 2**64 - 1}, "UNKNOWN_CODE"),
    ("ack", {"received_at": 0}, "FIELD_OUT_OF_RANGE"),
    ("ack", {"received_at": 4_102_444_800_000_000}, "FIELD_OUT_OF_RANGE"),
    ("ack", {"received_subjects": 10_000_000_001}, "FIELD_OUT_OF_RANGE"),
    ("ack", {"received_commitment": bytes(31)}, "FIELD_OUT_OF_RANGE"),
    ("ack", {"received_commitment": bytes(33)}, "FIELD_OUT_OF_RANGE"),
    *(
        (record, {"reason": text}, reason)
        for record in ("ack", "cancel", "correction")
        for text, reason in (
            ("a" * 501, "FIELD_OUT_OF_RANGE"),
            ("\u4e00" * 167, "FIELD_OUT_OF_RANGE"),
            ("two\nlines", "FIELD_OUT_OF_RANGE"),
            ("a\0NUL", "FIELD_OUT_OF_RANGE"),
            ("an escape \x1b[2J", "FIELD_OUT_OF_RANGE"),
            ("another escape \x9b2J", "FIELD_OUT_OF_RANGE"),
            ("DEL \x7f", "FIELD_OUT_OF_RANGE"),
            ("two\u2028lines", "FIELD_OUT_OF_RANGE"),
            ("000000190001010017", "PERSONAL_DATA"),
        )
    ),
    *(
        (record, {field: f"to be{unseen}returned"}, "FIELD_OUT_OF_RANGE")
        for record, field in (("ack", "reason"), ("key_event", "name"))
        # Marks and overrides of direction, zero width, a soft hyphen, a tag.
        for unseen in (
            "\u200e", "\u200f", "\u061c", "\u202a", "\u202e", "\u2066", "\u2069", "\u200b",
            "\u200d", "\u2060", "\ufeff", "\u00ad", "\U000e0041",
        )
    ),
    *(
        ("key_event", {"group": f"GROUP{strange}7"}, "FIELD_OUT_OF_RANGE")
        # Fillers that look like spaces or nothing, other spaces, a joiner, a variation selector.
        for strange in (
            "\u3164", "\u115f", "\u1160", "\uffa0", "\u034f", "\u2800", "\u00a0", "\u3000",
            "\ufe0f", "  ", "\u0430",
        )
    ),
    *(("key_event", {"group": text}, "FIELD_OUT_OF_RANGE") for text in (" GROUP", "GROUP ")),
    ("correction", {"corrects": b""}, "FIELD_OUT_OF_RANGE"),
    ("correction", {"corrects": bytes(16)}, "FIELD_OUT_OF_RANGE"),
    ("anchor", {"peer_origin": ""}, "BAD_ORIGIN"),
    ("anchor", {"fetched_at": 0}, "FIELD_OUT_OF_RANGE"),
    ("evidence", {"accused_origin": "gba example"}, "BAD_ORIGIN"),
    ("evidence", {"bundle_digest": bytes(31)}, "FIELD_OUT_OF_RANGE"),
    ("loss", {"log_key": b""}, "BAD_KEY"),
    ("loss", {"log_key": LOW_ORDER_KEY}, "BAD_KEY"),
    ("loss", {"cosigner_key": LOW_ORDER_KEY}, "BAD_KEY"),
    ("loss", {"cosigner_key": KEY.public}, "FIELD_OUT_OF_RANGE"),
    ("loss", {"size": 0}, "FIELD_OUT_OF_RANGE"),
    ("loss", {"root": bytes(31)}, "FIELD_OUT_OF_RANGE"),
    ("loss", {"log_possession": bytes(63)}, "FIELD_OUT_OF_RANGE"),
    ("loss", {"cosigner_possession": b""}, "FIELD_OUT_OF_RANGE"),
    *(
        ("lost_bodies", lost(*ranges), "FIELD_OUT_OF_RANGE")
        for ranges in ([], [(3, 3)], [(4, 3)], [(1, 3), (3, 4)], [(5, 6), (1, 3)],
                       [(2 * n, 2 * n + 1) for n in range(1001)])
    ),
    ("rule_set", {"digest": b""}, "FIELD_OUT_OF_RANGE"),
    ("rule_set", {"version": "a" * 65}, "FIELD_OUT_OF_RANGE"),
    ("finding", {"finding_id": b""}, "FIELD_OUT_OF_RANGE"),
    ("finding", {"rule": "a" * 65}, "FIELD_OUT_OF_RANGE"),
    ("finding", {"severity": 4}, "UNKNOWN_CODE"),
    ("finding", {"ref": bytes(31)}, "FIELD_OUT_OF_RANGE"),
    ("finding", {"institution": "node"}, "FIELD_OUT_OF_RANGE"),
    ("finding", {"contract_id": "a" * 65}, "FIELD_OUT_OF_RANGE"),
    ("rule_set", {"law": "a" * 65}, "FIELD_OUT_OF_RANGE"),
    ("cancel", {"cause": 7}, "UNKNOWN_CODE"),
    ("correction", {"cause": 7}, "UNKNOWN_CODE"),
]  # fmt: skip

# Of every record: what all bodies have.
NOT_COMMON: list[tuple[dict[str, Any], str]] = [
    ({"salt": b""}, "FIELD_OUT_OF_RANGE"),
    ({"salt": bytes(15)}, "FIELD_OUT_OF_RANGE"),
    ({"salt": bytes(17)}, "FIELD_OUT_OF_RANGE"),
    ({"origin": ""}, "BAD_ORIGIN"),
    ({"origin": "a" * 201}, "BAD_ORIGIN"),
    ({"origin": "gba\n"}, "BAD_ORIGIN"),
    ({"record_id": b""}, "FIELD_OUT_OF_RANGE"),
    ({"occurred_at": 0}, "FIELD_OUT_OF_RANGE"),
    ({"occurred_at": 4_102_444_800_000_000}, "FIELD_OUT_OF_RANGE"),
    ({"occurred_at": 2**64 - 1}, "FIELD_OUT_OF_RANGE"),
]

# At the edge, and inside.
SAID: list[tuple[str, dict[str, Any]]] = [
    ("key_event", {"subject": "uscc." + "A" * 59}),
    ("key_event", {"place": 810000, "sector": 9, "name": ""}),
    ("key_event", {"name": "\u4e00" * 66}),
    ("key_event", {"action": 2, "previous_key_id": bytes(33), "compromised_since": 1}),
    ("key_event", {"action": 3, "possession": b""}),
    ("key_event", {"action": 3, "possession": b"", "place": 0, "sector": 0, "name": ""}),
    ("key_event", REGULATOR),
    ("key_event", {**REGULATOR, "grant": [grant(places=[440300, 810000], sectors=[1, 2])]}),
    ("key_event", {**REGULATOR, "grant": [grant(kinds=[16, 18, 41])]}),
    ("query_log", {"unlisted": 2**32 - 1}),
    ("query_log", {"asked": [asked()] * 24}),
    ("query_log", {"asked": [asked(request=bytes(1024))]}),
    ("erasure", {"remains": [ref.encode("remains", {"index": i}) for i in range(64)]}),
    ("ack", {"received_at": 4_102_444_799_999_999}),
    ("ack", {"received_subjects": 10_000_000_000}),
    ("ack", {"received_commitment": b"", "reason": ""}),
    ("ack", {"outcome": 4}),
    ("cancel", {"reason": "a" * 500}),
    ("key_event", {"name": "\u845b\U000e0100\u57ce\u9280\u884c"}),  # a variation selector
    ("cancel", {"reason": "\u4e00" * 166 + "aa"}),
    ("cancel", {"reason": "\u201cas agreed\u201d \u2014 \u540c\u610f"}),
    ("anchor", {"fetched_at": 1}),
    ("loss", {"size": 1}),
    ("key_event", NODE_ROTATION),
    *(("key_event", {**NODE_ROTATION, "role": role, "lost": 1}) for role in (3, 4, 5)),
    ("key_event", AUTHORITY_ROTATION),
    ("key_event", CERTIFICATE),
    ("lost_bodies", lost((0, 1))),
    ("lost_bodies", lost(*((2 * n, 2 * n + 1) for n in range(1000)))),
    ("rule_set", {"version": ""}),
    ("finding", {"severity": 0, "ref": b"", "closed": 1}),
    ("finding", {"institution": EXPORTER, "contract_id": "A", "numbers": [0, 2**64 - 1]}),
    ("rule_set", {"law": "2026.1", "agree_within": 2**64 - 1}),
    ("cancel", {"cause": 6}),
    ("correction", {"cause": 1}),
]


class TestFields:
    @pytest.mark.parametrize(("record", "changes", "reason"), NOT_SAID)
    def test_out_of_range_is_refused(
        self, record: str, changes: dict[str, Any], reason: str
    ) -> None:
        assert refusal(make(record, changes)) == reason

    @pytest.mark.parametrize(("changes", "reason"), NOT_COMMON)
    @pytest.mark.parametrize("record", RECORDS)
    def test_out_of_range_is_refused_in_every_record(
        self, record: str, changes: dict[str, Any], reason: str
    ) -> None:
        assert refusal(make(record, **changes)) == reason

    @pytest.mark.parametrize(("record", "changes"), SAID)
    def test_in_range_is_taken(self, record: str, changes: dict[str, Any]) -> None:
        assert is_taken(make(record, changes))

    def test_of_the_records_that_are_read_here_only_a_tick_may_be_empty(self) -> None:
        empty = {record for record in RECORDS if is_taken(around(record, b""))}
        assert empty == {"tick", *FIELDS_READ_ELSEWHERE}
