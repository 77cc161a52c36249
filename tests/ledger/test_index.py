from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest
from builders import BANK, HONG_KONG_PLACE, SHENZHEN, new_key
from grants import facts_of_entry, visible
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger.law_world import CONTRACT_ID, EXPORTER, RECIPIENT, LawWorld
from ledger.world import Node, World

from ledgerd.ledger.indexer import CLOSED, NOT_COUNTED, STANDS, asked_by
from ledgerd.ledger.search import Clause, Search, covers, find, first_at
from ledgerd.projections.anchored import anchor_before
from ledgerd.projections.postings import (
    BLOCK,
    Field,
    Postings,
    closed_by,
    code,
    posting,
    text,
)
from ledgerd.projections.transfer_row import MAX_HALVES
from ledgerd.projections.transfers import get_transfer
from ledgerd.rules.reconcile import State
from ledgerd.rules.ruleset import HOUR
from ledgerd.store.base import Snapshot, Store
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.grant import PUBLIC
from ledgerd_client.core.header import Kind
from ledgerd_client.core.record import Admitted
from ledgerd_client.core.supervision import KIND_NUMBERS
from ledgerd_client.core.transfer import ref_of

PLACES = (Field.PLACE, Field.SECTOR)


def search(
    node: Node, *clauses: tuple[Field, bytes], size: int | None = None, **changes: Any
) -> Search:
    size = node.size if size is None else size
    each = tuple(Clause(field, frozenset((value,))) for field, value in clauses)
    return Search(each, (), 0, size, size, newest_first=False)._replace(**changes)


def found(
    node: Node, *clauses: tuple[Field, bytes], size: int | None = None, **changes: Any
) -> list[int]:
    with node.store.snapshot() as snapshot:
        return find(snapshot, search(node, *clauses, size=size, **changes), None, 10_000).indexes


def number(record: str) -> bytes:
    return code(KIND_NUMBERS[record])


class TestFields:
    """One record of each sort, and what it is found by."""

    def test_a_transfer(self, law: LawWorld) -> None:
        law.mainland.place(law.contract(mechanism=2))
        at = law.mainland.place(law.transfer(law.terms(purposes=[2, 7], categories=[1])))
        assert fields_of(law.mainland, at) >= {
            (Field.KIND, number("transfer")),
            (Field.INSTITUTION, text(EXPORTER)),
            (Field.COUNTERPARTY, text(RECIPIENT)),
            (Field.CONTRACT, text(CONTRACT_ID)),
            (Field.DIRECTION, code(1)),
            (Field.PLACE, code(SHENZHEN)),
            (Field.SECTOR, code(BANK)),
            (Field.PURPOSE, code(2)),
            (Field.PURPOSE, code(7)),
            (Field.CATEGORY, code(1)),
            (Field.MECHANISM, code(2)),
            (Field.OTHER_PLACE, code(HONG_KONG_PLACE)),
            (Field.STATE, code(State.OPEN)),
        }

    def test_the_direction_of_an_ack_is_the_transfers(self, law: LawWorld) -> None:
        terms = law.terms()
        at = law.hong_kong.place(law.ack(terms))
        assert at in found(law.hong_kong, (Field.DIRECTION, code(1)))

    def test_a_finding_is_found_by_whom_it_concerns(self, law: LawWorld) -> None:
        at = law.mainland.place(law.transfer(at=1)) + 1
        rule = law.mainland.body(at).finding.rule
        assert fields_of(law.mainland, at) == {
            (Field.KIND, number("finding")),
            (Field.INSTITUTION, text(EXPORTER)),
            (Field.PLACE, code(SHENZHEN)),
            (Field.SECTOR, code(BANK)),
            (Field.RULE, text(rule)),
            (Field.SEVERITY, code(law.mainland.body(at).finding.severity)),
            (Field.STANDING, code(STANDS)),
        }

    def test_what_the_authority_writes_is_public(self, law: LawWorld) -> None:
        assert fields_of(law.mainland, 2) == {
            (Field.KIND, number("key_event")),
            (Field.PLACE, code(PUBLIC)),
            (Field.SECTOR, code(PUBLIC)),
        }

    def test_queries_on_record_are_the_regulators_alone(self, law: LawWorld) -> None:
        asked = pb.Asked(method="M", digest=bytes(32), size=3, times=1)
        log = pb.QueryLog(regulator="cac", since=law.clock(), asked=[asked])
        at = law.mainland.place(law.mainland.by_node(query_log=log))
        assert fields_of(law.mainland, at) == {
            (Field.KIND, number("query_log")),
            (Field.PLACE, asked_by("cac")),
            (Field.SECTOR, asked_by("cac")),
        }

    def test_an_incident_is_found_by_each_of_its_contracts(self, law: LawWorld) -> None:
        incident = law.incident(contract_ids=["A", "B"], categories=[1])
        at = law.mainland.place(law.by_exporter(incident=incident))
        assert fields_of(law.mainland, at) >= {
            (Field.CONTRACT, b"A"),
            (Field.CONTRACT, b"B"),
            (Field.CATEGORY, code(1)),
        }

    def test_a_place_is_the_one_that_the_signing_key_was_admitted_for(self, law: LawWorld) -> None:
        node, old = law.mainland, law.exporter
        before = node.place(law.transfer())
        key = new_key()
        event = node.log.rotation(old, key, place=440100, sector=BANK)
        admitted = node.place(node.by_authority(key_event=event))
        law.exporter = type(old)(old.origin, old.id, key, admitted)
        after = node.place(law.transfer())
        places = [found(node, (Field.PLACE, code(place))) for place in (SHENZHEN, 440100)]
        assert (before in places[0], after in places[1], after in places[0]) == (True, True, False)


