"""One commit: who gets which place, what is refused, and what a failure leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from ledger.stores import FaultyStore
from ledger.world import OtherStore, World
from memory import memory_kept

from ledgerd.ledger.batch import AppendResult, Outcome
from ledgerd.ledger.head import Head
from ledgerd.ledger.peer_log import PeerHalf
from ledgerd.ledger.writer import _WORTH_READING
from ledgerd.rules.ruleset import HOUR
from ledgerd.store.base import MAX_SNAPSHOTS
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle, ranges
from ledgerd_client.core.errors import (
    ChainError,
    ConflictError,
    FieldError,
    ForbiddenError,
    LedgerError,
    StoreError,
)
from ledgerd_client.core.header import Kind
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.past import CLOCK_AHEAD
from ledgerd_client.core.receipt import Receipt, verify_receipt
from ledgerd_client.core.record import Admitted, Key, sign_record, verified

REFUSED = FieldError("refused by admission")


@pytest.fixture
def world(stored_world: World) -> World:
    return stored_world


def reasons(outcomes: list[Outcome]) -> list[object]:
    """Indexes of new records, receipts' indexes in brackets, and reasons of errors."""
    return [
        outcome.reason
        if isinstance(outcome, LedgerError)
        else [outcome.index]
        if isinstance(outcome, Receipt)
        else outcome
        for outcome in outcomes
    ]


def poisoned(item: Admitted) -> Admitted:
    """A record that no admission lets through: applying it raises OverflowError."""
    return item._replace(facts=item.facts._replace(counterparty="X" * 300))


class TestPlaces:
    def test_the_records_of_a_call_stand_one_after_the_other(self, world: World) -> None:
        assert world.mainland.append(*(world.transfer() for _ in range(4))) == [3, 4, 5, 6]

    def test_so_do_those_of_calls_that_go_together(self, world: World) -> None:
        calls = [[world.transfer(), world.transfer()], [world.transfer()], [world.transfer()]]
        results = world.mainland.writer.commit(calls)
        assert [result.outcomes for result in results] == [[3, 4], [5], [6]]

    def test_findings_follow_the_call_that_raised_them(self, world: World) -> None:
        late = [world.transfer(at=1), world.transfer(), world.transfer(at=1)]
        results = world.mainland.writer.commit([late, [world.transfer()]])
        assert [result.outcomes for result in results] == [[3, 4, 5], [8]]
        assert [world.mainland.header(index).kind for index in (6, 7)] == [Kind.NODE] * 2

    def test_refused_and_repeated_records_take_no_place(self, world: World) -> None:
        again = world.transfer()
        world.mainland.place(again)
        outcomes = world.mainland.append(world.transfer(), REFUSED, again, world.transfer())
        assert reasons(outcomes) == [4, "FIELD_OUT_OF_RANGE", [3], 5]

    def test_an_empty_call_is_no_harm(self, world: World) -> None:
        assert world.mainland.append() == []

    def test_a_commit_has_one_time(self, world: World) -> None:
        world.mainland.append(world.transfer(at=1), world.transfer())
        assert len({world.mainland.header(index).recorded_at for index in (3, 4, 5)}) == 1


class TestProof:
    """One range proof and one checkpoint prove everything that a call added."""

    @pytest.mark.parametrize("sizes", [[1], [3], [2, 3], [1, 0, 7, 4]])
    def test_it_covers_the_new_entries_of_each_call(self, world: World, sizes: list[int]) -> None:
        world.mainland.append(*(world.transfer() for _ in range(6)))
        results = world.mainland.writer.commit(
            [[world.transfer() for _ in range(n)] for n in sizes]
        )
        for result in results:
            if result.headers:
                self.verify(world, result)

    def verify(self, world: World, result: AppendResult) -> None:
        opened = open_log_checkpoint(result.checkpoint, world.mainland.history())
        leaves = [merkle.leaf_hash(header) for header in result.headers]
        size, root = opened.checkpoint.size, opened.checkpoint.root
        ranges.verify_range(leaves, result.first, size, result.range_proof, root)

    def test_findings_are_not_the_callers_entries(self, world: World) -> None:
        (result,) = world.mainland.writer.commit([[world.transfer(at=1)]])
        assert len(result.headers) == 1
        self.verify(world, result)

    def test_calls_of_one_commit_share_the_checkpoint(self, world: World) -> None:
        first, second = world.mainland.writer.commit([[world.transfer()], [world.transfer()]])
        assert first.checkpoint == second.checkpoint == world.mainland.reader.head().checkpoint


