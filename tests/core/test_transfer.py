"""Terms, commitments, tickets and manifests: one encoding each, and fields that mean something."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest
from builders import EXPORTER, HONG_KONG, MAINLAND, RECIPIENT
from hypothesis import given
from hypothesis import strategies as st
from interop import protobuf as ref
from interop.protobuf import encode_field, varint
from spellings import other_spellings, padded

from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import (
    FieldError,
    InputError,
    LedgerError,
    MalformedError,
    VerificationError,
)
from ledgerd_client.core.transfer import (
    Side,
    Ticket,
    check_date,
    commit_payload,
    parse_manifest,
    parse_terms,
    ref_of,
    transfer_ref,
)

EXPORTING = {"origin": MAINLAND, "institution": EXPORTER}
RECEIVING = {"origin": HONG_KONG, "institution": RECIPIENT}
NONCE, SALT, COMMITMENT, DIGEST = bytes(range(16)), bytes(range(32)), b"\x77" * 32, b"\x88" * 32

FIELDS: dict[str, Any] = {
    "exporter": ref.encode("party", EXPORTING),
    "recipient": ref.encode("party", RECEIVING),
    "nonce": NONCE,
    "contract_id": "GBA-2026-0042",
    "commitment": COMMITMENT,
    "subjects": 1200,
    "subjects_first_this_year": 300,
    "sensitive_subjects": 80,
    "sensitive_first_this_year": 20,
    "minors_present": 1,
    "purposes": [2, 7],
    "categories": [1, 7],
    "sensitive_categories": [5],
    "legal_basis": 1,
    "consent_form": 3,
    "notice_digest": DIGEST,
    "notice_version": "3.1",
    "exemption": 1,
    "protections": [1, 3],
    "transmission": 1,
    "delete_by": 20291231,
    "onward_declared": 1,
}


def make(**changes: Any) -> bytes:
    """Terms as the independent encoder makes them."""
    return ref.encode("terms", {**FIELDS, **changes})


def party(base: Mapping[str, str], **changes: str) -> bytes:
    return ref.encode("party", {**base, **changes})


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as refused:
        parse_terms(data)
    return refused.value.reason


def unpacked(number: int, listed: list[int]) -> bytes:
    return b"".join(varint(number << 3) + varint(code) for code in listed)


class TestReference:
    def test_is_a_digest_of_exporter_and_nonce(self) -> None:
        by_hand = (
            b"ledgerd/transfer-ref/v1\n"
            + bytes([len(MAINLAND)])
            + MAINLAND.encode()
            + bytes([len(EXPORTER)])
            + EXPORTER.encode()
            + NONCE
        )
        assert transfer_ref(Side(MAINLAND, EXPORTER), NONCE) == sha256(by_hand).digest()

    def test_of_terms_is_the_one_of_their_exporter(self) -> None:
        assert ref_of(parse_terms(make())) == transfer_ref(Side(MAINLAND, EXPORTER), NONCE)

    def test_tells_where_the_origin_ends(self) -> None:
        assert transfer_ref(Side("ab", "c.D"), NONCE) != transfer_ref(Side("a", "bc.D"), NONCE)


class TestCommitment:
    def test_to_a_payload_is_over_salt_and_digest(self) -> None:
        expected = sha256(b"ledgerd/payload/v1\n" + SALT + DIGEST).digest()
        assert commit_payload(SALT, DIGEST, parts=False) == expected

    def test_to_parts_is_over_salt_and_manifest(self) -> None:
        expected = sha256(b"ledgerd/payload-parts/v1\n" + SALT + DIGEST).digest()
        assert commit_payload(SALT, DIGEST, parts=True) == expected

    def test_to_a_payload_that_is_itself_a_manifest_is_another(self) -> None:
        whole, parts = (commit_payload(SALT, DIGEST, parts=parts) for parts in (False, True))
        assert whole != parts


# Terms that say the same to a lax reader, in other bytes.
SPELLED = {
    **{f"terms: {what}": data for what, data in other_spellings(make()).items()},
    **{
        f"exporter: {what}": make(exporter=data)
        for what, data in other_spellings(party(EXPORTING)).items()
    },
    **{
        f"recipient: {what}": make(recipient=data)
        for what, data in other_spellings(party(RECEIVING)).items()
    },
    "codes not packed": make().replace(encode_field(11, [2, 7]), unpacked(11, [2, 7])),
    "one code not packed": make().replace(encode_field(13, [5]), unpacked(13, [5])),
    "codes in two packs": make().replace(
        encode_field(11, [2, 7]), encode_field(11, [2]) + encode_field(11, [7])
    ),
    "an empty pack": make(sensitive_categories=[]).replace(
        encode_field(14, 1), b"\x6a\x00" + encode_field(14, 1)
    ),
    "a code of one byte too many": make().replace(
        encode_field(11, [2, 7]), encode_field(11, varint(2) + padded(varint(7)))
    ),
    "a code of 2^32 more": make(purposes=varint(2) + varint(2**32 + 7)),
    "a number of 2^32 more": make(legal_basis=2**32 + 1),
    "a flag of 2": make(minors_present=2),
    "a flag of false": make(onward_declared=0) + varint(22 << 3) + b"\x00",
    "a count of 0 written out": make(subjects=0, subjects_first_this_year=0).replace(
        encode_field(8, 80), varint(6 << 3) + b"\x00" + encode_field(8, 80)
    ),
    "the exporter in two parts": make().replace(
        encode_field(1, [party(EXPORTING)]),
        encode_field(1, [party({"origin": MAINLAND})])
        + encode_field(1, [party({"institution": EXPORTER})]),
    ),
    "a contract that is not UTF-8": make(contract_id=b"GBA\xff"),
}

# What no terms say: the fields changed, and the reason given.
NOT_SAID: list[tuple[dict[str, Any], str]] = [
    ({"exporter": b""}, "BAD_ORIGIN"),
    ({"recipient": b""}, "BAD_ORIGIN"),
    ({"exporter": party(EXPORTING, origin="")}, "BAD_ORIGIN"),
    ({"exporter": party(EXPORTING, origin="a" * 201)}, "BAD_ORIGIN"),
    ({"exporter": party(EXPORTING, institution="")}, "FIELD_OUT_OF_RANGE"),
    ({"exporter": party(EXPORTING, institution="node")}, "FIELD_OUT_OF_RANGE"),
    ({"exporter": party(EXPORTING, institution="uscc." + "A" * 60)}, "FIELD_OUT_OF_RANGE"),
    ({"recipient": party(RECEIVING, institution="authority")}, "FIELD_OUT_OF_RANGE"),
    ({"recipient": party(RECEIVING, origin=MAINLAND)}, "FIELD_OUT_OF_RANGE"),
    ({"recipient": party(EXPORTING)}, "FIELD_OUT_OF_RANGE"),
    ({"nonce": b""}, "FIELD_OUT_OF_RANGE"),
    ({"nonce": bytes(15)}, "FIELD_OUT_OF_RANGE"),
    ({"nonce": bytes(17)}, "FIELD_OUT_OF_RANGE"),
    ({"contract_id": ""}, "FIELD_OUT_OF_RANGE"),
    ({"contract_id": "a" * 65}, "FIELD_OUT_OF_RANGE"),
    ({"contract_id": "GBA\n2026"}, "FIELD_OUT_OF_RANGE"),
    ({"contract_id": "A123456(3)"}, "PERSONAL_DATA"),
    ({"commitment": b""}, "FIELD_OUT_OF_RANGE"),
    ({"commitment": bytes(31)}, "FIELD_OUT_OF_RANGE"),
    ({"commitment": bytes(33)}, "FIELD_OUT_OF_RANGE"),
    ({"commitment": bytes(31), "transmission": 5}, "FIELD_OUT_OF_RANGE"),
    ({"subjects": 10_000_000_001}, "FIELD_OUT_OF_RANGE"),
    ({"subjects": 2**64 - 1}, "FIELD_OUT_OF_RANGE"),
    ({"subjects": 299}, "FIELD_OUT_OF_RANGE"),
    ({"subjects_first_this_year": 1201}, "FIELD_OUT_OF_RANGE"),
    ({"sensitive_subjects": 10_000_000_001}, "FIELD_OUT_OF_RANGE"),
    ({"sensitive_first_this_year": 81}, "FIELD_OUT_OF_RANGE"),
    ({"purposes": []}, "FIELD_OUT_OF_RANGE"),
    ({"categories": []}, "FIELD_OUT_OF_RANGE"),
    *(
        ({name: listed}, reason)
        for name in ("purposes", "categories", "sensitive_categories", "protections", "means")
        for listed, reason in (
            ([2, 1], "FIELD_OUT_OF_RANGE"),
            ([1, 1], "FIELD_OUT_OF_RANGE"),
            ([1, 3, 2], "FIELD_OUT_OF_RANGE"),
            ([0], "UNKNOWN_CODE"),
            ([1, 99], "UNKNOWN_CODE"),
            ([2**32 - 1], "UNKNOWN_CODE"),
        )
    ),
    *(
        ({name: code}, "UNKNOWN_CODE")
        for name in ("legal_basis", "consent_form", "exemption", "transmission")
        for code in (0, 99, 2**32 - 1)
    ),
    ({"notice_digest": bytes(31)}, "FIELD_OUT_OF_RANGE"),
    ({"notice_version": "a" * 65}, "FIELD_OUT_OF_RANGE"),
    ({"notice_version": "3.1\t"}, "FIELD_OUT_OF_RANGE"),
    ({"notice_version": "4111 1111 1111 1111"}, "PERSONAL_DATA"),
    ({"delete_by": 20290230}, "FIELD_OUT_OF_RANGE"),
    ({"delete_by": 1}, "FIELD_OUT_OF_RANGE"),
    ({"delete_by": 19700101}, "FIELD_OUT_OF_RANGE"),
    ({"delete_by": 19991231}, "FIELD_OUT_OF_RANGE"),
]  # fmt: skip

# At the edge, and inside.
SAID: list[dict[str, Any]] = [
    {},
    {"commitment": b"", "transmission": 5},
    {"transmission": 5},
    {"contract_id": "a" * 64},
    {"notice_version": "a" * 64},
    {"contract_id": "\u7ca4\u6df1\u5907\u30142026\u30150001\u53f7"},
    {"subjects": 10_000_000_000},
    {"subjects": 0, "subjects_first_this_year": 0},
    {"subjects_first_this_year": 1200},
    {"sensitive_subjects": 0, "sensitive_first_this_year": 0, "sensitive_categories": []},
    {"protections": []},
    {"purposes": list(range(1, 19))},
    {"categories": list(range(1, 14))},
    {"sensitive_categories": list(range(1, 12))},
    {"means": list(range(1, 9))},
    {"notice_digest": b"", "notice_version": "", "delete_by": 0},
    {"delete_by": 20000101},
]


class TestTerms:
    @pytest.mark.parametrize("changes", SAID)
    def test_in_range_are_read(self, changes: dict[str, Any]) -> None:
        parse_terms(make(**changes))

    @pytest.mark.parametrize("changes", SAID)
    def test_are_written_as_the_independent_encoder_writes_them(
        self, changes: dict[str, Any]
    ) -> None:
        assert encode_message(parse_terms(make(**changes))) == make(**changes)

    @pytest.mark.parametrize("what", SPELLED)
    def test_another_spelling_is_refused(self, what: str) -> None:
        with pytest.raises(MalformedError):
            parse_terms(SPELLED[what])

    @pytest.mark.parametrize(("changes", "reason"), NOT_SAID)
    def test_out_of_range_are_refused(self, changes: dict[str, Any], reason: str) -> None:
        assert refusal(make(**changes)) == reason

    def test_an_unknown_code_is_told_with_those_that_are_known(self) -> None:
        with pytest.raises(FieldError) as refused:
            parse_terms(make(protections=[5]))
        assert refused.value.action == "use one of 1, 2, 3, 4"

    @given(st.binary(max_size=200))
    def test_no_bytes_raise_anything_but_our_errors(self, data: bytes) -> None:
        with pytest.raises(LedgerError):
            parse_terms(data)

    @given(st.data())
    def test_what_is_read_of_changed_bytes_is_written_the_same(self, data: st.DataObject) -> None:
        original = make()
        place = data.draw(st.integers(0, len(original) - 1))
        changed = original[:place] + data.draw(st.binary(max_size=4)) + original[place + 1 :]
        try:
            terms = parse_terms(changed)
        except LedgerError:
            return
        assert encode_message(terms) == changed


class TestDates:
    @pytest.mark.parametrize(
        "date",
        [
            19700101, 19991231, 20000229, 20240229, 20260228, 20280229, 20290131, 20290331,
            20290430, 20290531, 20290630, 20290731, 20290831, 20290930, 20291031, 20291130,
            20291231, 20991231,
        ],
    )  # fmt: skip
    def test_a_day_of_the_calendar_is_taken(self, date: int) -> None:
        check_date("delete_by", date)

    @pytest.mark.parametrize(
        "date",
        [
            0, -1, 1, 20291, 202912, 2029123, 202912310, 2**32 - 1,  # no yyyymmdd
            20290001, 20291301, 20299901,  # no month
            20290100, 20290132, 20290332, 20290431, 20290532, 20290631, 20290732, 20290832,
            20290931, 20291032, 20291131, 20291232, 20290199,  # no day of it
            20250229, 20260229, 20270229, 20240230, 20290230,  # no leap year, or no leap day
            21000228, 21000229, 21000301, 22000101,  # 2100 is no leap year, and beyond
            19691231, 19000229, 17000101, 10101,  # before 1970
        ],
    )  # fmt: skip
    def test_no_day_of_the_calendar_is_refused(self, date: int) -> None:
        with pytest.raises(FieldError):
            check_date("delete_by", date)


PART_A = ref.encode("part", {"name": "a", "size": 3, "digest": DIGEST})
PART_B = ref.encode("part", {"name": "b", "digest": DIGEST})
MANIFEST = ref.encode("manifest", {"parts": [PART_A, PART_B]})


def parts(*named: str | bytes) -> bytes:
    listed = [ref.encode("part", {"name": name, "digest": DIGEST}) for name in named]
    return ref.encode("manifest", {"parts": listed})


class TestManifest:
    @pytest.mark.parametrize(
        "data",
        [
            MANIFEST,
            parts("a"),
            parts("a", "ab", "b"),
            parts("Z", "a"),
            parts("z", "\u00e9", "\uff5e", "\U0001f600"),  # by UTF-8, not by UTF-16
        ],
    )
    def test_with_parts_ascending_by_the_bytes_of_their_names_is_read(self, data: bytes) -> None:
        assert encode_message(parse_manifest(data)) == data

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            parts("b", "a"),
            parts("a", "a"),
            parts("a", "Z"),
            parts("ab", "a"),
            parts(""),
            parts("", "a"),
            ref.encode("manifest", {"parts": [ref.encode("part", {"name": "a"})]}),
            ref.encode("manifest", {"parts": [ref.encode("part", {"name": "a", "digest": bytes(31)})]}),
        ],
    )  # fmt: skip
    def test_without_that_is_refused(self, data: bytes) -> None:
        with pytest.raises(FieldError):
            parse_manifest(data)

    @pytest.mark.parametrize(
        "data",
        [
            MANIFEST + encode_field(99, 1),
            ref.encode("manifest", {"parts": [PART_A + encode_field(99, 1)]}),
            ref.encode("manifest", {"parts": [PART_B.replace(b"\x1a", b"\x10\x00\x1a", 1)]}),
            ref.encode("manifest", {"parts": [encode_field(3, DIGEST) + encode_field(1, "a")]}),
            parts(b"\xff"),
            MANIFEST[:-1],
        ],
        ids=["unknown", "unknown in a part", "size 0 written out", "order", "not UTF-8", "cut"],
    )
    def test_another_spelling_is_refused(self, data: bytes) -> None:
        with pytest.raises(MalformedError):
            parse_manifest(data)

    @given(st.binary(max_size=100))
    def test_no_bytes_raise_anything_but_our_errors(self, data: bytes) -> None:
        with pytest.raises(LedgerError):
            parse_manifest(data)


RECEIVED = {"receipt": b"receipt"}
QUEUED = {"body": b"body", "key_id": b"key id", "signature": b"signature"}


def ticket(**fields: Any) -> bytes:
    return ref.encode("ticket", {"terms": make(), "salt": SALT, **fields})


class TestTicket:
    def test_with_a_receipt_is_read(self) -> None:
        expected = Ticket(make(), SALT, receipt=b"receipt")
        assert Ticket.parse(ticket(**RECEIVED)) == expected

    def test_with_a_queued_record_is_read(self) -> None:
        expected = Ticket(make(), SALT, body=b"body", key_id=b"key id", signature=b"signature")
        assert Ticket.parse(ticket(**QUEUED)) == expected

    def test_with_a_receipt_is_not_queued(self) -> None:
        assert not Ticket.parse(ticket(**RECEIVED)).queued

    def test_without_one_is_queued(self) -> None:
        assert Ticket.parse(ticket(**QUEUED)).queued

    @given(st.binary(min_size=1, max_size=40), st.booleans(), st.booleans())
    def test_is_written_as_it_was_read(
        self, content: bytes, queued: bool, with_manifest: bool
    ) -> None:
        fields = dict.fromkeys(QUEUED if queued else RECEIVED, content)
        data = ticket(**fields, manifest=MANIFEST if with_manifest else b"")
        assert Ticket.parse(data).encode() == data

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"body": b"body"},
            {"body": b"body", "key_id": b"key id"},
            {"body": b"body", "signature": b"signature"},
            {"key_id": b"key id", "signature": b"signature"},
            {**RECEIVED, **QUEUED},
            {**RECEIVED, "signature": b"signature"},
        ],
    )
    def test_holds_either_a_receipt_or_a_whole_record(self, fields: dict[str, bytes]) -> None:
        with pytest.raises(MalformedError):
            Ticket.parse(ticket(**fields))

    @pytest.mark.parametrize("size", [0, 16, 31, 33])
    def test_with_a_salt_of_another_size_is_refused(self, size: int) -> None:
        with pytest.raises(FieldError):
            Ticket.parse(ticket(**RECEIVED, salt=bytes(size)))

    def test_without_a_commitment_has_no_salt(self) -> None:
        viewing = make(commitment=b"", transmission=5)
        assert Ticket.parse(ticket(**RECEIVED, terms=viewing, salt=b"")).salt == b""

    def test_without_a_commitment_is_refused_with_a_salt(self) -> None:
        viewing = make(commitment=b"", transmission=5)
        with pytest.raises(FieldError):
            Ticket.parse(ticket(**RECEIVED, terms=viewing))

    def test_with_terms_that_are_refused_is_refused(self) -> None:
        with pytest.raises(FieldError):
            Ticket.parse(ticket(**RECEIVED, terms=make(nonce=b"")))

    def test_with_a_manifest_that_is_refused_is_refused(self) -> None:
        with pytest.raises(FieldError):
            Ticket.parse(ticket(**RECEIVED, manifest=parts("b", "a")))

    @pytest.mark.parametrize(
        "data",
        [
            ticket(**RECEIVED) + encode_field(99, 1),
            ticket(**RECEIVED) + encode_field(2, SALT),
            ticket(**RECEIVED, terms=make() + encode_field(99, 1)),
            ticket(**RECEIVED, manifest=MANIFEST + encode_field(99, 1)),
            ticket(**RECEIVED)[:-1],
        ],
        ids=["unknown field", "salt twice", "in the terms", "in the manifest", "cut"],
    )
    def test_another_spelling_is_refused(self, data: bytes) -> None:
        with pytest.raises(MalformedError):
            Ticket.parse(data)

    @given(st.binary(max_size=200))
    def test_no_bytes_raise_anything_but_our_errors(self, data: bytes) -> None:
        with pytest.raises(LedgerError):
            Ticket.parse(data)

    def test_prints_no_salt(self) -> None:
        salt = os.urandom(32)
        assert repr(salt) not in repr(Ticket(make(), salt, receipt=b"receipt"))


class TestPayload:
    PAYLOAD = b"customer;score\n1;700\n"

    def ticket_for(self, *, parts: bool) -> Ticket:
        commitment = commit_payload(SALT, sha256(self.PAYLOAD).digest(), parts=parts)
        return Ticket(make(commitment=commitment), SALT, receipt=b"receipt")

    @pytest.mark.parametrize("parts", [False, True])
    def test_that_was_declared_is_taken(self, parts: bool) -> None:
        self.ticket_for(parts=parts).check_payload(sha256(self.PAYLOAD).digest(), parts=parts)

    @pytest.mark.parametrize("parts", [False, True])
    def test_another_is_refused(self, parts: bool) -> None:
        with pytest.raises(VerificationError) as refused:
            self.ticket_for(parts=parts).check_payload(sha256(b"other").digest(), parts=parts)
        assert refused.value.reason == "PAYLOAD_MISMATCH"

    def test_is_not_taken_for_a_manifest(self) -> None:
        with pytest.raises(VerificationError):
            self.ticket_for(parts=True).check_payload(sha256(self.PAYLOAD).digest(), parts=False)

    def test_is_not_taken_when_nothing_was_declared(self) -> None:
        viewing = Ticket(make(commitment=b"", transmission=5), b"", receipt=b"receipt")
        with pytest.raises(VerificationError):
            viewing.check_payload(sha256(b"").digest(), parts=False)
