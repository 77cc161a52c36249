"""K7, K17, K24: what is stated of a provision onward, an incident, a request of a public body."""

from __future__ import annotations

import pytest
from builders import at
from google.protobuf.message import Message
from rules.contracts import (
    BANK_OF_HONG_KONG,
    BANK_OF_SHENZHEN,
    GRACE,
    LAW,
    rules_of,
)

from ledgerd.projections.matters import Matter
from ledgerd.rules.lapse import Judgement, Lapse, Party
from ledgerd.rules.matters import judge_matter
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.rulebook import RULES

GUANGZHOU, HONG_KONG, MACAO, OUTSIDE = 440100, 810000, 820000, 999999
CAC_GD, HK_DPO, MO_DSPDP, HK_PCPD, CAC = 1, 2, 3, 4, 5
GENERAL, LARGER, MAJOR = 1, 2, 3
LISTED = "hkbr.12345678"


def judged(
    record: str,
    message: Message,
    now: str,
    party: Party = BANK_OF_SHENZHEN,
    listed: list[str] | None = None,
) -> Judgement:
    matter = Matter(record, 31, message.SerializeToString())
    return judge_matter(matter, listed, party, at(now), GRACE, LAW)


def onward(place: int = HONG_KONG, **changes: object) -> pb.Onward:
    fields = dict.fromkeys(("needed", "told", "consented", "listed"), True) | changes
    return pb.Onward(third_party=LISTED, third_party_place=place, **fields)


class TestOnward:
    """K7: only within the recipient's own jurisdiction (1.5, 1.6), on four conditions."""

    NOW = "2026-06-30"

    @pytest.mark.parametrize(
        ("party", "place", "found"),
        [
            (BANK_OF_HONG_KONG, HONG_KONG, []),
            (BANK_OF_HONG_KONG, GUANGZHOU, ["K7.outside"]),
            (BANK_OF_HONG_KONG, MACAO, ["K7.outside"]),
            (BANK_OF_HONG_KONG, OUTSIDE, ["K7.outside"]),
            (BANK_OF_SHENZHEN, GUANGZHOU, []),
            (BANK_OF_SHENZHEN, HONG_KONG, ["K7.outside"]),
            (BANK_OF_SHENZHEN, MACAO, ["K7.outside"]),
            (BANK_OF_SHENZHEN, OUTSIDE, ["K7.outside"]),
        ],
    )
    def test_place(self, party: Party, place: int, found: list[str]) -> None:
        assert rules_of(judged("onward", onward(place), self.NOW, party)) == found

    @pytest.mark.parametrize("condition", ["needed", "told", "consented", "listed"])
    def test_each_condition_is_needed(self, condition: str) -> None:
        message = onward(**{condition: False})
        found = judged("onward", message, self.NOW, BANK_OF_HONG_KONG)
        assert found.lapses == (Lapse("K7.conditions", ((True, 31),)),)

    @pytest.mark.parametrize(
        ("third_parties", "found"),
        [([], ["K7.unlisted"]), (["hkbr.76543210"], ["K7.unlisted"]), ([LISTED], [])],
    )
    def test_the_contract_lists_the_third_party(
        self, third_parties: list[str], found: list[str]
    ) -> None:
        judgement = judged("onward", onward(), self.NOW, BANK_OF_HONG_KONG, third_parties)
        assert rules_of(judgement) == found

    def test_of_a_contract_that_is_not_known_nothing_is_said(self) -> None:
        assert judged("onward", onward(), self.NOW, BANK_OF_HONG_KONG) == Judgement()


DISCOVERED = "2026-03-02 10:00:00.000000"


def incident(grade: int, *notices: tuple[int, str], ciio: bool = False) -> pb.Incident:
    return pb.Incident(
        discovered_at=at(DISCOVERED), grade=grade, ciio=ciio,
        notices=[pb.Notice(authority=authority, at=at(when)) for authority, when in notices],
    )  # fmt: skip


