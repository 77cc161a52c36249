"""What comes again and again, and what one institution can make as long as it likes."""

from __future__ import annotations

import os
from typing import Any

import pytest
from builders import HONG_KONG_PLACE
from ledger.law_world import CONTRACT_ID, DAY, LawWorld, at, rules_of

from ledgerd.ledger import law_state
from ledgerd.ledger.law_freed import FREED_STEP
from ledgerd.projections.counters import MAX_NEAR
from ledgerd.projections.matters import onward_key, onward_under
from ledgerd.projections.timers import SWEEP
from ledgerd.projections.transfer_row import MAX_HALVES
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.record import Admitted

DISPOSAL = 5


def stated_by_exporter(law: LawWorld, said: Admitted) -> Admitted:
    """The exporter's half of a disposal: that it holds the certificate."""
    return law.by_exporter(disposal=pb.Body.FromString(said.body).disposal)


class TestDisposals:
    """C1: each is met by an equal one of the other side, however many there are."""

    def test_of_every_week_for_two_years_are_agreed(self, law: LawWorld) -> None:
        law.agree()
        for _ in range(104):
            said = law.disposal(0, 0, done_at=law.clock())
            law.hong_kong.place(said)
            law.mainland.place(stated_by_exporter(law, said))
            law.clock.now += 7 * DAY
        law.anchor()
        assert not {rule for rule in rules_of(law.mainland) if rule.startswith("C1")}
        assert not {rule for rule in rules_of(law.hong_kong) if rule.startswith("C1")}

    def test_one_that_is_not_met_is_found_though_later_ones_are(self, law: LawWorld) -> None:
        law.agree()
        missed = law.hong_kong.place(law.disposal(0, 0))
        law.clock.now += 1
        said = law.disposal(0, 0)
        law.hong_kong.place(said)
        law.mainland.place(stated_by_exporter(law, said))
        law.clock.now += 30 * DAY
        law.anchor()
        found = [each for each in law.mainland.findings() if each.rule == "C1.one_sided"]
        (finding,) = found
        concerned = (finding.institution, finding.contract_id)
        assert [record.index for record in finding.records] == [missed]
        assert concerned == (law.exporter.id, CONTRACT_ID)
        assert rules_of(law.hong_kong) == {"C1.one_sided"}

    def test_one_that_is_met_late_is_closed(self, law: LawWorld) -> None:
        law.agree()
        said = law.disposal(0, 0)
        law.hong_kong.place(said)
        law.clock.now += 31 * DAY
        law.anchor()
        law.mainland.place(stated_by_exporter(law, said))
        law.anchor()
        assert (rules_of(law.mainland), rules_of(law.hong_kong)) == (set(), set())
        law.mainland.audit()

    def test_are_shown_with_their_contract(self, law: LawWorld) -> None:
        law.agree()
        for number in range(3):
            said = law.disposal(0, 0, done_at=law.clock() + number)
            law.hong_kong.place(said)
            if number:
                law.mainland.place(stated_by_exporter(law, said))
        law.anchor()
        answer = law.mainland.reader.contract(law.exporter.id, CONTRACT_ID)
        (shown,) = [each for each in answer.statements if each.outcome == DISPOSAL]
        halves = [each for each in answer.halves if each.outcome == DISPOSAL]
        assert (shown.state, len(halves)) == ("open", 5)