class TestRepeatedRecords:
    """A record that the log has gets its receipt, whatever has changed since."""

    def repeated(self, world: World, item: Admitted) -> Receipt:
        (outcome,) = world.mainland.append(item)
        assert isinstance(outcome, Receipt)
        return outcome

    def test_again_later(self, world: World) -> None:
        item = world.transfer()
        world.mainland.append(item, world.transfer())
        receipt = self.repeated(world, item)
        assert verify_receipt(receipt, world.mainland.history()).header.index == 3

    def test_again_in_the_same_call(self, world: World) -> None:
        item = world.transfer()
        assert reasons(world.mainland.append(item, item, item)) == [3, [3], [3]]

    def test_again_in_another_call_of_the_same_commit(self, world: World) -> None:
        item = world.transfer()
        results = world.mainland.writer.commit([[item], [world.transfer(), item]])
        assert [reasons(result.outcomes) for result in results] == [[3], [4, [3]]]

    def test_again_after_more_calls_than_are_read_at_once(self, world: World) -> None:
        item = world.transfer()
        between = [[world.transfer()] for _ in range(_WORTH_READING)]
        results = world.mainland.writer.commit([[item], *between, [item]])
        assert reasons(results[-1].outcomes) == [[3]]

    def test_its_receipt_is_under_the_checkpoint_of_this_commit(self, world: World) -> None:
        item = world.transfer()
        (result,) = world.mainland.writer.commit([[item, item, world.transfer()]])
        receipt = result.outcomes[1]
        assert isinstance(receipt, Receipt)
        assert verify_receipt(receipt, world.mainland.history()).checkpoint.size == 5

    def test_after_its_key_was_revoked(self, world: World) -> None:
        item = world.transfer()
        world.mainland.place(item)
        revocation = world.mainland.log.revocation(world.exporter)
        world.mainland.place(world.mainland.by_authority(key_event=revocation))
        assert self.repeated(world, item).index == 3

    def test_after_the_clock_went_back(self, world: World) -> None:
        item = world.transfer(at=world.clock() + CLOCK_AHEAD)
        world.mainland.place(item)
        world.mainland.writer.load()
        world.clock.advance(-48)
        assert self.repeated(world, item).index == 3

    def test_signed_anew_by_another_key_of_its_author(self, world: World) -> None:
        """The same bytes are the same record: whose key signs it a second time says nothing."""
        item = world.transfer()
        world.mainland.place(item)
        second = world.mainland.enrol(world.exporter.id)
        signed = sign_record(item.body, second.key)
        keys = {signed.key_id: Key(4, second.key.public)}
        again = verified(signed, item.facts, world.mainland.log.origin, keys)
        assert self.repeated(world, again).index == 3

    def test_only_repeated_records_write_nothing(self, tmp_path: Path) -> None:
        store = LmdbStore.create(tmp_path / "store", instance=bytes(16))
        world = World(store=store)
        item = world.transfer()
        world.mainland.place(item)
        before = store._environment.info()["last_txnid"]
        world.mainland.append(item, REFUSED)
        assert store._environment.info()["last_txnid"] == before
        store.close()


class TestReusedRecordIds:
    def other(self, world: World, item: Admitted) -> Admitted:
        """Another record under the record_id of item."""
        body = pb.Body.FromString(item.body)
        body.salt = bytes(16)
        signed = sign_record(body.SerializeToString(deterministic=True), world.exporter.key)
        another = world.transfer()
        return another._replace(
            facts=another.facts._replace(record_id=item.facts.record_id), body=signed.body
        )

    def test_across_calls(self, world: World) -> None:
        item = world.transfer()
        world.mainland.place(item)
        assert reasons(world.mainland.append(self.other(world, item))) == ["RECORD_ID_REUSED"]

    def test_in_one_call_the_first_wins(self, world: World) -> None:
        item = world.transfer()
        outcomes = world.mainland.append(item, self.other(world, item), world.transfer())
        assert reasons(outcomes) == [3, "RECORD_ID_REUSED", 4]

    def test_while_another_call_of_the_commit_has_it(self, world: World) -> None:
        item = world.transfer()
        results = world.mainland.writer.commit([[item], [self.other(world, item)]])
        assert reasons(results[1].outcomes) == ["RECORD_ID_REUSED"]

    def test_another_authors_id_is_another_id(self, world: World) -> None:
        item = world.transfer()
        other = world.mainland.enrol("uscc.OTHER")
        taken = world.terms(exporter=other.party)
        another = world.mainland.by(other, transfer=taken)
        facts = another.facts._replace(record_id=item.facts.record_id)
        assert reasons(world.mainland.append(item, another._replace(facts=facts))) == [4, 5]


