"""Deadlines of our own side: TICK entries, a durable index, and judgements that no commit changes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from builders import Institution, new_key
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ledger.law_world import CONTRACT_ID, RULES, LawWorld, at, rules_of
from ledger.stores import reopened
from ledger.threaded import InThread

from ledgerd.ledger.committer import Committer
from ledgerd.ledger.law_machine import AWAY_KEY, TICK_STEP
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.ledger.ticker import Ticker
from ledgerd.projections.matters import matter_key
from ledgerd.projections.timers import MATTER
from ledgerd.rules.ruleset import HOUR, make_rule_set
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import ChainError, NotReadyError
from ledgerd_client.core.record import Admitted

OVERDUE = at("2026-08-18", "23:59:59.999999") + 1


class TestTick:
    def test_is_an_entry_of_the_node(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.tick(law.mainland, law.clock() + 25 * HOUR)
        ticks = [
            index for index in range(law.mainland.size) if law.mainland.body(index).HasField("tick")
        ]
        assert len(ticks) == 1

    def test_finds_what_was_due_after_a_restart_too(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.mainland.writer.load()
        law.tick(law.mainland, OVERDUE)
        assert rules_of(law.mainland) == {"K4.overdue"}

    def test_needs_no_peer(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.tick(law.mainland, OVERDUE)
        assert law.mainland.reader.anchor().known_until == 0

    def test_with_a_clock_set_back_finds_nothing_early(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.clock.now -= 24 * HOUR
        law.mainland.place(law.mainland.by_node(tick=pb.Tick()))
        assert law.mainland.findings() == []

    def test_before_anything_is_due_changes_nothing(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.mainland.place(law.mainland.by_node(tick=pb.Tick()))
        assert law.mainland.findings() == []

    def test_judges_so_many_and_the_next_one_the_rest(self, law: LawWorld) -> None:
        incidents = [law.incident(matter=os.urandom(16)) for _ in range(TICK_STEP + 1)]
        law.mainland.append(*(law.by_exporter(incident=each) for each in incidents[:TICK_STEP]))
        law.mainland.append(*(law.by_exporter(incident=each) for each in incidents[TICK_STEP:]))
        law.clock.now += 28 * HOUR + 1
        law.mainland.place(law.mainland.by_node(tick=pb.Tick()))
        first = len(law.mainland.findings())
        law.mainland.place(law.mainland.by_node(tick=pb.Tick()))
        assert (first, len(law.mainland.findings())) == (TICK_STEP, TICK_STEP + 1)


class Ticking(Ticker):
    """With the sequencer that it appends to at hand."""

    def __init__(
        self, sequencer: Sequencer, sign: Callable[..., Admitted], reader: Reader, **options: Any
    ) -> None:
        super().__init__(sign, reader, sequencer, **options)
        self.sequencer = sequencer

    def refuse(self, why: NotReadyError | None) -> None:
        self.sequencer.refuse = why


@asynccontextmanager
async def ticking(law: LawWorld) -> AsyncIterator[Ticking]:
    """A ticker of the Mainland's node as it is started: on its store, through a sequencer."""
    node = law.mainland
    node.store = reopened(node.store, Path())
    committer = Committer(node.store, lambda: node.new_writer(node.store), reserve_bytes=1000)
    sequencer = Sequencer(
        InThread(committer), on_commit=lambda _: None, on_fatal=lambda _: None, linger_s=0
    )
    await sequencer.start()
    yield Ticking(
        sequencer,
        node.by_node,
        node.reader,
        clock=law.clock,
    )
    await sequencer.stop()