class TestMechanism:
    """Of the contract, as its author had stated it by then."""

    def of(self, law: LawWorld, at: int) -> set[bytes]:
        return {value for field, value in fields_of(law.mainland, at) if field == Field.MECHANISM}

    def test_before_any_statement_there_is_none(self, law: LawWorld) -> None:
        assert self.of(law, law.mainland.place(law.transfer())) == set()

    def test_a_supplement_changes_it_for_what_follows(self, law: LawWorld) -> None:
        node = law.mainland
        node.place(law.contract(mechanism=1))
        before = node.place(law.transfer())
        node.place(law.supplement(mechanism=3))
        after = node.place(law.transfer())
        assert (self.of(law, before), self.of(law, after)) == ({code(1)}, {code(3)})

    def test_in_one_commit_too(self, law: LawWorld) -> None:
        node, size = law.mainland, law.mainland.size
        node.append(law.contract(mechanism=1), law.transfer(), law.supplement(mechanism=3))
        assert self.of(law, size + 1) == {code(1)}

    def test_it_is_the_authors_own_statement_that_counts(self, law: LawWorld) -> None:
        other = law.mainland.enrol("uscc.SECOND", new_key())
        law.mainland.place(law.contract(mechanism=2))
        terms = law.terms(exporter=other.party)
        at = law.mainland.place(law.mainland.by(other, transfer=terms))
        assert self.of(law, at) == set()


class TestStates:
    def test_a_state_that_is_left_and_entered_again(self, world: World) -> None:
        """Both its old and its new answers stay."""
        node, terms = world.mainland, world.terms()
        at = node.place(world.transfer(terms))
        world.hong_kong.place(world.ack(terms))
        world.anchor(node)
        world.clock.advance(1)
        matched, now = code(State.MATCHED), node.size
        node.place(world.correction(node, changed(terms)))
        left = node.size
        node.place(world.correction(node, terms))
        seen = [found(node, (Field.STATE, matched), size=size) for size in (now, left, node.size)]
        assert [at in each for each in seen] == [True, False, True]

    def test_each_own_half_has_the_transfers_state(self, world: World) -> None:
        terms = world.terms()
        first = world.mainland.place(world.transfer(terms))
        second = world.mainland.place(world.cancel(terms))
        state = (Field.STATE, code(State.CANCELLED))
        assert found(world.mainland, state) == [first, second]

    def test_too_many_halves_have_none_of_a_transfer(self, world: World) -> None:
        node, terms = world.mainland, world.terms()
        node.append(*(world.transfer(terms) for _ in range(MAX_HALVES + 2)))
        posted = [found(node, (Field.STATE, code(state))) for state in State]
        (last,) = found(node, (Field.STATE, code(NOT_COUNTED)))
        assert (sum(map(len, posted)), node.body(last).WhichOneof("record")) == (
            MAX_HALVES + 1, "transfer",
        )  # fmt: skip


