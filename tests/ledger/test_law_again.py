"""What is judged again: transfers whose contract turns out to have been something else."""

from __future__ import annotations

from typing import Any

import pytest
from ledger.law_world import CONTRACT_ID, DAY, LawWorld, at, rules_of

from ledgerd.projections.sent import CHUNK
from ledgerd.rules.ruleset import HOUR
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.record import Admitted


def suspend(law: LawWorld, since: int) -> Admitted:
    return law.by_exporter(suspend=pb.Suspend(contract_id=CONTRACT_ID, at=since, cause=1))


def resume(law: LawWorld, since: int) -> Admitted:
    return law.by_exporter(resume=pb.Resume(contract_id=CONTRACT_ID, at=since))


def found_on(law: LawWorld, rule: str) -> list[int]:
    """The records on which findings of a rule stand, in log order."""
    return sorted(
        index for each, records in law.mainland.standing() if each == rule for _, index in records
    )


def counted(law: LawWorld, rule: str) -> list[int]:
    """Of how many transfers each finding of a rule that stands was found later."""
    standing = {}
    for finding in law.mainland.findings():
        standing[finding.finding_id] = finding
        if finding.closed:
            del standing[finding.finding_id]
    return [sum(each.numbers) for each in standing.values() if each.rule == rule]


def again(law: LawWorld) -> None:
    """An hour later, and with a day to go before any deadline: what is judged again is judged."""
    law.tick(law.mainland, law.clock() + HOUR)


