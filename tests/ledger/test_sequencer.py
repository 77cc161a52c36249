"""Many callers, one writer: nothing is lost, shown too early, or left without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from ledger.stores import FaultyStore, reopened
from ledger.threaded import InThread
from ledger.world import World

from ledgerd.ledger.batch import AppendResult
from ledgerd.ledger.call import Call, Item
from ledgerd.ledger.committer import Committed, Committer
from ledgerd.ledger.head import Head
from ledgerd.ledger.sequencer import MAX_GROUP, MAX_WAITING, WORTH_A_COMMIT, Sequencer
from ledgerd.store.base import Store
from ledgerd.store.memory import MemoryStore
from ledgerd_client.core.errors import (
    BusyError,
    ConflictError,
    FieldError,
    LedgerError,
    NotReadyError,
    StoreError,
    UnavailableError,
)
from ledgerd_client.core.receipt import Receipt, verify_receipt
from ledgerd_client.core.record import Admitted

REFUSED = FieldError("refused by admission")
# Seconds, longer than anything takes on a busy machine; only a failure waits so long.
PATIENCE = 60.0


def poisoned(item: Admitted) -> Admitted:
    """A record that no admission lets through: applying it raises OverflowError."""
    return item._replace(facts=item.facts._replace(counterparty="X" * 300))


class Daemon:
    """A sequencer on the Mainland's store, and what it told its owner."""

    def __init__(self, world: World, store: Store, linger_s: float = 0.0) -> None:
        self.world = world
        self.inner = store
        self.store = FaultyStore(store)
        world.mainland.store = store
        self.heads: list[Head] = []
        self.fatal: list[StoreError] = []
        self.committer = Committer(
            self.store, lambda: world.mainland.new_writer(self.store), reserve_bytes=1000
        )
        self.sequencer = Sequencer(
            InThread(self.committer),
            on_commit=self._committed,
            on_fatal=self.fatal.append,
            linger_s=linger_s,
        )

    def _committed(self, committed: Committed) -> None:
        self.heads.append(committed.head)

    def call(self, *items: Item) -> asyncio.Task[AppendResult]:
        return asyncio.create_task(self.append(*items))

    async def append(self, *items: Item) -> AppendResult:
        return await self.sequencer.append(Call.of(items))

    async def held_call(self, *items: Item) -> asyncio.Task[AppendResult]:
        """A call whose commit is under way, and waits for store.release()."""
        self.store.hold()
        call = self.call(*items)
        await self.commit_waits()
        return call

    async def commit_waits(self) -> None:
        """Return when a commit waits for store.release()."""
        assert await asyncio.to_thread(self.store.entered.wait, PATIENCE)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Daemon]:
        await self.sequencer.start()
        try:
            yield self
        finally:
            self.store.release()
            await self.sequencer.stop()


@pytest.fixture
async def stopped(stored_world: World, store: Store, store_path: Path) -> AsyncIterator[Daemon]:
    again = reopened(store, store_path)
    yield Daemon(stored_world, again)
    again.close()


@pytest.fixture
async def daemon(stopped: Daemon) -> AsyncIterator[Daemon]:
    async with stopped.running():
        yield stopped


