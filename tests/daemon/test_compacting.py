"""`ledgerd compact`: what was erased is in no page any more, and a crash costs nothing."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from builders import MAINLAND
from ledger.law_world import LawWorld, at
from store.processes import started

from ledgerd.compacting import compact
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import hold
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import NotReadyError, StoreError
from ledgerd_client.erasing import SignedOrder

LEDGERD = Path(sys.executable).with_name("ledgerd")
TEXT = "the text that was erased"

# Ends the process at a step: when the copy is to be synced, before it is swapped in, after that.
_CRASH = """
import os, pathlib, signal, sys
from ledgerd.store.lmdb import LmdbStore
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
rename = pathlib.Path.rename
{step}
print(flush=True)
LmdbStore.compact(pathlib.Path(sys.argv[1]))
"""
_OPEN = """
import pathlib, sys
from ledgerd.store.lmdb import LmdbStore
store = LmdbStore.open(pathlib.Path(sys.argv[1]), readonly={readonly})
print(flush=True)
sys.stdin.read()
"""
STEPS = {
    "before the copy is synced": "os.fsync = die",
    "before it is swapped in": "pathlib.Path.rename = die",
    "after it is swapped in": "pathlib.Path.rename = lambda old, new: die(rename(old, new))",
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of which one body was erased, in a directory of its own."""
    path = tmp_path / "data" / "store"
    path.parent.mkdir()
    with closing(LmdbStore.create(path, instance=os.urandom(16))) as store:
        law = LawWorld(store=store)
        node = law.mainland
        amended = law.supplement()
        index = node.place(law.contract(expires_on=20260901))
        terms = law.terms(notice_version=TEXT)
        transfer = node.place(law.transfer(terms))
        law.hong_kong.place(law.ack(terms))
        law.anchor()
        law.clock.now = at("2030-01-01")
        signed = SignedOrder.make(
            MAINLAND,
            node.log.authority,
            order_id=os.urandom(16),
            institution=law.exporter.id,
            indexes=[index, transfer],
            reason="kept long enough",
            now=law.clock(),
        )
        node.place(node.by_node(erasure=node.reader.erasure(signed.order, signed.signature)))
        node.place(amended)
        node.audit()
    return path


def holds(store: Path, text: str = TEXT) -> bool:
    return any(text.encode() in file.read_bytes() for file in store.iterdir())


def tables(path: Path) -> dict[Table, list[tuple[bytes, bytes]]]:
    with closing(LmdbStore.open(path, readonly=True)) as store, store.snapshot() as snapshot:
        return {table: list(snapshot.scan(table)) for table in Table}


class TestCompacting:
    def test_leaves_nothing_of_what_was_erased(self, store: Path) -> None:
        assert holds(store)
        compact(store)
        assert not holds(store)

    def test_keeps_every_table(self, store: Path) -> None:
        before = tables(store)
        compact(store)
        assert tables(store) == before

    def test_says_how_large_the_file_was_and_is(self, store: Path) -> None:
        before = (store / "data.mdb").stat().st_size
        assert compact(store) == (before, (store / "data.mdb").stat().st_size)

    def test_leaves_a_store_that_is_written_as_before(self, store: Path) -> None:
        compact(store)
        with closing(LmdbStore.open(store)) as opened, opened.write() as transaction:
            transaction.put(Table.RECORDS, b"k", b"v")
        assert (b"k", b"v") in tables(store)[Table.RECORDS]

    def test_leaves_no_other_file(self, store: Path) -> None:
        compact(store)
        assert sorted(file.name for file in store.iterdir()) == ["data.mdb", "lock.mdb"]

    def test_leaves_a_file_for_its_owner_alone(self, store: Path) -> None:
        compact(store)
        assert (store / "data.mdb").stat().st_mode & 0o777 == 0o600

    def test_of_a_file_elsewhere_replaces_that_file(self, store: Path, tmp_path: Path) -> None:
        elsewhere = moved_elsewhere(store, tmp_path)
        compact(store)
        assert not holds(elsewhere)
        assert (store / "data.mdb").is_symlink()

    def test_forgets_what_came_back_of_a_lost_body(self, store: Path) -> None:
        came_back = "a notice that was lost, and sent again"
        with closing(LmdbStore.open(store)) as opened, opened.write() as transaction:
            transaction.put(Table.RETURNED, u64(7), came_back.encode())
        compact(store)
        kept = holds(store, came_back)
        compact(store, forget=[7])
        assert (kept, holds(store, came_back)) == (True, False)

    def test_of_no_store_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError) as caught:
            compact(tmp_path / "nothing")
        assert caught.value.reason == "NO_STORE"

    def test_without_room_for_the_copy_changes_nothing(self, store: Path) -> None:
        before = tables(store)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))
        try:
            with pytest.raises(StoreError):
                compact(store)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert tables(store) == before
        assert not (store / "compacting.mdb").exists()


def itself(store: Path, _tmp_path: Path) -> Path:
    return store


def linked(store: Path, tmp_path: Path) -> Path:
    link = tmp_path / "link"
    link.symlink_to(store)
    return link


def moved_elsewhere(store: Path, tmp_path: Path) -> Path:
    """Leave a link in place of the file; return the directory that it lies in now."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (store / "data.mdb").rename(elsewhere / "data.mdb")
    (store / "data.mdb").symlink_to(elsewhere / "data.mdb")
    return elsewhere


class TestAStoreThatIsOpen:
    """Whoever has it open would write on into a file that is gone."""

    @pytest.mark.parametrize("readonly", [False, True])
    @pytest.mark.parametrize("path", [itself, linked, moved_elsewhere])
    def test_is_not_compacted_whatever_path_names_it(
        self, store: Path, tmp_path: Path, path: Callable[[Path, Path], Path], readonly: bool
    ) -> None:
        other = path(store, tmp_path)
        with (
            started(_OPEN.format(readonly=readonly), store),
            pytest.raises(NotReadyError) as caught,
        ):
            compact(other)
        assert caught.value.reason == "ALREADY_SERVED"

    def test_is_compacted_after_that_process_was_killed(self, store: Path) -> None:
        with started(_OPEN.format(readonly=False), store):
            pass
        compact(store)
        assert not holds(store)

    def test_is_not_opened_while_it_is_compacted(self, store: Path) -> None:
        with hold(store, alone=True), pytest.raises(NotReadyError) as caught:
            LmdbStore.open(store)
        assert caught.value.reason == "ALREADY_SERVED"


@pytest.mark.parametrize("step", STEPS)
class TestACrash:
    @pytest.fixture
    def crashed(self, store: Path, step: str) -> Path:
        with started(_CRASH.format(step=STEPS[step]), store) as process:
            assert process.wait() == -signal.SIGKILL
        return store

    def test_leaves_a_store_that_is_whole(self, store: Path, step: str) -> None:
        before = tables(store)
        with started(_CRASH.format(step=STEPS[step]), store) as process:
            process.wait()
        assert tables(store) == before

    def test_is_made_good_by_doing_it_again(self, crashed: Path) -> None:
        compact(crashed)
        assert not holds(crashed)


class TestTheCommand:
    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [LEDGERD, "compact", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def test_compacts_a_copy(self, store: Path) -> None:
        assert self.run("--store", store).returncode == 0
        assert not holds(store)

    def test_wants_one_store_to_be_named(self, store: Path) -> None:
        assert self.run().returncode == 2

    def test_refuses_a_directory_without_one(self, tmp_path: Path) -> None:
        ran = self.run("--store", tmp_path / "x")
        assert (ran.returncode, "NO_STORE" in ran.stderr) == (1, True)
