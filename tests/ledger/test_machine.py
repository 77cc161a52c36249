"""What entries do: findings, deadlines, lateness, and the rules in force at each index."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger.world import Found, Node, World

from ledgerd.ledger.finding_maker import Concerned, derive_finding_id
from ledgerd.ledger.machine import Machine, stored_header, stored_rule_set
from ledgerd.ledger.peer_log import ANCHOR_STEP
from ledgerd.projections.erased import stored_body
from ledgerd.projections.registry import newest_key_header
from ledgerd.projections.transfer_row import MAX_HALVES
from ledgerd.projections.transfers import find_row, get_transfer
from ledgerd.rules.reconcile import State
from ledgerd.rules.ruleset import HOUR, make_rule_set
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import lp8, u64
from ledgerd_client.core.errors import ChainError, LedgerError, StoreError
from ledgerd_client.core.transfer import parse_terms, ref_of


def ref(terms: pb.Transfer) -> bytes:
    return ref_of(parse_terms(terms.terms))


def state(node: Node, terms: pb.Transfer) -> State:
    return node.reader.transfer(ref(terms)).state


def deadlines(node: Node) -> list[tuple[int, bytes]]:
    with node.store.snapshot() as snapshot:
        rows = [key for key, _ in snapshot.scan(Table.DEADLINES)]
    return [(int.from_bytes(key[:8], "big"), key[8:]) for key in rows]


def said(findings: list[pb.Finding]) -> list[tuple[str, bool]]:
    return [(finding.rule, finding.closed) for finding in findings]


def silent(world: World) -> pb.Transfer:
    """A TRANSFER that the exporter's node has found unacknowledged."""
    terms = world.terms()
    world.mainland.place(world.transfer(terms))
    world.clock.advance(25)
    world.anchor(world.mainland)
    return terms


