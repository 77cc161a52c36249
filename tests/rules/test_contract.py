"""What is found on a contract: K2, K3.unknown, K5, K6, K8, K11's route, K13, K16's end, K19, K22."""

from __future__ import annotations

import pytest
from builders import at
from rules.contracts import (
    BANK_OF_HONG_KONG,
    BANK_OF_SHENZHEN,
    RECIPIENT,
    Stated,
    clean_terms,
    only,
)

from ledgerd.projections.terms import scope_of
from ledgerd.rules.lapse import Lapse, Party
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.transfer import Side
from ledgerd_client.rulebook import RULES

NOW = "2026-06-30"
GUANGZHOU, SHENZHEN, HONG_KONG, MACAO = 440100, 440300, 810000, 820000


def clean(**changes: object) -> Stated:
    """A contract that is filed, assessed and used, and nothing is found of it."""
    return Stated().state(**changes).file("2026-02-20").assess("2026-02-01").send("2026-03-02")


class TestClean:
    def test_nothing_is_found(self) -> None:
        assert clean().judged(NOW) == ((), 0)

    def test_nor_on_the_other_side(self) -> None:
        assert Stated(exporting=False).state().file("2026-02-20").judged(NOW) == ((), 0)


class TestParties:
    """K2: one party in the nine cities and one in Hong Kong (1.2), in both directions (1.3)."""

    @pytest.mark.parametrize(
        ("exporter_place", "recipient_place", "direction", "found"),
        [
            (SHENZHEN, HONG_KONG, 1, []),
            (HONG_KONG, SHENZHEN, 2, []),
            (SHENZHEN, HONG_KONG, 2, ["K2.direction"]),
            (HONG_KONG, SHENZHEN, 1, ["K2.direction"]),
            (SHENZHEN, GUANGZHOU, 1, ["K2.places"]),
            (HONG_KONG, HONG_KONG, 1, ["K2.places"]),
            (SHENZHEN, MACAO, 1, ["K2.places"]),
            (MACAO, HONG_KONG, 1, ["K2.places"]),
        ],
    )
    def test_places_and_direction(
        self, exporter_place: int, recipient_place: int, direction: int, found: list[str]
    ) -> None:
        stated = clean(
            exporter_place=exporter_place, recipient_place=recipient_place, direction=direction
        )
        registered = BANK_OF_SHENZHEN._replace(place=exporter_place, id="lei.X")
        assert only(stated.found(NOW, registered), "K2.") == found

    def test_it_rests_on_the_statement(self) -> None:
        assert clean(direction=2).judged(NOW).lapses == (Lapse("K2.direction", ((True, 11),)),)

    @pytest.mark.parametrize(
        ("party", "found"),
        [
            (BANK_OF_SHENZHEN, []),
            (BANK_OF_SHENZHEN._replace(place=GUANGZHOU), ["K2.registered"]),
            (BANK_OF_SHENZHEN._replace(sector=3), ["K2.registered"]),
        ],
    )
    def test_the_own_party_is_as_registered(self, party: Party, found: list[str]) -> None:
        assert clean().found(NOW, party) == found

    def test_the_recipient_looks_at_its_own_place(self) -> None:
        stated = Stated(exporting=False).state(recipient_place=HONG_KONG).file("2026-02-20")
        assert stated.found(NOW, BANK_OF_HONG_KONG._replace(sector=2)) == ["K2.registered"]

    @pytest.mark.parametrize(
        ("institution", "found"),
        [
            # GB 32100: characters 3 to 8 are the division, here Shenzhen's 4403.
            ("uscc.91440300MA5EXMPL04", []),
            ("uscc.91440100MA5EXMPL04", ["K2.uscc_place"]),
            ("lei.5493001KJTIIGC8Y1R12", []),
        ],
    )
    def test_the_code_says_the_place(self, institution: str, found: list[str]) -> None:
        stated = clean(exporter=Side("cn.example/log", institution))
        rules = stated.found(NOW, BANK_OF_SHENZHEN._replace(id=institution))
        assert only(rules, "K2.uscc") == found

    @pytest.mark.parametrize(
        ("recipient", "found"), [(RECIPIENT, []), ("hkbr.7654321", ["K2.org_id"])]
    )
    def test_check_digits_of_both_parties(self, recipient: str, found: list[str]) -> None:
        assert clean(recipient=Side("hk.example/log", recipient)).found(NOW) == found