class Acknowledging(OtherStore):
    """A peer's log in which whoever declared a transfer has acknowledged it, too."""

    def halves(self, start: int, stop: int, counterparty_origin: str) -> Iterator[PeerHalf]:
        for half in super().halves(start, stop, counterparty_origin):
            assert half.header.halves is not None
            halves = half.header.halves._replace(outcome=pb.OUTCOME_ACCEPTED)
            yield half._replace(header=replace(half.header, kind=Kind.ACK, halves=halves))


class TestAcknowledgedAgain:
    """An accepted ACK said again, as another record, gets the first one's receipt."""

    def test_later(self, world: World) -> None:
        terms = world.terms()
        assert [reasons(world.hong_kong.append(world.ack(terms))) for _ in range(3)] == [
            [3],
            [[3]],
            [[3]],
        ]

    def test_in_one_call(self, world: World) -> None:
        terms = world.terms()
        assert reasons(world.hong_kong.append(world.ack(terms), world.ack(terms))) == [3, [3]]

    def test_of_other_terms_it_is_another_statement(self, world: World) -> None:
        terms = world.terms()
        other = pb.Terms.FromString(terms.terms)
        other.subjects += 1
        changed = pb.Transfer(terms=other.SerializeToString(deterministic=True))
        assert world.hong_kong.append(world.ack(terms), world.ack(changed)) == [3, 4]

    @pytest.mark.parametrize("outcome", [pb.OUTCOME_PARTIAL, pb.OUTCOME_REJECTED])
    def test_what_was_not_accepted_is_recorded_each_time(self, world: World, outcome: int) -> None:
        terms = world.terms()
        acks = [world.ack(terms, outcome=outcome) for _ in range(2)]
        assert world.hong_kong.append(*acks) == [3, 4]

    def test_accepted_after_rejected_is_new(self, world: World) -> None:
        terms = world.terms()
        rejected = world.ack(terms, outcome=pb.OUTCOME_REJECTED)
        assert world.hong_kong.append(rejected, world.ack(terms)) == [3, 4]

    def test_an_ack_in_the_peers_log_is_none_of_ours(self, world: World) -> None:
        """Nobody there may say it, but a header shows no author's terms: a peer may lie."""
        terms, node = world.terms(), world.hong_kong
        world.mainland.place(world.transfer(terms))
        lying = Acknowledging()
        lying.node = world.mainland
        node.writer = node.new_writer(node.store, lying)
        world.anchor(node)
        size = node.size
        assert reasons(node.append(world.ack(terms))) == [size]

    def test_a_transfer_said_again_is_a_second_one(self, world: World) -> None:
        terms = world.terms()
        assert world.mainland.append(world.transfer(terms), world.transfer(terms)) == [3, 4]


