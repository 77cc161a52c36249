"""What is found of contracts, end to end: stated, used, found, cured, closed (docs/rules.md)."""

from __future__ import annotations

from typing import Any

import pytest
from builders import SHENZHEN
from ledger.law_world import CONTRACT_ID, DAY, LawWorld, at, rules_of

from ledgerd.projections.contracts import MAX_DANGLING
from ledgerd.projections.transfer_row import MAX_HALVES
from ledgerd_client._proto import body_pb2 as pb

ASSESSMENT, CERTIFICATE = 3, 2
# The 10th working day after 2026-08-03 is Monday 2026-08-17, on both sides.
# What is recorded of it has a day more to reach the log.
SPARED = at("2026-08-18", "23:59:59.999999")


def numbers_of(law: LawWorld, rule: str) -> list[int]:
    """Numbers of the newest finding of a rule in the Mainland's log."""
    return list([each for each in law.mainland.findings() if each.rule == rule][-1].numbers)


class TestAgreedContract:
    def test_raises_nothing_on_either_side(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.transfer())
        law.clock.advance(1)
        law.anchor()
        assert (rules_of(law.mainland), rules_of(law.hong_kong)) == (set(), set())


class TestPlaces:
    """K2: one party in the nine cities, the other in Hong Kong."""

    def test_of_two_mainland_parties_is_found(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(recipient_place=440100))
        assert rules_of(law.mainland) == {"K2.places"}

    def test_restated_is_closed(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(recipient_place=440100))
        law.mainland.place(law.contract())
        assert rules_of(law.mainland) == set()

    def test_other_than_registered_is_found(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(exporter_sector=3))
        assert rules_of(law.mainland) == {"K2.registered"}


class TestUnknownContract:
    """K3: transfers under an id that nobody has stated are kept, and found once."""

    def test_is_found_once_however_many_transfers_name_it(self, law: LawWorld) -> None:
        first, *_ = law.mainland.append(law.transfer(), law.transfer(), law.transfer())
        finding = (("gba.example/mainland", first),)
        assert law.mainland.standing() == {("K3.unknown_contract", frozenset(finding))}

    def test_is_closed_by_the_contract(self, law: LawWorld) -> None:
        law.mainland.place(law.transfer())
        law.mainland.append(law.contract(), law.pipia())
        assert rules_of(law.mainland) == set()

    def test_that_came_meanwhile_is_judged_when_the_contract_comes(self, law: LawWorld) -> None:
        law.mainland.place(law.transfer(law.terms(purposes=[3])))
        law.mainland.place(law.contract(effective_on=20260901))
        law.tick(law.mainland, law.clock() + 1)
        assert rules_of(law.mainland) == {"K3.before_effect", "K5.no_pipia", "K6.purposes"}


