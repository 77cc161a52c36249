"""Signed records: what a record says of itself, and why one may not enter a log."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from builders import (
    EXPORTER,
    HONG_KONG,
    MAINLAND,
    MINUTE,
    RECIPIENT,
    START,
    Border,
    Institution,
    new_body,
    new_border,
    new_key,
)
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import (
    FieldError,
    ForbiddenError,
    LedgerError,
    SignatureError,
    TooLargeError,
)
from ledgerd_client.core.header import Halves, Kind, encode_halves, header_tail, signed_bytes
from ledgerd_client.core.keys import verify
from ledgerd_client.core.record import (
    Admitted,
    Facts,
    Key,
    SignedRecord,
    admit,
    check_clock,
    make_body,
    make_record_id,
    read_facts,
    sign_admitted,
    sign_record,
)
from ledgerd_client.core.transfer import Side, transfer_ref

UUID7 = bytes.fromhex("019fc52537c47596897f3d075a7a2e3f")
OTHER_COMMITMENT = bytes(32)


@pytest.fixture(scope="module")
def border() -> Border:
    return new_border()


def keys_of(*institutions: Institution) -> Mapping[bytes, Key]:
    return {one.key.key_id: Key(one.admitted_at, one.key.public) for one in institutions}


def admit_for(author: Institution, record: SignedRecord) -> Admitted:
    return admit(record, origin=author.origin, author=author.id, keys=keys_of(author))


def refusal(author: Institution, record: SignedRecord) -> str:
    """The reason for which author's own node refuses the record."""
    with pytest.raises(LedgerError) as refused:
        admit_for(author, record)
    return refused.value.reason


def unsigned(body: bytes, author: Institution) -> SignedRecord:
    """For what is refused before its signature is looked at."""
    return SignedRecord(body, author.key.key_id, bytes(64))


class TestRecordId:
    def test_is_a_uuid_of_version_7(self) -> None:
        # RFC 9562 section 5.7, read by Python's own parser.
        parsed = UUID(bytes=make_record_id(START, os.urandom(10)))
        assert (parsed.version, parsed.variant) == (7, RFC_4122)

    @given(st.integers(0, 2**48 * 1000 - 1), st.binary(min_size=10, max_size=10))
    def test_is_one_of_any_time_and_random_bytes(self, now: int, random: bytes) -> None:
        parsed = UUID(bytes=make_record_id(now, random))
        assert (parsed.version, parsed.variant) == (7, RFC_4122)

    @given(st.integers(0, 2**48 * 1000 - 1), st.binary(min_size=10, max_size=10))
    def test_begins_with_the_milliseconds(self, now: int, random: bytes) -> None:
        assert UUID(bytes=make_record_id(now, random)).int >> 80 == now // 1000

    def test_of_rfc_9562_appendix_a_6(self) -> None:
        # unix_ts_ms 0x017F22E279B0, rand_a 0xCC3, rand_b 0b01 0x8C4DC0C0C07398F
        random = bytes.fromhex("0cc3" + "18c4dc0c0c07398f")
        made = make_record_id(0x017F22E279B0 * 1000, random)
        assert UUID(bytes=made) == UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")

    def test_keeps_74_random_bits(self) -> None:
        zeros, ones = (make_record_id(START, byte * 10) for byte in (b"\0", b"\xff"))
        differ = int.from_bytes(zeros, "big") ^ int.from_bytes(ones, "big")
        assert differ.bit_count() == 74


class TestMakingABody:
    def test_a_salt_of_another_size_is_refused(self) -> None:
        with pytest.raises(FieldError):
            make_body(
                origin=MAINLAND, author=EXPORTER, record_id=UUID7, occurred_at=START,
                salt=bytes(15), cancel=pb.Cancel(terms=b"terms"),
            )  # fmt: skip

    def test_signing_refuses_what_a_node_would_refuse(self, border: Border) -> None:
        body = border.exporter.body(transfer=pb.Transfer(terms=b""))
        with pytest.raises(FieldError):
            sign_record(body, border.exporter.key)