class TestFindings:
    def test_one_that_concerns_nobody_is_closed_too(self, world: World) -> None:
        """An ACK whose TRANSFER is not there, at the exporter's side."""
        node, terms = world.mainland, world.terms()
        world.hong_kong.place(world.ack(terms))
        world.anchor(node)
        world.clock.advance(30)
        world.anchor(node)
        opened = node.size - 1
        node.place(world.transfer(terms))
        with node.store.snapshot() as snapshot:
            closing = closed_by(snapshot, opened, node.size)
            before = closed_by(snapshot, opened, opened + 1)
        assert (node.body(closing).finding.closed, before) == (True, 0)

    def test_it_stood_until_it_was_closed(self, world: World) -> None:
        node, terms = world.mainland, world.terms()
        node.place(world.transfer(terms))
        world.clock.advance(30)
        world.anchor(node)
        size = node.size
        world.hong_kong.place(world.ack(terms))
        world.anchor(node)
        rule = (Field.RULE, b"K15.unacknowledged")
        stands, closed = (Field.STANDING, code(STANDS)), (Field.STANDING, code(CLOSED))
        assert [found(node, rule, stands, size=at) for at in (size, node.size)] == [[size - 1], []]
        assert [found(node, closed, size=at) for at in (size, node.size)] == [[], [size - 1]]


class TestAnchors:
    def test_the_newest_before_a_size(self, world: World) -> None:
        node = world.mainland
        world.anchor(node)
        first = node.size - 1
        world.anchor(node)
        with node.store.snapshot() as snapshot:
            known = [anchor_before(snapshot, size) for size in (first, first + 1, node.size)]
        assert [each and each.position for each in known] == [None, first, first + 1]

    def test_its_state_is_the_one_after_it(self, world: World) -> None:
        world.anchor(world.mainland)
        with world.mainland.store.snapshot() as snapshot:
            known = anchor_before(snapshot, world.mainland.size)
        assert known is not None
        assert known.state == world.mainland.writer.machine.anchor.encode()


class TestRange:
    def test_the_first_entry_of_a_time(self, world: World) -> None:
        node = world.mainland
        size = node.size
        for _ in range(3):
            world.clock.advance(1)
            node.place(world.transfer())
        with node.store.snapshot() as snapshot:
            times = [world.clock() - 2 * HOUR, world.clock() - HOUR + 1, world.clock() + 1]
            indexes = [first_at(snapshot, time, node.size) for time in times]
        assert indexes == [size, size + 2, size + 3]

    def test_the_halves_and_findings_of_a_ref(self, world: World) -> None:
        node, terms = world.mainland, world.terms()
        node.append(world.transfer(), world.transfer(terms, at=1), world.cancel(terms))
        first = node.size - 4
        ref = ref_of(pb.Terms.FromString(terms.terms))
        kinds = found(node, refs=(ref,))
        assert kinds[:3] == [first + 1, first + 2, first + 3]
        assert found(node, (Field.KIND, number("cancel")), refs=(ref,)) == [first + 2]


# -- whatever the records -----------------------------------------------------------------------

STEPS = st.lists(
    st.sampled_from([
        "transfer", "late transfer", "ack", "reject", "partial", "cancel", "correct", "contract",
        "supplement", "incident", "pipia", "anchor", "day", "unknown ack", "tick", "rotate",
    ]),
    min_size=5, max_size=40,
)  # fmt: skip


OUTCOMES = {
    "ack": pb.OUTCOME_ACCEPTED, "partial": pb.OUTCOME_PARTIAL, "reject": pb.OUTCOME_REJECTED,
}  # fmt: skip
TIMES: dict[str, Callable[[LawWorld], object]] = {
    "anchor": lambda law: law.anchor(law.mainland),
    "day": lambda law: law.clock.advance(25),
    "tick": lambda law: law.tick(law.mainland),
    "unknown ack": lambda law: law.hong_kong.append(law.ack(law.terms())),
}


def changed(terms: pb.Transfer) -> pb.Transfer:
    stated = pb.Terms.FromString(terms.terms)
    stated.subjects += 1
    return pb.Transfer(terms=stated.SerializeToString(deterministic=True))


