"""Yearly counters and groups of contracts, when what they count is stated otherwise (K11, K14)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ledger.law_world import DAY, LawWorld, at

from ledgerd_client._proto import body_pb2 as pb


def sent(law: LawWorld, persons: int, when: int | None = None, **changes: Any) -> pb.Transfer:
    """Send so many persons for the first time in their year."""
    terms = law.terms(**{"subjects": persons, "subjects_first_this_year": persons, **changes})
    law.mainland.place(law.transfer(terms, when))
    return terms


def stands(law: LawWorld) -> Counter[str]:
    """How often each rule's finding stands, as the exporter is told."""
    page = law.mainland.reader.findings_of(law.exporter.id, 0, 1000, open_only=True)
    return Counter(pb.Body.FromString(each.body).finding.rule for each in page.findings)


class TestAContractThatIsStatedAnew:
    """Of each year of its transfers there is a finding of its own, by that year's figures."""

    def test_has_each_year_found_by_itself(self, law: LawWorld) -> None:
        for day in ("2024-05-05", "2025-05-05"):
            sent(law, 200_000, at(day))
        law.mainland.place(law.contract(mechanism=4))
        assert stands(law)["K11.subjects_contract"] == 2

    def test_and_each_year_closed_by_itself(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(mechanism=4))
        transfers = [sent(law, 200_000, at(day)) for day in ("2024-05-05", "2025-05-05")]
        law.mainland.place(law.contract())
        for terms in transfers:
            law.mainland.place(law.cancel(terms))
        assert stands(law)["K11.subjects_contract"] == 0
        law.mainland.audit()

    def test_is_not_judged_by_figures_that_came_after_its_year(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(mechanism=4))
        sent(law, 200_000, at("2023-05-05"))
        law.mainland.place(law.contract())
        assert stands(law)["K11.subjects_contract"] == 0


class TestACounterThatIsCorrected:
    """K11, K12: what was found by how high it stood is closed, and found again as it rises."""

    @staticmethod
    def correct(law: LawWorld, terms: pb.Transfer, persons: int) -> None:
        stated = pb.Terms.FromString(terms.terms)
        stated.subjects_first_this_year = persons
        transfer = pb.Transfer(terms=stated.SerializeToString(deterministic=True))
        law.mainland.place(law.correction(law.mainland, transfer))
        law.tick(law.mainland, law.clock() + DAY + 1)

    @staticmethod
    def two_contracts(law: LawWorld) -> None:
        for number, named in enumerate(("A", "B")):
            law.nonce = bytes([number]) * 16
            law.mainland.place(law.contract(contract_id=named, mechanism=4))

    def test_down_and_up_again_hides_no_exempted_transfer(self, law: LawWorld) -> None:
        self.two_contracts(law)
        large = sent(law, 100_000, contract_id="A")
        sent(law, 1, contract_id="B", exemption=7)
        found = [stands(law)["K12.volume"]]
        for persons in (1, 100_000):
            self.correct(law, large, persons)
            found.append(stands(law)["K12.volume"])
        assert found == [1, 0, 1]
        law.mainland.audit()

    def test_down_and_up_again_hides_no_route(self, law: LawWorld) -> None:
        self.two_contracts(law)
        large = sent(law, 1_000_000, contract_id="A")
        sent(law, 1, contract_id="B")
        found = [stands(law)["K11.route"]]
        for persons in (1, 1_000_000):
            self.correct(law, large, persons)
            found.append(stands(law)["K11.route"])
        assert found == [2, 0, 2]
        law.mainland.audit()

    def test_up_by_what_was_sent_later_finds_nothing_that_came_before(self, law: LawWorld) -> None:
        self.two_contracts(law)
        large = sent(law, 100_000, contract_id="A")
        sent(law, 1, contract_id="B", exemption=7)
        self.correct(law, large, 1)
        later = sent(law, 1, contract_id="A", subjects=100_000)
        self.correct(law, later, 100_000)
        assert stands(law)["K12.volume"] == 0

    def test_is_judged_by_once_a_day(self, law: LawWorld) -> None:
        self.two_contracts(law)
        large = sent(law, 100_000, contract_id="A")
        sent(law, 1, contract_id="B", exemption=7)
        self.correct(law, large, 1)
        size = law.mainland.size
        stated = pb.Terms.FromString(large.terms)
        for number in range(10):
            stated.subjects_first_this_year = (100_000, 1)[number % 2]
            transfer = pb.Transfer(terms=stated.SerializeToString(deterministic=True))
            law.mainland.place(law.correction(law.mainland, transfer))
            law.tick(law.mainland, law.clock() + 1)
        bodies = [law.mainland.body(index) for index in range(size, law.mainland.size)]
        assert [body.finding.rule for body in bodies].count("K12.volume") == 1