class TestTicker:
    async def test_ticks_once_a_deadline_has_passed(self) -> None:
        law = LawWorld()
        law.mainland.place(law.contract())
        law.tick(law.mainland, OVERDUE - 1)
        law.clock.now = OVERDUE
        async with ticking(law) as ticker:
            assert await ticker.step()
        assert rules_of(law.mainland) == {"K4.overdue"}

    async def test_waits_while_nothing_can_be_appended(self) -> None:
        law = LawWorld()
        law.mainland.place(law.contract())
        law.clock.now = OVERDUE
        size = law.mainland.size
        async with ticking(law) as ticker:
            ticker.refuse(NotReadyError("the peer is asked first"))
            assert await ticker.step()
        assert law.mainland.size == size

    async def test_ticks_as_soon_as_it_is_started(self) -> None:
        """However long the node was away: the law counts that, and no restart puts it off."""
        law = LawWorld()
        law.mainland.place(law.contract())
        law.clock.now = OVERDUE
        size = law.mainland.size
        async with ticking(law) as ticker:
            await ticker.step()
        assert law.mainland.size > size

    async def test_writes_nothing_while_none_has(self) -> None:
        law = LawWorld()
        law.mainland.place(law.contract())
        size = law.mainland.size
        async with ticking(law) as ticker:
            assert await ticker.step()
        assert law.mainland.size == size

    async def test_says_when_another_tick_is_due_at_once(self) -> None:
        law = LawWorld()
        incidents = [law.incident(matter=os.urandom(16)) for _ in range(TICK_STEP + 1)]
        law.mainland.append(*(law.by_exporter(incident=each) for each in incidents))
        law.clock.advance(29)
        async with ticking(law) as ticker:
            assert [await ticker.step(), await ticker.step()] == [False, True]

    async def test_does_not_tick_at_once_for_what_a_tick_did_not_move(self) -> None:
        law = LawWorld()
        with law.mainland.store.write() as transaction:
            nothing = matter_key(law.exporter.id, "incident", bytes(16))
            transaction.put(Table.TIMERS, u64(5) + bytes([MATTER]) + nothing, b"")
        async with ticking(law) as ticker:
            assert await ticker.step()

    async def test_writes_nothing_once_no_law_is_in_force(self) -> None:
        law = LawWorld()
        law.mainland.append(law.contract(), law.mainland.by_node(rule_set=make_rule_set()))
        size, law.clock.now = law.mainland.size, OVERDUE
        async with ticking(law) as ticker:
            assert await ticker.step()
        assert law.mainland.size == size

    async def test_ticks_for_what_passed_without_a_law_once_one_is_in_force(self) -> None:
        law = LawWorld()
        law.mainland.append(law.contract(), law.mainland.by_node(rule_set=make_rule_set()))
        law.clock.now = OVERDUE
        law.mainland.place(law.mainland.by_node(rule_set=RULES))
        async with ticking(law) as ticker:
            assert await ticker.step()
        assert rules_of(law.mainland) == {"K4.overdue"}