class Year:
    """A world in which things happen, and what was answered after each."""

    def __init__(self) -> None:
        self.law = LawWorld()
        self.terms: list[pb.Transfer] = [self.law.terms()]
        self.answers: dict[int, dict[tuple[Field, bytes], list[int]]] = {}

    def step(self, what: str, number: int) -> None:
        law, node = self.law, self.law.mainland
        terms = self.terms[number % len(self.terms)]
        mechanism = 1 + number % 3
        if what in {"transfer", "late transfer"}:
            self.transfer(number, late=what != "transfer")
        elif what in OUTCOMES:
            law.hong_kong.append(law.ack(terms, outcome=OUTCOMES[what]))
        elif what in TIMES:
            TIMES[what](law)
        elif what == "rotate":
            self.rotate([SHENZHEN, 440100][number % 2])
        else:
            records: dict[str, Callable[[], Admitted]] = {
                "cancel": lambda: law.cancel(terms),
                "correct": lambda: law.correction(node, changed(terms)),
                "contract": lambda: law.contract(mechanism=mechanism),
                "supplement": lambda: law.supplement(version=1 + number, mechanism=mechanism),
                "incident": lambda: law.by_exporter(
                    incident=law.incident(contract_ids=[CONTRACT_ID])
                ),
                "pipia": law.pipia,
            }
            node.place(records[what]())
        self.answers[node.size] = changing(node)

    def transfer(self, number: int, *, late: bool) -> None:
        contract = ["X-1", CONTRACT_ID][number % 2]
        self.terms.append(self.law.terms(contract_id=contract, purposes=[1 + number % 3]))
        at = self.law.clock() - 48 * HOUR if late else None
        self.law.mainland.place(self.law.transfer(self.terms[-1], at))

    def rotate(self, place: int) -> None:
        node, old, key = self.law.mainland, self.law.exporter, new_key()
        event = node.log.rotation(old, key, place=place)
        admitted = node.place(node.by_authority(key_event=event))
        self.law.exporter = type(old)(old.origin, old.id, key, admitted)


def changing(node: Node) -> dict[tuple[Field, bytes], list[int]]:
    """What is in each state, and which findings stand or are closed, by rows and bodies."""
    by_value: dict[tuple[Field, bytes], list[int]] = defaultdict(list)
    opened: dict[bytes, int] = {}
    standing: dict[int, int] = {}
    with node.store.snapshot() as snapshot:
        for index in range(node.size):
            body = node.body(index)
            header = node.header(index)
            if header.halves and header.kind != Kind.CONTRACT:
                row = get_transfer(snapshot, header.halves.ref)
                assert row is not None
                by_value[Field.STATE, code(row.state)].append(index)
            if body.HasField("finding") and body.finding.closed:
                standing[opened.pop(body.finding.finding_id)] = CLOSED
            elif body.HasField("finding"):
                opened[body.finding.finding_id] = index
                standing[index] = STANDS
    for index, value in sorted(standing.items()):
        by_value[Field.STANDING, code(value)].append(index)
    return by_value


def plain(node: Node) -> dict[tuple[Field, bytes], set[int]]:
    """What every entry is found by, from its body and the key that signed it."""
    by_value: dict[tuple[Field, bytes], set[int]] = defaultdict(set)
    mechanisms: dict[str, int] = {}
    history = node.history()
    for index in range(node.size):
        body, header = node.body(index), node.header(index)
        record = body.WhichOneof("record") or ""
        found: list[tuple[Field, bytes]] = [(Field.KIND, number(record))]
        if record == "finding":
            found += [(Field.RULE, text(body.finding.rule))]
            found += [(Field.SEVERITY, code(body.finding.severity))]
            if body.finding.contract_id:
                found.append((Field.CONTRACT, text(body.finding.contract_id)))
            found += [(Field.INSTITUTION, text(each)) for each in whom(node, index, body.finding)]
        elif key := history.find(header.key_id):
            said: Any = getattr(body, record)
            if terms := getattr(said, "terms", b""):
                kind = pb.Terms if record in WITH_TERMS else pb.ContractTerms
                said = kind.FromString(terms)
                other = said.recipient.institution
                found += [(Field.COUNTERPARTY, text(other)), (Field.DIRECTION, code(1))]
            named = getattr(said, "contract_ids", None) or [said.contract_id]
            if record in {"contract", "supplement"}:
                mechanisms[said.contract_id] = said.mechanism
            found += [(Field.INSTITUTION, text(key.subject)), (Field.PLACE, code(key.place))]
            found += [(Field.SECTOR, code(key.sector))]
            found += [(Field.CONTRACT, text(each)) for each in named]
            stated = [mechanisms[each] for each in named if each in mechanisms]
            found += [(Field.MECHANISM, code(each)) for each in stated]
            found += [(Field.PURPOSE, code(each)) for each in getattr(said, "purposes", ())]
            found += [(Field.CATEGORY, code(each)) for each in getattr(said, "categories", ())]
        else:
            found += [(Field.PLACE, code(PUBLIC)), (Field.SECTOR, code(PUBLIC))]
        for each in found:
            by_value[each].add(index)
    return by_value