class TestFiling:
    """K4: filed within 10 working days of the contract's effect."""

    def test_is_pending_once_the_day_of_effect_and_the_grace_have_passed(
        self, law: LawWorld
    ) -> None:
        law.mainland.place(law.contract())
        law.tick(law.mainland, law.clock() + DAY + 1)
        assert rules_of(law.mainland) == {"K4.pending"}
        assert numbers_of(law, "K4.pending") == [20260817, 0]

    def test_within_the_grace_raises_nothing(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.filing(20260803))
        law.tick(law.mainland, SPARED + 40 * DAY)
        assert law.mainland.findings() == []

    @pytest.mark.parametrize("authority", [2, 3, 4])
    def test_with_an_authority_that_is_not_its_sides_own_is_none(
        self, law: LawWorld, authority: int
    ) -> None:
        """Each with its own territory's authority (1.8)."""
        law.mainland.append(law.contract(), law.filing(20260803, authority=authority))
        law.tick(law.mainland, SPARED + 1)
        assert rules_of(law.mainland) == {"K4.overdue"}

    def test_on_the_last_microsecond_is_not_overdue(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.tick(law.mainland, SPARED)
        # Also not when something else has it judged then.
        law.mainland.append(law.mainland.by_node(tick=pb.Tick()), law.pipia())
        assert rules_of(law.mainland) == {"K4.pending"}

    def test_a_microsecond_later_is_overdue(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.tick(law.mainland, SPARED + 1)
        assert rules_of(law.mainland) == {"K4.overdue"}

    def test_that_comes_late_is_closed_and_stays_late(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.tick(law.mainland, SPARED + 1)
        law.mainland.place(law.filing(20260818))
        assert rules_of(law.mainland) == {"K4.filed_late"}
        assert numbers_of(law, "K4.filed_late") == [20260817, 20260818]

    def test_on_the_last_day_is_not_late(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.tick(law.mainland, SPARED + 1)
        law.mainland.place(law.filing(20260817))
        assert rules_of(law.mainland) == set()

    def test_gains_no_time_by_the_contract_said_again_in_the_same_words(
        self, law: LawWorld
    ) -> None:
        law.mainland.place(law.contract())
        law.tick(law.mainland, SPARED + 1)
        law.mainland.place(law.contract(pb.ContractSide(ciio=False, group_id="SAME")))
        assert "K4.overdue" in rules_of(law.mainland)

    def test_that_is_restated_is_told_so(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.tick(law.mainland, SPARED)
        law.mainland.place(law.filing(20260818))
        late = rules_of(law.mainland)
        law.mainland.place(law.filing(20260817))
        assert (late, rules_of(law.mainland)) == ({"K4.filed_late"}, {"K4.restated"})
        assert numbers_of(law, "K4.restated") == [20260817, 20260817, 20260818]

    def test_of_other_terms_is_told_until_the_contract_says_the_same(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.filing(20260803, planned_scale=5))
        law.tick(law.mainland, SPARED + 1)
        found = rules_of(law.mainland)
        law.mainland.place(law.contract(planned_scale=5))
        assert (found, rules_of(law.mainland)) == ({"K4.other_terms"}, set())

    def test_that_was_not_made_is_found_on_the_recipients_side_too(self, law: LawWorld) -> None:
        law.hong_kong.place(law.counterpart())
        law.tick(law.hong_kong, SPARED + 1)
        assert rules_of(law.hong_kong) == {"K4.overdue"}

    def test_is_not_found_before_a_tick(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.clock.now = SPARED + 30 * DAY
        law.mainland.place(law.pipia())
        assert "K4.overdue" not in rules_of(law.mainland)

    def test_with_a_calendar_that_is_not_published_is_pending_alone(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(effective_on=20270104))
        law.tick(law.mainland, at("2027-03-01"))
        assert rules_of(law.mainland) == {"K4.pending"}
        assert numbers_of(law, "K4.pending") == [20270118, 1]


class TestAssessment:
    """K5: a PIPIA before the first transfer."""

    def test_that_is_missing_is_found_once(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.transfer(), law.transfer())
        assert [each.rule for each in law.mainland.findings()] == ["K5.no_pipia"]

    def test_is_closed_by_it(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.transfer(), law.pipia())
        assert rules_of(law.mainland) == set()

    def test_that_comes_after_the_day_of_the_first_transfer_stays_late(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.transfer())
        law.clock.advance(24)
        law.mainland.place(law.pipia(20260804))
        assert rules_of(law.mainland) == {"K5.pipia_late"}

    def test_that_says_no_is_none(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia(conclusion=3), law.transfer())
        assert rules_of(law.mainland) == {"K5.no_pipia"}

    def test_is_not_missed_when_the_only_transfer_is_cancelled(self, law: LawWorld) -> None:
        terms = law.terms()
        law.mainland.append(law.contract(), law.transfer(terms), law.cancel(terms))
        assert rules_of(law.mainland) == set()


class TestScope:
    """K6: what is sent lies within what was agreed."""

    @pytest.mark.parametrize(
        ("beyond", "rule"),
        [
            ({"purposes": [2, 3]}, "K6.purposes"),
            ({"categories": [1, 2]}, "K6.categories"),
            ({"means": [5]}, "K6.means"),
            ({"transmission": 2}, "K6.means"),
        ],
    )
    def test_that_grows_is_found_on_the_contract(
        self, law: LawWorld, beyond: dict[str, Any], rule: str
    ) -> None:
        law.agree()
        law.mainland.place(law.transfer(law.terms(**beyond)))
        law.mainland.place(law.transfer(law.terms(**beyond)))
        assert [each.rule for each in law.mainland.findings()] == [rule]

    def test_rests_on_the_contract_and_the_first_transfer_beyond(self, law: LawWorld) -> None:
        contract, *_ = law.mainland.append(law.contract(), law.pipia())
        first = law.mainland.place(law.transfer(law.terms(purposes=[3])))
        (finding,) = law.mainland.findings()
        assert [record.index for record in finding.records] == [contract, first]

    def test_is_found_until_the_supplement_that_covers_it_takes_effect(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia())
        law.mainland.append(
            law.supplement(purposes=[2, 3, 7], effective_on=20260805),
            law.transfer(law.terms(purposes=[3])),
        )
        before = "K6.purposes" in rules_of(law.mainland)
        law.tick(law.mainland, at("2026-08-05"))
        assert (before, "K6.purposes" in rules_of(law.mainland)) == (True, False)

    def test_that_came_before_such_a_supplement_is_closed_then_and_not_sooner(
        self, law: LawWorld
    ) -> None:
        law.mainland.append(law.contract(), law.pipia())
        law.mainland.place(law.transfer(law.terms(purposes=[3])))
        law.mainland.place(law.supplement(purposes=[2, 3, 7], effective_on=20260805))
        before = "K6.purposes" in rules_of(law.mainland)
        law.tick(law.mainland, at("2026-08-05"))
        assert (before, "K6.purposes" in rules_of(law.mainland)) == (True, False)

    def test_is_closed_by_a_supplement_that_covers_it(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.transfer(law.terms(purposes=[2, 3])))
        law.mainland.place(law.supplement(purposes=[2, 3, 7]))
        assert rules_of(law.mainland) == set()

    def test_is_not_closed_by_one_that_covers_a_part(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.transfer(law.terms(purposes=[3, 4])))
        law.mainland.place(law.supplement(purposes=[2, 3, 7]))
        assert rules_of(law.mainland) == {"K6.purposes"}


class TestImportantData:
    """K8: important data does not go under the GBA Standard Contract."""

    def test_is_found_until_the_contract_is_stated_anew(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(pb.ContractSide(important_data=True)))
        found = rules_of(law.mainland)
        law.mainland.place(law.contract(pb.ContractSide(important_data=False)))
        assert (found, rules_of(law.mainland)) == ({"K8.important_data"}, set())


class TestCriticalOperator:
    """K13: an operator of critical infrastructure needs an assessment."""

    def test_without_one_is_found(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(pb.ContractSide(ciio=True)))
        assert rules_of(law.mainland) == {"K13.ciio"}

    def test_with_one_is_not(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(pb.ContractSide(ciio=True), mechanism=ASSESSMENT))
        assert rules_of(law.mainland) == set()


class TestHumanGenetics:
    """K19: genetic data of a hospital needs its filing for human genetic resources."""

    def test_is_found_on_the_first_such_transfer(self, law: LawWorld) -> None:
        law.exporter = law.mainland.enrol("uscc.12440300MB0000001U", place=SHENZHEN, sector=3)
        kept = {"sensitive_categories": [10], "exporter_sector": 3}
        law.mainland.append(law.contract(**kept), law.pipia())
        sent = law.terms(
            exporter=law.exporter.party,
            sensitive_categories=[10],
            sensitive_subjects=1,
            sensitive_first_this_year=1,
        )
        law.mainland.place(law.transfer(sent))
        assert "K19.hgr" in rules_of(law.mainland)


class TestScale:
    """K22: no more persons than were planned, or assessed."""

    @pytest.mark.parametrize(("sent", "found"), [(299, set()), (300, set())])
    def test_up_to_the_plan_raises_nothing(self, law: LawWorld, sent: int, found: set[str]) -> None:
        law.mainland.append(law.contract(planned_scale=300), law.pipia())
        law.mainland.place(law.transfer(law.terms(subjects_first_this_year=sent)))
        assert rules_of(law.mainland) == found

    def test_beyond_the_plan_is_found_until_a_supplement_plans_for_it(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(planned_scale=300), law.pipia())
        law.mainland.place(law.transfer(law.terms(subjects_first_this_year=301)))
        found = rules_of(law.mainland)
        law.mainland.place(law.supplement(planned_scale=301))
        assert (found, rules_of(law.mainland)) == ({"K22.planned"}, set())

    def test_beyond_what_was_assessed_is_found(self, law: LawWorld) -> None:
        side = pb.ContractSide(authorised_scale=300, authorised_on=20260801)
        law.mainland.append(law.contract(side, mechanism=ASSESSMENT), law.pipia())
        law.mainland.place(law.transfer(law.terms(subjects_first_this_year=301)))
        assert rules_of(law.mainland) == {"K22.assessed"}


class TestAuthorisation:
    """K23: an assessment or certificate holds for three years."""

    def test_that_has_run_out_is_found_the_day_after(self, law: LawWorld) -> None:
        side = pb.ContractSide(authorised_on=20240401)
        law.mainland.place(law.contract(side, mechanism=CERTIFICATE))
        law.tick(law.mainland, at("2027-04-02", "23:59:59.999999"))
        before = rules_of(law.mainland)
        law.tick(law.mainland, at("2027-04-03"))
        assert (before, rules_of(law.mainland)) == ({"K23.expiring"}, {"K23.expired"})

    def test_that_is_renewed_is_closed(self, law: LawWorld) -> None:
        old, new = (pb.ContractSide(authorised_on=on) for on in (20240401, 20270301))
        law.mainland.place(law.contract(old, mechanism=CERTIFICATE))
        law.tick(law.mainland, at("2027-04-02"))
        law.mainland.place(law.contract(new, mechanism=CERTIFICATE))
        assert rules_of(law.mainland) == set()


class TestEnd:
    """K16: a contract's end is notified, and the data is gone."""

    def test_that_was_not_notified_is_found_after_ten_working_days(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.by_exporter(termination=law.termination(20260803)))
        law.tick(law.mainland, SPARED + 1)
        found = rules_of(law.mainland)
        law.mainland.place(law.by_exporter(termination=law.termination(20260803, 20260818)))
        assert found == {"K16.end_not_notified"}
        assert rules_of(law.mainland) == {"K16.end_notified_late"}

    def test_with_data_still_held_is_found_after_thirty_days(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms()
        law.hong_kong.place(law.ack(terms))
        law.hong_kong.place(law.by_recipient(termination=law.termination(20260803, 20260803)))
        law.tick(law.hong_kong, at("2026-09-03", "23:59:59.999999"))
        before = rules_of(law.hong_kong)
        law.tick(law.hong_kong, at("2026-09-04"))
        found = rules_of(law.hong_kong)
        law.hong_kong.place(law.disposal(1, 1200))
        assert (before, found) == (set(), {"K16.held_after_end"})
        assert rules_of(law.hong_kong) == set()


class TestHalves:
    """C1: both parties state one contract."""

    def test_that_differ_are_found_on_both_sides(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.hong_kong.place(law.counterpart(planned_scale=7))
        law.anchor()
        assert (rules_of(law.mainland), rules_of(law.hong_kong)) == ({"C1.differs"},) * 2

    def test_that_meet_at_last_are_closed(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.hong_kong.place(law.counterpart(planned_scale=7))
        law.anchor()
        law.hong_kong.place(law.counterpart())
        law.anchor()
        assert (rules_of(law.mainland), rules_of(law.hong_kong)) == (set(), set())

    def test_of_a_party_that_was_misnamed_first_are_agreed_on_both_sides(
        self, law: LawWorld
    ) -> None:
        wrong = pb.Party(origin=law.recipient.party.origin, institution="hkbr.11111111")
        law.hong_kong.place(law.counterpart())
        law.mainland.place(law.contract(recipient=wrong))
        law.anchor()
        found = rules_of(law.mainland)
        law.mainland.place(law.contract())
        law.clock.now += 31 * DAY
        law.anchor()
        found_then = (rules_of(law.mainland), rules_of(law.hong_kong))
        assert (found, found_then) == ({"C1.foreign_half"}, (set(), set()))
        law.mainland.audit()

    def test_of_one_side_alone_are_found_when_the_other_was_silent(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.filing(20260803))
        law.clock.advance(30 * 24)
        law.anchor(law.mainland)
        before = rules_of(law.mainland)
        law.clock.now += 1
        law.anchor(law.mainland)
        assert (before, rules_of(law.mainland)) == (set(), {"C1.one_sided"})

    def test_concern_the_party_of_this_side(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.hong_kong.place(law.counterpart(planned_scale=7))
        law.anchor()
        (finding,) = law.mainland.findings()
        concerned = (finding.ref, finding.institution, finding.contract_id)
        assert concerned == (b"", law.exporter.id, CONTRACT_ID)


class TestTwoContractsByOneId:
    """C1: the first one counts."""

    def test_the_second_is_found(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.contract(nonce=bytes(16), mechanism=4))
        assert rules_of(law.mainland) == {"C1.second_contract"}

    def test_the_first_is_used(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.contract(nonce=bytes(16), mechanism=4))
        answer = law.mainland.reader.contract(law.exporter.id, CONTRACT_ID)
        assert pb.ContractTerms.FromString(answer.terms).mechanism == 1


class TestRecordsBeforeTheirContract:
    """C2: a record of a contract that is not stated yet is kept, and used when it comes."""

    def test_are_found_and_closed_by_the_contract(self, law: LawWorld) -> None:
        law.mainland.append(law.filing(20260803), law.supplement(), law.pipia())
        found = rules_of(law.mainland)
        law.mainland.place(law.contract())
        assert (found, rules_of(law.mainland)) == ({"C2.no_contract"}, set())

    def test_are_used_when_it_comes(self, law: LawWorld) -> None:
        law.mainland.append(law.pipia(), law.filing(20260803))
        law.mainland.append(law.contract(), law.transfer())
        law.tick(law.mainland, SPARED + 1)
        assert rules_of(law.mainland) == set()

    def test_are_kept_however_many_others_named_it_before(self, law: LawWorld) -> None:
        incidents = [
            law.incident(matter=bytes([number] * 16), contract_ids=[CONTRACT_ID])
            for number in range(MAX_DANGLING)
        ]
        law.mainland.append(*(law.by_exporter(incident=each) for each in incidents))
        law.mainland.append(law.pipia(), law.contract(), law.transfer())
        assert "K5.no_pipia" not in rules_of(law.mainland)


class TestVersions:
    def test_beyond_the_kept_ones_are_found_and_no_longer_kept(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.mainland.append(*(law.supplement(number) for number in range(1, MAX_HALVES + 2)))
        kept = law.mainland.reader.contract(law.exporter.id, CONTRACT_ID).terms
        assert "C1.too_many_halves" in rules_of(law.mainland)
        assert pb.ContractTerms.FromString(kept).version == MAX_HALVES


class TestSupplements:
    def test_that_skip_a_number_stand_in_their_order(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.supplement(3), law.supplement(2, retention_days=1))
        answer = law.mainland.reader.contract(law.exporter.id, CONTRACT_ID)
        assert pb.ContractTerms.FromString(answer.terms).version == 3

    def test_of_the_same_number_replace_the_earlier_one(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.supplement(1), law.supplement(1, planned_scale=9))
        answer = law.mainland.reader.contract(law.exporter.id, CONTRACT_ID)
        assert pb.ContractTerms.FromString(answer.terms).planned_scale == 9


class TestWithoutALaw:
    def test_contents_are_not_judged(self) -> None:
        from ledger.world import RULES

        world = LawWorld(rules=RULES)
        world.mainland.append(world.contract(recipient_place=440100), world.transfer())
        assert world.mainland.findings() == []
