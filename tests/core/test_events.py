"""What one party records of its contracts: fields in range, and no half for the other side."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from builders import EXPORTER, MAINLAND, START, new_body
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import parse_body
from ledgerd_client.core.errors import FieldError, InputError, LedgerError
from ledgerd_client.core.header import Kind
from ledgerd_client.core.past import CLOCK_AHEAD
from ledgerd_client.core.record import Facts, read_facts

MATTER, DIGEST, REF, CONTRACT = bytes(16), b"\x88" * 32, b"\x99" * 32, "GBA-2026-0042"
RANGE, CODE, PERSON = "FIELD_OUT_OF_RANGE", "UNKNOWN_CODE", "PERSONAL_DATA"

SOUND: dict[str, Any] = {
    "pipia": pb.Pipia(
        contract_id=CONTRACT, report_digest=DIGEST, completed_on=20260201, conclusion=1,
        keep_until=20290201,
    ),
    "suspend": pb.Suspend(contract_id=CONTRACT, at=START, cause=3, reason="on order"),
    "resume": pb.Resume(contract_id=CONTRACT, at=START),
    "onward": pb.Onward(
        contract_id=CONTRACT, matter=MATTER, ref=REF, third_party="hkbr.00000001",
        third_party_place=810000, needed=True, told=True, consented=True, listed=True,
        agreement_digest=DIGEST, purposes=[5],
    ),
    "incident": pb.Incident(
        matter=MATTER, contract_ids=["A", "B"], discovered_at=START, categories=[1],
        sensitive_categories=[5], affected_subjects=12, grade=2, cause=1,
        notices=[pb.Notice(authority=1, at=START)], subjects_notified_at=START,
    ),
    "gov_access": pb.GovAccess(
        contract_id=CONTRACT, matter=MATTER, requester=2, territory=810000, received_at=START,
    ),
    "consent_change": pb.ConsentChange(
        contract_id=CONTRACT, matter=MATTER, change=1, subjects=4, from_date=20260801,
    ),
}  # fmt: skip

NOT_SAID: list[tuple[str, dict[str, Any], str]] = [
    *(
        (record, {"contract_id": name}, reason)
        for record in SOUND
        if record != "incident"
        for name, reason in (("", RANGE), ("a" * 65, RANGE), ("A123456(3)", PERSON))
    ),
    *(
        (record, {"matter": matter}, RANGE)
        for record in ("onward", "incident", "gov_access", "consent_change")
        for matter in (b"", bytes(15), bytes(17))
    ),
    ("pipia", {"report_digest": b""}, RANGE),
    ("pipia", {"completed_on": 0}, RANGE),
    ("pipia", {"completed_on": 20260229}, RANGE),
    ("pipia", {"conclusion": 0}, CODE),
    ("pipia", {"conclusion": 4}, CODE),
    ("pipia", {"keep_until": 0}, RANGE),
    ("suspend", {"at": 0}, RANGE),
    ("suspend", {"cause": 0}, CODE),
    ("suspend", {"cause": 7}, CODE),
    ("suspend", {"reason": "a" * 501}, RANGE),
    ("resume", {"at": 0}, RANGE),
    ("resume", {"reason": "4111 1111 1111 1111"}, PERSON),
    ("onward", {"ref": bytes(31)}, RANGE),
    ("onward", {"third_party": "somebody"}, RANGE),
    ("onward", {"third_party": "hkbr.1"}, RANGE),
    ("onward", {"third_party": "uscc.91350100M000100Y44"}, RANGE),
    ("onward", {"third_party_place": 0}, CODE),
    ("onward", {"third_party_place": 110000}, CODE),
    ("onward", {"agreement_digest": b""}, RANGE),
    ("onward", {"purposes": []}, RANGE),
    ("onward", {"purposes": [5, 5]}, RANGE),
    ("onward", {"purposes": [19]}, CODE),
    ("incident", {"contract_ids": ["B", "A"]}, RANGE),
    ("incident", {"contract_ids": ["A", "A"]}, RANGE),
    ("incident", {"contract_ids": [""]}, RANGE),
    ("incident", {"discovered_at": 0}, RANGE),
    ("incident", {"categories": [2, 1]}, RANGE),
    ("incident", {"sensitive_categories": [12]}, CODE),
    ("incident", {"affected_subjects": 10_000_000_001}, RANGE),
    ("incident", {"grade": 0}, CODE),
    ("incident", {"grade": 5}, CODE),
    ("incident", {"cause": 8}, CODE),
    ("incident", {"notices": [pb.Notice(authority=6, at=START)]}, CODE),
    ("incident", {"notices": [pb.Notice(authority=1)]}, RANGE),
    ("incident", {"subjects_notified_at": 2**63}, RANGE),
    ("incident", {"counterparty_notified_at": 2**63}, RANGE),
    ("gov_access", {"requester": 0}, CODE),
    ("gov_access", {"requester": 6}, CODE),
    ("gov_access", {"territory": 0}, CODE),
    ("gov_access", {"received_at": 0}, RANGE),
    ("gov_access", {"exporter_notified_at": 2**63}, RANGE),
    ("consent_change", {"change": 0}, CODE),
    ("consent_change", {"change": 3}, CODE),
    ("consent_change", {"subjects": 10_000_000_001}, RANGE),
    ("consent_change", {"from_date": 20260229}, RANGE),
]
SAID: list[tuple[str, dict[str, Any]]] = [
    *((record, {}) for record in SOUND),
    # Outside is a place that only what goes onward can have; and then a finding says so.
    ("onward", {"third_party_place": 999999}),
    ("onward", {"ref": b"", "needed": False, "told": False}),
    ("onward", {"third_party": "uscc.91350100M000100Y43", "third_party_place": 440300}),
    # What is not known yet.
    ("incident", {"contract_ids": [], "categories": [], "sensitive_categories": []}),
    ("incident", {"notices": [], "subjects_notified_at": 0}),
    ("gov_access", {"territory": 999999, "disclosed": True}),
]


# Times of what has happened, by record.
HAPPENED: list[tuple[str, str]] = [
    ("incident", "discovered_at"),
    ("incident", "subjects_notified_at"),
    ("incident", "counterparty_notified_at"),
    ("gov_access", "received_at"),
    ("gov_access", "exporter_notified_at"),
]


class TestWhatHasHappened:
    """Nobody can state it before, and what it came of came before it."""

    @pytest.mark.parametrize(("record", "field"), HAPPENED)
    def test_may_be_as_far_ahead_as_a_clock(self, record: str, field: str) -> None:
        unsaid = {"notices": [], "subjects_notified_at": 0} if record == "incident" else {}
        assert facts(record, **{**unsaid, field: START + CLOCK_AHEAD})

    @pytest.mark.parametrize(("record", "field"), HAPPENED)
    def test_is_not_further_ahead(self, record: str, field: str) -> None:
        unsaid = {"notices": [], "subjects_notified_at": 0} if record == "incident" else {}
        with pytest.raises(FieldError, match=field) as refused:
            facts(record, **{**unsaid, field: START + CLOCK_AHEAD + 1})
        assert refused.value.reason == "NOT_YET"

    def test_includes_notices(self) -> None:
        ahead = [pb.Notice(authority=1, at=START + CLOCK_AHEAD + 1)]
        with pytest.raises(FieldError, match=r"notices\[0\].at") as refused:
            facts("incident", notices=ahead)
        assert refused.value.reason == "NOT_YET"

    def test_includes_an_assessment(self) -> None:
        assert facts("pipia", completed_on=20260803)
        with pytest.raises(FieldError, match="completed_on") as refused:
            facts("pipia", completed_on=20260804)
        assert refused.value.reason == "NOT_YET"

    @pytest.mark.parametrize(
        ("record", "changes"),
        [
            ("incident", {"notices": [pb.Notice(authority=1, at=START - 1)]}),
            ("incident", {"subjects_notified_at": START - 1}),
            ("incident", {"counterparty_notified_at": START - 1}),
            ("gov_access", {"exporter_notified_at": START - 1}),
        ],
    )
    def test_comes_after_its_cause(self, record: str, changes: dict[str, Any]) -> None:
        with pytest.raises(FieldError, match="lies before"):
            facts(record, **changes)

    def test_is_not_what_is_planned(self) -> None:
        assert facts("suspend", at=START + 10**12)
        assert facts("pipia", keep_until=20990101)


def facts(record: str, **changes: Any) -> Facts:
    message = type(SOUND[record])()
    message.CopyFrom(SOUND[record])
    for field in changes:
        message.ClearField(field)
    message.MergeFrom(type(message)(**changes))
    return read_facts(new_body(MAINLAND, EXPORTER, START, **{record: message}))[1]


class TestAnEvent:
    @pytest.mark.parametrize(("record", "changes"), SAID)
    def test_in_range_is_read_and_shows_the_other_side_no_half(
        self, record: str, changes: dict[str, Any]
    ) -> None:
        read = facts(record, **changes)
        assert (read.kind, read.halves) == (Kind.RECORD, None)

    @pytest.mark.parametrize(("record", "changes", "reason"), NOT_SAID)
    def test_out_of_range_is_refused(
        self, record: str, changes: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(InputError) as refused:
            facts(record, **changes)
        assert refused.value.reason == reason

    @pytest.mark.parametrize("record", SOUND)
    def test_is_an_institutions(self, record: str) -> None:
        with pytest.raises(FieldError):
            read_facts(new_body(MAINLAND, "node", START, **{record: SOUND[record]}))


class TestChangedBytes:
    @given(st.sampled_from(list(SOUND)), st.data())
    def test_raise_nothing_but_our_errors(self, record: str, data: st.DataObject) -> None:
        original = new_body(MAINLAND, EXPORTER, START, **{record: SOUND[record]})
        place = data.draw(st.integers(0, len(original) - 1))
        changed = original[:place] + data.draw(st.binary(max_size=4)) + original[place + 1 :]
        with suppress(LedgerError):
            read_facts(changed)


class TestATick:
    def test_is_the_nodes_and_holds_nothing(self) -> None:
        body = new_body(MAINLAND, "node", START, tick=pb.Tick())
        assert parse_body(body).WhichOneof("record") == "tick"
        assert read_facts(body)[1].kind == Kind.NODE

    def test_is_no_institutions(self) -> None:
        with pytest.raises(FieldError) as refused:
            read_facts(new_body(MAINLAND, EXPORTER, START, tick=pb.Tick()))
        assert refused.value.reason == "WRONG_AUTHOR"