def whom(node: Node, index: int, finding: pb.Finding) -> set[str]:
    """Whom a finding concerned when it came: of a transfer, whoever had stated a half of it."""
    if finding.institution or not finding.ref:
        return {finding.institution} - {""}
    with node.store.snapshot() as snapshot:
        row = get_transfer(snapshot, finding.ref)
    halves = row.halves if row is not None else []
    return {half.institution for half in halves if half.own and half.position < index}


WITH_TERMS = frozenset(("transfer", "ack", "cancel", "correction"))


class TestWhateverTheRecords:
    @settings(max_examples=25, deadline=None)
    @given(STEPS, st.data())
    def test_every_filter_gives_what_a_scan_of_all_bodies_gives(
        self, steps: list[str], data: st.DataObject
    ) -> None:
        year = Year()
        for number_, what in enumerate(steps):
            year.step(what, number_)
        node = year.law.mainland
        scanned = plain(node)
        # Of findings, by whom they concern is shown above, and what place that is.
        exact = [each for each in scanned if each[0] not in {*PLACES, Field.INSTITUTION}]
        for each in exact:
            assert found(node, each) == sorted(scanned[each]), each
        for each in set(scanned) - set(exact):
            assert scanned[each] <= set(found(node, each)), each
        chosen = data.draw(st.lists(st.sampled_from(exact), min_size=1, max_size=4))
        wanted = sorted(set.intersection(*(scanned[each] for each in chosen)), reverse=True)
        assert found(node, *chosen, newest_first=True) == wanted

    @settings(max_examples=25, deadline=None)
    @given(STEPS)
    def test_at_every_older_size_the_answer_is_the_one_that_was_given(
        self, steps: list[str]
    ) -> None:
        year = Year()
        for number_, what in enumerate(steps):
            year.step(what, number_)
        node = year.law.mainland
        values = [(Field.STATE, code(state)) for state in State]
        values += [(Field.STANDING, code(value)) for value in (STANDS, CLOSED)]
        for size, answer in year.answers.items():
            for value in values:
                assert found(node, value, size=size) == answer.get(value, []), (size, value)

    @settings(max_examples=10, deadline=None)
    @given(STEPS)
    def test_a_rebuild_comes_to_the_same_tables(self, steps: list[str]) -> None:
        year = Year()
        for number_, what in enumerate(steps):
            year.step(what, number_)
        year.law.mainland.audit()

    @settings(max_examples=10, deadline=None)
    @given(STEPS, st.sets(st.sampled_from([SHENZHEN, 440100])), st.sets(st.sampled_from([BANK, 2])))
    def test_clauses_and_facts_say_the_same_of_a_grant(
        self, steps: list[str], places: set[int], sectors: set[int]
    ) -> None:
        year = Year()
        for number_, what in enumerate(steps):
            year.step(what, number_)
        node = year.law.mainland
        grant = pb.Grant(places=sorted(places), sectors=sorted(sectors))
        clauses = [
            Clause(field, frozenset((*map(code, granted), code(PUBLIC), asked_by("me"))))
            for field, granted in ((Field.PLACE, places), (Field.SECTOR, sectors))
            if granted
        ]
        with node.store.snapshot() as snapshot:
            for index in range(node.size):
                body = node.body(index)
                if not body.HasField("finding"):
                    facts = facts_of_entry(node.history(), node.header(index), body, ())
                    assert covers(snapshot, clauses, index) == visible(grant, facts, "me")