async def turns(count: int = 20) -> None:
    """Let everything on the loop run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


class TestStart:
    async def test_it_tells_where_the_log_stands(self, stopped: Daemon) -> None:
        head = await stopped.sequencer.start()
        await stopped.sequencer.stop()
        assert head == stopped.world.mainland.reader.head()

    async def test_one_transaction_has_committed_before_anything_is_shown(
        self, stopped: Daemon
    ) -> None:
        stopped.store.hold()
        starting = asyncio.create_task(stopped.sequencer.start())
        await stopped.commit_waits()
        await turns()
        assert not starting.done()
        stopped.store.release()
        await starting
        await stopped.sequencer.stop()

    async def test_a_disk_that_takes_no_commit_is_noticed(self, stopped: Daemon) -> None:
        stopped.store.fails = True
        with pytest.raises(StoreError):
            await stopped.sequencer.start()

    async def test_a_store_without_a_ledger_is_refused(self, stopped: Daemon) -> None:
        daemon = Daemon(stopped.world, MemoryStore(instance=bytes(16)))
        with pytest.raises(StoreError):
            await daemon.sequencer.start()

    async def test_after_a_start_that_failed_nobody_waits(self, stopped: Daemon) -> None:
        stopped.store.fails = True
        with pytest.raises(StoreError):
            await stopped.sequencer.start()
        with pytest.raises(BusyError):
            await stopped.append(stopped.world.transfer())


class TestAppend:
    async def test_records_get_their_places(self, daemon: Daemon) -> None:
        result = await daemon.append(daemon.world.transfer(), REFUSED, daemon.world.transfer())
        assert [result.outcomes[0], result.outcomes[2]] == [3, 4]
        assert isinstance(result.outcomes[1], FieldError)

    async def test_the_owner_hears_of_the_commit(self, daemon: Daemon) -> None:
        result = await daemon.append(daemon.world.transfer())
        await turns()
        assert [head.checkpoint for head in daemon.heads] == [result.checkpoint]

    async def test_a_repeated_record_gets_its_receipt(self, daemon: Daemon) -> None:
        item = daemon.world.transfer()
        await daemon.append(item)
        (outcome,) = (await daemon.append(item)).outcomes
        assert isinstance(outcome, Receipt)
        verify_receipt(outcome, daemon.world.mainland.history())

    async def test_of_two_callers_with_one_record_one_gets_its_place(self, daemon: Daemon) -> None:
        item = daemon.world.transfer()
        first = await daemon.held_call(daemon.world.transfer())
        both = [daemon.call(item), daemon.call(item)]
        await turns()
        daemon.store.release()
        outcomes = [outcome for call in both for outcome in (await call).outcomes]
        assert outcomes[0] == 4
        assert isinstance(outcomes[1], Receipt)
        assert (await first).outcomes == [3]

    async def test_an_empty_call_is_answered(self, daemon: Daemon) -> None:
        assert (await daemon.append()).outcomes == []

    async def test_a_call_larger_than_a_commit_is_taken_alone(self, daemon: Daemon) -> None:
        result = await daemon.append(*[REFUSED] * (MAX_GROUP + 1), daemon.world.transfer())
        assert result.outcomes[-1] == 3

    async def test_the_log_passes_the_audit(self, daemon: Daemon) -> None:
        world = daemon.world
        calls = [daemon.call(*(world.transfer(at=1) for _ in range(3))) for _ in range(10)]
        await asyncio.gather(*calls)
        await daemon.sequencer.stop()
        assert world.mainland.audit().findings == 30


class TestGroups:
    async def test_what_collects_during_a_commit_goes_together(self, daemon: Daemon) -> None:
        first = await daemon.held_call(daemon.world.transfer())
        others = [daemon.call(daemon.world.transfer()) for _ in range(5)]
        await turns()
        daemon.store.release()
        results = await asyncio.gather(first, *others)
        await turns()
        assert [result.outcomes for result in results] == [[n] for n in range(3, 9)]
        assert [head.size for head in daemon.heads] == [4, 9]

    async def test_a_commit_is_not_larger_than_agreed(self, daemon: Daemon) -> None:
        half = [REFUSED] * (MAX_GROUP // 2)
        first = await daemon.held_call(daemon.world.transfer())
        others = [daemon.call(*half, daemon.world.transfer()) for _ in range(2)]
        await turns()
        daemon.store.release()
        await asyncio.gather(first, *others)
        await turns()
        assert [head.size for head in daemon.heads] == [4, 5, 6]

    async def test_nothing_of_a_checkpoint_is_shown_before_its_commit(self, daemon: Daemon) -> None:
        """Not to the caller, not to the owner, not to a reader."""
        before = daemon.world.mainland.reader.head()
        call = await daemon.held_call(daemon.world.transfer())
        await turns()
        assert (call.done(), daemon.heads) == (False, [])
        assert daemon.world.mainland.reader.head() == before
        daemon.store.release()
        assert (await call).outcomes == [3]


class TestLingering:
    """A commit waits for as many callers as the last one had; here it would wait for an hour."""

    @pytest.fixture
    async def patient(self, world: World) -> AsyncIterator[Daemon]:
        assert isinstance(world.mainland.store, MemoryStore)
        again = reopened(world.mainland.store, Path())
        async with Daemon(world, again, linger_s=3600).running() as daemon:
            yield daemon

    async def together(self, daemon: Daemon, count: int) -> None:
        """Have one commit take so many calls."""
        first = await daemon.held_call(daemon.world.transfer())
        calls = [daemon.call(daemon.world.transfer()) for _ in range(count)]
        await turns()
        daemon.store.release()
        await asyncio.gather(first, *calls)

    async def test_one_caller_alone_never_waits(self, patient: Daemon) -> None:
        for index in (3, 4, 5):
            assert (await patient.append(patient.world.transfer())).outcomes == [index]

    async def test_callers_who_come_again_one_by_one_go_together(self, patient: Daemon) -> None:
        await self.together(patient, 3)
        calls = []
        for _ in range(3):
            calls.append(patient.call(patient.world.transfer()))
            await turns()
        await asyncio.gather(*calls)
        await turns()
        assert [head.size for head in patient.heads] == [4, 7, 10]

    async def test_it_waits_no_longer_once_it_has_enough_records(self, patient: Daemon) -> None:
        await self.together(patient, 3)
        items = [patient.world.transfer() for _ in range(WORTH_A_COMMIT)]
        assert (await patient.append(*items)).outcomes[0] == 7

    async def test_nor_when_the_node_stops(self, patient: Daemon) -> None:
        await self.together(patient, 3)
        call = patient.call(patient.world.transfer())
        await turns()
        await patient.sequencer.stop()
        assert (await call).outcomes == [7]

    async def test_who_does_not_come_again_is_not_waited_for_long(self, patient: Daemon) -> None:
        await self.together(patient, 3)
        patient.sequencer._linger_s = 0.0
        assert (await patient.append(patient.world.transfer())).outcomes == [7]


class TestCancelledCaller:
    async def test_the_others_are_not_disturbed(self, daemon: Daemon) -> None:
        first = await daemon.held_call(daemon.world.transfer())
        gone, third = (daemon.call(daemon.world.transfer()) for _ in range(2))
        await turns()
        gone.cancel()
        daemon.store.release()
        assert [(await first).outcomes, (await third).outcomes] == [[3], [5]]

    async def test_its_record_may_be_in_the_log_all_the_same(self, daemon: Daemon) -> None:
        """Its outbox sends it again, and gets the receipt."""
        item = daemon.world.transfer()
        gone = await daemon.held_call(item)
        gone.cancel()
        daemon.store.release()
        (outcome,) = (await daemon.append(item)).outcomes
        assert isinstance(outcome, Receipt)


class TestRefusals:
    async def test_a_node_that_is_not_ready_takes_nothing(self, daemon: Daemon) -> None:
        daemon.sequencer.refuse = NotReadyError("not confirmed", reason="UNCONFIRMED")
        with pytest.raises(NotReadyError):
            await daemon.append(daemon.world.transfer())
        assert daemon.world.mainland.size == 3

    async def test_a_call_that_waits_already_is_refused_too(self, daemon: Daemon) -> None:
        """What stops appends stops them at once."""
        first = await daemon.held_call(daemon.world.transfer())
        waiting = daemon.call(daemon.world.transfer())
        await turns()
        daemon.sequencer.refuse = NotReadyError("rolled back", reason="ROLLED_BACK")
        daemon.store.release()
        results = await asyncio.gather(first, waiting, return_exceptions=True)
        assert [type(result) for result in results] == [AppendResult, NotReadyError]
        assert daemon.world.mainland.size == 4

    async def test_when_it_is_ready_it_does(self, daemon: Daemon) -> None:
        daemon.sequencer.refuse = NotReadyError("not confirmed", reason="UNCONFIRMED")
        with pytest.raises(NotReadyError):
            await daemon.append(daemon.world.transfer())
        daemon.sequencer.refuse = None
        assert (await daemon.append(daemon.world.transfer())).outcomes == [3]

    async def test_a_refusal_keeps_nothing_of_those_it_refused(self, daemon: Daemon) -> None:
        """Else a node that only reads would remember every call that it did not take."""
        daemon.sequencer.refuse = refusal = NotReadyError("not confirmed", reason="UNCONFIRMED")
        depths = []
        for _ in range(3):
            with pytest.raises(NotReadyError):
                await daemon.append()
            depths.append(depth(refusal))
        assert depths[0] == depths[1] == depths[2]

    async def test_too_many_records_waiting_are_refused(self, daemon: Daemon) -> None:
        first = await daemon.held_call(daemon.world.transfer())
        call = [REFUSED] * 1000
        waiting = [daemon.call(*call) for _ in range(MAX_WAITING // 1000)]
        await turns()
        with pytest.raises(BusyError):
            await daemon.append(daemon.world.transfer())
        daemon.store.release()
        await asyncio.gather(first, *waiting)
        assert (await daemon.append(daemon.world.transfer())).outcomes == [4]

    async def test_a_disk_that_is_nearly_full_is_noticed_before_the_transaction(
        self, daemon: Daemon
    ) -> None:
        daemon.committer._reserve = 1 << 62
        with pytest.raises(BusyError) as caught:
            await daemon.append(daemon.world.transfer())
        assert caught.value.reason == "DISK_FULL"
        assert daemon.store.transactions == 1

    async def test_when_there_is_room_again_records_are_taken(self, stopped: Daemon) -> None:
        if not isinstance(stopped.inner, MemoryStore):
            return
        async with stopped.running() as daemon:
            stopped.inner.free = 999
            with pytest.raises(BusyError):
                await daemon.append(daemon.world.transfer())
            stopped.inner.free = 1000
            assert (await daemon.append(daemon.world.transfer())).outcomes == [3]


def depth(error: BaseException) -> int:
    trace, count = error.__traceback__, 0
    while trace is not None:
        trace, count = trace.tb_next, count + 1
    return count


class TestCulprits:
    """A record that can't be applied is refused; those that came with it are not."""

    async def test_the_culprit_alone_is_refused(self, daemon: Daemon) -> None:
        transfer = daemon.world.transfer
        result = await daemon.append(transfer(), poisoned(transfer()), transfer())
        assert [result.outcomes[0], result.outcomes[2]] == [3, 4]
        assert isinstance(result.outcomes[1], LedgerError)

    async def test_other_calls_of_the_commit_do_not_suffer(self, daemon: Daemon) -> None:
        first = await daemon.held_call(daemon.world.transfer())
        calls = [
            daemon.call(daemon.world.transfer()),
            daemon.call(poisoned(daemon.world.transfer())),
            daemon.call(daemon.world.transfer()),
        ]
        await turns()
        daemon.store.release()
        await first
        results = [await call for call in calls]
        assert [results[0].outcomes, results[2].outcomes] == [[4], [5]]
        assert isinstance(results[1].outcomes[0], LedgerError)

    async def test_several_culprits_are_found(self, daemon: Daemon) -> None:
        items = [daemon.world.transfer() for _ in range(9)]
        items = [poisoned(item) if number % 4 == 0 else item for number, item in enumerate(items)]
        outcomes = (await daemon.append(*items)).outcomes
        assert [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, int)] == [
            0,
            4,
            8,
        ]

    async def test_one_among_many_is_found_in_few_tries(self, daemon: Daemon) -> None:
        items = [daemon.world.transfer() for _ in range(256)]
        before = daemon.store.transactions
        outcomes = (await daemon.append(*items[:99], poisoned(items[99]), *items[100:])).outcomes
        assert [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, int)] == [99]
        # The commit that failed, two tries for each of eight halvings and the first, the commit.
        assert daemon.store.transactions - before <= 1 + 17 + 1

    async def test_a_repeated_record_beside_it_gets_its_receipt(self, daemon: Daemon) -> None:
        item = daemon.world.transfer()
        await daemon.append(item)
        result = await daemon.append(item, poisoned(daemon.world.transfer()))
        assert isinstance(result.outcomes[0], Receipt)

    async def test_what_admission_refused_keeps_its_own_error(self, daemon: Daemon) -> None:
        conflict = ConflictError("mine")
        result = await daemon.append(conflict, poisoned(daemon.world.transfer()))
        assert isinstance(result.outcomes[0], ConflictError)
        assert result.outcomes[0].message == conflict.message

    async def test_the_next_call_is_served(self, daemon: Daemon) -> None:
        await daemon.append(poisoned(daemon.world.transfer()))
        assert (await daemon.append(daemon.world.transfer())).outcomes == [3]

    async def test_a_fault_that_no_record_shows_is_answered_too(self, stopped: Daemon) -> None:
        """Everybody is told, and the next call is served."""
        clock, faults = stopped.world.clock, [True, False, True]
        item, later = stopped.world.transfer(), stopped.world.transfer()

        def now() -> int:
            if faults and faults.pop(0):
                raise RuntimeError("no clock")
            return clock.now

        stopped.world.mainland.clock = now  # type: ignore[assignment]
        async with stopped.running() as daemon:
            with pytest.raises(LedgerError, match="RuntimeError"):
                await daemon.append(item)
            assert (await daemon.append(later)).outcomes == [3]


