"""What only the real store has: a disk, other processes, and crashes."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import lmdb
import pytest
from store.processes import started

from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client.core.errors import StoreError

INSTANCE = bytes(range(16))
TABLE = Table.RECORDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The directory of a store that holds one item, and is closed."""
    directory = tmp_path / "store"
    with closing(LmdbStore.create(directory, instance=INSTANCE)) as store:
        put(store, b"k", b"v")
    return directory


@pytest.fixture
def store(path: Path) -> Iterator[LmdbStore]:
    with closing(LmdbStore.open(path)) as opened:
        yield opened


def put(store: LmdbStore, key: bytes, value: bytes) -> None:
    with store.write() as transaction:
        transaction.put(TABLE, key, value)


def get(store: LmdbStore, key: bytes) -> bytes | None:
    with store.snapshot() as snapshot:
        return snapshot.get(TABLE, key)


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def nobody(file: Path) -> Iterator[None]:
    """Be a user who may not read the file: root may read every one."""
    file.chmod(0)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestCreate:
    def test_a_new_directory_is_made_for_its_owner_alone(self, path: Path) -> None:
        assert mode(path) == 0o700

    def test_so_are_its_files(self, path: Path) -> None:
        assert {mode(entry) for entry in path.iterdir()} == {0o600}

    def test_nothing_but_the_store_is_left(self, path: Path) -> None:
        assert names(path) == ["data.mdb", "lock.mdb"]

    def test_an_empty_directory_is_taken_and_shut_to_others(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        LmdbStore.create(tmp_path, instance=INSTANCE).close()
        assert mode(tmp_path) == 0o700

    def test_an_existing_store_is_refused(self, path: Path) -> None:
        with pytest.raises(StoreError) as caught:
            LmdbStore.create(path, instance=bytes(16))
        assert caught.value.reason == "STORE_EXISTS"

    def test_an_existing_store_keeps_what_it_holds(self, path: Path) -> None:
        self.test_an_existing_store_is_refused(path)
        with closing(LmdbStore.open(path)) as store:
            assert (store.instance, get(store, b"k")) == (INSTANCE, b"v")

    def test_a_directory_with_anything_in_it_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").touch()
        with pytest.raises(StoreError, match=r"notes\.txt"):
            LmdbStore.create(tmp_path, instance=INSTANCE)

    @pytest.mark.parametrize("place", ["absent/store", "file", "file/store"])
    def test_where_no_directory_can_be_the_error_is_ours(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreError):
            LmdbStore.create(tmp_path / place, instance=INSTANCE)

    def test_a_failure_on_the_way_leaves_nothing_behind(self, tmp_path: Path) -> None:
        with file_limit(4096), pytest.raises(StoreError):
            LmdbStore.create(tmp_path, instance=INSTANCE)
        assert names(tmp_path) == []


class TestOpen:
    def test_what_was_committed_is_there_again(self, store: LmdbStore) -> None:
        assert get(store, b"k") == b"v"

    def test_the_instance_is_there_again(self, store: LmdbStore) -> None:
        assert store.instance == INSTANCE

    def test_a_copy_is_known_by_the_same_instance(self, path: Path, tmp_path: Path) -> None:
        shutil.copytree(path, tmp_path / "copy")
        with closing(LmdbStore.open(tmp_path / "copy")) as copy:
            assert copy.instance == INSTANCE

    def test_an_empty_directory_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError) as caught:
            LmdbStore.open(tmp_path)
        assert caught.value.reason == "NO_STORE"

    def test_an_empty_directory_stays_empty(self, tmp_path: Path) -> None:
        self.test_an_empty_directory_is_refused(tmp_path)
        assert names(tmp_path) == []

    def test_another_user_is_told_whose_it_is(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And not to stop the node and audit it, as of a store that failed."""
        monkeypatch.chdir(path.parent)
        path.parent.chmod(0o755)
        path.chmod(0o755)
        with nobody(path / "data.mdb"), pytest.raises(StoreError) as caught:
            LmdbStore.open(Path(path.name), readonly=True)
        assert "as the user" in caught.value.action

    @pytest.mark.parametrize("place", ["absent", "file"])
    def test_what_is_no_directory_is_refused(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreError) as caught:
            LmdbStore.open(tmp_path / place)
        assert caught.value.reason == "NO_STORE"

    def test_an_empty_file_is_no_store_and_does_not_become_one(self, tmp_path: Path) -> None:
        (tmp_path / "data.mdb").touch()
        with pytest.raises(StoreError):
            LmdbStore.open(tmp_path)
        assert (tmp_path / "data.mdb").stat().st_size == 0

    def test_a_damaged_file_is_refused(self, path: Path) -> None:
        (path / "data.mdb").write_bytes(os.urandom(65_536))
        with pytest.raises(StoreError):
            LmdbStore.open(path)

    def test_an_lmdb_file_of_something_else_is_refused(self, tmp_path: Path) -> None:
        with lmdb.open(str(tmp_path)) as other, other.begin(write=True) as transaction:
            transaction.put(b"k", b"v")
        with pytest.raises(StoreError, match="not of a ledger"):
            LmdbStore.open(tmp_path)

    def test_a_store_without_an_instance_is_refused(self, path: Path) -> None:
        with closing(LmdbStore.open(path)) as store, store.write() as transaction:
            transaction.delete(Table.META, b"instance")
        with pytest.raises(StoreError, match="not of a ledger"):
            LmdbStore.open(path)

    def test_a_refused_store_is_let_go(self, path: Path) -> None:
        with closing(LmdbStore.open(path)) as store, store.write() as transaction:
            transaction.delete(Table.META, b"instance")
        with pytest.raises(StoreError) as refused:
            LmdbStore.open(path)
        with lmdb.open(str(path), create=False):  # LMDB opens no file twice in one process
            assert refused.value.reason == "NO_STORE"

    def test_twice_in_one_process_is_refused(self, store: LmdbStore, path: Path) -> None:
        with pytest.raises(StoreError):
            LmdbStore.open(path)


class TestReadOnly:
    @pytest.fixture
    def reader(self, path: Path) -> Iterator[LmdbStore]:
        with closing(LmdbStore.open(path, readonly=True)) as opened:
            yield opened

    def test_it_reads(self, reader: LmdbStore) -> None:
        assert get(reader, b"k") == b"v"

    def test_it_does_not_write(self, reader: LmdbStore) -> None:
        with pytest.raises(StoreError):
            put(reader, b"k", b"new")

    def test_it_reads_beside_a_process_that_writes(self, path: Path) -> None:
        with (
            started(COMMITTED, path),
            closing(LmdbStore.open(path, readonly=True)) as reader,
        ):
            assert get(reader, b"k") == b"new"


class TestSettings:
    def test_a_commit_waits_for_the_disk(self, store: LmdbStore) -> None:
        flags = store._environment.flags()
        assert (flags["sync"], flags["metasync"]) == (True, True)

    def test_the_file_is_never_written_through_the_map(self, store: LmdbStore) -> None:
        flags = store._environment.flags()
        assert (flags["writemap"], flags["map_async"]) == (False, False)

    def test_no_memory_of_the_process_leaks_into_the_file(self, store: LmdbStore) -> None:
        assert store._environment.flags()["meminit"]

    def test_readers_and_the_writer_are_kept_apart(self, store: LmdbStore) -> None:
        assert store._environment.flags()["lock"]

    def test_the_reserved_map_takes_no_room_on_the_disk(self, store: LmdbStore, path: Path) -> None:
        assert store._environment.info()["map_size"] == 1 << 40
        assert (path / "data.mdb").stat().st_size < 1 << 20

    def test_the_file_is_of_the_format_of_lmdb_0_9(self, store: LmdbStore) -> None:
        assert store._environment.lib_version()[:2] == (0, 9)


class TestRoom:
    MIB = 1 << 20

    @pytest.fixture
    def small(self, path: Path) -> Iterator[LmdbStore]:
        with closing(LmdbStore.open(path, map_size=self.MIB)) as opened:
            yield opened

    def test_it_is_never_more_than_the_disk_has(self, store: LmdbStore, path: Path) -> None:
        disk = os.statvfs(path)
        assert store.free_bytes() <= disk.f_blocks * disk.f_frsize

    def test_it_is_never_more_than_the_map_has(self, small: LmdbStore) -> None:
        assert small.free_bytes() < self.MIB

    def test_it_shrinks_with_what_is_stored(self, small: LmdbStore) -> None:
        before = small.free_bytes()
        put(small, b"big", bytes(self.MIB // 4))
        assert small.free_bytes() <= before - self.MIB // 4

    def test_pages_of_what_was_deleted_are_free_within_the_file(self, store: LmdbStore) -> None:
        put(store, b"big", bytes(self.MIB))
        with store.write() as transaction:
            transaction.delete(TABLE, b"big")
        assert store.room().free >= self.MIB

    def test_a_transaction_beyond_it_fails_whole(self, small: LmdbStore) -> None:
        with pytest.raises(StoreError) as caught, small.write() as transaction:
            transaction.put_many(TABLE, [(bytes([i]), bytes(self.MIB // 10)) for i in range(20)])
        assert caught.value.reason == "MAP_FULL"

    def test_nothing_of_that_transaction_is_seen(self, small: LmdbStore) -> None:
        self.test_a_transaction_beyond_it_fails_whole(small)
        with small.snapshot() as snapshot:
            assert list(snapshot.scan(TABLE)) == [(b"k", b"v")]

    def test_it_does_not_end_the_writing(self, small: LmdbStore) -> None:
        self.test_a_transaction_beyond_it_fails_whole(small)
        put(small, b"k", b"new")
        assert get(small, b"k") == b"new"


class TestEndedSnapshot:
    def test_a_scan_that_outlives_it_does_not_make_the_file_grow(
        self, store: LmdbStore, path: Path
    ) -> None:
        with store.snapshot() as snapshot:
            scan = snapshot.scan(TABLE)
            next(scan)
        for _ in range(20):
            put(store, b"big", bytes(200_000))
        assert (path / "data.mdb").stat().st_size < 1_000_000


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Make every write beyond `size` in any file fail with EFBIG: a disk fault for everyone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestFailedCommit:
    @pytest.fixture
    def failed(self, store: LmdbStore, path: Path) -> LmdbStore:
        """A store of which one commit failed, on a disk that is well again."""
        with (
            file_limit((path / "data.mdb").stat().st_size),
            pytest.raises(StoreError) as caught,
            store.write() as transaction,
        ):
            transaction.put(TABLE, b"lost", bytes(100_000))
        assert caught.value.reason == "COMMIT_FAILED"
        return store

    def test_every_further_write_is_refused(self, failed: LmdbStore) -> None:
        for _ in range(2):
            with pytest.raises(StoreError) as caught:
                put(failed, b"k", b"new")
            assert caught.value.reason == "COMMIT_FAILED"

    def test_nothing_of_the_transaction_is_seen(self, failed: LmdbStore) -> None:
        assert get(failed, b"lost") is None

    def test_the_next_process_finds_the_state_before_it(
        self, failed: LmdbStore, path: Path
    ) -> None:
        failed.close()
        with closing(LmdbStore.open(path)) as store:
            put(store, b"l", b"v")
            assert (get(store, b"k"), get(store, b"lost")) == (b"v", None)


OPEN = """
import os, signal, sys
from pathlib import Path
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table

path = Path(sys.argv[1])

def ready():
    print("ready", flush=True)
    sys.stdin.read()
"""

COMMITTED = (
    OPEN
    + """
store = LmdbStore.open(path)
with store.write() as transaction:
    transaction.put(Table.RECORDS, b"k", b"new")
ready()
"""
)

UNCOMMITTED = (
    OPEN
    + """
store = LmdbStore.open(path)
with store.write() as transaction:
    transaction.put_many(Table.RECORDS, [(b"k", b"new"), (b"l", bytes(1_000_000))])
    transaction.delete(Table.META, b"instance")
    ready()
"""
)

READING = (
    OPEN
    + """
store = LmdbStore.open(path, readonly=True)
with store.snapshot() as snapshot:
    ready()
"""
)

CREATING = (
    OPEN
    + """
def die(event, arguments):
    if event == "os.rename":
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
LmdbStore.create(path, instance=bytes(16))
"""
)


class TestKilled:
    def test_a_commit_that_returned_survives(self, path: Path) -> None:
        kill(COMMITTED, path)
        with closing(LmdbStore.open(path)) as store:
            assert get(store, b"k") == b"new"

    def test_a_transaction_that_did_not_end_never_was(self, path: Path) -> None:
        kill(UNCOMMITTED, path)
        with closing(LmdbStore.open(path)) as store:
            assert (store.instance, get(store, b"k"), get(store, b"l")) == (INSTANCE, b"v", None)

    def test_the_next_process_may_write(self, path: Path) -> None:
        kill(UNCOMMITTED, path)
        with closing(LmdbStore.open(path)) as store:
            put(store, b"k", b"newer")
            assert get(store, b"k") == b"newer"

    def test_a_dead_reader_does_not_make_the_file_grow(self, store: LmdbStore, path: Path) -> None:
        """A snapshot keeps the pages it sees; that of a killed process must not, for ever."""
        kill(READING, path)
        for _ in range(20):
            put(store, b"big", bytes(200_000))
        assert (path / "data.mdb").stat().st_size < 1_000_000


class TestKilledWhileCreating:
    @pytest.fixture
    def left(self, tmp_path: Path) -> Path:
        left = tmp_path / "left"
        with started(CREATING, left) as process:
            assert process.wait() == -signal.SIGKILL
        return left

    def test_what_is_left_is_no_store(self, left: Path) -> None:
        with pytest.raises(StoreError) as caught:
            LmdbStore.open(left)
        assert caught.value.reason == "NO_STORE"

    def test_creating_again_says_what_to_delete(self, left: Path) -> None:
        with pytest.raises(StoreError) as caught:
            LmdbStore.create(left, instance=INSTANCE)
        assert str(left / "creating.mdb") in caught.value.action

    def test_and_works_once_it_is_deleted(self, left: Path) -> None:
        (left / "creating.mdb").unlink()
        with closing(LmdbStore.create(left, instance=INSTANCE)) as store:
            assert store.instance == INSTANCE


def kill(code: str, path: Path) -> None:
    with started(code, path):
        pass
