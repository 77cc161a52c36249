"""A contract as of a size is what was answered when the log had that size."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from ledger.law_world import CONTRACT_ID, LawWorld

from ledgerd.ledger.contract_reader import ContractAnswer
from ledgerd.ledger.views import contracts_at

# What the exporter or, in small letters, the recipient states, by planned scale; "-": an anchor.
STATEMENTS = st.text(st.sampled_from("ABCab-f"), min_size=2, max_size=12)


class Stated:
    """A contract that is stated again and again, and what was answered after each step."""

    def __init__(self) -> None:
        self.law = LawWorld()
        self.answers = {self.law.mainland.size: self.answer(self.law.mainland.size)}

    def step(self, what: str) -> None:
        law = self.law
        law.clock.advance(1)
        if what == "-":
            law.anchor(law.mainland)
        elif what == "f":
            law.mainland.place(law.filing(20260803))
        elif what.isupper():
            law.mainland.place(law.contract(planned_scale=ord(what)))
        else:
            law.hong_kong.place(law.counterpart(planned_scale=ord(what.upper())))
        self.answers[law.mainland.size] = self.answer(law.mainland.size)

    def answer(self, size: int) -> list[tuple[str, ContractAnswer]]:
        with self.law.mainland.store.snapshot() as snapshot:
            return contracts_at(snapshot, CONTRACT_ID, (), size)


class TestAContractThatIsStatedAgain:
    @settings(max_examples=60, deadline=None)
    @given(STATEMENTS)
    @example("ABA")
    @example("Aa-ABA")
    @example("Aab-a-")
    @example("ABCABC")
    def test_is_at_every_older_size_as_it_was_shown_then(self, steps: str) -> None:
        stated = Stated()
        for what in steps:
            stated.step(what)
        for size, answer in stated.answers.items():
            assert stated.answer(size) == answer, size

    def test_passes_an_audit(self) -> None:
        stated = Stated()
        for what in "ABAab-a-B-":
            stated.step(what)
        stated.law.mainland.audit()
