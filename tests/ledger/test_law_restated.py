"""What a party may state anew: it gains no time by it, and nothing goes without a trace."""

from __future__ import annotations

import pytest
from ledger.law_world import CONTRACT_ID, DAY, LawWorld, at, rules_of
from ledger.world import Node

from ledgerd.rules.ruleset import HOUR
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.record import Admitted

OTHER_WORDS = b"\1" * 32
MAINLAND_DPO = 2


def suspend(law: LawWorld, at: int) -> Admitted:
    return law.by_exporter(suspend=pb.Suspend(contract_id=CONTRACT_ID, at=at, cause=1))


def resume(law: LawWorld, at: int) -> Admitted:
    return law.by_exporter(resume=pb.Resume(contract_id=CONTRACT_ID, at=at))


def filing(law: LawWorld, filed_on: int, number: str, authority: int = 1) -> Admitted:
    stated = pb.Filing(
        terms=law.contract_terms(),
        authority=authority,
        filed_on=filed_on,
        result=1,
        filing_no=number,
    )
    return law.by_exporter(filing=stated)


class TestAgainAndAgain:
    """Other words, or other days, every twenty hours put no deadline off."""

    def test_of_a_contract_leave_it_overdue(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia())
        for number in range(24):
            law.tick(law.mainland, law.clock() + 20 * HOUR)
            words = (OTHER_WORDS, bytes(32))[number % 2]
            law.mainland.place(law.contract(document_digest=words))
        assert "K4.overdue" in rules_of(law.mainland)

    @pytest.mark.parametrize(
        ("node", "rule", "notified"),
        [("mainland", "K16.end_not_notified", 0), ("hong_kong", "K16.held_after_end", 20260803)],
    )
    def test_of_an_end_leave_it_unmet(
        self, law: LawWorld, node: str, rule: str, notified: int
    ) -> None:
        law.agree()
        terms = law.terms()
        law.mainland.place(law.transfer(terms))
        law.hong_kong.place(law.ack(terms))
        ended: Node = getattr(law, node)
        by = law.by_exporter if node == "mainland" else law.by_recipient
        for number in range(48):
            law.tick(ended, law.clock() + 20 * HOUR)
            ended.place(by(termination=law.termination(20260802 + number % 2, notified)))
        assert rule in rules_of(ended)


class TestLateFiling:
    LATE, IN_TIME = 20260920, 20260804

    def file_late(self, law: LawWorld, number: str = "") -> None:
        law.clock.now = at("2026-09-20")
        law.mainland.place(filing(law, self.LATE, number))

    def test_stays_when_the_contract_is_stated_and_filed_in_other_words(
        self, law: LawWorld
    ) -> None:
        law.mainland.append(law.contract(), law.pipia())
        self.file_late(law)
        law.mainland.append(
            law.contract(document_digest=OTHER_WORDS),
            law.filing(self.IN_TIME, document_digest=OTHER_WORDS),
        )
        assert rules_of(law.mainland) == {"K4.restated"}

    def test_stays_whatever_else_is_filed(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia())
        law.clock.now = at("2026-08-05")
        returned = law.contract_terms()
        for number in range(99):
            stated = pb.Filing(
                terms=returned, authority=1, filed_on=20260804, result=3, filing_no=str(number)
            )
            law.mainland.place(law.by_exporter(filing=stated))
        self.file_late(law, "LATE")
        for number in range(99):
            law.mainland.place(filing(law, self.IN_TIME, f"MORE-{number}"))
        assert rules_of(law.mainland) == {"K4.filed_late"}

    def test_is_told_after_many_with_another_authority(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia())
        law.clock.now = at("2026-08-05")
        for number in range(99):
            law.mainland.place(filing(law, self.IN_TIME, str(number), MAINLAND_DPO))
        self.file_late(law)
        law.mainland.place(filing(law, self.IN_TIME, ""))
        assert rules_of(law.mainland) == {"K4.restated"}


class TestManySuspensions:
    def test_forget_none_that_lasts(self, law: LawWorld) -> None:
        law.agree()
        begin = law.clock()
        law.mainland.append(*(resume(law, begin + number) for number in range(99)))
        law.clock.advance(1)
        law.mainland.place(suspend(law, law.clock()))
        law.mainland.append(*(resume(law, law.clock() + DAY + n) for n in range(120)))
        law.clock.advance(1)
        law.mainland.place(law.transfer())
        assert rules_of(law.mainland) == {"K3.suspended"}

    def test_of_too_many_the_first_ones_are_one(self, law: LawWorld) -> None:
        law.agree()
        begin = law.clock()
        for number in range(51):
            law.mainland.place(suspend(law, begin + 2 * number * HOUR))
            law.mainland.place(resume(law, begin + (2 * number + 1) * HOUR))
        law.clock.now = begin + 102 * HOUR
        law.mainland.place(law.transfer(at=begin + HOUR + 1))
        law.mainland.place(law.transfer(at=begin + 101 * HOUR + 1))
        assert len([rule for rule, _ in law.mainland.standing() if rule == "K3.suspended"]) == 1