@pytest.mark.parametrize("lands", [False, True], ids=["lost", "landed"])
class TestFailedCommit:
    """Whether the disk has it or not: nobody is told that it has, and the process ends."""

    async def test_the_caller_is_told(self, daemon: Daemon, lands: bool) -> None:
        daemon.store.fails, daemon.store.lands = True, lands
        with pytest.raises(UnavailableError) as caught:
            await daemon.append(daemon.world.transfer())
        assert caught.value.reason == "COMMIT_FAILED"

    async def test_the_owner_is_told_once(self, daemon: Daemon, lands: bool) -> None:
        await self.test_the_caller_is_told(daemon, lands)
        await turns()
        assert [error.reason for error in daemon.fatal] == ["COMMIT_FAILED"]

    async def test_so_it_is_when_a_call_is_committed_without_its_culprit(
        self, daemon: Daemon, lands: bool
    ) -> None:
        daemon.store.fails, daemon.store.lands = True, lands
        with pytest.raises(UnavailableError):
            await daemon.append(daemon.world.transfer(), poisoned(daemon.world.transfer()))
        await turns()
        assert [error.reason for error in daemon.fatal] == ["COMMIT_FAILED"]

    async def test_nobody_hears_of_a_new_head(self, daemon: Daemon, lands: bool) -> None:
        await self.test_the_caller_is_told(daemon, lands)
        await turns()
        assert daemon.heads == []

    async def test_those_who_wait_are_told_too(self, daemon: Daemon, lands: bool) -> None:
        first = await daemon.held_call(daemon.world.transfer())
        waiting = daemon.call(daemon.world.transfer())
        await turns()
        daemon.store.fails, daemon.store.lands = True, lands
        daemon.store.release()
        results = await asyncio.gather(first, waiting, return_exceptions=True)
        assert [type(result) for result in results] == [UnavailableError, UnavailableError]

    async def test_those_who_come_just_then_are_told_too(self, daemon: Daemon, lands: bool) -> None:
        first = await daemon.held_call(daemon.world.transfer())
        daemon.store.fails, daemon.store.lands = True, lands
        late = daemon.call(daemon.world.transfer())
        await asyncio.sleep(0)
        daemon.store.release()
        results = await asyncio.gather(first, late, return_exceptions=True)
        assert [type(result) for result in results] == [UnavailableError, UnavailableError]

    async def test_nothing_more_is_written(self, daemon: Daemon, lands: bool) -> None:
        await self.test_the_caller_is_told(daemon, lands)
        daemon.store.fails = False
        with pytest.raises(BusyError):
            await daemon.append(daemon.world.transfer())
        assert daemon.world.mainland.size == 3 + lands

    async def test_stopping_still_ends(self, daemon: Daemon, lands: bool) -> None:
        await self.test_the_caller_is_told(daemon, lands)
        await daemon.sequencer.stop()