class TestStatementsThatComeAgain:
    """C1: a row grows with what is said for the first time, each author's for itself."""

    def test_filings_of_every_month_raise_nothing(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(*(law.filing(20260803) for _ in range(MAX_HALVES + 1)))
        assert rules_of(law.mainland) == set()

    def test_what_a_stranger_states_takes_no_place_of_the_parties(self, law: LawWorld) -> None:
        law.mainland.append(law.contract())
        stranger = law.hong_kong.enrol("hkbr.11111111", place=HONG_KONG_PLACE)
        for number in range(MAX_HALVES + 1):
            terms = law.contract_terms(recipient=stranger.party, planned_scale=number + 1)
            contract = pb.Contract(terms=terms)
            law.hong_kong.place(law.hong_kong.by(stranger, contract=contract))
        law.hong_kong.place(law.counterpart())
        law.anchor()
        assert law.mainland.reader.contract(law.exporter.id, CONTRACT_ID).state == "agreed"
        assert rules_of(law.mainland) == {"C1.foreign_half"}

    def test_an_earlier_statement_said_again_counts(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(), law.contract(planned_scale=7), law.contract())
        law.hong_kong.place(law.counterpart())
        law.anchor()
        answer = law.mainland.reader.contract(law.exporter.id, CONTRACT_ID)
        assert (answer.state, len(answer.halves)) == ("agreed", 3)


class TestErasure:
    """K21: what names several contracts is kept for the last of them."""

    @pytest.mark.parametrize(
        ("ends", "keep_until"), [((20260901, 20280831), 20310831), ((20260901, 0), 0)]
    )
    def test_of_an_incident(self, law: LawWorld, ends: tuple[int, int], keep_until: int) -> None:
        for number, expires_on in enumerate(ends):
            law.nonce = os.urandom(16)
            law.mainland.place(law.contract(contract_id=f"C{number}", expires_on=expires_on))
        incident = law.incident(contract_ids=["C0", "C1"])
        index = law.mainland.place(law.by_exporter(incident=incident))
        answer = law.mainland.reader.erasable(index, at("2030-01-01"))
        assert (answer.allowed, answer.keep_until) == (False, keep_until)


class TestOneIdOnBothSides:
    """An LEI may be admitted on both sides: a party is who it is, and of which log."""

    def test_a_disposal_by_the_other_party_takes_nothing(self, law: LawWorld) -> None:
        twin = law.mainland.enrol(law.recipient.id)
        terms = pb.Body.FromString(law.disposal(2, 7).body).disposal.terms
        disposal = pb.DisposalTerms.FromString(terms)
        disposal.exporter.CopyFrom(twin.party)
        said = pb.Disposal(terms=disposal.SerializeToString(deterministic=True))
        law.mainland.place(law.mainland.by(twin, disposal=said))
        assert "K16.disposed_more" not in rules_of(law.mainland)


class TestClosing:
    def test_says_the_numbers_of_what_it_closes(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(planned_scale=1), law.pipia(), law.transfer())
        law.mainland.place(law.contract())
        opened, closing = [each for each in law.mainland.findings() if each.rule == "K22.planned"]
        assert (closing.closed, closing.numbers) == (True, opened.numbers)

    def test_is_listed_with_what_it_closes(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(planned_scale=1), law.pipia(), law.transfer())
        law.clock.advance(1)
        law.mainland.place(law.contract())
        page = law.mainland.reader.findings_of(law.exporter.id, 0, 100, open_only=False)
        (found,) = page.findings
        assert (found.closed_by, found.closed_at) == (law.mainland.size - 1, law.clock())

    def test_is_tailed_by_itself(self, law: LawWorld) -> None:
        law.mainland.append(law.contract(planned_scale=1), law.pipia(), law.transfer())
        law.mainland.place(law.contract())
        page = law.mainland.reader.new_findings(law.exporter.id, 0, 100)
        bodies = [pb.Body.FromString(each.body) for each in page.findings]
        assert [body.finding.closed for body in bodies] == [False, True]


class TestRowsOfAHostileInstitution:
    """One that is admitted states whatever it may, as often and as long as it likes."""

    MOST = 128 * 1024

    def largest(self, law: LawWorld) -> int:
        tables = set(Table) - {Table.HEADERS, Table.BODIES, Table.TILES, Table.META}
        with law.mainland.store.snapshot() as snapshot:
            return max(
                len(key) + len(value) for table in tables for key, value in snapshot.scan(table)
            )

    def test_of_a_contract_stay_small(self, law: LawWorld) -> None:
        others = [f"hkbr.{number:08}" for number in range(1500)]
        side = pb.ContractSide(group_id="g" * 64, hgr_ref="h" * 64, authorisation_ref="a" * 64)
        long = {"third_parties": others, "list_ref": "l" * 64, "contract_id": "c" * 64}
        law.mainland.place(law.contract(side, **long))
        for number in range(1, MAX_HALVES + 2):
            terms = law.contract_terms(version=number, **long)
            law.mainland.place(law.by_exporter(supplement=pb.Supplement(terms=terms, side=side)))
            filing = {"authority": 2, "filed_on": 20260803, "result": 1, "filing_no": "n" * 64}
            law.mainland.place(law.by_exporter(filing=pb.Filing(terms=terms, **filing)))
        law.tick(law.mainland, at("2026-12-01"))
        assert self.largest(law) < self.MOST

    def test_of_a_group_stay_small(self, law: LawWorld) -> None:
        for number in range(2 * MAX_NEAR):
            law.nonce, named = os.urandom(16), f"{number:064}"
            law.mainland.place(law.contract(contract_id=named))
            many = {"subjects": 90_000, "subjects_first_this_year": 90_000}
            law.mainland.place(law.transfer(law.terms(contract_id=named, **many)))
        assert self.largest(law) < self.MOST
        law.mainland.audit()

    def test_of_a_transfer_stay_small(self, law: LawWorld) -> None:
        terms = law.terms(purposes=[3], delete_by=0)
        law.mainland.append(*(law.transfer(terms) for _ in range(2 * MAX_HALVES)))
        law.hong_kong.append(*(law.ack(terms) for _ in range(2 * MAX_HALVES)))
        law.anchor()
        assert self.largest(law) < self.MOST

    def test_that_one_tick_judges_are_not_all_held_in_memory(
        self, law: LawWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(law_state, "MAX_HELD_BYTES", 0)
        for number in range(20):
            law.nonce = os.urandom(16)
            law.mainland.place(law.contract(contract_id=f"C{number}"))
        law.tick(law.mainland, at("2026-08-20"))
        assert [rule for rule, _ in law.mainland.standing()].count("K4.overdue") == 20
        law.mainland.audit()


class TestOnward:
    """K7: a contract's new terms are looked at with what was provided onward under it alone."""

    def test_under_another_contract_is_left_alone(self, law: LawWorld) -> None:
        law.hong_kong.place(law.counterpart())
        onward = law.onward(contract_id="OTHER")
        law.hong_kong.append(law.by_recipient(onward=onward), law.by_recipient(onward=law.onward()))
        law.hong_kong.place(law.counterpart(third_parties=["hkbr.11111111"]))
        with law.hong_kong.store.snapshot() as snapshot:
            swept = [key for key, _ in snapshot.scan(Table.TIMERS) if key[8] == SWEEP]
        assert len(swept) == 1

    def test_that_is_stated_anew_under_another_contract_moves_there(self, law: LawWorld) -> None:
        law.hong_kong.place(law.counterpart())
        law.hong_kong.append(law.by_recipient(onward=law.onward()))
        law.hong_kong.append(law.by_recipient(onward=law.onward(contract_id="OTHER")))
        with law.hong_kong.store.snapshot() as snapshot:
            under = [
                len(list(onward_under(snapshot, onward_key(law.recipient.id, named), b"")))
                for named in (CONTRACT_ID, "OTHER")
            ]
        assert under == [0, 1]
        law.hong_kong.audit()


class TestACancelledTransfer:
    """K11, K12: it counts no more, for its exporter's other contracts neither."""

    def send(self, law: LawWorld, contract_id: str, persons: int, **changes: Any) -> pb.Transfer:
        many = {"subjects": persons, "subjects_first_this_year": persons}
        terms = law.terms(contract_id=contract_id, **many, **changes)
        law.mainland.place(law.transfer(terms))
        return terms

    @pytest.fixture(autouse=True)
    def _contracts(self, law: LawWorld) -> None:
        for named in ("A", "B"):
            law.nonce = os.urandom(16)
            law.mainland.place(law.contract(contract_id=named, mechanism=4, planned_scale=10**7))

    def test_frees_the_routes_of_others(self, law: LawWorld) -> None:
        large = self.send(law, "A", 1_000_000)
        self.send(law, "B", 1)
        found = [rule for rule, _ in law.mainland.standing()].count("K11.route")
        law.mainland.place(law.cancel(large))
        law.clock.now += 1
        law.tick(law.mainland)
        assert (found, "K11.route" in rules_of(law.mainland)) == (2, False)
        law.mainland.audit()

    def test_does_not_blame_them_when_the_counter_is_high_again(self, law: LawWorld) -> None:
        large = self.send(law, "A", 1_000_000)
        self.send(law, "B", 1)
        law.mainland.place(law.cancel(large))
        law.clock.now += 1
        law.tick(law.mainland)
        self.send(law, "A", 1_000_000)
        assert [rule for rule, _ in law.mainland.standing()].count("K11.route") == 1

    def test_that_is_sent_anew_at_once_frees_nothing(self, law: LawWorld) -> None:
        large = self.send(law, "A", 1_000_000)
        self.send(law, "B", 1)
        law.mainland.place(law.cancel(large))
        self.send(law, "A", 1_000_000)
        law.clock.now += 1
        law.tick(law.mainland)
        assert [rule for rule, _ in law.mainland.standing()].count("K11.route") == 2

    def test_frees_transfers_that_were_too_many(self, law: LawWorld) -> None:
        large = self.send(law, "A", 100_000)
        self.send(law, "B", 1, exemption=7)
        found = "K12.volume" in rules_of(law.mainland)
        law.mainland.place(law.cancel(large))
        law.clock.now += 1
        law.tick(law.mainland)
        assert (found, "K12.volume" in rules_of(law.mainland)) == (True, False)
        law.mainland.audit()

    def test_frees_however_many_in_steps(self, law: LawWorld) -> None:
        large = self.send(law, "A", 100_000)
        for _ in range(FREED_STEP + 5):
            self.send(law, "B", 1, exemption=7)
        law.mainland.place(law.cancel(large))
        law.clock.now += 10
        law.tick(law.mainland)
        assert "K12.volume" not in rules_of(law.mainland)