class TestOpenedAfterwards:
    """K3.restated: what was sent while the contract was not in effect is told all the same."""

    def test_by_a_resumption_at_the_time_of_the_suspension(self, law: LawWorld) -> None:
        law.agree()
        since = law.clock()
        law.mainland.place(suspend(law, since))
        law.clock.advance(30)
        law.mainland.place(law.transfer())
        law.clock.advance(1)
        law.mainland.place(resume(law, since))
        law.tick(law.mainland, law.clock() + 2 * DAY)
        assert rules_of(law.mainland) == {"K3.restated"}

    def test_by_an_end_that_is_moved(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.by_exporter(termination=law.termination(20260803, 20260803)))
        law.clock.now += 20 * DAY
        law.mainland.place(law.transfer())
        law.mainland.place(law.by_exporter(termination=law.termination(20990101, 20260803)))
        law.tick(law.mainland, law.clock() + 2 * DAY)
        assert rules_of(law.mainland) == {"K3.restated"}

    def test_by_a_contract_stated_as_running_longer(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(expires_on=20260810), law.pipia())
        law.clock.now = at("2026-08-12")
        law.mainland.place(law.transfer())
        law.mainland.place(law.contract())
        assert "K3.restated" in rules_of(law.mainland)

    def test_is_not_said_when_nothing_was_sent_meanwhile(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.transfer())
        law.clock.advance(1)
        law.mainland.place(suspend(law, since := law.clock()))
        law.clock.now += 30 * DAY
        law.mainland.place(resume(law, since))
        assert rules_of(law.mainland) == set()

    def test_is_not_said_of_a_resumption_that_was_on_its_way(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(suspend(law, law.clock()))
        law.clock.advance(10)
        resumed = law.clock()
        law.mainland.place(law.transfer())
        law.clock.advance(20)
        law.mainland.place(resume(law, resumed))
        law.tick(law.mainland, law.clock() + 2 * DAY)
        assert rules_of(law.mainland) == set()

    def test_is_not_said_of_a_contract_stated_for_the_first_time(self, law: LawWorld) -> None:
        law.mainland.place(law.transfer())
        law.clock.now += 2 * DAY
        law.mainland.append(law.contract(), law.pipia())
        law.tick(law.mainland, law.clock() + DAY)
        assert "K3.restated" not in rules_of(law.mainland)


class TestSupplementOfTheFarFuture:
    """It says nothing yet."""

    def test_leaves_an_expiry(self, law: LawWorld) -> None:
        expiring = {"expires_on": 20260831}
        law.mainland.append(law.contract(**expiring), law.filing(20260803, **expiring), law.pipia())
        law.clock.now = at("2026-09-05")
        law.mainland.place(law.supplement(effective_on=20990101, expires_on=20991231))
        law.mainland.place(law.transfer())
        law.tick(law.mainland, law.clock() + HOUR)
        assert rules_of(law.mainland) == {"K3.after_expiry"}

    def test_leaves_what_was_planned_and_who_exports(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(pb.ContractSide(ciio=True), planned_scale=10), law.pipia())
        law.mainland.place(law.transfer())
        law.mainland.place(
            law.supplement(effective_on=20990101, planned_scale=1_000_000, mechanism=3)
        )
        assert rules_of(law.mainland) == {"K22.planned", "K13.ciio"}

    def test_counts_once_it_is_in_force(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(planned_scale=10), law.filing(20260803, planned_scale=10))
        law.mainland.append(law.pipia(), law.transfer())
        law.mainland.place(law.supplement(effective_on=20260901, planned_scale=1_000_000))
        law.tick(law.mainland, at("2026-08-31"))
        before = rules_of(law.mainland)
        law.tick(law.mainland, at("2026-09-01"))
        assert ("K22.planned" in before, "K22.planned" in rules_of(law.mainland)) == (True, False)


class TestToldLate:
    """The grace is for silence: what is stated is judged by the legal deadline."""

    def test_of_an_end_within_the_grace(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.by_exporter(termination=law.termination(20260803)))
        law.tick(law.mainland, at("2026-08-18", "19:00:00"))
        law.mainland.place(law.by_exporter(termination=law.termination(20260803, 20260818)))
        assert rules_of(law.mainland) == {"K16.end_notified_late"}

    def test_an_end_notified_on_the_last_day_is_not(self, law: LawWorld) -> None:
        law.agree()
        law.clock.now = at("2026-08-18", "19:00:00")
        law.mainland.place(law.by_exporter(termination=law.termination(20260803, 20260817)))
        assert rules_of(law.mainland) == set()


class TestBeforeTheStandardContract:
    def test_a_contract_said_to_be_of_it_is_told(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(effective_on=20231209), law.pipia(20231209))
        assert rules_of(law.mainland) == {"K3.before_standard"}

    def test_from_its_first_day_on_it_is_not(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(effective_on=20231210))
        assert rules_of(law.mainland) == set()