class TestFindings:
    def test_a_finding_is_the_entry_after_its_cause(self, world: World) -> None:
        silent(world)
        assert world.mainland.body(world.mainland.size - 1).finding.rule == "K15.unacknowledged"

    def test_it_names_the_records_by_origin_and_index(self, world: World) -> None:
        silent(world)
        node = world.mainland
        assert node.standing() == {("K15.unacknowledged", frozenset({(node.log.origin, 3)}))}

    def test_its_id_derives_from_rule_rule_set_transfer_and_records(self, world: World) -> None:
        terms = silent(world)
        finding = world.mainland.findings()[0]
        record = lp8(world.mainland.log.origin.encode()) + u64(3)
        derived = lp8(b"K15.unacknowledged") + u64(1) + lp8(ref(terms)) + record
        assert finding.finding_id == sha256(b"ledgerd/finding/v1\n" + derived).digest()

    def test_two_of_the_same_records_and_other_numbers_have_two_ids(self) -> None:
        concerned = Concerned(b"", "uscc.A", "C")
        ids = {derive_finding_id("K14.split", 1, concerned, (), (3, year)) for year in (2025, 2026)}
        assert len(ids) == 2

    def test_what_still_holds_is_not_found_again(self, world: World) -> None:
        silent(world)
        for _ in range(3):
            world.clock.advance(25)
            world.anchor(world.mainland)
        assert said(world.mainland.findings()) == [("K15.unacknowledged", False)]

    def test_a_cured_finding_is_closed_under_its_id(self, world: World) -> None:
        terms = silent(world)
        world.hong_kong.place(world.ack(terms))
        world.anchor(world.mainland)
        opened, closed = world.mainland.findings()[:2]
        assert (closed.finding_id, closed.closed) == (opened.finding_id, True)

    def test_a_late_half_cures_and_is_marked_late(self, world: World) -> None:
        terms = silent(world)
        world.hong_kong.place(world.ack(terms))
        world.anchor(world.mainland)
        assert said(world.mainland.findings()) == [
            ("K15.unacknowledged", False), ("K15.unacknowledged", True),
            ("K15.acknowledged_late", False),
        ]  # fmt: skip

    def test_a_finding_that_comes_back_opens_again(self, world: World) -> None:
        """Mismatched, corrected, and corrected away again: also within one call."""
        terms = world.terms()
        other = changed(terms)
        node = world.mainland
        node.place(world.transfer(terms))
        world.hong_kong.place(world.ack(other))
        world.anchor(node)
        node.append(*(world.correction(node, each) for each in (other, terms, other)))
        assert said(node.findings()) == [("K15.mismatch", closed) for closed in (0, 1, 0, 1)]
        assert node.audit().findings == 4

    def test_the_other_node_finds_the_same(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        world.hong_kong.place(world.ack(terms, outcome=pb.OUTCOME_REJECTED))
        world.anchor()
        assert world.mainland.standing() == world.hong_kong.standing() != set()

    def test_the_severity_is_the_rules(self, world: World) -> None:
        silent(world)
        assert world.mainland.findings()[0].severity == pb.SEVERITY_HIGH

    def test_a_transfer_keeps_the_findings_on_it(self, world: World) -> None:
        terms = silent(world)
        world.hong_kong.place(world.ack(terms))
        world.anchor(world.mainland)
        answer = world.mainland.reader.transfer(ref(terms))
        bodies = [pb.Body.FromString(body).finding for _, body in answer.findings]
        assert bodies == world.mainland.findings()


def changed(terms: pb.Transfer, subjects: int = 7) -> pb.Transfer:
    """Other terms of the same transfer."""
    other = pb.Terms.FromString(terms.terms)
    other.subjects_first_this_year = subjects
    return pb.Transfer(terms=other.SerializeToString(deterministic=True))


class TestDeadlines:
    """Silence means something only once an anchor says that the other log was looked at later."""

    def test_own_time_accuses_nobody(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        world.clock.advance(1000)
        world.mainland.place(world.transfer())
        assert (state(world.mainland, terms), world.mainland.findings()) == (State.OPEN, [])

    @pytest.mark.parametrize(("beyond", "found"), [(-1, []), (0, []), (1, ["K15.unacknowledged"])])
    def test_an_anchor_must_be_beyond_the_deadline(
        self, world: World, beyond: int, found: list[str]
    ) -> None:
        node = world.mainland
        node.place(world.transfer())
        world.clock.advance(24)
        world.clock.now += beyond
        node.place(node.anchor(world.hong_kong.size))
        assert [finding.rule for finding in node.findings()] == found

    def test_the_time_of_fetching_counts_not_that_of_recording(self, world: World) -> None:
        node = world.mainland
        node.place(world.transfer())
        fetched = world.clock()
        world.clock.advance(1000)
        node.place(node.anchor(world.hong_kong.size, fetched))
        assert node.findings() == []

    def test_an_ack_without_its_transfer_is_undeclared(self, world: World) -> None:
        terms = world.terms()
        world.hong_kong.place(world.ack(terms))
        world.clock.advance(25)
        world.anchor()
        assert (state(world.hong_kong, terms), state(world.mainland, terms)) == (
            State.UNDECLARED, State.UNDECLARED,
        )  # fmt: skip

    def test_a_deadline_is_kept_as_long_as_something_is_awaited(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        assert deadlines(world.mainland) == [(world.clock() + 24 * HOUR, ref(terms))]

    def test_the_earliest_is_the_next(self, world: World) -> None:
        world.mainland.place(world.transfer())
        first = world.clock() + 24 * HOUR
        world.clock.advance(1)
        world.mainland.place(world.transfer())
        assert world.mainland.reader.next_deadline() == first

    def test_it_is_gone_when_the_other_half_comes(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        world.hong_kong.place(world.ack(terms))
        world.anchor()
        assert deadlines(world.mainland) == deadlines(world.hong_kong) == []

    def test_it_is_gone_when_it_has_passed(self, world: World) -> None:
        silent(world)
        assert deadlines(world.mainland) == []

    def test_it_is_gone_when_the_transfer_is_taken_back(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        world.mainland.place(world.cancel(terms))
        assert deadlines(world.mainland) == []

    def test_it_moves_when_a_matched_transfer_is_reopened(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        world.hong_kong.place(world.ack(terms))
        world.anchor(world.mainland)
        world.clock.advance(1)
        world.mainland.place(world.correction(world.mainland, changed(terms)))
        first = world.clock() + 72 * HOUR
        assert deadlines(world.mainland) == [(first, ref(terms))]
        world.clock.advance(1)
        world.mainland.place(world.correction(world.mainland, changed(terms, 8)))
        assert deadlines(world.mainland) == [(first + HOUR, ref(terms))]

    def test_an_older_anchor_takes_nothing_back(self, world: World) -> None:
        """A clock that went back, or a checkpoint read twice, must not judge anew."""
        node = world.mainland
        terms = silent(world)
        world.hong_kong.place(world.ack(terms, outcome=pb.OUTCOME_REJECTED))
        world.anchor(node)
        before = (
            node.standing(),
            node.reader.transfer(ref(terms)).halves,
            node.writer.machine.anchor,
        )
        node.place(node.anchor(2, world.clock() - 30 * HOUR))
        node.place(node.anchor(world.hong_kong.size, world.clock() - 30 * HOUR))
        after = (
            node.standing(),
            node.reader.transfer(ref(terms)).halves,
            node.writer.machine.anchor,
        )
        assert after == before


class TestPartition:
    """Longer than every deadline, both halves present, healed: it leaves no finding."""

    def test_transfer_and_ack(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        world.clock.advance(1)
        world.hong_kong.place(world.ack(terms))
        world.clock.advance(1000)
        world.anchor()
        assert world.mainland.findings() == world.hong_kong.findings() == []

    def test_a_rejection_that_was_settled(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        for outcome in (pb.OUTCOME_REJECTED, pb.OUTCOME_PARTIAL, pb.OUTCOME_ACCEPTED):
            world.hong_kong.append(world.ack(terms, outcome=outcome))
        before = world.hong_kong.size
        world.clock.advance(1000)
        world.anchor()
        assert (world.mainland.findings(), world.hong_kong.findings(before)) == ([], [])

    def test_corrections_that_met(self, world: World) -> None:
        """What stands between the peer's halves of one anchor is nobody's state."""
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        world.hong_kong.place(world.ack(terms))
        for node in (world.mainland, world.hong_kong):
            node.place(world.correction(node, changed(terms)))
        world.clock.advance(1000)
        world.anchor()
        assert state(world.mainland, terms) == state(world.hong_kong, terms) == State.MATCHED
        assert world.mainland.findings() == world.hong_kong.findings() == []


class TestLateness:
    @pytest.mark.parametrize(("beyond", "found"), [(0, 0), (1, 1)])
    def test_a_record_is_late_beyond_what_the_rules_allow(
        self, world: World, beyond: int, found: int
    ) -> None:
        happened = world.clock() - 24 * HOUR - beyond
        world.mainland.place(world.transfer(at=happened))
        assert said(world.mainland.findings()) == [("L1.recorded_late", False)] * found

    def test_the_finding_names_the_late_record(self, world: World) -> None:
        index = world.mainland.place(world.transfer(at=1))
        (finding,) = world.mainland.findings()
        assert [(r.origin, r.index) for r in finding.records] == [
            (world.mainland.log.origin, index)
        ]

    def test_what_the_authority_and_the_node_record_is_never_late(self, world: World) -> None:
        node = world.mainland
        late = node.by_node(rule_set=make_rule_set(record_within=0))
        world.clock.advance(1000)
        node.append(late)
        assert node.findings() == []


class TestRuleSets:
    """Each index is judged by the rule set in force there."""

    def test_records_before_the_change_are_judged_by_the_old_one(self, world: World) -> None:
        node = world.mainland
        hour_ago = world.clock() - HOUR
        strict = node.by_node(rule_set=make_rule_set(record_within=HOUR - 1))
        node.append(world.transfer(at=hour_ago), strict, world.transfer(at=hour_ago))
        assert [finding.records[0].index for finding in node.findings()] == [5]

    def test_a_finding_names_the_rule_set_that_it_rests_on(self, world: World) -> None:
        node = world.mainland
        index = node.place(node.by_node(rule_set=make_rule_set(record_within=0)))
        node.place(world.transfer(at=world.clock() - 1))
        assert node.findings()[0].rule_set == index

    def test_a_new_transfer_gets_the_new_deadline(self, world: World) -> None:
        node = world.mainland
        node.place(world.transfer())
        node.place(node.by_node(rule_set=make_rule_set(acknowledge_within=HOUR)))
        node.place(world.transfer())
        assert [due - world.clock() for due, _ in deadlines(node)] == [HOUR, 24 * HOUR]

    def test_a_deadline_that_the_new_rules_move_out_is_moved(self, world: World) -> None:
        node = world.mainland
        node.place(world.transfer())
        start = world.clock()
        node.place(node.by_node(rule_set=make_rule_set(acknowledge_within=48 * HOUR)))
        world.clock.advance(25)
        world.anchor(node)
        assert ([due for due, _ in deadlines(node)], node.findings()) == ([start + 48 * HOUR], [])


class TestTooManyHalves:
    """One party repeats itself without end: the log holds it all, the row does not."""

    def test_the_row_stops_growing(self, world: World) -> None:
        terms = world.terms()
        sizes = []
        for _ in range(2):
            acks = [world.ack(terms, outcome=pb.OUTCOME_REJECTED) for _ in range(MAX_HALVES + 1)]
            world.hong_kong.append(*acks)
            with world.hong_kong.store.snapshot() as snapshot:
                sizes.append(len(find_row(snapshot, ref(terms)) or b""))
        assert sizes[0] == sizes[1]

    def test_it_is_found_once_on_each_side(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        acks = [world.ack(terms, outcome=pb.OUTCOME_REJECTED) for _ in range(MAX_HALVES + 50)]
        world.hong_kong.append(*acks)
        world.anchor()
        too_many = [
            [f.rule for f in node.findings() if f.rule == "K15.too_many_halves"]
            for node in (world.mainland, world.hong_kong)
        ]
        assert too_many == [["K15.too_many_halves"]] * 2

    def test_what_comes_after_is_not_even_late(self, world: World) -> None:
        """Or one ref would fill the log with findings, twice as fast as its institution writes."""
        terms = world.terms()
        world.mainland.append(*(world.transfer(terms, at=1) for _ in range(MAX_HALVES + 20)))
        late = [f for f in world.mainland.findings() if f.rule == "L1.recorded_late"]
        assert len(late) == MAX_HALVES + 1

    def test_it_changes_no_row(self, world: World) -> None:
        terms = world.terms()
        world.mainland.append(*(world.transfer(terms) for _ in range(MAX_HALVES + 1)))
        before = world.mainland.reader.transfer(ref(terms))
        findings = len(world.mainland.findings())
        world.mainland.append(world.cancel(terms))
        after = world.mainland.reader.transfer(ref(terms))
        assert (after.state, after.halves) == (before.state, before.halves)
        assert len(world.mainland.findings()) == findings

    def test_the_audit_agrees(self, world: World) -> None:
        self.test_it_is_found_once_on_each_side(world)
        world.mainland.audit()
        world.hong_kong.audit()


class TestBacklog:
    """One anchor takes up and judges so much and no more; the next ones go on from there."""

    def fill(self, world: World, count: int = ANCHOR_STEP) -> None:
        """Entries of Hong Kong's log that concern nobody."""
        node = world.hong_kong
        node.append(*(node.by_node(rule_set=make_rule_set()) for _ in range(count)))

    def test_an_anchor_takes_up_so_many_headers(self, world: World) -> None:
        self.fill(world)
        world.anchor(world.mainland)
        assert world.mainland.reader.anchor().taken_up == ANCHOR_STEP

    def test_the_next_goes_on_from_there(self, world: World) -> None:
        self.fill(world)
        for _ in range(2):
            world.anchor(world.mainland)
        assert world.mainland.reader.anchor().taken_up == world.hong_kong.size

    def test_a_transfers_answer_says_what_is_taken_up(self, world: World) -> None:
        terms = world.terms()
        world.mainland.place(world.transfer(terms))
        self.fill(world)
        world.anchor(world.mainland)
        answer = world.mainland.reader.transfer(ref(terms))
        assert (answer.peer_size, answer.peer_known_at) == (ANCHOR_STEP, 0)

    def test_while_halves_are_left_nobody_is_accused(self, world: World) -> None:
        """Of silence: the answer lies behind what this anchor takes up."""
        terms, node = world.terms(), world.mainland
        node.place(world.transfer(terms))
        self.fill(world)
        world.hong_kong.place(world.ack(terms))
        world.clock.advance(25)
        world.anchor(node)
        assert (state(node, terms), node.findings()) == (State.OPEN, [])
        world.anchor(node)
        assert (state(node, terms), node.findings()) == (State.MATCHED, [])

    def test_a_half_is_judged_with_those_behind_it(self, world: World) -> None:
        """Rejected at the front of the backlog, accepted at its end."""
        terms, node = world.terms(), world.mainland
        node.place(world.transfer(terms))
        world.anchor(node)
        world.hong_kong.place(world.ack(terms, outcome=pb.OUTCOME_REJECTED))
        self.fill(world)
        world.hong_kong.place(world.ack(terms))
        for _ in range(2):
            world.anchor(node)
        assert (state(node, terms), node.findings()) == (State.MATCHED, [])

    def test_an_own_half_waits_with_them(self, world: World) -> None:
        terms, node = world.terms(), world.mainland
        world.hong_kong.place(world.ack(terms, outcome=pb.OUTCOME_REJECTED))
        self.fill(world)
        world.hong_kong.place(world.ack(terms))
        world.anchor(node)
        node.place(world.transfer(terms))
        assert (state(node, terms), node.findings()) == (State.OPEN, [])
        world.anchor(node)
        assert (state(node, terms), node.findings()) == (State.MATCHED, [])

    def test_a_peer_that_goes_on_growing_does_not_put_judgement_off(self, world: World) -> None:
        node = world.mainland
        node.place(world.transfer())
        world.clock.advance(25)
        for _ in range(2):
            self.fill(world)
            world.anchor(node)
        assert said(node.findings()) == [("K15.unacknowledged", False)]

    def test_so_many_transfers_are_judged_and_the_rest_by_the_next(self, world: World) -> None:
        node = world.mainland
        node.append(*(world.transfer() for _ in range(ANCHOR_STEP + 5)))
        world.clock.advance(25)
        found = []
        for _ in range(3):
            world.anchor(node)
            found.append(len(node.findings()))
        assert found == [ANCHOR_STEP, ANCHOR_STEP + 5, ANCHOR_STEP + 5]

    def test_the_audit_and_a_restart_agree(self, world: World) -> None:
        self.test_an_own_half_waits_with_them(world)
        self.fill(world)
        world.anchor(world.mainland)
        assert loaded(world.mainland).anchor == world.mainland.writer.machine.anchor
        world.mainland.audit()


class TestAnchorThatIsNone:
    def refused(self, world: World, **changes: object) -> str:
        node = world.mainland
        fields = {"peer_origin": node.peer.origin, "checkpoint": b"-", "fetched_at": 1, **changes}
        with pytest.raises(ChainError) as caught:
            node.append(node.by_node(anchor=pb.Anchor(**fields)))  # type: ignore[arg-type]
        return caught.value.message

    def test_one_of_another_log_is_refused(self, world: World) -> None:
        assert "not this log's peer" in self.refused(world, peer_origin="gba.example/macao")

    def test_one_from_the_future_is_refused(self, world: World) -> None:
        assert "fetched after" in self.refused(world, fetched_at=world.clock() + 1)


def loaded(node: Node) -> Machine:
    with node.store.snapshot() as snapshot:
        return Machine.load(snapshot, node.log.origin, node.log.authority.public, node.peer_log)


class TestLoad:
    """A node that starts takes up exactly what the one that ended had."""

    def test_what_is_loaded_is_what_was_live(self, world: World) -> None:
        node = world.mainland
        silent(world)
        node.place(node.by_node(rule_set=make_rule_set(acknowledge_within=HOUR)))
        node.enrol("uscc.SECOND")
        live, again = node.writer.machine, loaded(node)
        assert (again.rule_set, again.rules, again.anchor, again.history.entries) == (
            live.rule_set, live.rules, live.anchor, live.history.entries,
        )  # fmt: skip

    def test_before_any_entry_there_is_nothing(self) -> None:
        from ledgerd.ledger.founding import NoPeerLog
        from ledgerd.store.memory import MemoryStore

        with MemoryStore(instance=bytes(16)).snapshot() as snapshot:
            machine = Machine.load(snapshot, "a.example/x", bytes(32), NoPeerLog())
        assert (machine.rule_set, machine.history.entries) == (0, [])


EXPORTERS_STEPS = ("transfer", "cancel", "exporter corrects")
RECIPIENTS_STEPS = ("accept", "partly", "reject", "spoilt", "recipient corrects")
STEPS = st.one_of(
    st.tuples(st.sampled_from(EXPORTERS_STEPS + RECIPIENTS_STEPS), st.integers(0, 2)),
    st.tuples(st.sampled_from(("mainland anchors", "hong_kong anchors", "restart")), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from((1, 12, 24, 25, 72, 73))),
)
OUTCOMES = {
    "accept": pb.OUTCOME_ACCEPTED,
    "partly": pb.OUTCOME_PARTIAL,
    "reject": pb.OUTCOME_REJECTED,
    "spoilt": pb.OUTCOME_DIGEST_MISMATCH,
}


def take(world: World, step: str, number: int, terms: list[pb.Transfer]) -> None:
    mainland, hong_kong = world.mainland, world.hong_kong
    if step == "wait":
        world.clock.advance(number)
    elif step == "restart":
        for node in (mainland, hong_kong):
            node.writer.load()
    elif step == "transfer":
        mainland.append(world.transfer(terms[number]))
    elif step == "cancel":
        mainland.append(world.cancel(terms[number]))
    elif step in OUTCOMES:
        changes = {"received_commitment": b""} if step == "spoilt" else {}
        hong_kong.append(world.ack(terms[number], outcome=OUTCOMES[step], **changes))
    elif step.endswith("corrects"):
        node = mainland if step == "exporter corrects" else hong_kong
        node.append(world.correction(node, terms[number]))
    else:
        world.anchor(mainland if step == "mainland anchors" else hong_kong)


def knowledge(node: Node, transfer: bytes) -> tuple[State, int, set[Found]]:
    with node.store.snapshot() as snapshot:
        found = get_transfer(snapshot, transfer)
    of_transfer = {each for each in node.standing() if each[0].startswith("K15")}
    if found is None:
        return State.OPEN, 0, of_transfer
    return State(found.state), found.due, of_transfer


class TestTwoNodes:
    @settings(max_examples=150, deadline=None)
    @given(st.lists(STEPS, max_size=14), st.sampled_from((0, 30, 100)))
    def test_whatever_happened_both_nodes_come_to_the_same(
        self, steps: list[tuple[str, int]], wait: int
    ) -> None:
        """And each one's store is what its log says."""
        world = World()
        terms = [world.terms()]
        terms += [changed(terms[0], subjects) for subjects in (1, 2)]
        for step, number in steps:
            take(world, step, number, terms)
        world.clock.advance(wait)
        world.anchor()
        mainland, hong_kong = (
            knowledge(node, ref(terms[0])) for node in (world.mainland, world.hong_kong)
        )
        assert mainland == hong_kong
        world.mainland.audit()
        world.hong_kong.audit()


class TestPeerLog:
    def test_a_peer_log_that_fails_leaves_the_anchor_out(self, world: World) -> None:
        class Failing:
            def halves(self, start: int, stop: int, counterparty_origin: str) -> list[object]:
                raise LedgerError("the replica does not reach so far")

        node = world.mainland
        writer = node.new_writer(node.store, Failing())  # type: ignore[arg-type]
        with pytest.raises(LedgerError, match="replica"):
            writer.commit([[node.anchor(3)]])
        assert node.size == 3


class TestDamage:
    """A part of the log that is not there is the store's damage, and no empty header or body."""

    def lose(self, node: Node, table: Table, index: int) -> None:
        with node.store.write() as transaction:
            transaction.delete(table, u64(index))

    def test_of_a_repeated_record_its_header(self, world: World) -> None:
        node, item = world.mainland, world.transfer()
        self.lose(node, Table.HEADERS, node.place(item))
        with pytest.raises(StoreError, match="entry 3 has no header"):
            node.append(item)

    def test_of_the_rule_set_in_force_its_body(self, world: World) -> None:
        node = world.mainland
        self.lose(node, Table.BODIES, 1)
        with node.store.snapshot() as snapshot, pytest.raises(StoreError, match="entry 1 has no"):
            stored_rule_set(snapshot)

    def test_of_what_is_to_be_erased_its_header(self, world: World) -> None:
        with world.mainland.store.snapshot() as snapshot, pytest.raises(StoreError) as caught:
            stored_header(snapshot, 10**6)
        assert caught.value.reason == "NO_HEADER"

    def test_of_what_a_rule_reads_its_body(self, world: World) -> None:
        with world.mainland.store.snapshot() as snapshot, pytest.raises(StoreError) as caught:
            stored_body(snapshot, 10**6)
        assert caught.value.reason == "NO_BODY"

    def test_of_the_newest_key_event_its_header(self, world: World) -> None:
        node = world.mainland
        self.lose(node, Table.HEADERS, 2)
        with node.store.snapshot() as snapshot, pytest.raises(StoreError, match="entry 2 of the"):
            newest_key_header(snapshot)