class TestFacts:
    def test_of_a_transfer_name_its_halves(self, border: Border) -> None:
        terms = border.terms()
        encoded = terms.SerializeToString(deterministic=True)
        body = border.exporter.body(transfer=pb.Transfer(terms=encoded))
        _, facts = read_facts(body)
        digest = sha256(encoded).digest()
        ref = transfer_ref(Side(MAINLAND, EXPORTER), terms.nonce)
        assert facts.halves == Halves(ref, digest, 0, HONG_KONG)

    def test_of_an_ack_belong_to_the_same_transfer(self, border: Border) -> None:
        transfer = border.transfer()
        _, declared = read_facts(border.exporter.body(transfer=transfer))
        _, received = read_facts(border.recipient.body(ack=border.ack(transfer)))
        assert (received.ref, received.terms_digest) == (declared.ref, declared.terms_digest)

    def test_of_an_ack_point_back_across_the_border(self, border: Border) -> None:
        body = border.recipient.body(ack=border.ack(border.transfer()))
        _, facts = read_facts(body)
        assert (facts.counterparty_origin, facts.counterparty) == (MAINLAND, EXPORTER)

    @pytest.mark.parametrize("outcome", [1, 2, 3])
    def test_of_an_ack_carry_its_outcome(self, border: Border, outcome: int) -> None:
        ack = border.ack(border.transfer(), outcome=outcome)
        assert read_facts(border.recipient.body(ack=ack))[1].outcome == outcome

    def test_of_others_have_outcome_0(self, border: Border) -> None:
        assert read_facts(border.exporter.body(transfer=border.transfer()))[1].outcome == 0

    def test_of_the_nodes_own_entry_have_no_halves(self) -> None:
        rules = pb.RuleSet(version="2026-08", digest=bytes(32))
        _, facts = read_facts(new_body(MAINLAND, "node", rule_set=rules))
        assert (facts.halves, facts.outcome) == (None, 0)

    def test_are_primitives_that_cross_process_borders(self, border: Border) -> None:
        _, facts = read_facts(border.exporter.body(transfer=border.transfer()))
        assert pickle.loads(pickle.dumps(facts)) == facts  # noqa: S301 - our own bytes

    @given(st.binary(max_size=300))
    def test_no_bytes_raise_anything_but_our_errors(self, data: bytes) -> None:
        with pytest.raises(LedgerError):
            read_facts(data)


class TestWhoMayStateWhat:
    """Parties of the terms by kind of record: exporter, recipient, and somebody else."""

    @pytest.fixture
    def stranger(self, border: Border) -> Institution:
        return Institution(border.mainland.origin, "lei.STRANGER", new_key(), 1)

    def record(self, border: Border, kind: str) -> dict[str, Any]:
        transfer = border.transfer()
        records = {
            "transfer": transfer,
            "ack": border.ack(transfer),
            "cancel": pb.Cancel(terms=transfer.terms),
            "correction": pb.Correction(terms=transfer.terms, corrects=UUID7),
        }
        return {kind: records[kind]}

    @pytest.mark.parametrize("kind", ["transfer", "cancel", "correction"])
    def test_the_exporter_declares_cancels_and_corrects(self, border: Border, kind: str) -> None:
        record = sign_record(border.exporter.body(**self.record(border, kind)), border.exporter.key)
        assert admit_for(border.exporter, record).facts.author == EXPORTER

    @pytest.mark.parametrize("kind", ["ack", "correction"])
    def test_the_recipient_acknowledges_and_corrects(self, border: Border, kind: str) -> None:
        record = sign_record(
            border.recipient.body(**self.record(border, kind)), border.recipient.key
        )
        assert admit_for(border.recipient, record).facts.author == RECIPIENT

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("transfer", "NOT_EXPORTER"),
            ("cancel", "NOT_EXPORTER"),
        ],
    )
    def test_the_recipient_does_not_declare_or_cancel(
        self, border: Border, kind: str, reason: str
    ) -> None:
        body = border.recipient.body(**self.record(border, kind))
        assert refusal(border.recipient, unsigned(body, border.recipient)) == reason

    def test_the_exporter_does_not_acknowledge(self, border: Border) -> None:
        body = border.exporter.body(**self.record(border, "ack"))
        assert refusal(border.exporter, unsigned(body, border.exporter)) == "NOT_RECIPIENT"

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("transfer", "NOT_EXPORTER"),
            ("ack", "NOT_RECIPIENT"),
            ("cancel", "NOT_EXPORTER"),
            ("correction", "NOT_A_PARTY"),
        ],
    )
    def test_somebody_else_states_nothing(
        self, border: Border, stranger: Institution, kind: str, reason: str
    ) -> None:
        body = stranger.body(**self.record(border, kind))
        assert refusal(stranger, unsigned(body, stranger)) == reason

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("transfer", "NOT_EXPORTER"),
            ("cancel", "NOT_EXPORTER"),
            ("correction", "NOT_A_PARTY"),
        ],
    )
    def test_the_exporters_name_in_the_other_log_states_nothing(
        self, border: Border, kind: str, reason: str
    ) -> None:
        namesake = replace(border.exporter, origin=HONG_KONG)
        body = namesake.body(**self.record(border, kind))
        assert refusal(namesake, unsigned(body, namesake)) == reason