# -- what a page costs --------------------------------------------------------------------------


class Counting:
    """A snapshot that counts what is read of it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.reads = 0

    def get(self, table: Table, key: bytes) -> bytes | None:
        self.reads += 1
        return self._snapshot.get(table, key)

    def get_many(self, table: Table, keys: Iterable[bytes]) -> Mapping[bytes, bytes]:
        found = self._snapshot.get_many(table, keys)
        self.reads += len(found)
        return found

    def scan(
        self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for item in self._snapshot.scan(table, start, stop, reverse=reverse):
            self.reads += 1
            yield item

    def count(self, table: Table) -> int:
        return self._snapshot.count(table)


def reads(store: Store, wanted: Search) -> int:
    with store.snapshot() as snapshot:
        counting = Counting(snapshot)
        find(counting, wanted, None, 100)
        return counting.reads


class TestCost:
    @pytest.mark.parametrize("newest_first", [False, True])
    def test_a_page_costs_what_it_returns(self, newest_first: bool) -> None:
        """As many reads on 20,000 entries as on 2,000."""
        world = World()
        node = world.mainland
        common = [
            (Field.KIND, number("transfer")), (Field.INSTITUTION, text(world.exporter.id)),
            (Field.PLACE, code(SHENZHEN)), (Field.SECTOR, code(BANK)), (Field.PURPOSE, code(7)),
            (Field.CATEGORY, code(1)), (Field.STATE, code(State.OPEN)), (Field.DIRECTION, code(1)),
        ]  # fmt: skip
        costs = []
        for size in (2_000, 20_000):
            while node.size < size:
                count = min(2_000, size - node.size)
                node.append(*(world.transfer() for _ in range(count)))
            costs.append([
                reads(node.store, search(node, each, newest_first=newest_first)) for each in common
            ])  # fmt: skip
        assert all(abs(a - b) <= 2 for a, b in zip(*costs, strict=True)), costs


class TestCostOfTheStatesOfThen:
    """Every entry left its state since: what is read of that is the page's, not the log's."""

    def reads(self, entries: int, together: int, state: State, *, newest_first: bool) -> int:
        """Of a page at the size at which all of so many transfers were open."""
        store, postings = MemoryStore(instance=bytes(16)), Postings()
        open_, matched = (posting(Field.STATE, code(each)) for each in (0, 1))
        with store.write() as transaction:
            postings.add(transaction, (open_,), range(entries))
            for index in range(entries):
                at = entries + index // together
                postings.move(transaction, Field.STATE, State.OPEN, State.MATCHED, index, at)
            # What came later is matched too.
            postings.add(transaction, (matched,), range(2 * entries, 3 * entries))
            postings.flush(transaction)
        clause = Clause(Field.STATE, frozenset((code(state),)))
        return reads(store, Search((clause,), (), 0, entries, entries, newest_first=newest_first))

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_of_those_that_an_anchor_moved_together(self, newest_first: bool) -> None:
        costs = [
            self.reads(entries, 2 * BLOCK, State.OPEN, newest_first=newest_first)
            for entries in (2 * BLOCK, 10 * BLOCK)
        ]
        assert abs(costs[0] - costs[1]) <= 2

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_of_those_that_moved_one_by_one(self, newest_first: bool) -> None:
        """A block is read, and no more of the log."""
        cost = self.reads(6 * BLOCK, 1, State.OPEN, newest_first=newest_first)
        assert cost <= BLOCK + 10

    def test_where_nothing_was_in_the_state(self) -> None:
        """Some rows a block."""
        assert self.reads(6 * BLOCK, 2 * BLOCK, State.MATCHED, newest_first=False) <= 6 * 5


def fields_of(node: Node, index: int) -> set[tuple[Field, bytes]]:
    """Everything that an entry is posted under."""
    posted = set()
    with node.store.snapshot() as snapshot:
        for key, _ in snapshot.scan(Table.INDEX):
            if key[0] < 0xFE:
                field, value = Field(key[0]), key[2 : 2 + key[1]]
                if covers(snapshot, [Clause(field, frozenset((value,)))], index):
                    posted.add((field, value))
    return posted
