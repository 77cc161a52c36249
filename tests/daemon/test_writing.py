"""The contract of a Committer elsewhere: in the writer's process, and in a thread of a test."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from ledger.stores import reopened
from ledger.threaded import InThread
from ledger.world import World

from ledgerd.ledger.call import Call
from ledgerd.ledger.committer import RESERVE_BYTES, Committer
from ledgerd.ledger.sequencer import CommitterElsewhere
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd.writing import WriterProcess, Writing
from ledgerd_client.core.errors import BusyError, FieldError, StoreError
from ledgerd_client.core.receipt import Receipt

MAP_SIZE = 1 << 30


class Place:
    """The Mainland's ledger on the disk, and what a writer of it would be given."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.store = LmdbStore.create(directory / "store", instance=bytes(16), map_size=MAP_SIZE)
        self.world = World(store=self.store)
        # A process has no other clock.
        self.world.clock.now = time.time_ns() // 1000
        self.directory = directory
        LmdbStore.create(directory / "peer", instance=bytes(16), map_size=MAP_SIZE).close()
        self.lock = stack.enter_context(DirectoryLock(directory))

    def writing(self, reserve_bytes: int = 0) -> Writing:
        node = self.world.mainland
        return Writing(
            lock=self.lock,
            store=self.directory / "store",
            map_size=MAP_SIZE,
            reserve_bytes=reserve_bytes,
            log_key=node.log_key,
            entry_key=node.log.entry_key,
            authority=node.log.authority.public,
            peer_store=self.directory / "peer",
            peer_map_size=MAP_SIZE,
            peer_origin=node.peer.origin,
            peer_authority=node.peer.authority.public,
        )

    def committer(self, kind: str, reserve_bytes: int = 0) -> CommitterElsewhere:
        if kind == "process":
            self.store.close()
            return WriterProcess(self.writing(reserve_bytes))
        self.store = again = reopened(self.store, self.directory / "store")
        node = self.world.mainland
        return InThread(
            Committer(again, lambda: node.new_writer(again), reserve_bytes=reserve_bytes)
        )


def open_files(pid: int | None) -> list[Path]:
    return [file.resolve() for file in Path(f"/proc/{pid}/fd").iterdir()]


@pytest.fixture
def place(tmp_path: Path) -> AsyncIterator[Place]:
    with ExitStack() as stack:
        place = Place(tmp_path, stack)
        yield place
        place.store.close()


@pytest.fixture(params=["process", "thread"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def committer(place: Place, kind: str) -> AsyncIterator[CommitterElsewhere]:
    made = place.committer(kind)
    await made.start(pytest.fail)
    yield made
    await made.close()


class TestCommitting:
    async def test_it_starts_where_the_log_stands(self, place: Place, kind: str) -> None:
        head = place.world.mainland.reader.head()
        made = place.committer(kind)
        assert await made.start(pytest.fail) == head
        await made.close()

    async def test_records_get_their_places(
        self, place: Place, committer: CommitterElsewhere
    ) -> None:
        world = place.world
        calls = [Call.of([world.transfer(), world.transfer()]), Call.of([world.transfer()])]
        committed = await committer.commit(calls)
        assert [result.outcomes for result in committed.results] == [[3, 4], [5]]  # type: ignore[union-attr]
        assert committed.head.size == 6

    async def test_a_refused_record_keeps_its_error(
        self, place: Place, committer: CommitterElsewhere
    ) -> None:
        refused = FieldError("no", reason="WRONG")
        (result,) = (await committer.commit([Call.of([refused, place.world.transfer()])])).results
        error, index = result.outcomes  # type: ignore[union-attr]
        assert isinstance(error, FieldError)
        assert (error.reason, index) == ("WRONG", 3)

    async def test_a_repeated_record_gets_its_receipt(
        self, place: Place, committer: CommitterElsewhere
    ) -> None:
        call = Call.of([place.world.transfer()])
        await committer.commit([call])
        (result,) = (await committer.commit([call])).results
        assert isinstance(result.outcomes[0], Receipt)  # type: ignore[union-attr]

    async def test_a_full_disk_refuses_calls_and_goes_on(self, place: Place, kind: str) -> None:
        made = place.committer(kind, reserve_bytes=1 << 62)
        await made.start(pytest.fail)
        for _ in range(2):
            (result,) = (await made.commit([Call.of([place.world.transfer()])])).results
            assert isinstance(result, BusyError)
        await made.close()

    async def test_what_was_committed_is_there_for_the_next_one(
        self, place: Place, kind: str
    ) -> None:
        made = place.committer(kind)
        await made.start(pytest.fail)
        committed = await made.commit([Call.of([place.world.transfer()])])
        await made.close()
        place.store.close()
        with closing(LmdbStore.open(place.directory / "store", map_size=MAP_SIZE)) as store:
            again = place.world.mainland.new_writer(store)
            assert again.head == committed.head

    async def test_closing_twice_is_no_harm(self, committer: CommitterElsewhere) -> None:
        await committer.close()


class TestWriterProcess:
    async def test_a_store_that_is_not_there_is_told_at_the_start(self, place: Place) -> None:
        made = place.committer("process")
        (place.directory / "store" / "data.mdb").unlink()
        with pytest.raises(StoreError) as caught:
            await made.start(pytest.fail)
        assert caught.value.reason == "NO_STORE"
        await made.close()

    @pytest.mark.parametrize(
        ("number", "reason"), [(signal.SIGKILL, "WRITER_KILLED"), (signal.SIGSEGV, "WRITER_DIED")]
    )
    async def test_its_end_is_told_to_owner_and_caller(
        self, place: Place, number: int, reason: str
    ) -> None:
        told: list[StoreError] = []
        made = place.committer("process")
        assert isinstance(made, WriterProcess)
        await made.start(told.append)
        assert made.pid is not None
        os.kill(made.pid, number)
        with pytest.raises(StoreError) as caught:
            await made.commit([Call.of([place.world.transfer()])])
        await made.close()
        assert [caught.value.reason, *(error.reason for error in told)] == [reason] * 2

    async def test_it_holds_the_nodes_lock(self, place: Place) -> None:
        made = place.committer("process")
        assert isinstance(made, WriterProcess)
        await made.start(pytest.fail)
        assert (place.directory / "serve.lock").resolve() in open_files(made.pid)
        await made.close()

    def test_the_reserve_is_what_operators_are_told(self, place: Place) -> None:
        """docs/operations.md says 256 MiB."""
        assert RESERVE_BYTES == 256 << 20