class TestLostCommitter:
    """A committer that ends unasked, or does what nobody thought of."""

    async def test_the_owner_hears_of_it_at_once_though_nobody_calls(self, daemon: Daemon) -> None:
        daemon.sequencer._died(StoreError("gone", reason="WRITER_KILLED"))
        await turns()
        assert [error.reason for error in daemon.fatal] == ["WRITER_KILLED"]

    async def test_it_is_told_once(self, daemon: Daemon) -> None:
        for _ in range(2):
            daemon.sequencer._died(StoreError("gone", reason="WRITER_KILLED"))
        await turns()
        assert len(daemon.fatal) == 1

    async def test_those_who_wait_are_told(self, daemon: Daemon) -> None:
        first = await daemon.held_call(daemon.world.transfer())
        waiting = daemon.call(daemon.world.transfer())
        await turns()
        daemon.sequencer._died(StoreError("gone", reason="WRITER_KILLED"))
        with pytest.raises(UnavailableError):
            await waiting
        daemon.store.release()
        assert (await first).outcomes == [3]

    async def test_what_nobody_thought_of_is_fatal_and_leaves_nobody_waiting(
        self, stopped: Daemon
    ) -> None:
        daemon = stopped
        await daemon.sequencer.start()
        daemon.committer.commit = lambda _calls: {}[0]  # type: ignore[method-assign]
        with pytest.raises(UnavailableError):
            await daemon.append(daemon.world.transfer())
        await turns()
        assert len(daemon.fatal) == 1
        await daemon.sequencer.stop()