class TestUnknown:
    def test_transfers_under_no_contract_are_found_once_on_the_first(self) -> None:
        stated = Stated().send("2026-03-02").send("2026-03-03")
        assert stated.judged(NOW).lapses == (Lapse("K3.unknown_contract", ((True, 11),)),)

    def test_other_records_that_name_it_too(self) -> None:
        stated = Stated()
        stated.contract.dangling = [7, 9]
        assert stated.judged(NOW).lapses == (Lapse("C2.no_contract", ((True, 7),)),)

    def test_the_contract_closes_both(self) -> None:
        stated = clean()
        stated.contract.dangling = [7]
        assert stated.found(NOW) == []


class TestImpactAssessment:
    """K5: PIPL 55, an impact assessment before any export."""

    @pytest.mark.parametrize(
        ("completed_on", "found"),
        [
            ("2026-03-01", []),
            ("2026-03-02", []),
            ("2026-03-03", ["K5.pipia_late"]),
        ],
    )
    def test_on_the_day_of_the_first_transfer_it_is_in_time(
        self, completed_on: str, found: list[str]
    ) -> None:
        stated = Stated().state().file("2026-02-20").assess(completed_on)
        assert stated.send("2026-03-02 23:59:59.999999").found(NOW) == found

    def test_late_names_both_records_and_both_dates(self) -> None:
        stated = Stated().state().file("2026-02-20").send("2026-03-02").assess("2026-03-03")
        assert stated.judged(NOW).lapses == (
            Lapse("K5.pipia_late", ((True, 13), (True, 14)), (20260303, 20260302)),
        )

    def test_the_earliest_counts(self) -> None:
        stated = Stated().state().file("2026-02-20").assess("2026-04-01").assess("2026-02-01")
        assert stated.send("2026-03-02").found(NOW) == []

    @pytest.mark.parametrize(("conclusion", "found"), [(1, []), (2, []), (3, ["K5.no_pipia"])])
    def test_one_that_says_no_is_none(self, conclusion: int, found: list[str]) -> None:
        stated = Stated().state().file("2026-02-20").assess("2026-02-01", conclusion)
        assert stated.send("2026-03-02").found(NOW) == found

    def test_before_the_first_transfer_none_is_missed(self) -> None:
        assert Stated().state().file("2026-02-20").found(NOW) == []

    @pytest.mark.parametrize(("mechanism", "found"), [(9, []), (10, []), (6, ["K5.no_pipia"])])
    def test_model_clauses_and_pdpo_alone_ask_for_none(
        self, mechanism: int, found: list[str]
    ) -> None:
        assert Stated().state(mechanism=mechanism).send("2026-03-02").found(NOW) == found

    def test_the_recipient_does_not_answer_for_it(self) -> None:
        stated = Stated(exporting=False).state().file("2026-02-20").send("2026-03-02")
        assert stated.found(NOW) == []