class TestCommitmentOfAnAck:
    @pytest.fixture
    def transfer(self, border: Border) -> pb.Transfer:
        return border.transfer()

    def facts(self, border: Border, transfer: pb.Transfer, **changes: Any) -> Facts:
        return read_facts(border.recipient.body(ack=border.ack(transfer, **changes)))[1]

    def test_accepted_carries_the_declared_one(self, border: Border, transfer: pb.Transfer) -> None:
        assert self.facts(border, transfer, outcome=1).outcome == pb.OUTCOME_ACCEPTED

    @pytest.mark.parametrize("received", [b"", OTHER_COMMITMENT])
    def test_accepted_carries_no_other(
        self, border: Border, transfer: pb.Transfer, received: bytes
    ) -> None:
        with pytest.raises(FieldError):
            self.facts(border, transfer, outcome=1, received_commitment=received)

    @pytest.mark.parametrize("received", [b"", OTHER_COMMITMENT])
    def test_digest_mismatch_carries_another(
        self, border: Border, transfer: pb.Transfer, received: bytes
    ) -> None:
        facts = self.facts(border, transfer, outcome=4, received_commitment=received)
        assert facts.outcome == pb.OUTCOME_DIGEST_MISMATCH

    def test_digest_mismatch_does_not_carry_the_declared_one(
        self, border: Border, transfer: pb.Transfer
    ) -> None:
        with pytest.raises(FieldError):
            self.facts(border, transfer, outcome=4)

    @pytest.mark.parametrize("received", [b"", OTHER_COMMITMENT, None])
    @pytest.mark.parametrize("outcome", [2, 3])
    def test_partial_and_rejected_carry_what_arrived(
        self, border: Border, transfer: pb.Transfer, outcome: int, received: bytes | None
    ) -> None:
        changes = {} if received is None else {"received_commitment": received}
        assert self.facts(border, transfer, outcome=outcome, **changes).outcome == outcome

    def test_remote_viewing_is_accepted_without_one(self, border: Border) -> None:
        viewing = border.transfer(commitment=b"", transmission=5)
        assert self.facts(border, viewing).outcome == pb.OUTCOME_ACCEPTED

    def test_remote_viewing_has_no_digest_mismatch_without_one(self, border: Border) -> None:
        viewing = border.transfer(commitment=b"", transmission=5)
        with pytest.raises(FieldError):
            self.facts(border, viewing, outcome=4)


class TestTimeOfAnAck:
    FIVE_MINUTES = 300_000_000

    @pytest.mark.parametrize("outcome", [1, 2, 3])
    def test_nothing_is_received_after_it_is_acknowledged(
        self, border: Border, outcome: int
    ) -> None:
        received_at = START + self.FIVE_MINUTES + 1
        ack = border.ack(border.transfer(), outcome=outcome, received_at=received_at)
        with pytest.raises(FieldError, match="received_at") as refused:
            read_facts(border.recipient.body(ack=ack))
        assert refused.value.reason == "NOT_YET"

    @pytest.mark.parametrize("later", [-1, FIVE_MINUTES])
    def test_clocks_may_be_five_minutes_apart(self, border: Border, later: int) -> None:
        ack = border.ack(border.transfer(), received_at=START + later)
        assert read_facts(border.recipient.body(ack=ack))[1].outcome == pb.OUTCOME_ACCEPTED


