"""Which stores are opened, and that those of every released format are."""

from __future__ import annotations

import tarfile
from contextlib import closing
from pathlib import Path

import border
import lmdb
import pytest
from store.golden import GOLDEN, KEPT

from ledgerd.store.format import FORMAT_KEY, READ, WRITTEN
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client.core.errors import StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    LmdbStore.create(tmp_path / "store", instance=bytes(16)).close()
    return tmp_path / "store"


def say(path: Path, value: bytes | None) -> None:
    """Have a store say another format."""
    with closing(LmdbStore.open(path)) as store, store.write() as transaction:
        if value is None:
            transaction.delete(Table.META, FORMAT_KEY)
        else:
            transaction.put(Table.META, FORMAT_KEY, value)


def reason(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        LmdbStore.open(path)
    return caught.value.reason


class TestFormat:
    def test_a_new_store_says_the_present_one(self, path: Path) -> None:
        with closing(LmdbStore.open(path)) as store, store.snapshot() as snapshot:
            assert snapshot.get(Table.META, FORMAT_KEY) == b"%d" % WRITTEN

    def test_a_later_one_is_too_new(self, path: Path) -> None:
        say(path, b"%d" % (max(READ) + 1))
        assert reason(path) == "STORE_TOO_NEW"

    @pytest.mark.parametrize("value", [None, b"0"])
    def test_one_from_before_all_that_are_known_is_too_old(
        self, path: Path, value: bytes | None
    ) -> None:
        say(path, value)
        assert reason(path) == "STORE_TOO_OLD"

    @pytest.mark.parametrize("value", [b"", b"01", b"-1", b"\xff", b"1\n"])
    def test_what_is_no_number_is_damaged(self, path: Path, value: bytes) -> None:
        say(path, value)
        assert reason(path) == "BAD_HEAD"

    def test_a_refused_store_stays_as_it_was(self, path: Path) -> None:
        say(path, b"%d" % (max(READ) + 1))
        before = (path / "data.mdb").read_bytes()
        reason(path)
        assert (path / "data.mdb").read_bytes() == before

    def test_a_later_one_with_other_tables_is_no_stranger(self, tmp_path: Path) -> None:
        with (
            lmdb.open(str(tmp_path), max_dbs=1) as later,
            later.begin(later.open_db(b"meta"), write=True) as transaction,
        ):
            transaction.put(FORMAT_KEY, b"%d" % (max(READ) + 1))
        assert reason(tmp_path) == "STORE_TOO_NEW"


class TestReleased:
    def test_there_is_a_golden_store_of_every_format_that_is_read(self) -> None:
        assert {path.name for path in GOLDEN.iterdir()} == {f"{one}.tar.xz" for one in READ}

    @pytest.mark.parametrize("released", sorted(READ))
    def test_every_index_and_finding_in_it_is_what_is_computed_now(
        self, released: int, tmp_path: Path
    ) -> None:
        """Where this fails the format has changed, and has to be another one (store/format.py)."""
        with tarfile.open(GOLDEN / f"{released}.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
        done = border.audit(tmp_path / "node.toml")
        assert done.stdout.endswith("everything is as the log says\n")

    @pytest.mark.parametrize("released", sorted(READ))
    def test_no_key_is_in_it(self, released: int) -> None:
        with tarfile.open(GOLDEN / f"{released}.tar.xz") as archive:
            assert set(archive.getnames()) == set(KEPT)