class TestMainlandIncident:
    """
    K17: Measures of 2025, article 4: graded larger or above, within 4 hours, operators of critical
    infrastructure within 1 hour. PIPL 57 for the others: at once; 24 hours, a figure of ours.
    That nobody was told is said a day later: a notice has so long to be recorded.
    """

    @pytest.mark.parametrize(
        ("grade", "ciio", "now", "found"),
        [
            (LARGER, False, "2026-03-03 14:00:00.000000", []),
            (LARGER, False, "2026-03-03 14:00:00.000001", ["K17.no_notice"]),
            (MAJOR, False, "2026-03-03 14:00:00.000001", ["K17.no_notice"]),
            (LARGER, True, "2026-03-03 11:00:00.000000", []),
            (LARGER, True, "2026-03-03 11:00:00.000001", ["K17.no_notice"]),
            (GENERAL, False, "2026-03-04 10:00:00.000000", []),
            (GENERAL, False, "2026-03-04 10:00:00.000001", ["K17.no_notice"]),
            (GENERAL, True, "2026-03-04 10:00:00.000000", []),
        ],
    )
    def test_without_a_notice(self, grade: int, ciio: bool, now: str, found: list[str]) -> None:
        assert rules_of(judged("incident", incident(grade, ciio=ciio), now)) == found

    @pytest.mark.parametrize(
        ("now", "found"),
        [("2026-03-07 09:00:00.000000", []), ("2026-03-07 09:00:00.000001", ["K17.no_notice"])],
    )
    def test_one_that_is_recorded_late_is_given_as_long_for_its_notice(
        self, now: str, found: list[str]
    ) -> None:
        body = incident(LARGER).SerializeToString()
        matter = Matter("incident", 31, body, at("2026-03-06 09:00"))
        judgement = judge_matter(matter, None, BANK_OF_SHENZHEN, at(now), GRACE, LAW)
        assert rules_of(judgement) == found

    def test_until_then_it_is_awaited(self) -> None:
        found = judged("incident", incident(LARGER), DISCOVERED)
        assert found == Judgement(due=at("2026-03-03 14:00"))

    @pytest.mark.parametrize(
        ("grade", "ciio", "notified", "found"),
        [
            (LARGER, False, "2026-03-02 13:59:59.999999", []),
            (LARGER, False, "2026-03-02 14:00:00.000000", []),
            (LARGER, False, "2026-03-02 14:00:00.000001", ["K17.late_notice"]),
            (LARGER, True, "2026-03-02 11:00:00.000000", []),
            (LARGER, True, "2026-03-02 11:00:00.000001", ["K17.late_notice"]),
            # No hours are named for a general one; 24 are a figure of ours.
            (GENERAL, False, "2026-03-03 10:00:00.000000", []),
            (GENERAL, False, "2026-03-03 10:00:00.000001", ["K17.late_notice"]),
        ],
    )
    def test_the_time_of_the_first_notice(
        self, grade: int, ciio: bool, notified: str, found: list[str]
    ) -> None:
        message = incident(grade, (CAC, "2026-05-01"), (CAC_GD, notified), ciio=ciio)
        assert rules_of(judged("incident", message, "2026-06-30")) == found

    @pytest.mark.parametrize(
        ("authority", "found"),
        [
            (CAC_GD, []),
            (CAC, []),
            (HK_DPO, ["K17.no_notice"]),
            (MO_DSPDP, ["K17.no_notice"]),
            (HK_PCPD, ["K17.no_notice"]),
        ],
    )
    def test_only_a_mainland_authority_counts(self, authority: int, found: list[str]) -> None:
        message = incident(LARGER, (authority, DISCOVERED))
        assert rules_of(judged("incident", message, "2026-06-30")) == found

    def test_before_the_measures_there_were_a_days_hours(self) -> None:
        message = incident(LARGER, (CAC_GD, "2025-10-02"))
        message.discovered_at = at("2025-10-01")
        assert judged("incident", message, "2026-06-30") == Judgement()

    def test_before_the_measures_the_law_said_at_once(self) -> None:
        message = incident(LARGER)
        message.discovered_at = at("2025-10-31 10:00")
        assert judged("incident", message, "2025-10-31 12:00").due == at("2025-11-02 10:00")


class TestHongKongIncident:
    """K17: notice to PCPD is voluntary (guidance of June 2023), so this is information."""

    @pytest.mark.parametrize(
        ("notices", "now", "found"),
        [
            ([], "2026-03-04 10:00:00.000000", []),
            ([], "2026-03-04 10:00:00.000001", ["K17.hk_no_notice"]),
            ([(HK_PCPD, "2026-03-20")], "2026-06-30", []),
            ([(HK_DPO, "2026-03-20")], "2026-06-30", []),
            ([(CAC_GD, DISCOVERED)], "2026-06-30", ["K17.hk_no_notice"]),
        ],
    )
    def test_notice(self, notices: list[tuple[int, str]], now: str, found: list[str]) -> None:
        message = incident(MAJOR, *notices)
        assert rules_of(judged("incident", message, now, BANK_OF_HONG_KONG)) == found


class TestPublicBodies:
    """K24: the recipient tells the exporter (1.17); 72 hours is a figure of ours."""

    @pytest.mark.parametrize(
        ("disclosed", "notified", "now", "found"),
        [
            (False, "", "2026-03-06 10:00:00.000000", []),
            (False, "", "2026-03-06 10:00:00.000001", ["K24.no_notice"]),
            (True, "", DISCOVERED, ["K24.no_notice"]),
            (True, DISCOVERED, "2026-06-30", []),
            (False, "2026-03-05 10:00:00.000000", "2026-03-05 11:00", []),
            (False, "2026-03-05 10:00:00.000001", "2026-03-05 11:00", ["K24.late_notice"]),
        ],
    )
    def test_the_exporter_is_told(
        self, disclosed: bool, notified: str, now: str, found: list[str]
    ) -> None:
        message = pb.GovAccess(
            received_at=at(DISCOVERED), disclosed=disclosed,
            exporter_notified_at=at(notified) if notified else 0,
        )  # fmt: skip
        assert rules_of(judged("gov_access", message, now, BANK_OF_HONG_KONG)) == found


class TestOthers:
    def test_a_change_of_consent_raises_nothing(self) -> None:
        message = pb.ConsentChange(contract_id="C-1", change=1, subjects=3)
        assert judged("consent_change", message, "2026-06-30") == Judgement()

    def test_every_lapse_has_the_numbers_that_its_rule_names(self) -> None:
        stated = [
            ("incident", incident(LARGER)),
            ("incident", incident(LARGER, (CAC_GD, "2026-05-01"))),
            ("gov_access", pb.GovAccess(received_at=at(DISCOVERED))),
            ("gov_access", pb.GovAccess(received_at=at(DISCOVERED), disclosed=True)),
            ("onward", onward(OUTSIDE, told=False)),
        ]
        for record, message in stated:
            for party in (BANK_OF_SHENZHEN, BANK_OF_HONG_KONG):
                for lapse in judged(record, message, "2026-06-30", party).lapses:
                    assert len(lapse.numbers) == len(RULES[lapse.rule].numbers)