class TestAdmission:
    @pytest.fixture
    def record(self, border: Border) -> SignedRecord:
        return sign_record(border.exporter.body(transfer=border.transfer()), border.exporter.key)

    def test_returns_what_the_header_needs(self, border: Border, record: SignedRecord) -> None:
        _, facts = read_facts(record.body)
        digest = sha256(record.body).digest()
        halves = encode_halves(facts.halves)
        tail = header_tail(Kind.TRANSFER, digest, 1, record.key_id, record.signature, halves)
        expected = Admitted(facts, record.body, digest, record.key_id, 1, tail)
        assert admit_for(border.exporter, record) == expected

    def test_of_ones_own_entry_is_as_that_of_the_same_record(
        self, border: Border, record: SignedRecord
    ) -> None:
        own = sign_admitted(record.body, border.exporter.key, key_index=1)
        assert own == admit_for(border.exporter, record)

    def test_makes_the_end_of_the_header(self, border: Border, record: SignedRecord) -> None:
        log = replace(border.mainland, entries=list(border.mainland.entries))
        index = log.add(record.body, border.exporter.key, border.exporter.admitted_at)
        assert log.entries[index][0][49:] == admit_for(border.exporter, record).tail

    def test_the_signature_is_over_the_origin(self, border: Border, record: SignedRecord) -> None:
        _, facts = read_facts(record.body)
        digest = sha256(record.body).digest()
        halves = encode_halves(facts.halves)
        message = signed_bytes(MAINLAND, Kind.TRANSFER, digest, record.key_id, halves)
        verify(border.exporter.key.public, message, record.signature)

    def test_under_another_certificate_is_refused(
        self, border: Border, record: SignedRecord
    ) -> None:
        other = replace(border.exporter, id="lei.OTHER")
        assert refusal(other, record) == "WRONG_AUTHOR"

    def test_in_another_log_is_refused(self, border: Border, record: SignedRecord) -> None:
        elsewhere = replace(border.exporter, origin=HONG_KONG)
        assert refusal(elsewhere, record) == "WRONG_ORIGIN"

    def test_without_a_signature_is_refused(self, border: Border, record: SignedRecord) -> None:
        assert refusal(border.exporter, record._replace(signature=b"")) == "UNSIGNED"

    @pytest.mark.parametrize("size", [1, 63, 65])
    def test_with_a_signature_of_another_size_is_refused(
        self, border: Border, record: SignedRecord, size: int
    ) -> None:
        short = record._replace(signature=bytes(size))
        assert refusal(border.exporter, short) == "FIELD_OUT_OF_RANGE"

    @pytest.mark.parametrize("size", [0, 32, 34])
    def test_with_a_key_id_of_another_size_is_refused(
        self, border: Border, record: SignedRecord, size: int
    ) -> None:
        short = record._replace(key_id=bytes(size))
        assert refusal(border.exporter, short) == "FIELD_OUT_OF_RANGE"

    def test_by_a_key_that_was_not_admitted_is_refused(
        self, border: Border, record: SignedRecord
    ) -> None:
        assert refusal(border.exporter, sign_record(record.body, new_key())) == "KEY_UNKNOWN"

    def test_by_another_institutions_key_is_refused(
        self, border: Border, record: SignedRecord
    ) -> None:
        signed = sign_record(record.body, border.recipient.key)
        assert refusal(border.exporter, signed) == "KEY_UNKNOWN"

    def test_with_the_signature_of_another_record_is_refused(
        self, border: Border, record: SignedRecord
    ) -> None:
        other = sign_record(border.exporter.body(transfer=border.transfer()), border.exporter.key)
        mixed = record._replace(signature=other.signature)
        assert refusal(border.exporter, mixed) == "BAD_SIGNATURE"

    def test_with_another_keys_signature_is_refused(
        self, border: Border, record: SignedRecord
    ) -> None:
        mixed = record._replace(signature=sign_record(record.body, new_key()).signature)
        assert refusal(border.exporter, mixed) == "BAD_SIGNATURE"

    def test_does_not_survive_a_changed_bit_of_its_body(
        self, border: Border, record: SignedRecord
    ) -> None:
        survived = []
        for bit in range(len(record.body) * 8):
            changed = bytearray(record.body)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                admit_for(border.exporter, record._replace(body=bytes(changed)))
            except LedgerError:
                continue
            survived.append(bit)
        assert survived == []

    def test_of_a_body_over_32_kib_is_refused(self, border: Border) -> None:
        with pytest.raises(TooLargeError):
            admit_for(border.exporter, unsigned(bytes(32 * 1024 + 1), border.exporter))

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"subjects": 10**10 + 1}, "FIELD_OUT_OF_RANGE"),
            ({"purposes": [99]}, "UNKNOWN_CODE"),
            ({"contract_id": "A123456(3)"}, "PERSONAL_DATA"),
        ],
    )
    def test_of_terms_out_of_range_is_refused(
        self, border: Border, changes: dict[str, Any], reason: str
    ) -> None:
        body = border.exporter.body(transfer=border.transfer(**changes))
        assert refusal(border.exporter, unsigned(body, border.exporter)) == reason

    @pytest.mark.parametrize(
        "record",
        [
            {"rule_set": pb.RuleSet(digest=bytes(32))},
            {"loss": new_border().mainland.loss()},
            {"evidence": pb.Evidence(accused_origin=HONG_KONG, bundle_digest=bytes(32))},
        ],
    )
    def test_of_an_entry_that_is_not_an_institutions_is_refused(
        self, border: Border, record: dict[str, Any]
    ) -> None:
        body = border.exporter.body(**record)
        assert refusal(border.exporter, unsigned(body, border.exporter)) == "WRONG_AUTHOR"

    def test_of_an_entry_by_the_node_is_refused_to_an_institution(self, border: Border) -> None:
        body = new_body(MAINLAND, "node", rule_set=pb.RuleSet(digest=bytes(32)))
        assert refusal(border.exporter, sign_record(body, border.exporter.key)) == "WRONG_AUTHOR"

    @given(st.binary(max_size=200), st.binary(max_size=40), st.binary(max_size=70))
    def test_no_bytes_raise_anything_but_our_errors(
        self, body: bytes, key_id: bytes, signature: bytes
    ) -> None:
        with pytest.raises(LedgerError):
            admit(SignedRecord(body, key_id, signature), origin=MAINLAND, author=EXPORTER, keys={})


class TestClock:
    def facts(self, occurred_at: int) -> Facts:
        return Facts(Kind.TRANSFER, EXPORTER, UUID7, occurred_at)

    @pytest.mark.parametrize("ahead", [-365 * 24 * 60 * MINUTE, 0, MINUTE, 5 * MINUTE])
    def test_any_past_and_5_minutes_ahead_are_taken(self, ahead: int) -> None:
        check_clock(self.facts(START + ahead), START)

    @pytest.mark.parametrize("ahead", [5 * MINUTE + 1, 24 * 60 * MINUTE])
    def test_more_is_refused(self, ahead: int) -> None:
        with pytest.raises(FieldError) as refused:
            check_clock(self.facts(START + ahead), START)
        assert refused.value.reason == "CLOCK_AHEAD"


class TestErrors:
    @pytest.mark.parametrize("error", [FieldError, ForbiddenError, SignatureError])
    def test_cross_process_borders_whole(self, error: type[LedgerError]) -> None:
        before = error("message", reason="REASON", action="do this")
        after = pickle.loads(pickle.dumps(before))  # noqa: S301 - our own bytes
        assert (type(after), after.message, after.reason, after.action) == (
            error,
            "message",
            "REASON",
            "do this",
        )