class TestScope:
    """K6: purposes, means or categories beyond what was agreed (1.14)."""

    @pytest.mark.parametrize(
        ("used", "rule", "codes"),
        [
            (scope_of((1, 17), (), (), (), ()), "K6.purposes", 1),
            (scope_of((), (1, 2, 3), (), (), ()), "K6.categories", 2),
            (scope_of((), (), (4,), (), ()), "K6.categories", 1),
            (scope_of((), (), (), (7,), ()), "K6.means", 1),
            (scope_of((), (), (), (), (1, 5)), "K6.means", 1),
        ],
    )
    def test_each_list_is_found_by_itself(self, used: int, rule: str, codes: int) -> None:
        stated = clean()
        stated.usage.excess, stated.usage.excess_at = used, (21, 22, 23)
        position = {"K6.purposes": 21, "K6.categories": 22, "K6.means": 23}[rule]
        expected = Lapse(rule, ((True, 11), (True, position)), (codes,))
        assert stated.judged(NOW).lapses == (expected,)

    @pytest.mark.parametrize(("purposes", "found"), [([1, 5, 17], []), ([1, 5], ["K6.purposes"])])
    def test_a_supplement_that_covers_it_closes_it(
        self, purposes: list[int], found: list[str]
    ) -> None:
        stated = clean()
        stated.usage.excess = scope_of((17,), (), (), (), ())
        stated.state(purposes=purposes).file("2026-02-20")
        assert stated.found(NOW) == found

    @pytest.mark.parametrize(
        ("now", "found"),
        [("2026-03-02", []), ("2026-03-01 23:59:59.999999", ["K6.purposes"])],
    )
    def test_a_supplement_covers_from_its_day_of_effect_on(
        self, now: str, found: list[str]
    ) -> None:
        stated = clean()
        stated.usage.excess = scope_of((17,), (), (), (), ())
        stated.state(purposes=[1, 5, 17], effective_on=20260302).file("2026-02-20")
        assert only(stated.found(now), "K6") == found

    def test_is_looked_at_again_when_a_supplement_takes_effect(self) -> None:
        stated = clean()
        stated.usage.excess = scope_of((17,), (), (), (), ())
        stated.state(purposes=[1, 5, 17], effective_on=20260302).file("2026-02-20")
        assert stated.judged("2026-02-28").due == at("2026-03-02")


class TestImportantData:
    """K8: the GBA Standard Contract is not for important data (1.4)."""

    @pytest.mark.parametrize(
        ("mechanism", "important", "found"),
        [(1, True, ["K8.important_data"]), (1, False, []), (3, True, [])],
    )
    def test_only_under_that_contract(
        self, mechanism: int, important: bool, found: list[str]
    ) -> None:
        side = pb.ContractSide(important_data=important)
        assert only(clean(mechanism=mechanism, side=side).found(NOW), "K8.") == found


class TestRoute:
    """K11: Provisions 7, 8; disputed whether volumes under the GBA Standard Contract count."""

    @pytest.mark.parametrize(
        ("mechanism", "national", "every", "found"),
        [
            # 6 exempt: nothing; 2, 4, 5 a contract or certificate; 3 an assessment.
            (6, 0, 0, []),
            (6, 1, 1, ["K11.route"]),
            (6, 0, 1, ["K11.route_disputed"]),
            (4, 1, 1, []),
            (4, 2, 2, ["K11.route"]),
            (4, 1, 2, ["K11.route_disputed"]),
            (2, 1, 1, []),
            (2, 2, 2, ["K11.route"]),
            (5, 1, 1, []),
            (5, 2, 2, ["K11.route"]),
            (3, 2, 2, []),
            # Lists with limits of their own.
            (7, 2, 2, []),
            (8, 2, 2, []),
            # The GBA Standard Contract itself: information alone.
            (1, 0, 1, []),
            (1, 0, 2, ["K11.route_disputed"]),
            (1, 2, 2, ["K11.route_disputed"]),
            (11, 1, 1, []),
            (11, 2, 2, ["K11.route_disputed"]),
        ],
    )
    def test_by_mechanism(
        self, mechanism: int, national: int, every: int, found: list[str]
    ) -> None:
        stated = clean(mechanism=mechanism)
        stated.usage.route = (2026, national, every, 31)
        assert only(stated.found(NOW), "K11.") == found

    def test_it_names_the_year_and_the_record(self) -> None:
        stated = clean(mechanism=6)
        stated.usage.route = (2026, 1, 1, 31)
        assert stated.judged(NOW).lapses == (Lapse("K11.route", ((True, 31),), (2026,)),)

    def test_hong_kong_exporters_are_not_counted(self) -> None:
        stated = clean(mechanism=6)
        stated.usage.route = (2026, 2, 2, 31)
        assert only(stated.found(NOW, BANK_OF_HONG_KONG), "K11.") == []