class TestASuspensionThatIsRecordedLate:
    def test_is_found_on_the_transfers_from_its_time_on(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.transfer())
        law.clock.advance(1)
        second, third = law.mainland.append(law.transfer(), law.transfer())
        law.mainland.place(suspend(law, law.clock()))
        again(law)
        assert found_on(law, "K3.suspended") == [second, third]

    def test_and_was_over_by_then_is_not(self, law: LawWorld) -> None:
        law.agree()
        since = law.clock()
        law.clock.advance(2)
        law.mainland.place(law.transfer())
        law.mainland.append(resume(law, since + HOUR), suspend(law, since))
        again(law)
        assert found_on(law, "K3.suspended") == []

    def test_is_closed_by_a_resumption_that_came_later_still(self, law: LawWorld) -> None:
        law.agree()
        since = law.clock()
        law.mainland.place(suspend(law, since))
        law.clock.advance(2)
        position = law.mainland.place(law.transfer())
        found = found_on(law, "K3.suspended")
        law.mainland.place(resume(law, since + HOUR))
        again(law)
        assert (found, found_on(law, "K3.suspended")) == ([position], [])

    def test_leaves_what_was_cancelled(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms()
        law.mainland.append(law.transfer(terms), law.cancel(terms), suspend(law, law.clock()))
        again(law)
        assert rules_of(law.mainland) == set()

    def test_is_found_in_a_rebuild_too(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(*(law.transfer() for _ in range(3)), suspend(law, law.clock()))
        again(law)
        assert counted(law, "K3.suspended") == [3]
        law.mainland.audit()


class TestAnEndThatIsRecordedLate:
    def test_is_found_on_transfers_after_its_day(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.transfer())
        law.clock.now = at("2026-08-05")
        after = law.mainland.place(law.transfer())
        law.mainland.place(law.by_exporter(termination=law.termination(20260804, 20260805)))
        again(law)
        assert found_on(law, "K3.terminated") == [after]

    def test_is_closed_by_a_later_day(self, law: LawWorld) -> None:
        law.agree()
        law.clock.now = at("2026-08-05")
        law.mainland.place(law.transfer())
        law.mainland.place(law.by_exporter(termination=law.termination(20260804, 20260805)))
        again(law)
        law.mainland.place(law.by_exporter(termination=law.termination(20260805, 20260805)))
        law.tick(law.mainland, law.clock() + DAY + 1)
        assert found_on(law, "K3.terminated") == []


class TestAContractThatComesAfterItsTransfers:
    def test_is_looked_for_in_all_of_them(self, law: LawWorld) -> None:
        sent = law.mainland.append(*(law.transfer() for _ in range(3)))
        law.mainland.append(law.contract(effective_on=20260901), law.pipia())
        again(law)
        assert counted(law, "K3.before_effect") == [len(sent)]

    def test_and_is_stated_anew_closes_what_holds_no_longer(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(effective_on=20260901), law.pipia(), law.transfer())
        found = rules_of(law.mainland)
        law.mainland.place(law.contract())
        again(law)
        assert (found, rules_of(law.mainland)) == ({"K3.before_effect"}, set())


class TestASupplement:
    """It states from which day on it holds; a transfer that happened before goes by the old one."""

    @pytest.mark.parametrize(
        ("effective_on", "found"), [(20260804, {"K6.purposes"}), (20260806, set())]
    )
    def test_that_narrows_covers_what_was_sent_from_its_day_on(
        self, law: LawWorld, effective_on: int, found: set[str]
    ) -> None:
        law.agree()
        law.clock.now = at("2026-08-05")
        law.mainland.place(law.transfer())
        law.clock.now = at("2026-08-07")
        narrowed: dict[str, Any] = {"purposes": [7], "effective_on": effective_on}
        law.mainland.place(law.supplement(**narrowed))
        again(law)
        assert rules_of(law.mainland) == found

    def test_that_puts_off_the_end_closes_what_was_found_after_it(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(expires_on=20260804), law.pipia())
        law.clock.now = at("2026-08-05")
        law.mainland.place(law.transfer())
        found = found_on(law, "K3.after_expiry")
        law.mainland.place(law.supplement(expires_on=20260831))
        again(law)
        assert (len(found), found_on(law, "K3.after_expiry")) == (1, [])


class TestWhatIsJudgedAgain:
    def test_is_a_hundred_in_a_tick(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(*(law.transfer() for _ in range(2 * CHUNK + 1)))
        law.mainland.place(suspend(law, law.clock()))
        law.clock.advance(1)
        counts = []
        for _ in range(3):
            law.mainland.place(law.mainland.by_node(tick=pb.Tick()))
            counts.append(counted(law, "K3.suspended"))
        assert counts == [[], [], [2 * CHUNK + 1]]

    def test_is_nothing_that_was_recorded_before(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.transfer())
        law.clock.advance(1)
        law.mainland.place(suspend(law, law.clock()))
        due = law.mainland.reader.next_timer()
        assert due is None

    def test_is_not_the_sum_of_its_day(self, law: LawWorld) -> None:
        law.agree()
        exempt = law.terms(exemption=7)
        law.mainland.place(law.transfer(exempt))
        many = law.terms(subjects=100_000, subjects_first_this_year=100_000)
        law.mainland.append(law.transfer(many), suspend(law, law.clock()))
        again(law)
        found = {rule for rule in rules_of(law.mainland) if rule.startswith(("K3.", "K12."))}
        assert found == {"K3.suspended"}

    def test_is_under_the_contract_that_it_was_corrected_to(self, law: LawWorld) -> None:
        law.agree()
        other = {"contract_id": "ANOTHER", "nonce": bytes(16)}
        law.mainland.place(law.contract(**other))
        terms = law.terms(contract_id="ANOTHER")
        position = law.mainland.place(law.transfer(terms))
        moved = pb.Terms.FromString(terms.terms)
        moved.contract_id = CONTRACT_ID
        first = pb.Body.FromString(law.mainland.reader.entry(position)[1]).record_id
        correction = pb.Correction(
            terms=moved.SerializeToString(deterministic=True), corrects=first
        )
        corrected = law.mainland.place(law.by_exporter(correction=correction))
        law.mainland.place(suspend(law, law.clock()))
        again(law)
        assert found_on(law, "K3.suspended") == [corrected]

    def test_waits_for_no_deadline(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(law.transfer(), suspend(law, law.clock()))
        due = law.mainland.reader.next_timer()
        assert due is not None
        assert due < law.clock() + DAY

    def test_is_so_once_a_day_however_often_it_is_called_for(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(*(law.transfer() for _ in range(2 * CHUNK)))
        size = law.mainland.size
        for number in range(20):
            law.mainland.place(law.contract(effective_on=(20260901, 20260803)[number % 2]))
            again(law)
        bodies = [law.mainland.body(index) for index in range(size, law.mainland.size)]
        assert sum(body.HasField("tick") for body in bodies) == 2

    def test_one_record_raises_one_finding_a_rule(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(*(law.transfer() for _ in range(2 * CHUNK)))
        law.mainland.place(law.contract(effective_on=20260901))
        again(law)
        assert [found.rule for found in law.mainland.findings()].count("K3.before_effect") == 1

    def test_is_nothing_when_other_words_are_stated_that_carry_the_same(
        self, law: LawWorld
    ) -> None:
        law.agree()
        law.mainland.place(law.transfer())
        law.mainland.place(law.contract(document_digest=b"\1" * 32))
        size = law.mainland.size
        again(law)
        assert law.mainland.size == size

    def test_goes_on_though_it_is_called_for_meanwhile(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(*(law.transfer() for _ in range(2 * CHUNK)))
        law.mainland.place(law.contract(effective_on=20260901))
        for _ in range(2):
            law.clock.advance(1)
            law.mainland.place(law.mainland.by_node(tick=pb.Tick()))
            law.mainland.place(suspend(law, law.clock() - DAY))
        assert counted(law, "K3.before_effect") == [2 * CHUNK]

    def test_stands_when_a_part_is_judged_once_more(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(*(law.transfer() for _ in range(CHUNK)))
        law.mainland.place(suspend(law, law.clock()))
        again(law)
        law.clock.now += 2 * DAY
        law.mainland.append(*(law.transfer() for _ in range(CHUNK)), suspend(law, law.clock()))
        again(law)
        assert max(counted(law, "K3.suspended")) == CHUNK

    def test_and_was_cancelled_since_is_closed(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms()
        law.mainland.append(law.transfer(terms), suspend(law, law.clock()))
        again(law)
        found = counted(law, "K3.suspended")
        law.mainland.append(law.transfer(), law.cancel(terms), resume(law, law.clock() + 1))
        law.tick(law.mainland, law.clock() + DAY + 1)
        assert (found, len(found_on(law, "K3.suspended"))) == ([1], 1)
        law.mainland.audit()


class TestWhatTransfersShowOfTheirContract:
    """It is what those show that count, whichever came before."""

    def test_a_cancelled_first_one_leaves_no_late_assessment(self, law: LawWorld) -> None:
        law.agree()
        early = law.terms()
        law.mainland.place(law.transfer(early, at("2026-07-01")))
        law.mainland.place(law.transfer())
        found = "K5.pipia_late" in rules_of(law.mainland)
        law.mainland.place(law.cancel(early))
        again(law)
        assert (found, "K5.pipia_late" in rules_of(law.mainland)) == (True, False)
        law.mainland.audit()

    def test_a_corrected_category_leaves_no_drift(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.transfer())
        terms = law.terms(categories=[1, 9])
        law.mainland.place(law.transfer(terms))
        found = rules_of(law.mainland)
        corrected = pb.Terms.FromString(terms.terms)
        corrected.categories[:] = [1]
        stated = pb.Transfer(terms=corrected.SerializeToString(deterministic=True))
        law.mainland.place(law.correction(law.mainland, stated))
        again(law)
        assert (found, rules_of(law.mainland)) == ({"K6.categories"}, {"C3.corrects_nothing"})

    def test_a_drift_that_another_one_shows_too_stays(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms(categories=[1, 9])
        law.mainland.append(law.transfer(terms), law.transfer(law.terms(categories=[1, 9])))
        law.mainland.place(law.cancel(terms))
        again(law)
        assert rules_of(law.mainland) == {"K6.categories"}