class TestLogOrder:
    """What only the log can decide, it decides at the place that the record would have."""

    def test_a_bad_record_fails_itself_alone(self, world: World) -> None:
        future = world.transfer(at=world.clock() + HOUR)
        outcomes = world.mainland.append(world.transfer(), future, world.transfer())
        assert reasons(outcomes) == [3, "CLOCK_AHEAD", 4]

    @pytest.mark.parametrize(("ahead", "outcome"), [(0, 3), (1, "CLOCK_AHEAD")])
    def test_a_clock_may_be_five_minutes_ahead(
        self, world: World, ahead: int, outcome: int | str
    ) -> None:
        item = world.transfer(at=world.clock() + CLOCK_AHEAD + ahead)
        assert reasons(world.mainland.append(item)) == [outcome]

    def test_so_may_that_of_the_authority_and_no_more(self, world: World) -> None:
        event = world.mainland.log.revocation(world.exporter)
        world.clock.advance(1)
        item = world.mainland.by_authority(key_event=event)
        world.clock.advance(-1)
        assert reasons(world.mainland.append(item)) == ["CLOCK_AHEAD"]

    def test_a_key_signs_nothing_after_its_revocation(self, world: World) -> None:
        revocation = world.mainland.by_authority(
            key_event=world.mainland.log.revocation(world.exporter)
        )
        outcomes = world.mainland.append(world.transfer(), revocation, world.transfer())
        assert reasons(outcomes) == [3, 4, "KEY_REVOKED"]

    def test_nor_in_a_later_call_of_the_same_commit(self, world: World) -> None:
        revocation = world.mainland.by_authority(
            key_event=world.mainland.log.revocation(world.exporter)
        )
        results = world.mainland.writer.commit([[revocation], [world.transfer()]])
        assert reasons(results[1].outcomes) == ["KEY_REVOKED"]

    def test_a_key_that_was_never_admitted_is_refused(self, world: World) -> None:
        item = world.transfer()._replace(key_id=b"\1" + bytes(32))
        assert reasons(world.mainland.append(item)) == ["KEY_UNKNOWN"]

    def test_so_is_one_under_another_place_of_admission(self, world: World) -> None:
        item = world.transfer()._replace(key_index=1)
        assert reasons(world.mainland.append(item)) == ["KEY_UNKNOWN"]

    def test_a_key_is_admitted_once(self, world: World) -> None:
        outcomes = world.mainland.append(
            world.mainland.by_authority(
                key_event=world.mainland.log.admission(world.exporter.id, world.exporter.key)
            )
        )
        assert isinstance(outcomes[0], ConflictError)

    def test_there_is_no_second_genesis(self, world: World) -> None:
        node = world.mainland
        genesis = node.by_authority(genesis=node.log.genesis(node.peer))
        assert isinstance(node.append(genesis)[0], ChainError)

    def test_nothing_stands_before_genesis(self, world: World, tmp_path: Path) -> None:
        empty = LmdbStore.create(tmp_path / "empty", instance=bytes(16))
        writer = world.mainland.new_writer(empty)
        assert isinstance(writer.commit([[world.transfer()]])[0].outcomes[0], ChainError)
        with empty.snapshot() as snapshot:
            assert Head.find(snapshot) is None
        empty.close()


class TestClock:
    def test_a_clock_that_goes_back_does_not_turn_the_log_back(self, world: World) -> None:
        world.mainland.place(world.transfer())
        first = world.clock()
        item = world.transfer()
        world.clock.advance(-1)
        world.mainland.place(item)
        assert world.mainland.header(4).recorded_at == first

    def test_nor_over_a_restart(self, world: World) -> None:
        world.mainland.place(world.transfer())
        item = world.transfer()
        world.clock.advance(-1)
        world.mainland.writer.load()
        world.mainland.place(item)
        world.mainland.audit()

    def test_once_it_has_caught_up_it_counts_again(self, world: World) -> None:
        world.mainland.place(world.transfer())
        world.clock.advance(2)
        world.mainland.place(world.transfer())
        assert world.mainland.header(4).recorded_at == world.clock()


