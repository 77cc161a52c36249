"""What both parties state of a contract: terms in range, one encoding, and whose half it is."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
from builders import EXPORTER, HONG_KONG, MAINLAND, RECIPIENT, START, new_body
from hypothesis import given
from hypothesis import strategies as st
from interop import protobuf as ref
from spellings import other_spellings

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.contract import (
    contract_ref,
    parse_contract_terms,
    parse_disposal_terms,
    parse_termination_terms,
)
from ledgerd_client.core.errors import (
    FieldError,
    ForbiddenError,
    InputError,
    LedgerError,
    MalformedError,
)
from ledgerd_client.core.header import Halves
from ledgerd_client.core.past import CLOCK_AHEAD
from ledgerd_client.core.record import read_facts
from ledgerd_client.core.transfer import Side

EXPORTING = {"origin": MAINLAND, "institution": EXPORTER}
RECEIVING = {"origin": HONG_KONG, "institution": RECIPIENT}
NONCE, DIGEST = bytes(range(16)), b"\x88" * 32
REFS = [bytes([n]) * 32 for n in range(3)]
THIRD_PARTIES = ["hkbr.00000001", "lei.5493001KJTIIGC8Y1R12"]

HEAD: dict[str, Any] = {
    "exporter": ref.encode("party", EXPORTING),
    "recipient": ref.encode("party", RECEIVING),
    "nonce": NONCE,
    "contract_id": "GBA-2026-0042",
}
CONTRACT: dict[str, Any] = {
    **HEAD,
    "document_digest": DIGEST,
    "mechanism": 1,
    "direction": 1,
    "exporter_place": 440300,
    "recipient_place": 810000,
    "exporter_sector": 1,
    "recipient_sector": 1,
    "exporter_role": 1,
    "recipient_role": 2,
    "signed_on": 20260201,
    "effective_on": 20260206,
    "expires_on": 20280205,
    "purposes": [2, 5],
    "means": [2, 5],
    "categories": [1, 7],
    "sensitive_categories": [5],
    "subject_types": [1],
    "planned_scale": 50_000,
    "retention_days": 365,
    "storage_places": [810000],
    "transmissions": [1, 2],
    "third_parties": THIRD_PARTIES,
    "zone": 2,
    "list_ref": "QH-2026-1",
}
TERMINATION = {**HEAD, "terminated_on": 20261231, "cause": 1, "method": 3}
DISPOSAL: dict[str, Any] = {
    **HEAD,
    "method": 2,
    "done_at": START,
    "certificate_digest": DIGEST,
    "due_by": 20261231,
    "transfers": 12,
    "subjects": 1200,
}
READ = {
    "contract_terms": (parse_contract_terms, CONTRACT),
    "termination_terms": (parse_termination_terms, TERMINATION),
    "disposal_terms": (parse_disposal_terms, DISPOSAL),
}

RANGE, CODE, PERSON = "FIELD_OUT_OF_RANGE", "UNKNOWN_CODE", "PERSONAL_DATA"
HEADS_NOT_SAID: list[tuple[dict[str, Any], str]] = [
    ({"exporter": b""}, "BAD_ORIGIN"),
    ({"recipient": ref.encode("party", {**RECEIVING, "origin": MAINLAND})}, RANGE),
    ({"recipient": ref.encode("party", {**RECEIVING, "institution": "node"})}, RANGE),
    ({"nonce": bytes(15)}, RANGE),
    ({"contract_id": ""}, RANGE),
    ({"contract_id": "a" * 65}, RANGE),
    ({"contract_id": "A123456(3)"}, PERSON),
]
CONTRACTS_NOT_SAID: list[tuple[dict[str, Any], str]] = [
    *(
        ({"document_digest": value}, RANGE)
        for value in (b"", bytes(31), bytes(33))
    ),
    *(
        ({field: code}, CODE)
        for field in (
            "mechanism", "direction", "exporter_place", "recipient_place", "exporter_sector",
            "recipient_sector", "exporter_role", "recipient_role",
        )
        for code in (0, 99)
    ),
    ({"recipient_place": 999999}, CODE),
    *(
        ({field: listed}, reason)
        for field in (
            "purposes", "means", "categories", "sensitive_categories", "subject_types",
            "transmissions",
        )
        for listed, reason in (([2, 1], RANGE), ([1, 1], RANGE), ([0], CODE), ([1, 99], CODE))
    ),
    ({"storage_places": [810000, 440300]}, RANGE),
    ({"storage_places": [999999]}, CODE),
    *(
        ({field: []}, RANGE)
        for field in ("purposes", "categories", "subject_types", "storage_places", "transmissions")
    ),
    # Dates that do not exist, and a contract that ends before it begins.
    ({"signed_on": 0}, RANGE),
    ({"signed_on": 20260230}, RANGE),
    ({"effective_on": 0}, RANGE),
    ({"effective_on": 20261301}, RANGE),
    ({"expires_on": 20270229}, RANGE),
    ({"expires_on": 20260205}, RANGE),
    ({"planned_scale": 0}, RANGE),
    ({"planned_scale": 10_000_000_001}, RANGE),
    ({"retention_days": 0}, RANGE),
    ({"retention_days": 36_526}, RANGE),
    ({"third_parties": ["hkbr.1234567"]}, RANGE),
    ({"third_parties": ["lei.5493001KJTIIGC8Y1R13"]}, RANGE),
    ({"third_parties": ["somebody"]}, RANGE),
    ({"third_parties": THIRD_PARTIES[::-1]}, RANGE),
    ({"third_parties": [THIRD_PARTIES[0]] * 2}, RANGE),
    ({"zone": 5}, CODE),
    ({"list_ref": "a" * 65}, RANGE),
]  # fmt: skip
CONTRACTS_SAID: list[dict[str, Any]] = [
    {},
    {"version": 3},
    {"expires_on": 0},
    {"expires_on": 20260206},
    {"effective_on": 20240229, "expires_on": 20280229},
    {"recipient_place": 820000},
    {"direction": 2},
    {"means": [], "sensitive_categories": [], "third_parties": [], "zone": 0, "list_ref": ""},
    {"planned_scale": 1, "retention_days": 1},
    {"planned_scale": 10_000_000_000, "retention_days": 36_525},
]
OTHERS_NOT_SAID: list[tuple[str, dict[str, Any], str]] = [
    ("termination_terms", {"terminated_on": 0}, RANGE),
    ("termination_terms", {"terminated_on": 20260631}, RANGE),
    ("termination_terms", {"cause": 0}, CODE),
    ("termination_terms", {"cause": 7}, CODE),
    ("termination_terms", {"method": 0}, CODE),
    ("termination_terms", {"method": 4}, CODE),
    ("disposal_terms", {"method": 0}, CODE),
    ("disposal_terms", {"done_at": 0}, RANGE),
    ("disposal_terms", {"certificate_digest": b""}, RANGE),
    ("disposal_terms", {"due_by": 20261232}, RANGE),
    ("disposal_terms", {"refs": REFS}, RANGE),  # and due_by
    ("disposal_terms", {"due_by": 0, "refs": REFS[::-1]}, RANGE),
    ("disposal_terms", {"due_by": 0, "refs": [REFS[0]] * 2}, RANGE),
    ("disposal_terms", {"due_by": 0, "refs": [bytes(31)]}, RANGE),
    (
        "disposal_terms",
        {"due_by": 0, "refs": [n.to_bytes(32, "big") for n in range(501)]},
        RANGE,
    ),
    ("disposal_terms", {"transfers": 10_000_000_001}, RANGE),
    ("disposal_terms", {"subjects": 10_000_000_001}, RANGE),
]
OTHERS_SAID: list[tuple[str, dict[str, Any]]] = [
    ("termination_terms", {}),
    ("disposal_terms", {}),
    ("disposal_terms", {"due_by": 0}),
    ("disposal_terms", {"due_by": 0, "refs": REFS}),
    ("disposal_terms", {"due_by": 0, "refs": [n.to_bytes(32, "big") for n in range(500)]}),
]


def make(name: str, **changes: Any) -> bytes:
    """Terms as the independent encoder makes them."""
    return ref.encode(name, {**READ[name][1], **changes})


def refusal(name: str, data: bytes) -> str:
    with pytest.raises(InputError) as refused:
        READ[name][0](data)
    return refused.value.reason


class TestTerms:
    @pytest.mark.parametrize("changes", CONTRACTS_SAID)
    def test_of_a_contract_in_range_are_read(self, changes: dict[str, Any]) -> None:
        parse_contract_terms(make("contract_terms", **changes))

    @pytest.mark.parametrize(("changes", "reason"), CONTRACTS_NOT_SAID)
    def test_of_a_contract_out_of_range_are_refused(
        self, changes: dict[str, Any], reason: str
    ) -> None:
        assert refusal("contract_terms", make("contract_terms", **changes)) == reason

    @pytest.mark.parametrize(("name", "changes"), OTHERS_SAID)
    def test_of_its_end_and_disposal_in_range_are_read(
        self, name: str, changes: dict[str, Any]
    ) -> None:
        READ[name][0](make(name, **changes))

    @pytest.mark.parametrize(("name", "changes", "reason"), OTHERS_NOT_SAID)
    def test_of_its_end_and_disposal_out_of_range_are_refused(
        self, name: str, changes: dict[str, Any], reason: str
    ) -> None:
        assert refusal(name, make(name, **changes)) == reason

    @pytest.mark.parametrize(("changes", "reason"), HEADS_NOT_SAID)
    @pytest.mark.parametrize("name", READ)
    def test_of_all_kinds_name_two_parties_across_the_border_and_a_contract(
        self, name: str, changes: dict[str, Any], reason: str
    ) -> None:
        assert refusal(name, make(name, **changes)) == reason

    @pytest.mark.parametrize("name", READ)
    def test_are_written_as_the_independent_encoder_writes_them(self, name: str) -> None:
        parsed = READ[name][0](make(name))
        assert parsed.SerializeToString(deterministic=True) == make(name)

    @pytest.mark.parametrize("name", READ)
    def test_in_another_spelling_are_refused(self, name: str) -> None:
        for spelled in other_spellings(make(name)).values():
            with pytest.raises(MalformedError):
                READ[name][0](spelled)

    @given(st.binary(max_size=200))
    @pytest.mark.parametrize("name", READ)
    def test_of_no_bytes_raise_anything_but_our_errors(self, name: str, data: bytes) -> None:
        with pytest.raises(LedgerError):
            READ[name][0](data)


SUPPLEMENTED = make("contract_terms", version=1)
# Record: its header's outcome, and a sound one.
STATEMENTS: dict[str, tuple[int, Any]] = {
    "contract": (1, pb.Contract(terms=make("contract_terms"))),
    "filing": (
        2,
        pb.Filing(terms=SUPPLEMENTED, authority=1, filed_on=20260227, result=1),
    ),
    "supplement": (3, pb.Supplement(terms=SUPPLEMENTED)),
    "termination": (4, pb.Termination(terms=make("termination_terms"))),
    "disposal": (5, pb.Disposal(terms=make("disposal_terms"))),
}
PRIVATE_NOT_SAID: list[tuple[str, dict[str, Any], str]] = [
    ("contract", {"terms": SUPPLEMENTED}, RANGE),
    ("supplement", {"terms": make("contract_terms")}, RANGE),
    ("contract", {"terms": b""}, "BAD_ORIGIN"),
    ("contract", {"side": pb.ContractSide(total_subjects_band=8)}, CODE),
    ("contract", {"side": pb.ContractSide(group_id="a" * 65)}, RANGE),
    ("contract", {"side": pb.ContractSide(hgr_ref="A123456(3)")}, PERSON),
    ("contract", {"side": pb.ContractSide(authorisation_ref="a\nb")}, RANGE),
    ("supplement", {"side": pb.ContractSide(authorised_on=20260229)}, RANGE),
    ("supplement", {"side": pb.ContractSide(authorised_scale=10_000_000_001)}, RANGE),
    ("supplement", {"reason": "a" * 501}, RANGE),
    ("filing", {"authority": 0}, CODE),
    ("filing", {"authority": 6}, CODE),
    ("filing", {"filed_on": 0}, RANGE),
    ("filing", {"filed_on": 20260229}, RANGE),
    ("filing", {"filing_no": "a" * 65}, RANGE),
    ("filing", {"result": 0}, CODE),
    ("filing", {"result": 5}, CODE),
    ("filing", {"document_digests": [bytes(31)]}, RANGE),
    ("termination", {"authority_notified_on": 20261301}, RANGE),
    ("termination", {"reason": "a" * 501}, RANGE),
    ("disposal", {"reason": "a" * 501}, RANGE),
]


def statement(record: str, *, by: dict[str, str] = EXPORTING, **changes: Any) -> bytes:
    message = type(STATEMENTS[record][1])()
    message.CopyFrom(STATEMENTS[record][1])
    for field in changes:
        message.ClearField(field)
    message.MergeFrom(type(message)(**changes))
    return new_body(by["origin"], by["institution"], START, **{record: message})


class TestAStatement:
    @pytest.mark.parametrize("record", STATEMENTS)
    def test_is_a_half_with_the_contracts_ref_the_terms_digest_and_its_outcome(
        self, record: str
    ) -> None:
        outcome, message = STATEMENTS[record]
        _, facts = read_facts(statement(record))
        expected = contract_ref(Side(MAINLAND, EXPORTER), NONCE)
        digest = sha256(message.terms).digest()
        assert facts.halves == Halves(expected, digest, outcome, HONG_KONG)

    @pytest.mark.parametrize("record", STATEMENTS)
    def test_is_made_by_either_party(self, record: str) -> None:
        _, exporters = read_facts(statement(record))
        _, recipients = read_facts(statement(record, by=RECEIVING))
        assert exporters.ref == recipients.ref
        assert exporters.terms_digest == recipients.terms_digest
        assert (recipients.counterparty_origin, recipients.counterparty) == (MAINLAND, EXPORTER)

    @pytest.mark.parametrize("record", STATEMENTS)
    @pytest.mark.parametrize(
        "by",
        [
            {"origin": MAINLAND, "institution": "lei.5493001KJTIIGC8Y1R12"},
            {"origin": HONG_KONG, "institution": EXPORTER},
        ],
    )
    def test_is_made_by_nobody_else(self, record: str, by: dict[str, str]) -> None:
        with pytest.raises(ForbiddenError) as refused:
            read_facts(statement(record, by=by))
        assert refused.value.reason == "NOT_A_PARTY"

    @pytest.mark.parametrize(("record", "changes", "reason"), PRIVATE_NOT_SAID)
    def test_out_of_range_is_refused(
        self, record: str, changes: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(InputError) as refused:
            read_facts(statement(record, **changes))
        assert refused.value.reason == reason

    @pytest.mark.parametrize(
        ("record", "changes"),
        [
            ("contract", {"side": pb.ContractSide(ciio=True, total_subjects_band=7)}),
            ("filing", {"terms": make("contract_terms"), "filing_no": "粤备 2026-1"}),
            ("filing", {"document_digests": [DIGEST, DIGEST]}),
            ("termination", {"authority_notified_on": 20260803}),
        ],
    )
    def test_may_hold_what_only_its_author_knows(
        self, record: str, changes: dict[str, Any]
    ) -> None:
        assert read_facts(statement(record, **changes))[1].ref


# What a statement says to have happened, on the day that it is stated and on the day after.
HAPPENED: list[tuple[str, str, int, int]] = [
    ("filing", "filed_on", 20260803, 20260804),
    ("termination", "authority_notified_on", 20260803, 20260804),
]


class TestWhatHasHappened:
    """Nobody can state it before."""

    @pytest.mark.parametrize(("record", "field", "today", "tomorrow"), HAPPENED)
    def test_may_be_of_today(self, record: str, field: str, today: int, tomorrow: int) -> None:
        assert read_facts(statement(record, **{field: today}))[1].ref

    @pytest.mark.parametrize(("record", "field", "today", "tomorrow"), HAPPENED)
    def test_is_not_of_tomorrow(self, record: str, field: str, today: int, tomorrow: int) -> None:
        with pytest.raises(FieldError, match=field) as refused:
            read_facts(statement(record, **{field: tomorrow}))
        assert refused.value.reason == "NOT_YET"

    @pytest.mark.parametrize("record", ["contract", "supplement"])
    def test_includes_the_signature_and_the_authorisation(self, record: str) -> None:
        version = {"version": 1} if record == "supplement" else {}
        for changes in (
            {"terms": make("contract_terms", signed_on=20260804, **version)},
            {"side": pb.ContractSide(authorised_on=20260804)},
        ):
            with pytest.raises(FieldError) as refused:
                read_facts(statement(record, **changes))
            assert refused.value.reason == "NOT_YET"

    def test_includes_the_disposal(self) -> None:
        late = make("disposal_terms", done_at=START + CLOCK_AHEAD + 1)
        with pytest.raises(FieldError, match="done_at") as refused:
            read_facts(statement("disposal", terms=late))
        assert refused.value.reason == "NOT_YET"

    def test_to_be_filed_is_signed_before(self) -> None:
        terms = make("contract_terms", version=1, signed_on=20260228)
        with pytest.raises(FieldError, match="filed_on lies before signed_on"):
            read_facts(statement("filing", terms=terms))

    def test_may_be_filed_on_the_day_of_the_signature(self) -> None:
        terms = make("contract_terms", version=1, signed_on=20260227)
        assert read_facts(statement("filing", terms=terms))[1].ref

    def test_is_not_what_is_planned(self) -> None:
        terms = make("termination_terms", terminated_on=20270101)
        assert read_facts(statement("termination", terms=terms))[1].ref


class TestChangedBytes:
    @given(st.sampled_from(list(STATEMENTS)), st.data())
    def test_raise_nothing_but_our_errors(self, record: str, data: st.DataObject) -> None:
        original = statement(record)
        place = data.draw(st.integers(0, len(original) - 1))
        changed = original[:place] + data.draw(st.binary(max_size=4)) + original[place + 1 :]
        with suppress(LedgerError):
            read_facts(changed)


class TestRef:
    def test_is_the_hash_that_the_format_gives(self) -> None:
        made = sha256(
            b"ledgerd/contract-ref/v1\n"
            + bytes([len(MAINLAND)]) + MAINLAND.encode()
            + bytes([len(EXPORTER)]) + EXPORTER.encode()
            + NONCE
        ).digest()  # fmt: skip
        assert contract_ref(Side(MAINLAND, EXPORTER), NONCE) == made
