"""What is found of transfers and of their sums, end to end (docs/rules.md)."""

from __future__ import annotations

import os
from typing import Any

import pytest
from builders import Institution, new_key
from ledger.law_world import DAY, LawWorld, at, rules_of

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.record import Admitted
from ledgerd_client.core.transfer import ref_of

SENSITIVE = {"sensitive_categories": [4], "sensitive_subjects": 1, "sensitive_first_this_year": 1}
HEALTH = 3
ALL = {"sensitive_categories": [4]}


def corrected(law: LawWorld, transfer: Admitted, terms: pb.Transfer, **changes: Any) -> Admitted:
    """The exporter's correction of a transfer: the same one, changed."""
    stated = pb.Terms.FromString(terms.terms)
    for name, value in changes.items():
        setattr(stated, name, value)
    correction = pb.Correction(
        terms=stated.SerializeToString(deterministic=True),
        corrects=pb.Body.FromString(transfer.body).record_id,
    )
    return law.by_exporter(correction=correction)


class TestTiming:
    """K3: sent while the contract was in effect."""

    @pytest.fixture(autouse=True)
    def _contract(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(expires_on=20260810), law.pipia(20260701))

    def found(self, law: LawWorld, when: int) -> set[str]:
        law.clock.now = max(law.clock.now, when)
        law.mainland.place(law.transfer(at=when))
        return rules_of(law.mainland) - {"L1.recorded_late"}

    def test_on_the_first_microsecond_raises_nothing(self, law: LawWorld) -> None:
        assert self.found(law, at("2026-08-03", "00:00:00.000000")) == set()

    def test_a_microsecond_before_it_is_found(self, law: LawWorld) -> None:
        assert self.found(law, at("2026-08-03", "00:00:00.000000") - 1) == {"K3.before_effect"}

    def test_on_the_last_microsecond_raises_nothing(self, law: LawWorld) -> None:
        assert self.found(law, at("2026-08-10", "23:59:59.999999")) == set()

    def test_a_microsecond_after_it_is_found(self, law: LawWorld) -> None:
        assert self.found(law, at("2026-08-10", "23:59:59.999999") + 1) == {"K3.after_expiry"}

    def test_after_its_end_is_found(self, law: LawWorld) -> None:
        law.mainland.place(law.by_exporter(termination=law.termination(20260803, 20260803)))
        assert self.found(law, at("2026-08-04")) == {"K3.terminated"}

    def test_while_it_is_suspended_is_found(self, law: LawWorld) -> None:
        suspend = pb.Suspend(contract_id="GBA-2026-0042", at=at("2026-08-04"), cause=1)
        law.mainland.place(law.by_exporter(suspend=suspend))
        before = self.found(law, at("2026-08-04") - 1)
        assert (before, self.found(law, at("2026-08-04"))) == (set(), {"K3.suspended"})

    def test_once_it_is_resumed_raises_nothing(self, law: LawWorld) -> None:
        suspend = pb.Suspend(contract_id="GBA-2026-0042", at=at("2026-08-04"), cause=1)
        resume = pb.Resume(contract_id="GBA-2026-0042", at=at("2026-08-05"))
        law.mainland.append(law.by_exporter(suspend=suspend), law.by_exporter(resume=resume))
        assert self.found(law, at("2026-08-05")) == set()

    def test_a_resume_without_a_suspension_changes_nothing(self, law: LawWorld) -> None:
        resume = pb.Resume(contract_id="GBA-2026-0042", at=at("2026-08-03"))
        suspend = pb.Suspend(contract_id="GBA-2026-0042", at=at("2026-08-04"), cause=1)
        law.mainland.append(law.by_exporter(resume=resume), law.by_exporter(suspend=suspend))
        assert self.found(law, at("2026-08-05")) == {"K3.suspended"}

    def test_to_another_party_is_found(self, law: LawWorld) -> None:
        stranger = pb.Party(origin="gba.example/hongkong", institution="hkbr.11111111")
        law.mainland.place(law.transfer(law.terms(recipient=stranger)))
        assert rules_of(law.mainland) == {"K3.foreign_contract"}