class TestAbort:
    """An exception out of applying a record undoes the whole commit, and nothing else."""

    def test_nothing_of_the_commit_is_stored(self, world: World) -> None:
        before = world.mainland.reader.head()
        with pytest.raises(OverflowError):
            world.mainland.append(world.transfer(), poisoned(world.transfer()))
        assert world.mainland.reader.head() == before

    def test_what_was_in_memory_is_forgotten(self, world: World) -> None:
        """Records, keys and tree: the same call without the culprit must find none of them."""
        node = world.mainland
        item = world.transfer()
        key = node.by_authority(key_event=node.log.admission("uscc.OTHER", world.recipient.key))
        with pytest.raises(OverflowError):
            node.append(item, key, poisoned(world.transfer()))
        assert node.append(item, key) == [3, 4]
        node.audit()

    @pytest.mark.parametrize("do", ["commit", "rehearse"])
    def test_what_can_not_be_taken_up_again_ends_the_node(self, world: World, do: str) -> None:
        """Else it would answer from memory that is no longer what the store holds."""
        node = world.mainland
        items = [world.transfer(), poisoned(world.transfer())]
        with ExitStack() as readers:
            # So many readers that there is no room for one more.
            for _ in range(MAX_SNAPSHOTS):
                readers.enter_context(node.store.snapshot())
            with pytest.raises(StoreError, match="taken up again"):
                node.writer.commit([items]) if do == "commit" else node.writer.rehearse(items)

    def test_rehearsing_names_the_error(self, world: World) -> None:
        error = world.mainland.writer.rehearse([world.transfer(), poisoned(world.transfer())])
        assert error is not None
        assert "OverflowError" in error.message

    def test_a_rehearsal_leaves_nothing_in_memory(self, world: World) -> None:
        """Each takes up the filters of the whole log."""
        items = [world.transfer() for _ in range(10)]
        with memory_kept() as kept:
            for item in items:
                world.mainland.writer.rehearse([item])
        assert kept[0] < 8 << 20

    def test_rehearsing_finds_nothing_in_good_records(self, world: World) -> None:
        assert world.mainland.writer.rehearse([world.transfer(), REFUSED]) is None

    def test_rehearsing_leaves_nothing(self, world: World) -> None:
        item = world.transfer()
        before = world.mainland.reader.head()
        world.mainland.writer.rehearse([item])
        assert world.mainland.reader.head() == before
        assert world.mainland.append(item) == [3]

    def test_a_peer_log_that_fails_is_an_error_like_any_other(self, world: World) -> None:
        class Failing:
            def halves(self, start: int, stop: int, origin: str) -> Iterator[PeerHalf]:
                raise ForbiddenError("no replica")

        node = world.mainland
        node.writer = node.new_writer(node.store, Failing())
        error = node.writer.rehearse([node.anchor(1)])
        assert isinstance(error, ForbiddenError)


class TestStoreChanged:
    """Somebody else wrote to the store: whatever this process knows of it is worth nothing."""

    @pytest.fixture
    def other(self, world: World) -> World:
        stale = world.mainland.new_writer(world.mainland.store)
        world.mainland.place(world.transfer())
        world.mainland.writer = stale
        return world

    def test_a_commit_is_refused(self, other: World) -> None:
        with pytest.raises(StoreError) as caught:
            other.mainland.append(other.transfer())
        assert caught.value.reason == "STORE_CHANGED"

    def test_so_is_the_first_touch(self, other: World) -> None:
        before = other.mainland.reader.head()
        with pytest.raises(StoreError):
            other.mainland.writer.touch()
        assert other.mainland.reader.head() == before

    def test_a_head_of_the_same_size_is_noticed_too(self, world: World) -> None:
        node = world.mainland
        head = node.reader.head()
        with node.store.write() as transaction:
            head._replace(last_leaf=bytes(32)).put(transaction)
        with pytest.raises(StoreError):
            node.append(world.transfer())


class TestFailedCommit:
    """Nobody knows what the disk has: the process must end, and the next one finds out."""

    @pytest.mark.parametrize("lands", [False, True])
    def test_it_is_raised_as_it_is(self, world: World, lands: bool) -> None:
        store = FaultyStore(world.mainland.store)
        writer = world.mainland.new_writer(store)
        store.fails, store.lands = True, lands
        with pytest.raises(StoreError) as caught:
            writer.commit([[world.transfer()]])
        assert caught.value.reason == "COMMIT_FAILED"

    @pytest.mark.parametrize(("lands", "size"), [(False, 3), (True, 4)])
    def test_a_new_writer_starts_from_what_is_there(
        self, world: World, lands: bool, size: int
    ) -> None:
        self.test_it_is_raised_as_it_is(world, lands)
        writer = world.mainland.new_writer(world.mainland.store)
        writer.touch()
        assert writer.commit([[world.transfer()]])[0].outcomes == [size]
        world.mainland.audit()


class TestTouch:
    def test_it_changes_nothing(self, world: World) -> None:
        before = world.mainland.reader.head()
        world.mainland.writer.touch()
        assert world.mainland.reader.head() == before

    def test_it_makes_no_ledger_where_there_is_none(self, world: World, tmp_path: Path) -> None:
        empty = LmdbStore.create(tmp_path / "empty", instance=bytes(16))
        with pytest.raises(StoreError) as caught:
            world.mainland.new_writer(empty).touch()
        assert caught.value.reason == "NO_STORE"
        with empty.snapshot() as snapshot:
            assert Head.find(snapshot) is None
        empty.close()