class TestCriticalInfrastructure:
    """K13: PIPL 40, assessed before export."""

    @pytest.mark.parametrize(
        ("mechanism", "ciio", "found"), [(1, True, ["K13.ciio"]), (1, False, []), (3, True, [])]
    )
    def test_needs_an_assessment(self, mechanism: int, ciio: bool, found: list[str]) -> None:
        stated = clean(mechanism=mechanism, side=pb.ContractSide(ciio=ciio))
        assert only(stated.found(NOW), "K13.") == found

    def test_not_from_hong_kong(self) -> None:
        stated = clean(side=pb.ContractSide(ciio=True))
        assert only(stated.found(NOW, BANK_OF_HONG_KONG), "K13.") == []


class TestGeneticData:
    """K19: human genetic resources are filed beside any contract."""

    @pytest.mark.parametrize(
        ("sector", "reference", "found"),
        [
            (3, "", ["K19.hgr"]),
            (8, "", ["K19.hgr"]),
            (3, "HGR-2026-1", []),
            (1, "", []),
        ],
    )
    def test_of_hospitals_and_research(self, sector: int, reference: str, found: list[str]) -> None:
        stated = clean(exporter_sector=sector, side=pb.ContractSide(hgr_ref=reference))
        stated.usage.genetic = 31
        assert stated.found(NOW, BANK_OF_SHENZHEN._replace(sector=sector)) == found


class TestScale:
    """K22: the appendix's scale (1.20); NDSR 38, not beyond the assessed scale."""

    @pytest.mark.parametrize(
        ("subjects", "found"), [(49_999, []), (50_000, []), (50_001, ["K22.planned"])]
    )
    def test_planned_is_50_000(self, subjects: int, found: list[str]) -> None:
        stated = clean(planned_scale=50_000)
        stated.usage.subjects = subjects
        assert stated.found(NOW) == found

    @pytest.mark.parametrize(("subjects", "found"), [(800, []), (801, ["K22.assessed"])])
    def test_assessed_is_800(self, subjects: int, found: list[str]) -> None:
        stated = clean(mechanism=3, planned_scale=1, side=pb.ContractSide(authorised_scale=800))
        stated.usage.subjects = subjects
        assert stated.found(NOW) == found

    def test_a_supplement_with_a_larger_scale_closes_it(self) -> None:
        stated = clean().state(planned_scale=60_000).file("2026-02-20")
        stated.usage.subjects = 50_001
        assert stated.found(NOW) == []


class TestAssessmentOfTheRecipient:
    """K5: PIPL 55 has the one who provides the data assess."""

    def test_is_said_to_stand_for_nothing(self) -> None:
        stated = Stated(exporting=False).state().file("2026-02-20").assess("2026-02-20")
        assert stated.judged(NOW).lapses == (Lapse("K5.by_recipient", ((True, 13),)),)

    def test_of_the_exporter_is_not(self) -> None:
        assert "K5.by_recipient" not in clean().assess("2026-02-20").found(NOW)


class TestHeldAfterEnd:
    """K16: at the end the recipient returns or deletes (1.19); within 30 days, a figure of ours."""

    @pytest.mark.parametrize(
        ("now", "held", "found"),
        [
            # 30 days after 31 March, and a day in which a disposal may reach the log.
            ("2026-05-01 23:59:59.999999", 1, []),
            ("2026-05-02 00:00:00.000000", 1, ["K16.held_after_end"]),
            ("2026-05-02 00:00:00.000000", 0, []),
        ],
    )
    def test_what_is_not_disposed_of(self, now: str, held: int, found: list[str]) -> None:
        stated = Stated(exporting=False).state().file("2026-02-20")
        stated.end("2026-03-31", recorded="2026-04-01", notified_on="2026-04-01")
        stated.usage.held = held
        assert stated.found(now) == found

    def test_it_is_looked_at_a_day_after_the_last_us_of_the_thirtieth_day(self) -> None:
        stated = Stated(exporting=False).state().file("2026-02-20")
        stated.end("2026-03-31", recorded="2026-04-01", notified_on="2026-04-01")
        stated.usage.held = 2
        assert stated.judged("2026-04-02").due == at("2026-05-01 23:59:59.999999")

    def test_an_end_recorded_late_has_a_day_of_grace(self) -> None:
        stated = Stated(exporting=False).state().file("2026-02-20")
        stated.end("2026-03-31", recorded="2026-06-01 09:00", notified_on="2026-04-01")
        stated.usage.held = 2
        found = [stated.found(now) for now in ("2026-06-02 09:00", "2026-06-02 09:00:00.000001")]
        assert found == [[], ["K16.held_after_end"]]

    def test_the_exporter_does_not_answer_for_it(self) -> None:
        stated = clean().end("2026-03-31", recorded="2026-04-01", notified_on="2026-04-01")
        stated.usage.held = 1
        assert stated.found(NOW) == []