class TestContents:
    """K9, K10, K16, K18, K20: what one transfer says of itself."""

    @pytest.mark.parametrize(
        ("changes", "rule"),
        [
            ({**SENSITIVE, "consent_form": 1}, "K9.separate_consent"),
            ({"minors_present": True}, "K9.guardian"),
            ({"notice_digest": b"", "notice_version": ""}, "K10.no_notice"),
            ({"delete_by": 0}, "K16.retention"),
            ({"delete_by": 20270804}, "K16.retention"),
            ({"purposes": [17], "legal_basis": 2}, "K20.basis"),
        ],
    )
    def test_is_found_on_the_transfer(
        self, law: LawWorld, changes: dict[str, Any], rule: str
    ) -> None:
        law.mainland.append(law.contract(purposes=[2, 7, 17], **ALL), law.pipia())
        place = law.mainland.place(law.transfer(law.terms(**changes)))
        assert (rule, frozenset({("gba.example/mainland", place)})) in law.mainland.standing()

    def test_that_is_corrected_is_closed(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms(notice_digest=b"", notice_version="")
        transfer = law.transfer(terms)
        law.mainland.place(transfer)
        law.mainland.place(corrected(law, transfer, terms, notice_digest=bytes(32)))
        assert rules_of(law.mainland) == set()

    def test_that_is_cancelled_is_closed(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms(notice_digest=b"", notice_version="")
        law.mainland.append(law.transfer(terms), law.cancel(terms))
        assert rules_of(law.mainland) == set()

    def test_of_a_credit_reference_agency_keeps_to_its_categories(self, law: LawWorld) -> None:
        law.exporter = law.mainland.enrol("uscc.91440100MA0000002D", place=440100, sector=2)
        law.mainland.append(law.contract(exporter_sector=2, **ALL), law.pipia())
        law.mainland.place(law.transfer(law.terms(exporter=law.exporter.party, **SENSITIVE)))
        assert "K18.category" in rules_of(law.mainland)


class TestCorrections:
    def test_of_a_correction_count(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms()
        transfer = law.transfer(terms)
        first = corrected(law, transfer, terms, delete_by=0)
        law.mainland.append(transfer, first)
        law.mainland.place(corrected(law, first, terms, delete_by=20270801))
        assert rules_of(law.mainland) == set()

    def test_of_nothing_are_found(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms()
        law.mainland.append(law.transfer(terms), law.correction(law.mainland, terms))
        assert rules_of(law.mainland) == {"C3.corrects_nothing"}

    def test_take_back_what_was_counted(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(planned_scale=10), law.pipia())
        terms = law.terms(subjects_first_this_year=11)
        transfer = law.transfer(terms)
        law.mainland.place(transfer)
        found = rules_of(law.mainland)
        law.mainland.place(corrected(law, transfer, terms, subjects_first_this_year=10))
        assert (found, rules_of(law.mainland)) == ({"K22.planned"}, set())

    def test_of_the_only_transfer_take_back_what_it_showed_of_the_contract(
        self, law: LawWorld
    ) -> None:
        law.agree()
        terms = law.terms(purposes=[3])
        transfer = law.transfer(terms)
        law.mainland.place(transfer)
        found = rules_of(law.mainland)
        stated = pb.Terms.FromString(terms.terms)
        stated.purposes[:] = [2]
        law.mainland.place(corrected(law, transfer, pb.Transfer(terms=encode_message(stated))))
        assert (found, rules_of(law.mainland)) == ({"K6.purposes"}, set())

    @pytest.mark.parametrize(
        ("contract", "transfer", "rule"),
        [
            ({}, {"purposes": [3]}, "K6.purposes"),
            ({"sensitive_categories": [10]}, {"sensitive_categories": [10]}, "K19.hgr"),
            (
                {"mechanism": 4},
                {"subjects": 1_000_000, "subjects_first_this_year": 1_000_000},
                "K11.route",
            ),
        ],
    )
    def test_of_the_only_transfer_that_is_cancelled_too(
        self, law: LawWorld, contract: dict[str, Any], transfer: dict[str, Any], rule: str
    ) -> None:
        law.exporter = law.mainland.enrol("uscc.91440300MA0000003D", sector=HEALTH)
        law.mainland.append(law.contract(exporter_sector=HEALTH, **contract), law.pipia())
        terms = law.terms(exporter=law.exporter.party, **transfer)
        law.mainland.place(law.transfer(terms))
        found = rule in rules_of(law.mainland)
        law.mainland.place(law.cancel(terms))
        assert (found, rule in rules_of(law.mainland)) == (True, False)

    def test_of_one_among_others_lower_the_route(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(mechanism=4, planned_scale=10**7), law.pipia())
        sent(law, 50_000)
        terms = law.terms(subjects=950_000, subjects_first_this_year=950_000)
        law.mainland.place(law.transfer(terms))
        found = "K11.route" in rules_of(law.mainland)
        law.mainland.place(law.cancel(terms))
        assert (found, "K11.route" in rules_of(law.mainland)) == (True, False)

    def test_of_an_earlier_commit_are_rebuilt(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms()
        transfer = law.transfer(terms)
        law.mainland.place(transfer)
        law.mainland.writer.load()
        law.mainland.place(corrected(law, transfer, terms, subjects_first_this_year=1))
        assert law.mainland.reader.contract(law.exporter.id, "GBA-2026-0042").subjects == 1


def sent(law: LawWorld, persons: int, when: int | None = None, **changes: Any) -> int:
    """Send so many persons for the first time this year; return the entry."""
    fields = {"subjects": persons, "subjects_first_this_year": persons, **changes}
    return law.mainland.place(law.transfer(law.terms(**fields), when))


class TestCounters:
    """K11: persons for the first time in a year of UTC+8."""

    @pytest.mark.parametrize(
        ("persons", "found"),
        [
            (79_999, set()),
            (80_000, {"K11.near_subjects_contract"}),
            (99_999, {"K11.near_subjects_contract"}),
            (100_000, {"K11.subjects_contract"}),
            (800_000, {"K11.subjects_contract", "K11.near_subjects_assessment"}),
        ],
    )
    def test_is_found_at_an_edge(self, law: LawWorld, persons: int, found: set[str]) -> None:
        law.mainland.append(law.contract(), law.pipia())
        sent(law, persons)
        assert rules_of(law.mainland) == found

    def test_rests_on_the_transfer_that_reached_it(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia())
        sent(law, 70_000)
        last = sent(law, 30_000)
        found = ("K11.subjects_contract", frozenset({("gba.example/mainland", last)}))
        assert law.mainland.standing() == {found}

    def test_begins_anew_with_the_year(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia())
        law.clock.now = at("2027-01-01")
        sent(law, 70_000, at("2026-12-31", "23:59:59.999999"), delete_by=20270101)
        sent(law, 70_000, at("2027-01-01", "00:00:00.000000"), delete_by=20270101)
        assert rules_of(law.mainland) - {"L1.recorded_late"} == set()

    def test_does_not_count_what_a_provision_exempts(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia())
        sent(law, 100_000, exemption=2)
        assert rules_of(law.mainland) == set()

    def test_closes_when_a_transfer_is_cancelled(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia())
        terms = law.terms(subjects=100_000, subjects_first_this_year=100_000)
        law.mainland.append(law.transfer(terms), law.cancel(terms))
        assert rules_of(law.mainland) == set()

    def test_asks_a_national_contract_for_its_route(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(mechanism=4, planned_scale=10**7), law.pipia())
        sent(law, 1_000_000)
        assert rules_of(law.mainland) == {"K11.subjects_contract", "K11.subjects_assessment"} | {
            "K11.route"
        }

    def test_finds_the_route_of_the_standard_contract_disputed(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(planned_scale=10**7), law.pipia())
        sent(law, 1_000_000)
        assert "K11.route_disputed" in rules_of(law.mainland)

    def test_is_moved_by_a_supplement_with_another_mechanism(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(mechanism=4, planned_scale=10**7), law.pipia())
        sent(law, 1_000_000)
        law.mainland.place(law.supplement(mechanism=3, planned_scale=10**7))
        assert "K11.route" not in rules_of(law.mainland)


class TestVolumeExemption:
    """K12: fewer than 100,000 persons need no route, as long as there are fewer."""

    def test_within_it_raises_nothing(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(mechanism=4), law.pipia())
        sent(law, 79_999, exemption=7)
        assert rules_of(law.mainland) == set()

    def test_beyond_it_is_found_on_the_transfer(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(mechanism=4), law.pipia())
        sent(law, 100_000, exemption=7)
        assert "K12.volume" in rules_of(law.mainland)

    def test_beyond_it_by_one_reading_alone_is_disputed(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia())
        sent(law, 100_000, exemption=7)
        assert "K12.volume_disputed" in rules_of(law.mainland)


class TestSplitting:
    """K14: contracts of one exporter, each just below an edge, are listed for review."""

    def sent_under(self, law: LawWorld, number: int, persons: int) -> None:
        law.nonce = os.urandom(16)
        named = f"GBA-2026-{number:04}"
        law.mainland.place(law.contract(contract_id=named))
        sent(law, persons, contract_id=named)

    def test_into_three_is_listed(self, law: LawWorld) -> None:
        for number in range(3):
            self.sent_under(law, number, 90_000)
        assert "K14.split" in rules_of(law.mainland)

    def test_into_two_is_not(self, law: LawWorld) -> None:
        for number in range(2):
            self.sent_under(law, number, 90_000)
        assert "K14.split" not in rules_of(law.mainland)

    def test_is_closed_when_one_reaches_the_edge(self, law: LawWorld) -> None:
        for number in range(3):
            self.sent_under(law, number, 90_000)
        sent(law, 10_000, contract_id="GBA-2026-0002")
        assert "K14.split" not in rules_of(law.mainland)


class TestGroups:
    """K14 among affiliates: those whom the authority registered in one group."""

    def sent_by(self, law: LawWorld, exporter: Institution, group: str, **named: str) -> None:
        law.exporter, law.nonce = exporter, os.urandom(16)
        law.mainland.place(law.contract(pb.ContractSide(group_id=group), **named))
        sent(law, 90_000, exporter=exporter.party, **named)

    def listed(self, law: LawWorld, institution: Institution) -> bool:
        page = law.mainland.reader.findings_of(institution.id, 0, 100, open_only=True)
        bodies = [pb.Body.FromString(each.body) for each in page.findings]
        return "K14.split" in {body.finding.rule for body in bodies}

    def test_that_split_are_listed_and_closed_for_the_same_one(self, law: LawWorld) -> None:
        members = [law.mainland.enrol(f"uscc.MEMBER{n}", group="G") for n in range(3)]
        for member in members:
            self.sent_by(law, member, "G")
        found = self.listed(law, members[0])
        sent(law, 10_000, exporter=members[-1].party)
        assert (found, self.listed(law, members[0])) == (True, False)

    @pytest.mark.parametrize("declared", ["", "H"])
    def test_that_split_are_listed_whatever_they_declare(
        self, law: LawWorld, declared: str
    ) -> None:
        members = [law.mainland.enrol(f"uscc.MEMBER{n}", group="G") for n in range(3)]
        for member in members:
            self.sent_by(law, member, declared)
        assert self.listed(law, members[0])

    @pytest.mark.parametrize("registered", ["", "H"])
    def test_nobody_is_listed_for_what_another_declares(
        self, law: LawWorld, registered: str
    ) -> None:
        members = [law.mainland.enrol(f"uscc.MEMBER{n}", group="G") for n in range(2)]
        for member in members:
            self.sent_by(law, member, "G")
        for n in range(2):
            self.sent_by(law, law.mainland.enrol(f"uscc.STRANGER{n}", group=registered), "G")
        assert "K14.split" not in rules_of(law.mainland)

    def test_an_exporter_is_listed_for_its_own_whatever_group_it_names(self, law: LawWorld) -> None:
        for number in range(3):
            self.sent_by(law, law.exporter, "G", contract_id=f"GBA-{number}")
        assert self.listed(law, law.exporter)

    def test_one_that_is_registered_in_it_later_counts_there_from_then_on(
        self, law: LawWorld
    ) -> None:
        members = [law.mainland.enrol(f"uscc.MEMBER{n}", group="G") for n in range(2)]
        later = law.exporter
        self.sent_by(law, later, "")
        for member in members:
            self.sent_by(law, member, "")
        before = self.listed(law, later)
        self.register(law, later, "G")
        assert (before, self.listed(law, later)) == (False, True)
        law.mainland.audit()

    def test_one_that_is_registered_in_another_counts_there_no_more(self, law: LawWorld) -> None:
        members = [law.mainland.enrol(f"uscc.MEMBER{n}", group="G") for n in range(3)]
        for member in members:
            self.sent_by(law, member, "")
        self.register(law, members[2], "H")
        assert not self.listed(law, members[0])
        law.mainland.audit()

    def test_of_two_years_are_two_findings(self, law: LawWorld) -> None:
        members = [law.mainland.enrol(f"uscc.MEMBER{n}") for n in range(3)]
        for member in members:
            self.sent_by(law, member, "")
            sent(law, 90_000, at("2025-05-05"), exporter=member.party)
        for member in members:
            self.register(law, member, "G")
        assert [rule for rule, _ in law.mainland.standing()].count("K14.split") == 2
        law.mainland.audit()

    @staticmethod
    def register(law: LawWorld, institution: Institution, group: str) -> None:
        rotation = law.mainland.log.rotation(institution, new_key(), group=group)
        law.mainland.place(law.mainland.by_authority(key_event=rotation))


class TestReceivedPersons:
    """K15: what a recipient accepts is what its terms say."""

    def test_of_another_number_are_found(self, law: LawWorld) -> None:
        law.agree()
        law.hong_kong.place(law.ack(law.terms(), received_subjects=1199))
        assert rules_of(law.hong_kong) == {"K15.subjects"}

    def test_that_a_correction_states_are_closed(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms()
        ack = law.ack(terms, received_subjects=1199)
        law.hong_kong.place(ack)
        stated = pb.Terms.FromString(terms.terms)
        stated.subjects, stated.subjects_first_this_year = 1199, 300
        correction = pb.Correction(
            terms=stated.SerializeToString(deterministic=True),
            corrects=pb.Body.FromString(ack.body).record_id,
        )
        law.hong_kong.place(law.by_recipient(correction=correction))
        assert rules_of(law.hong_kong) == set()


class TestDisposal:
    """K16: gone by the day that the terms name."""

    # A day after the last one: what says that it is gone has so long to reach the log.
    LAST = at("2026-08-21", "23:59:59.999999")

    def take(self, law: LawWorld, count: int = 1) -> list[pb.Transfer]:
        law.agree()
        terms = [law.terms(delete_by=20260820) for _ in range(count)]
        law.hong_kong.append(*(law.ack(each) for each in terms))
        return terms

    def corrected(self, law: LawWorld, terms: pb.Transfer, delete_by: int = 20260821) -> Admitted:
        """The recipient's correction of the newest ACK: another day."""
        stated = pb.Terms.FromString(terms.terms)
        stated.delete_by = delete_by
        ack = next(
            body
            for index in reversed(range(law.hong_kong.size))
            if (body := law.hong_kong.body(index)).HasField("ack")
        )
        correction = pb.Correction(
            terms=stated.SerializeToString(deterministic=True), corrects=ack.record_id
        )
        return law.by_recipient(correction=correction)

    def test_on_the_last_microsecond_is_in_time(self, law: LawWorld) -> None:
        self.take(law)
        law.tick(law.hong_kong, self.LAST)
        assert rules_of(law.hong_kong) == set()

    def test_a_microsecond_later_is_overdue(self, law: LawWorld) -> None:
        self.take(law)
        law.tick(law.hong_kong, self.LAST + 1)
        assert rules_of(law.hong_kong) == {"K16.overdue"}

    def test_that_was_made_raises_nothing(self, law: LawWorld) -> None:
        self.take(law, 2)
        law.hong_kong.place(law.disposal(2, 2400, due_by=20260820))
        law.tick(law.hong_kong, self.LAST + 1)
        assert rules_of(law.hong_kong) == set()

    def test_of_a_part_leaves_the_rest(self, law: LawWorld) -> None:
        self.take(law, 2)
        law.hong_kong.place(law.disposal(1, 1200, due_by=20260820))
        law.tick(law.hong_kong, self.LAST + 1)
        assert law.hong_kong.findings()[-1].numbers == [20260820, 1, 1200]

    def test_that_comes_late_closes_it_and_stays_late(self, law: LawWorld) -> None:
        self.take(law)
        law.tick(law.hong_kong, self.LAST + 1)
        law.hong_kong.place(law.disposal(1, 1200))
        assert rules_of(law.hong_kong) == {"K16.disposed_late"}
        assert law.hong_kong.findings()[-1].numbers == [20260820, 20260822, 1]

    @pytest.mark.parametrize("named", [False, True])
    def test_of_a_day_after_is_told_though_it_was_looked_for_no_more(
        self, law: LawWorld, named: bool
    ) -> None:
        terms = self.take(law)
        law.tick(law.hong_kong, at("2026-08-21", "19:00:00"))
        refs = [ref_of(pb.Terms.FromString(terms[0].terms))] if named else []
        law.hong_kong.place(law.disposal(1, 1200, refs=refs))
        assert rules_of(law.hong_kong) == {"K16.disposed_late"}

    def test_of_the_last_day_that_is_stated_the_day_after_is_not_late(self, law: LawWorld) -> None:
        self.take(law)
        law.clock.now = at("2026-08-21", "19:00:00")
        done_at = at("2026-08-20", "23:59:59.999999")
        law.hong_kong.place(law.disposal(1, 1200, done_at=done_at))
        assert rules_of(law.hong_kong) == set()

    def test_of_named_transfers_takes_those(self, law: LawWorld) -> None:
        terms = self.take(law, 2)
        acked = law.hong_kong.header(law.hong_kong.size - 1).halves
        assert acked is not None
        law.hong_kong.place(law.disposal(1, 1200, refs=[acked.ref]))
        law.tick(law.hong_kong, self.LAST + 1)
        assert (len(terms), law.hong_kong.findings()[-1].numbers) == (2, [20260820, 1, 1200])

    def test_of_more_than_was_sent_is_found(self, law: LawWorld) -> None:
        self.take(law)
        law.hong_kong.place(law.disposal(2, 1200))
        (finding,) = law.hong_kong.findings()
        assert (finding.rule, finding.numbers) == ("K16.disposed_more", [2, 1, 1200, 1200])

    def test_of_a_transfer_that_was_taken_in_part_is_of_that_part(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms(delete_by=20260820)
        law.hong_kong.place(law.ack(terms, outcome=pb.OUTCOME_PARTIAL, received_subjects=7))
        law.hong_kong.place(law.disposal(1, 8))
        (finding,) = [each for each in law.hong_kong.findings() if each.rule == "K16.disposed_more"]
        assert finding.numbers == [1, 1, 8, 7]

    def test_of_a_transfer_that_is_gone_already_takes_no_other(self, law: LawWorld) -> None:
        refs = [ref_of(pb.Terms.FromString(each.terms)) for each in self.take(law, 2)]
        for _ in range(2):
            law.hong_kong.place(law.disposal(1, 1200, refs=refs[:1]))
            law.clock.now += 1
        law.tick(law.hong_kong, self.LAST + 1)
        assert rules_of(law.hong_kong) == {"K16.disposed_more", "K16.overdue"}

    def test_is_owed_by_the_day_that_a_correction_states(self, law: LawWorld) -> None:
        (terms,) = self.take(law)
        law.hong_kong.place(self.corrected(law, terms))
        law.tick(law.hong_kong, self.LAST + DAY)
        before = rules_of(law.hong_kong)
        law.tick(law.hong_kong, self.LAST + DAY + 1)
        assert (before, rules_of(law.hong_kong)) == (set(), {"K16.overdue"})

    def test_that_was_overdue_is_closed_by_a_correction(self, law: LawWorld) -> None:
        (terms,) = self.take(law)
        law.tick(law.hong_kong, self.LAST + 1)
        law.hong_kong.place(self.corrected(law, terms, 20260901))
        assert rules_of(law.hong_kong) == set()

    @pytest.mark.parametrize("named", [True, False])
    def test_is_not_owed_anew_for_what_is_corrected_when_it_is_gone(
        self, law: LawWorld, named: bool
    ) -> None:
        (terms,) = self.take(law)
        refs = [ref_of(pb.Terms.FromString(terms.terms))] if named else []
        law.hong_kong.place(law.disposal(1, 1200, refs=refs))
        law.hong_kong.place(self.corrected(law, terms))
        law.tick(law.hong_kong, self.LAST + 30 * DAY)
        assert rules_of(law.hong_kong) == set()

    def test_is_taken_however_many_there_were(self, law: LawWorld) -> None:
        self.take(law, 103)
        for _ in range(103):
            law.hong_kong.place(law.disposal(1, 1200, due_by=20260820))
            law.clock.now += 1
        law.tick(law.hong_kong, self.LAST + 30 * DAY)
        assert rules_of(law.hong_kong) == set()

    def test_said_again_word_for_word_takes_no_other(self, law: LawWorld) -> None:
        self.take(law, 2)
        said = law.disposal(1, 1200)
        again = law.by_recipient(disposal=pb.Body.FromString(said.body).disposal)
        law.hong_kong.append(said, again)
        law.hong_kong.place(law.disposal(1, 1200, done_at=law.clock() + 1))
        law.tick(law.hong_kong, self.LAST + 30 * DAY)
        assert rules_of(law.hong_kong) == set()

    @pytest.mark.parametrize("named", [True, False])
    def test_is_owed_for_what_is_accepted_after_a_part_of_it_is_gone(
        self, law: LawWorld, *, named: bool
    ) -> None:
        law.agree()
        terms = law.terms(delete_by=20260820)
        law.hong_kong.place(law.ack(terms, outcome=pb.OUTCOME_PARTIAL, received_subjects=1))
        refs = [ref_of(pb.Terms.FromString(terms.terms))] if named else []
        law.hong_kong.append(law.disposal(1, 1, refs=refs), law.ack(terms))
        law.tick(law.hong_kong, self.LAST + 1)
        found = rules_of(law.hong_kong)
        law.hong_kong.place(law.disposal(1, 1200, refs=refs))
        left = "K16.overdue" in rules_of(law.hong_kong)
        assert ("K16.overdue" in found, left) == (True, False)
        law.hong_kong.audit()

    def test_gains_no_time_by_corrections_of_its_day(self, law: LawWorld) -> None:
        law.agree()
        terms = law.terms(delete_by=20260804)
        law.hong_kong.place(law.ack(terms))
        stated = pb.Terms.FromString(terms.terms)
        for number in range(4):
            law.clock.advance(20)
            stated.delete_by = 20260803 + number % 2
            corrected = pb.Transfer(terms=stated.SerializeToString(deterministic=True))
            law.hong_kong.place(law.correction(law.hong_kong, corrected))
            law.tick(law.hong_kong)
        assert "K16.overdue" in rules_of(law.hong_kong)

    def test_is_not_owed_for_what_was_rejected(self, law: LawWorld) -> None:
        law.agree()
        law.hong_kong.place(law.ack(law.terms(delete_by=20260820), outcome=pb.OUTCOME_REJECTED))
        law.tick(law.hong_kong, self.LAST + 1)
        assert law.hong_kong.findings() == []


class TestMarketing:
    """K20: direct marketing from Hong Kong needs written consent."""

    def test_without_it_is_found(self, law: LawWorld) -> None:
        terms = pb.Terms.FromString(law.terms(purposes=[17]).terms)
        exporter, recipient = terms.recipient, terms.exporter
        sent_back = law.terms(purposes=[17], exporter=exporter, recipient=recipient)
        law.hong_kong.place(law.by_recipient(transfer=sent_back))
        assert "K20.written_consent" in rules_of(law.hong_kong)