class TestOutage:
    """What was to be recorded while the node was away is given as long again after it."""

    def fall_due_while_away(self, law: LawWorld) -> None:
        """The node takes a record on 17 August and is back on the 20th; K4 was for the 18th."""
        law.mainland.place(law.contract())
        law.tick(law.mainland, at("2026-08-17"))
        law.mainland.place(law.pipia())
        law.clock.now = at("2026-08-20")
        law.mainland.place(law.mainland.by_node(tick=pb.Tick()))

    def test_accuses_nobody_when_the_node_is_back(self, law: LawWorld) -> None:
        self.fall_due_while_away(law)
        assert rules_of(law.mainland) == {"K4.pending"}

    def test_does_not_count_into_the_grace(self, law: LawWorld) -> None:
        # Away from 10:00 on the 17th: the 38 hours that were left of it are.
        self.fall_due_while_away(law)
        law.tick(law.mainland, at("2026-08-20") + 24 * HOUR)
        spared = rules_of(law.mainland)
        law.tick(law.mainland, at("2026-08-20") + 24 * HOUR + 2)
        assert (spared, rules_of(law.mainland)) == ({"K4.pending"}, {"K4.overdue"})

    def test_that_ends_with_a_record_is_one_too(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        law.clock.now = at("2026-08-20")
        law.mainland.place(law.pipia())
        law.tick(law.mainland, law.clock() + 1)
        assert rules_of(law.mainland) == {"K4.pending"}

    def test_is_remembered_over_a_restart(self, law: LawWorld) -> None:
        self.fall_due_while_away(law)
        law.mainland.writer.load()
        law.mainland.place(law.pipia())
        law.tick(law.mainland, at("2026-08-20") + 24 * HOUR)
        assert rules_of(law.mainland) == {"K4.pending"}

    def test_again_and_again_puts_nothing_off_for_longer_than_it_lasts(self, law: LawWorld) -> None:
        law.mainland.place(law.contract())
        for day in range(18, 31):
            law.tick(law.mainland, at(f"2026-08-{day}", "23:58:00"))
            law.mainland.place(law.pipia())
            law.clock.now += HOUR // 6
            law.mainland.place(law.pipia())
        assert "K4.overdue" in rules_of(law.mainland)

    def test_is_none_when_a_record_itself_is_due_at_once(self, law: LawWorld) -> None:
        # Of a certificate the node looks at once how long it lasts.
        certified = pb.ContractSide(authorised_on=20240401)
        law.mainland.place(law.contract(certified, mechanism=2))
        law.clock.now += 9_000_000
        law.mainland.place(law.mainland.by_node(tick=pb.Tick()))
        with law.mainland.store.snapshot() as snapshot:
            assert snapshot.get(Table.META, AWAY_KEY) is None

    def test_is_the_same_in_an_audit(self, law: LawWorld) -> None:
        self.fall_due_while_away(law)
        law.tick(law.mainland, at("2026-08-22"))
        law.mainland.audit()


CHANGES: list[dict[str, Any]] = [
    {},
    {"purposes": [2, 3]},
    {"transmission": 2},
    {"notice_digest": b"", "notice_version": ""},
    {"exemption": 7},
    {"exemption": 2},
    {"delete_by": 0},
    {"sensitive_categories": [4], "sensitive_subjects": 1, "sensitive_first_this_year": 1},
]
# Of the same year, before and after the figures of the Provisions came into force, and now.
TIMES = [at("2024-03-21"), at("2024-03-22"), None]
SENT = st.lists(
    st.tuples(
        st.sampled_from(CHANGES),
        st.sampled_from([1, 5_000, 9_999, 40_000, 79_998]),
        st.sampled_from(TIMES),
    ),
    min_size=1,
    max_size=25,
)


class TestLikeTransfers:
    """What raised nothing is not judged again, until something that it is judged by changes."""

    def test_are_judged_anew_once_the_contract_is_suspended(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(law.transfer(), law.transfer())
        suspend = pb.Suspend(contract_id=CONTRACT_ID, at=law.clock(), cause=1)
        law.mainland.append(law.by_exporter(suspend=suspend), law.transfer())
        assert rules_of(law.mainland) == {"K3.suspended"}

    def test_are_judged_anew_once_the_exporter_is_registered_elsewhere(self, law: LawWorld) -> None:
        law.agree()
        kept = {"purposes": [3], "consent_form": 3}
        law.mainland.append(law.supplement(purposes=[2, 3, 7]))
        law.mainland.append(law.transfer(law.terms(**kept)), law.transfer(law.terms(**kept)))
        rotation = law.mainland.log.rotation(law.exporter, key := new_key(), sector=2)
        index = law.mainland.place(law.mainland.by_authority(key_event=rotation))
        law.exporter = Institution(law.mainland.log.origin, law.exporter.id, key, index)
        law.mainland.place(law.transfer(law.terms(**kept)))
        assert "K18.consent" in rules_of(law.mainland)

    def test_are_counted_all_the_same(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.append(*(law.transfer() for _ in range(5)))
        assert law.mainland.reader.contract(law.exporter.id, CONTRACT_ID).subjects == 1500


def restated(world: LawWorld) -> list[Admitted]:
    """A transfer, what corrects it, and what cancels it."""
    terms = world.terms()
    other = pb.Terms.FromString(terms.terms)
    other.contract_id = "ANOTHER"
    correction = pb.Correction(terms=other.SerializeToString(deterministic=True))
    correction.corrects = bytes(6) + b"\x70\x00\x80" + bytes(7)
    corrected = world.by_exporter(correction=correction)
    return [world.transfer(terms), corrected, world.cancel(terms)]


def suspended(world: LawWorld) -> list[Admitted]:
    suspend = pb.Suspend(contract_id=CONTRACT_ID, at=world.clock(), cause=1)
    return [world.by_exporter(suspend=suspend)]


def resumed(world: LawWorld) -> list[Admitted]:
    return [world.by_exporter(resume=pb.Resume(contract_id=CONTRACT_ID, at=world.clock()))]


# What may happen; the number tells one from the next.
EVENTS: dict[str, Callable[[LawWorld, int], list[Admitted]]] = {
    "transfer": lambda world, _: [world.transfer(), world.transfer()],
    "many": lambda world, _: [
        world.transfer(world.terms(subjects=90_000, subjects_first_this_year=90_000))
    ],
    "beyond": lambda world, _: [world.transfer(world.terms(purposes=[3]))],
    "unknown": lambda world, _: [world.transfer(world.terms(contract_id="ANOTHER"))],
    "another": lambda world, n: [world.contract(contract_id="ANOTHER", nonce=bytes([n] * 16))],
    "restated": lambda world, _: restated(world),
    "pipia": lambda world, _: [world.pipia()],
    "filing": lambda world, _: [world.filing(20260803, planned_scale=1000)],
    "supplement": lambda world, n: [world.supplement(1 + n % 3, purposes=[2, 3, 7])],
    "national": lambda world, n: [world.supplement(1 + n % 3, mechanism=4)],
    "suspend": lambda world, _: suspended(world),
    "resume": lambda world, _: resumed(world),
    "end": lambda world, _: [world.by_exporter(termination=world.termination(20260803))],
    "incident": lambda world, n: [
        world.by_exporter(incident=world.incident(matter=bytes([n % 2] * 16)))
    ],
}


class TestCommits:
    """The same records raise the same findings, however they are put into commits."""

    @settings(max_examples=25, deadline=None)
    @example([({}, 1, None), ({}, 1, None)])
    @given(SENT)
    def test_of_one_record_each_find_what_one_of_all_finds(self, sent: list[Any]) -> None:
        together, apart = LawWorld(), LawWorld()
        for world in (together, apart):
            world.mainland.append(
                world.contract(planned_scale=200_000, effective_on=20240101), world.pipia()
            )
            records = [
                world.transfer(
                    world.terms(subjects=200_000, subjects_first_this_year=persons, **changes), when
                )
                for changes, persons, when in sent
            ]
            if world is together:
                world.mainland.append(*records)
                continue
            for record in records:
                # As after a restart: nothing is known of the transfers before.
                world.mainland.writer.load()
                world.mainland.place(record)
        assert rules_of(together.mainland) == rules_of(apart.mainland)
        assert raised(together) == raised(apart)
        together.mainland.audit()
        apart.mainland.audit()

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.sampled_from(sorted(EVENTS)), min_size=1, max_size=20))
    def test_between_restarts_find_what_a_rebuild_finds(self, events: list[str]) -> None:
        """The audit rebuilds in one go what was found by a node that always starts anew."""
        world = LawWorld()
        world.mainland.place(world.contract(planned_scale=1000))
        for number, event in enumerate(events):
            world.clock.advance(7)
            world.mainland.writer.load()
            world.mainland.append(*EVENTS[event](world, number))
            world.tick(world.mainland)
        world.mainland.audit()

    def test_that_are_taken_back_leave_no_trace(self, law: LawWorld) -> None:
        law.agree()
        law.mainland.writer.rehearse([law.transfer(law.terms(purposes=[3]))])
        law.mainland.place(law.transfer())
        assert law.mainland.findings() == []


def raised(law: LawWorld) -> list[tuple[str, bool]]:
    """What was opened and closed, by rule: positions differ, as findings stand in between."""
    return sorted((each.rule, each.closed) for each in law.mainland.findings())


class TestRuleSets:
    def test_of_a_law_that_this_program_does_not_hold_are_refused(self, law: LawWorld) -> None:
        rules = make_rule_set()
        rules.law = "1999.1"
        error = law.mainland.writer.rehearse([law.mainland.by_node(rule_set=rules)])
        assert isinstance(error, NotReadyError)
        assert error.reason == "NO_SUCH_LAW"

    def test_of_another_digest_are_refused(self, law: LawWorld) -> None:
        rules = pb.RuleSet()
        rules.CopyFrom(law.mainland.writer.machine.rules)
        rules.record_within += 1
        error = law.mainland.writer.rehearse([law.mainland.by_node(rule_set=rules)])
        assert isinstance(error, ChainError)

    def test_without_a_law_end_its_judgements(self, law: LawWorld) -> None:
        law.mainland.place(law.mainland.by_node(rule_set=make_rule_set()))
        law.mainland.place(law.transfer())
        assert law.mainland.findings() == []


class TestLateness:
    """L1 of what concerns one party: it says itself whom."""

    def test_of_a_contract_names_party_and_contract(self, law: LawWorld) -> None:
        late = law.by_exporter(
            at("2026-08-01"), pipia=pb.Body.FromString(law.pipia(20260801).body).pipia
        )
        law.mainland.append(law.contract(), late)
        (finding,) = law.mainland.findings()
        concerned = (finding.rule, finding.institution, finding.contract_id)
        assert concerned == ("L1.recorded_late", law.exporter.id, CONTRACT_ID)
