"""What a node answers about findings, contracts, erasure, and records that are not appended yet."""

from __future__ import annotations

import os

import pytest
from builders import new_body
from ledger.law_world import CONTRACT_ID, LawWorld, at, rules_of

from ledgerd.ledger.checker import Checker
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ConflictError, FieldError, ForbiddenError, NotFoundError

OVERDUE = at("2026-08-17", "23:59:59.999999") + 1


def rules_at(law: LawWorld, indexes: list[int]) -> list[str]:
    return [law.mainland.body(index).finding.rule for index in indexes]


class TestFindingsOfAnInstitution:
    def found(self, law: LawWorld, *, open_only: bool) -> list[tuple[str, int]]:
        page = law.mainland.reader.findings_of(law.exporter.id, 0, 100, open_only=open_only)
        return [
            (pb.Body.FromString(each.body).finding.rule, each.closed_by) for each in page.findings
        ]

    def test_that_stand_are_listed(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.transfer())
        assert self.found(law, open_only=True) == [("K5.no_pipia", 0)]

    def test_that_are_closed_name_the_entry_that_closes_them(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.transfer())
        law.mainland.place(law.pipia())
        closing = law.mainland.size - 1
        assert self.found(law, open_only=True) == []
        assert self.found(law, open_only=False)[0] == ("K5.no_pipia", closing)

    def test_of_a_transfer_are_its_parties(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.place(law.transfer(law.terms(delete_by=0)))
        assert self.found(law, open_only=True) == [("K16.retention", 0)]

    def test_of_another_are_not_listed(self, law: LawWorld) -> None:
        other = law.mainland.enrol("uscc.91440100MA0000002D", place=440100)
        law.mainland.append(law.contract(), law.transfer())
        page = law.mainland.reader.findings_of(other.id, 0, 100, open_only=False)
        assert page.findings == []

    def test_come_in_pages(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(*(law.transfer(law.terms(delete_by=0)) for _ in range(3)))
        reader, who = law.mainland.reader, law.exporter.id
        first = reader.findings_of(who, 0, 2, open_only=True)
        assert first.next is not None
        rest = reader.findings_of(who, first.next, 2, open_only=True)
        assert (len(first.findings), len(rest.findings), rest.next) == (2, 1, None)


class TestAContract:
    def test_that_nobody_named_is_not_found(self, law: LawWorld) -> None:
        with pytest.raises(NotFoundError):
            law.mainland.reader.contract(law.exporter.id, CONTRACT_ID)

    def test_that_was_only_named_is_unknown(self, law: LawWorld) -> None:
        law.mainland.place(law.transfer())
        assert law.mainland.reader.contract(law.exporter.id, CONTRACT_ID).state == "unknown"

    def test_that_nobody_stated_shows_no_halves_of_others(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.transfer(law.terms(contract_id="OTHER")))
        answer = law.mainland.reader.contract(law.exporter.id, "OTHER")
        assert (answer.state, answer.halves) == ("unknown", [])

    def test_that_both_state_is_agreed(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.hong_kong.place(law.counterpart())
        law.anchor()
        answer = law.mainland.reader.contract(law.exporter.id, CONTRACT_ID)
        assert (answer.state, len(answer.halves)) == ("agreed", 2)

    def test_shows_its_newest_terms_and_what_was_sent(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.pipia(), law.transfer(), law.supplement())
        answer = law.mainland.reader.contract(law.exporter.id, CONTRACT_ID)
        shown = (answer.terms, answer.subjects, answer.first_transfer_on)
        assert shown == (law.contract_terms(version=1), 300, 20260803)

    def test_names_the_findings_that_stand_on_it(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(planned_scale=1), law.transfer())
        answer = law.mainland.reader.contract(law.exporter.id, CONTRACT_ID)
        assert rules_at(law, answer.findings) == ["K5.no_pipia", "K22.planned"]

    def test_shows_each_sort_of_statement(self, law: LawWorld) -> None:
        contract, filing = law.mainland.append(law.contract(), law.filing(20260803))
        law.hong_kong.place(law.counterpart())
        law.anchor()
        answer = law.mainland.reader.contract(law.exporter.id, CONTRACT_ID)
        shown = [(each.outcome, each.state, each.own) for each in answer.statements]
        assert (contract, filing) == (3, 4)
        assert shown == [(1, "agreed", 4), (2, "open", 5)]


class TestErasure:
    """K21: three years after the record, and after its contract's end."""

    LATER = at("2029-08-04")

    def test_of_a_record_is_refused_for_three_years(self, law: LawWorld) -> None:
        index = law.mainland.place(law.transfer())
        answer = law.mainland.reader.erasable(index, at("2029-08-03", "23:59:59.999999"))
        assert (answer.allowed, answer.keep_until, answer.reason) == (False, 20290803, "RETENTION")

    def test_of_a_record_is_allowed_after_them(self, law: LawWorld) -> None:
        index = law.mainland.place(law.pipia())
        assert law.mainland.reader.erasable(index, self.LATER).allowed

    def test_is_refused_while_the_other_half_may_come(self, law: LawWorld) -> None:
        index = law.mainland.place(law.transfer())
        assert law.mainland.reader.erasable(index, self.LATER).reason == "OPEN_TRANSFER"

    def test_is_refused_while_its_contract_has_no_end(self, law: LawWorld) -> None:
        law.agree()
        index = law.mainland.place(law.transfer())
        assert not law.mainland.reader.erasable(index, self.LATER).allowed

    def test_is_refused_for_three_years_after_its_contract(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(expires_on=20260901))
        index = law.mainland.place(law.transfer())
        assert law.mainland.reader.erasable(index, self.LATER).keep_until == 20290901

    def test_of_what_the_node_wrote_is_refused(self, law: LawWorld) -> None:
        assert law.mainland.reader.erasable(1, self.LATER).reason == "NOT_ERASABLE"


class TestCheck:
    def checker(self, law: LawWorld) -> Checker:
        return Checker(law.mainland.store, law.mainland.history, clock=law.clock)

    def test_says_what_a_record_would_raise(self, law: LawWorld) -> None:
        law.agree()
        (found,) = self.checker(law).check(
            [law.transfer(law.terms(purposes=[3])).body], law.exporter.id
        )
        assert [each.rule for each in found] == ["K6.purposes"]  # type: ignore[union-attr]

    def test_says_what_a_record_would_close(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.transfer())
        (found,) = self.checker(law).check([law.pipia().body], law.exporter.id)
        shown = [(each.rule, each.closed) for each in found]  # type: ignore[union-attr]
        assert shown == [("K5.no_pipia", True)]

    def test_does_not_say_what_another_would_be_told(self, law: LawWorld) -> None:
        side = pb.ContractSide(group_id="G")
        members = [law.mainland.enrol(f"uscc.MEMBER{n}", group="G") for n in range(3)]
        judged = []
        for member in members:
            law.exporter, law.nonce = member, os.urandom(16)
            law.mainland.append(law.contract(side), law.pipia())
            many = {"subjects": 90_000, "subjects_first_this_year": 90_000}
            last = law.transfer(law.terms(exporter=member.party, **many))
            (judged,) = self.checker(law).check([last.body], member.id)
            law.mainland.place(last)
        assert "K14.split" in rules_of(law.mainland)
        assert "K14.split" not in {each.rule for each in judged}  # type: ignore[union-attr]

    def test_stores_nothing(self, law: LawWorld) -> None:
        size = law.mainland.size
        self.checker(law).check([law.contract().body, law.transfer().body], law.exporter.id)
        assert (law.mainland.size, rules_of(law.mainland)) == (size, set())

    def test_judges_records_as_one_call(self, law: LawWorld) -> None:
        bodies = [law.contract().body, law.transfer().body, law.pipia().body]
        judged = self.checker(law).check(bodies, law.exporter.id)
        rules = [[each.rule for each in found] for found in judged]  # type: ignore[union-attr]
        assert rules == [[], ["K5.no_pipia"], ["K5.no_pipia"]]

    def test_finds_what_appending_finds(self, law: LawWorld) -> None:
        record = law.transfer(law.terms(purposes=[3], delete_by=0))
        (checked,) = self.checker(law).check([record.body], law.exporter.id)
        law.mainland.place(record)
        assert checked == law.mainland.findings()

    def test_refuses_one_by_one(self, law: LawWorld) -> None:
        foreign = new_body(law.mainland.log.origin, "uscc.OTHER", law.clock(), pipia=pb.Pipia(
            contract_id=CONTRACT_ID, report_digest=os.urandom(32), completed_on=20260803,
            conclusion=1, keep_until=20290803,
        ))  # fmt: skip
        late = law.by_exporter(law.clock() + 10**12, pipia=pb.Body.FromString(foreign).pipia)
        known = law.contract()
        law.mainland.place(known)
        judged = self.checker(law).check(
            [foreign, late.body, known.body, law.pipia().body], law.exporter.id
        )
        kinds = [type(each) for each in judged]
        assert kinds == [ForbiddenError, FieldError, ConflictError, list]