class TestProgress:
    """What the watchdog asks for."""

    async def test_none_is_missed_while_there_is_nothing_to_do(self, daemon: Daemon) -> None:
        await daemon.append(daemon.world.transfer())
        assert daemon.sequencer.stalled_s == 0

    async def test_a_commit_that_does_not_end_is_time_without_any(self, daemon: Daemon) -> None:
        first = await daemon.held_call(daemon.world.transfer())
        assert daemon.sequencer.stalled_s > 0
        daemon.store.release()
        await first
        assert daemon.sequencer.stalled_s == 0

    async def test_the_time_begins_anew_with_each_commit(self, daemon: Daemon) -> None:
        first = await daemon.held_call(daemon.world.transfer())
        began = daemon.sequencer._at_work_since
        waiting = daemon.call(daemon.world.transfer())
        await turns()
        daemon.store.release()
        await first
        assert began is not None
        without_any = monotonic() - began
        assert daemon.sequencer.stalled_s < without_any
        await waiting


class TestChangedStore:
    async def test_somebody_elses_commit_is_fatal(self, world: World) -> None:
        ours = MemoryStore(instance=bytes(16))
        assert isinstance(world.mainland.store, MemoryStore)
        ours._tables = world.mainland.store._tables
        item = world.transfer()
        world.mainland.place(world.transfer())
        theirs = world.mainland.store
        daemon = Daemon(world, ours)
        async with daemon.running():
            ours._tables = theirs._tables
            with pytest.raises(UnavailableError) as caught:
                await daemon.append(item)
            await turns()
        assert [caught.value.reason, *(e.reason for e in daemon.fatal)] == ["STORE_CHANGED"] * 2


class TestStop:
    async def test_calls_that_wait_are_served_first(self, stopped: Daemon) -> None:
        await stopped.sequencer.start()
        first = await stopped.held_call(stopped.world.transfer())
        waiting = [stopped.call(stopped.world.transfer()) for _ in range(3)]
        await turns()
        stopping = asyncio.create_task(stopped.sequencer.stop())
        await turns()
        stopped.store.release()
        results = await asyncio.gather(first, *waiting)
        await stopping
        assert [result.outcomes for result in results] == [[3], [4], [5], [6]]

    async def test_a_call_that_comes_later_is_refused(self, stopped: Daemon) -> None:
        await stopped.sequencer.start()
        await stopped.sequencer.stop()
        with pytest.raises(BusyError) as caught:
            await stopped.append(stopped.world.transfer())
        assert caught.value.reason == "STOPPING"

    async def test_stopping_twice_is_no_harm(self, daemon: Daemon) -> None:
        await daemon.sequencer.stop()
        await daemon.sequencer.stop()
