"""`ledgerd publish`: every file is whole before a checkpoint names it, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from nodes import NODE_TOML

from ledgerd.config import Config
from ledgerd.ledger.head import Head
from ledgerd.ledger.tree import TileWriter, tile_key
from ledgerd.publishing import Published, publish
from ledgerd.store.base import Transaction
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import FieldError, ForkError, NotReadyError, StoreError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.merkle import Frontier, leaf_hash
from ledgerd_client.core.note import ED25519, Signer
from ledgerd_client.core.tiles import Tile, bundle_of, tiles_of

ORIGIN = "gba.example/mainland"
LEDGERD = Path(sys.executable).with_name("ledgerd")


class PublishedLog:
    """The two stores of a node, without one: headers of any bytes, and what the peer cosigned."""

    def __init__(self, directory: Path, origin: str = ORIGIN) -> None:
        directory.mkdir()
        names = {"id": "a", "domain": "a.invalid", "peer_id": "b", "peer_domain": "b.invalid"}
        toml = NODE_TOML.format(origin=origin, **names, peer_endpoint="localhost:1", top="", law="")
        self.toml = directory / "node.toml"
        self.toml.write_text(toml)
        self.config = Config.load(self.toml)
        self.config.data.mkdir()
        self.origin = origin
        self.headers: list[bytes] = []
        self.signer = Signer(origin, ED25519, SigningKey(os.urandom(32)))
        for path in (self.config.store, self.config.peer_store):
            LmdbStore.create(path, instance=os.urandom(16)).close()

    def grow(self, size: int, *, cosigned: bool = True) -> PublishedLog:
        """Append headers up to a size; the peer, if it cosigns, keeps up."""
        new = [os.urandom(3 + len(self.headers) % 5) for _ in range(size - len(self.headers))]
        with written(self.config.store) as transaction:
            tiles = TileWriter.load(transaction, len(self.headers))
            items = [(u64(len(self.headers) + at), header) for at, header in enumerate(new)]
            transaction.put_many(Table.HEADERS, items)
            tiles.append(transaction, [leaf_hash(header) for header in new])
            self.headers += new
            Head(size, 0, bytes(32), self.note()).put(transaction)
        if cosigned:
            self.cosign()
        return self

    def cosign(self, note: bytes | None = None) -> None:
        with written(self.config.peer_store) as transaction:
            transaction.put(Table.META, b"own_cosigned", note or self.note())

    def note(self) -> bytes:
        return sign_checkpoint(Checkpoint(self.origin, len(self.headers), self.root()), self.signer)

    def root(self) -> bytes:
        tree = Frontier()
        tree.extend(map(leaf_hash, self.headers))
        return tree.root()

    def publish(
        self, out: Path, *, uncosigned: bool = False, stop: Callable[[], bool] = lambda: False
    ) -> Published:
        return publish(self.config, out, uncosigned=uncosigned, stopped=stop)

    def damage(self, table: Table, key: bytes) -> None:
        with written(self.config.store) as transaction:
            content = transaction.get(table, key)
            assert content
            transaction.put(table, key, bytes([content[0] ^ 1]) + content[1:])


@contextmanager
def written(path: Path) -> Iterator[Transaction]:
    """A store for one transaction: LMDB opens a file once in a process."""
    with closing(LmdbStore.open(path)) as store, store.write() as transaction:
        yield transaction


@pytest.fixture
def log(tmp_path: Path) -> PublishedLog:
    return PublishedLog(tmp_path / "node")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "served"


def files(out: Path) -> dict[str, bytes]:
    found = (path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def wanted(log: PublishedLog) -> dict[str, bytes]:
    """Every file of a log, made of its headers by the definition of C2SP tlog-tiles."""
    made = {"checkpoint": log.note()}
    for tile in tiles_of(len(log.headers)):
        width = 256 ** ((tile.level or 0) + 1)
        part = log.headers[tile.number * width : (tile.number + 1) * width]
        if tile.level is None:
            made[tile.path] = bundle_of(part)
        else:
            made[tile.path] = b"".join(hashes_over(part, width // 256))
    return made


def hashes_over(part: list[bytes], count: int) -> Iterator[bytes]:
    for start in range(0, len(part) - count + 1, count):
        tree = Frontier()
        tree.extend(map(leaf_hash, part[start : start + count]))
        yield tree.root()


class TestADirectory:
    @pytest.mark.parametrize("size", [1, 255, 256, 257, 700])
    def test_holds_what_a_log_of_a_size_has_and_nothing_else(
        self, size: int, log: PublishedLog, out: Path
    ) -> None:
        log.grow(size).publish(out)
        assert files(out) == wanted(log)

    @pytest.mark.slow
    def test_holds_the_third_level_of_a_large_log(self, log: PublishedLog, out: Path) -> None:
        log.grow(65_537).publish(out)
        assert files(out) == wanted(log)

    @pytest.mark.parametrize(
        ("before", "after"), [(1, 2), (3, 256), (255, 257), (256, 512), (300, 1030)]
    )
    def test_that_grew_holds_all_that_one_made_at_once_holds(
        self, before: int, after: int, log: PublishedLog, out: Path
    ) -> None:
        log.grow(before).publish(out)
        log.grow(after).publish(out)
        assert files(out).items() >= wanted(log).items()

    def test_keeps_no_partial_tile_beside_the_full_one(self, log: PublishedLog, out: Path) -> None:
        log.grow(200).publish(out)
        log.grow(256).publish(out)
        assert files(out) == wanted(log)

    def test_that_is_up_to_date_is_left_as_it_is(self, log: PublishedLog, out: Path) -> None:
        log.grow(300).publish(out)
        assert log.publish(out) == Published(300, 0)

    def test_gets_a_newer_note_of_the_same_tree(self, log: PublishedLog, out: Path) -> None:
        log.grow(5).publish(out)
        again = sign_checkpoint(
            Checkpoint(ORIGIN, 5, log.root()), Signer(ORIGIN, ED25519, SigningKey(os.urandom(32)))
        )
        log.cosign(again)
        log.publish(out)
        assert (out / "checkpoint").read_bytes() == again

    def test_only_gains_what_is_new(self, log: PublishedLog, out: Path) -> None:
        log.grow(700).publish(out)
        assert log.grow(701).publish(out).files == len(["bundle", "tile of level 0", "checkpoint"])

    def test_may_be_read_by_a_web_server(self, log: PublishedLog, out: Path) -> None:
        log.grow(2).publish(out)
        assert (out / "checkpoint").stat().st_mode & 0o044


class TestWhatIsPublished:
    def test_is_what_the_peer_cosigned_and_no_more(self, log: PublishedLog, out: Path) -> None:
        log.grow(5).grow(9, cosigned=False).publish(out)
        assert not (out / Tile(0, 0, 9).path).exists()

    def test_is_all_if_that_is_wanted(self, log: PublishedLog, out: Path) -> None:
        log.grow(5).grow(9, cosigned=False).publish(out, uncosigned=True)
        assert files(out) == wanted(log)

    def test_is_nothing_before_the_peer_has_cosigned(self, log: PublishedLog, out: Path) -> None:
        log.grow(5, cosigned=False)
        with pytest.raises(NotReadyError, match="has not cosigned"):
            log.publish(out)

    def test_is_no_checkpoint_of_another_tree(self, log: PublishedLog, out: Path) -> None:
        log.grow(5)
        log.cosign(sign_checkpoint(Checkpoint(ORIGIN, 5, os.urandom(32)), log.signer))
        with pytest.raises(StoreError, match="not of the tree"):
            log.publish(out)


class TestADamagedStore:
    @pytest.mark.parametrize(
        ("table", "key"),
        [
            pytest.param(Table.HEADERS, u64(3), id="a header"),
            pytest.param(Table.TILES, tile_key(0, 1), id="a full tile"),
            pytest.param(Table.TILES, tile_key(1, 0), id="a hash over a tile"),
        ],
    )
    def test_is_noticed_before_a_checkpoint_names_it(
        self, table: Table, key: bytes, log: PublishedLog, out: Path
    ) -> None:
        log.grow(700)
        log.damage(table, key)
        with pytest.raises(StoreError):
            log.publish(out)
        assert not (out / "checkpoint").exists()


class TestTheCheckpoint:
    @pytest.mark.parametrize("step", range(9))
    def test_never_names_a_file_that_is_not_there(
        self, step: int, log: PublishedLog, out: Path
    ) -> None:
        """Stopped before each file in turn, on the way from 200 to 600 entries."""
        log.grow(200).publish(out)
        before = files(out)
        asked = iter(range(step + 1))
        log.grow(600)
        stopped = log.publish(out, stop=lambda: next(asked, None) == step)
        found = files(out)
        named = before if stopped.size == 200 else wanted(log)
        assert found.items() >= named.items()

    def test_comes_when_everything_else_is_on_the_disk(
        self, log: PublishedLog, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the kernel sees it: each file and each directory synced, and then its rename."""
        steps: list[str] = []
        fsync, rename = os.fsync, Path.rename

        def named(descriptor: int) -> str:
            return str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(out))

        monkeypatch.setattr(os, "fsync", lambda d: (steps.append(named(d)), fsync(d))[1])
        monkeypatch.setattr(
            Path, "rename", lambda a, b: (steps.append(f"-> {b.name}"), rename(a, b))[1]
        )
        log.grow(1).publish(out)
        before = set(steps[: steps.index("-> checkpoint")])
        directories = {".", "tile", "tile/entries", "tile/entries/000.p", "tile/0", "tile/0/000.p"}
        assert before >= {"-> 1", "tile/entries/000.p/.1.unfinished", *directories}

    def test_is_followed_by_a_sync_of_its_directory(
        self, log: PublishedLog, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log.grow(1).publish(out)
        synced: list[str] = []
        fsync = os.fsync

        def sync(descriptor: int) -> None:
            synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", sync)
        log.grow(2).publish(out)
        assert synced[-1] == str(out)

    def test_is_taken_up_after_files_that_it_does_not_name(
        self, log: PublishedLog, out: Path
    ) -> None:
        log.grow(200).publish(out)
        asked = iter(range(100))
        log.grow(600).publish(out, stop=lambda: next(asked) == 3)
        log.publish(out)
        assert files(out) == wanted(log)


class TestADirectoryOfAnother:
    def test_tree_is_evidence_and_is_left_alone(
        self, log: PublishedLog, out: Path, tmp_path: Path
    ) -> None:
        PublishedLog(tmp_path / "other").grow(300).publish(out)
        before = files(out)
        log.grow(400)
        with pytest.raises(ForkError):
            log.publish(out)
        assert files(out) == before

    def test_log_is_left_alone(self, log: PublishedLog, out: Path, tmp_path: Path) -> None:
        PublishedLog(tmp_path / "other", "gba.example/hongkong").grow(3).publish(out)
        log.grow(4)
        with pytest.raises(FieldError) as refused:
            log.publish(out)
        assert refused.value.reason == "WRONG_ORIGIN"

    @pytest.mark.parametrize("name", ["data", "log.key"])
    def test_kind_is_left_alone(self, log: PublishedLog, out: Path, name: str) -> None:
        (out / name).mkdir(parents=True)
        with pytest.raises(FieldError) as refused:
            log.grow(4).publish(out)
        assert (refused.value.reason, files(out)) == ("NOT_EMPTY", {})

    def test_time_ahead_of_the_log_is_waited_for(self, log: PublishedLog, out: Path) -> None:
        small = log.grow(4).note()
        log.grow(9).publish(out)
        log.cosign(small)
        with pytest.raises(NotReadyError) as refused:
            log.publish(out)
        assert refused.value.reason == "PUBLISHED_AHEAD"

    def test_publisher_is_not_disturbed(self, log: PublishedLog, out: Path) -> None:
        second: list[str] = []

        def stop() -> bool:
            with pytest.raises(NotReadyError) as refused:
                log.publish(out)
            second.append(refused.value.reason)
            return True

        log.grow(2).publish(out, stop=stop)
        assert second == ["ALREADY_SERVED"]


class TestTheCommand:
    def command(self, log: PublishedLog, out: Path, *more: str) -> list[str]:
        return [str(LEDGERD), "publish", "--config", str(log.toml), "--out", str(out), *more]

    def run(self, log: PublishedLog, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command = self.command(log, out, *more)
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_publishes_once(self, log: PublishedLog, out: Path) -> None:
        log.grow(3)
        assert self.run(log, out).returncode == 0
        assert files(out) == wanted(log)

    def test_says_what_is_in_the_way(self, log: PublishedLog, out: Path) -> None:
        log.grow(3, cosigned=False)
        done = self.run(log, out)
        assert (done.returncode, "NOT_COSIGNED" in done.stderr) == (1, True)

    def test_tells_a_directory_of_another_log_by_its_exit_code(
        self, log: PublishedLog, out: Path
    ) -> None:
        out.mkdir()
        signer = Signer("other.example", ED25519, SigningKey(os.urandom(32)))
        note = sign_checkpoint(Checkpoint("other.example", 1, bytes(32)), signer)
        (out / "checkpoint").write_bytes(note)
        log.grow(3)
        assert self.run(log, out).returncode == 2

    def test_says_which_directory_it_cannot_write(self, log: PublishedLog, out: Path) -> None:
        log.grow(3)
        done = self.run(log, out / "not" / "there")
        assert (done.returncode, "NOT_PUBLISHED" in done.stderr) == (1, True)

    def test_follows_until_it_is_told_to_stop(self, log: PublishedLog, out: Path) -> None:
        command = self.command(log, out, "--follow", "--every", "0.1")
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                assert "NOT_COSIGNED" in process.stderr.readline()
                log.grow(3)
                assert "3 entries are published" in process.stderr.readline()
                log.grow(4)
                assert "4 entries are published" in process.stderr.readline()
                process.send_signal(signal.SIGTERM)
                assert process.wait() == 0
            finally:
                process.kill()
        assert files(out).items() >= wanted(log).items()
