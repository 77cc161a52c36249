"""What is counted for metrics and status is what the log says."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from ledger.law_world import LawWorld
from ledger.world import Node, World

from ledgerd.ledger.head import Head
from ledgerd.ledger.indexer import CLOSED, STANDS
from ledgerd.ledger.tally import Counts, Tally
from ledgerd.projections.postings import BLOCK, Field, Postings, code, posting, text
from ledgerd.rules.reconcile import State
from ledgerd.store.memory import MemoryStore


def count(node: Node) -> Counts:
    return Tally(node.store).count()


def some(counts: Counts) -> dict[State, int]:
    return {state: number for state, number in counts.transfers.items() if number}


class TestTransfers:
    def test_that_wait_for_their_other_half_are_open(self, world: World) -> None:
        for _ in range(3):
            world.mainland.place(world.transfer(world.terms()))
        assert some(count(world.mainland)) == {State.OPEN: 3}

    def test_go_from_one_state_to_the_next(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        world.hong_kong.place(world.ack(terms))
        world.anchor()
        assert [some(count(node)) for node in (world.mainland, world.hong_kong)] == [
            {State.MATCHED: 1}, {State.MATCHED: 1},
        ]  # fmt: skip

    def test_are_counted_once_whatever_else_their_party_says_of_them(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        world.mainland.place(world.cancel(terms))
        assert some(count(world.mainland)) == {State.CANCELLED: 1}


class TestFindings:
    def test_that_stand_are_counted_by_their_rule(self, law: LawWorld) -> None:
        law.mainland.place(law.transfer(at=1))
        law.mainland.place(law.transfer(at=1))
        assert count(law.mainland).findings == opened(law.mainland)
        assert sum(opened(law.mainland).values()) > 1

    def test_that_are_closed_are_not(self, law: LawWorld) -> None:
        law.mainland.place(law.transfer())
        before = opened(law.mainland)
        law.mainland.place(law.contract())
        assert count(law.mainland).findings == opened(law.mainland) != before


class TestALongLog:
    """Postings of many blocks, put as the indexer puts them, and an oracle beside them."""

    RULES = ("K15.unacknowledged", "K4.overdue", "S1.key_compromised")

    @pytest.fixture
    def log(self) -> PostedLog:
        return PostedLog(self.RULES, entries=5 * BLOCK + 17, seed=7)

    def test_is_counted_to_its_end(self, log: PostedLog) -> None:
        assert Tally(log.store).count().findings == log.standing

    def test_is_counted_anew_each_time(self, log: PostedLog) -> None:
        tally = Tally(log.store)
        tally.count()
        log.close(every=3)
        log.grow(BLOCK)
        assert tally.count().findings == log.standing


class PostedLog:
    """Findings of some rules in a random order, in a store that holds nothing else."""

    def __init__(self, rules: tuple[str, ...], *, entries: int, seed: int) -> None:
        self.store = MemoryStore(instance=os.urandom(16))
        self.standing: Counter[str] = Counter()
        self._rules = rules
        self._random = random.Random(seed)
        self._rule_of: dict[int, str] = {}
        self._size = 0
        self.grow(entries)

    def grow(self, entries: int) -> None:
        postings = Postings()
        with self.store.write() as transaction:
            for index in range(self._size, self._size + entries):
                rule = self._rule_of[index] = self._random.choice(self._rules)
                names = posting(Field.RULE, text(rule)), posting(Field.STANDING, code(STANDS))
                postings.add(transaction, names, [index])
                self.standing[rule] += 1
            postings.flush(transaction)
            self._size += entries
            Head(self._size, 0, bytes(32), b"a note").put(transaction)

    def close(self, *, every: int) -> None:
        postings = Postings()
        with self.store.write() as transaction:
            for index in range(0, self._size, every):
                postings.move(transaction, Field.STANDING, STANDS, CLOSED, index, self._size)
                self.standing[self._rule_of[index]] -= 1
            postings.flush(transaction)


def opened(node: Node) -> Counter[str]:
    """By the log itself: what was opened and not closed."""
    standing: dict[bytes, str] = {}
    for finding in node.findings():
        if finding.closed:
            del standing[finding.finding_id]
        else:
            standing[finding.finding_id] = finding.rule
    return Counter(standing.values())