class TestEndNotNotified:
    """K16: the end is notified to the own regulator (1.19); in 10 working days, a figure of ours."""

    @pytest.mark.parametrize(
        ("party", "now", "found"),
        [
            # From Tuesday 31 March: Mainland 1 to 3, 7 to 10, 13 to 15 April (6 April is free).
            # And a day in which the notice may reach the log.
            (BANK_OF_SHENZHEN, "2026-04-16 23:59:59.999999", []),
            (BANK_OF_SHENZHEN, "2026-04-17 00:00:00.000000", ["K16.end_not_notified"]),
            # Hong Kong: 1, 2, 8 to 10, 13 to 17 April (3, 6 and 7 are free).
            (BANK_OF_HONG_KONG, "2026-04-18 23:59:59.999999", []),
            (BANK_OF_HONG_KONG, "2026-04-19 00:00:00.000000", ["K16.end_not_notified"]),
        ],
    )
    def test_by_the_own_calendar(self, party: Party, now: str, found: list[str]) -> None:
        stated = Stated(exporting=party.side == "CN").state().file("2026-02-20")
        assert stated.end("2026-03-31", recorded="2026-03-31").found(now, party) == found

    @pytest.mark.parametrize(
        ("notified_on", "found"),
        [("2026-04-15", []), ("2026-04-16", ["K16.end_notified_late"])],
    )
    def test_the_day_of_the_notice_is_judged_at_once(
        self, notified_on: str, found: list[str]
    ) -> None:
        stated = clean().end("2026-03-31", recorded="2026-03-31", notified_on=notified_on)
        assert stated.found("2026-04-16") == found

    def test_without_a_calendar_nobody_is_accused(self) -> None:
        stated = clean().end("2026-12-30", recorded="2026-12-30")
        assert stated.judged("2027-05-05") == ((), at("2027-05-05 23:59:59.999999"))


class TestDue:
    def test_the_earliest_of_several_deadlines_comes_first(self) -> None:
        # A filing by 27 February and a day, notice of the end by 20 March.
        stated = Stated().state().end("2026-03-06", recorded="2026-02-06")
        assert stated.judged("2026-02-10").due == at("2026-02-28 23:59:59.999999")

    def test_whichever_it_is(self) -> None:
        # The end of what is said of a certificate before the notice of that end, by 6 March.
        side = pb.ContractSide(authorised_on=20260105)
        stated = Stated().state(mechanism=2, side=side, expires_on=20260228)
        stated.end("2026-02-20", recorded="2026-02-20")
        assert stated.judged("2026-02-20").due == at("2026-02-20 23:59:59.999999")


class TestNumbers:
    def test_every_lapse_has_the_numbers_that_its_rule_names(self) -> None:
        stated = Stated().state(mechanism=6, direction=2, planned_scale=1).send("2026-03-02", 9)
        stated.usage.excess, stated.usage.excess_at = (1 << 300) - 1, (1, 2, 3)
        stated.usage.route = (2026, 2, 2, 31)
        stated.end("2026-03-31", recorded="2026-03-31")
        for lapse in stated.judged(NOW).lapses:
            assert len(lapse.numbers) == len(RULES[lapse.rule].numbers), lapse.rule


def test_the_clean_contract_is_what_its_summary_says() -> None:
    assert clean_terms().effective_on == 20260206
