"""A backup is whole by itself, is read back as it is written, and brings nothing back that was erased."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ledger.law_world import LawWorld, at
from ledger.world import Node
from mirror.served import Rows, differing, erase, rows_of
from peer.sides import trust_of
from recovery.scene import Scene

from ledgerd.backup.assembling import assemble
from ledgerd.backup.files import MANIFEST, OWN, PEER, entry_files, find_backup
from ledgerd.backup.listing import examine, find_backups
from ledgerd.backup.making import BackedUp, backup, write_backup
from ledgerd.backup.sources import OwnLog
from ledgerd.commands.backup import backup as command
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import FieldError, InputError, LedgerError, StoreError
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header


class PeersLog(OwnLog):
    """The peer's log as a node holds it: headers, and the bodies that both share."""

    name = PEER

    def pages(self, first: int, stop: int) -> Iterator[list[pb.FollowedEntry]]:
        for page in super().pages(first, stop):
            for entry in page:
                if Header.parse(entry.header).kind not in KINDS_SHARED_WITH_PEER:
                    entry.body = b""
            yield page


@dataclass
class Kept:
    """Backups of the Mainland's node in a directory."""

    law: LawWorld
    to: Path
    # What happens at the node when the first file is written.
    meanwhile: Callable[[], None] = lambda: None
    told: list[tuple[int, int]] = field(default_factory=list)

    def make(self, keep: int = 7, change: Callable[[OwnLog], None] = lambda _log: None) -> BackedUp:
        self.law.clock.advance(1)
        own, peer = self.log(OwnLog, self.law.mainland), self.log(PeersLog, self.law.hong_kong)
        change(own)
        return write_backup(
            self.to, own, peer, keep=keep, clock=self.law.clock, progress=self.progress
        )

    @staticmethod
    def log(kind: type[OwnLog], node: Node) -> OwnLog:
        return kind(node.store, node.log.origin, node.log.authority.public)

    def progress(self, done: int, total: int) -> None:
        happens, self.meanwhile = self.meanwhile, lambda: None
        happens()

    @property
    def origin(self) -> str:
        return self.law.mainland.log.origin

    def newest(self) -> Path | None:
        """The backup that it would be restored from."""
        return find_backup(self.to, self.origin)

    def of_the_other_side(self) -> Kept:
        """The peer's backups, in the same directory."""
        law = LawWorld()
        law.mainland, law.hong_kong = law.hong_kong, law.mainland
        law.clock.now = self.law.clock.now
        return Kept(law, self.to)

    async def restored(self) -> Rows:
        """What a store holds that is made of the newest."""
        backup, scratch = self.newest(), self.to.parent / "scratch"
        assert backup is not None
        scratch.mkdir()
        await assemble(
            backup,
            scratch,
            trust_of(self.law.mainland.log, self.law.hong_kong.log),
            clock=self.law.clock,
            random=os.urandom,
            quota=1 << 28,
            map_size=1 << 28,
        )
        with closing(LmdbStore.open(scratch / "store", readonly=True)) as store:
            return rows_of(store)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.to.iterdir())

    def grow(self) -> None:
        self.law.mainland.append(self.law.transfer(), self.law.transfer())
        self.law.anchor()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """Of a log with a little of everything; there is no backup yet."""
    law = LawWorld()
    law.mainland.append(law.contract(expires_on=20260901), law.pipia())
    law.hong_kong.place(law.counterpart(expires_on=20260901))
    law.anchor()
    law.clock.advance(1)
    matched, silent = law.terms(), law.terms()
    law.mainland.append(law.transfer(matched), law.transfer(silent))
    law.hong_kong.append(law.ack(matched))
    law.clock.now = at("2026-09-20")
    law.anchor()
    return Kept(law, tmp_path / "backups")


def a_transfer(law: LawWorld) -> int:
    size = law.mainland.size
    return next(i for i in range(size) if law.mainland.body(i).HasField("transfer"))


async def error_of(kept: Kept) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        await kept.restored()
    return caught.value


class TestRestoring:
    async def test_comes_to_the_nodes_tables(self, kept: Kept) -> None:
        kept.make()
        assert differing(await kept.restored(), kept.law.mainland) == []

    async def test_puts_increments_together(self, kept: Kept) -> None:
        for _ in range(3):
            kept.make()
            kept.grow()
        kept.make()
        assert differing(await kept.restored(), kept.law.mainland) == []

    async def test_is_of_the_newest(self, kept: Kept) -> None:
        kept.make()
        kept.grow()
        made = kept.make()
        assert kept.newest() == made.path

    def test_is_of_its_own_log_where_another_has_newer_ones(self, kept: Kept) -> None:
        made = kept.make()
        kept.of_the_other_side().make()
        assert kept.newest() == made.path

    @pytest.mark.parametrize("named", ["directory", "backup"])
    def test_refuses_another_log_and_names_it(self, kept: Kept, named: str) -> None:
        made, theirs = kept.make(), kept.law.hong_kong.log.origin
        with pytest.raises(FieldError) as caught:
            find_backup({"directory": kept.to, "backup": made.path}[named], theirs)
        assert caught.value.reason == "WRONG_ORIGIN"
        assert f"has backups of {kept.origin}, and none of {theirs}" in caught.value.message

    def test_passes_over_none_that_cannot_be_read(self, kept: Kept) -> None:
        """An older one in its place would lack entries, and nobody would have said so."""
        kept.make()
        (kept.make().path / MANIFEST).write_text("{}")
        with pytest.raises(StoreError) as caught:
            kept.newest()
        assert caught.value.reason == "BAD_BACKUP"

    @pytest.mark.parametrize("log", [OWN, PEER])
    async def test_refuses_a_byte_that_changed(self, kept: Kept, log: str) -> None:
        (file,) = entry_files(kept.make().path, log)
        data = bytearray(file.path.read_bytes())
        data[len(data) // 2] ^= 1
        file.path.write_bytes(data)
        await error_of(kept)

    @pytest.mark.parametrize("left", [0, 10, 30, -1])
    async def test_refuses_a_file_that_is_cut(self, kept: Kept, left: int) -> None:
        (file,) = entry_files(kept.make().path, OWN)
        file.path.write_bytes(file.path.read_bytes()[:left])
        assert (await error_of(kept)).reason == "BAD_BACKUP"

    async def test_refuses_a_backup_without_one_of_its_files(self, kept: Kept) -> None:
        kept.make()
        kept.grow()
        entry_files(kept.make().path, OWN)[0].path.unlink()
        assert (await error_of(kept)).reason == "BAD_BACKUP"

    async def test_refuses_fewer_entries_than_the_checkpoint_has(self, kept: Kept) -> None:
        kept.make()
        kept.grow()
        entry_files(kept.make().path, OWN)[-1].path.unlink()
        assert (await error_of(kept)).reason == "BAD_ROOT"


class TestIncrements:
    def test_write_what_is_new_alone(self, kept: Kept) -> None:
        before = kept.law.mainland.size
        kept.make()
        kept.grow()
        assert kept.make().added == kept.law.mainland.size - before

    def test_share_the_files_of_the_one_before(self, kept: Kept) -> None:
        first = entry_files(kept.make().path, OWN)[0]
        kept.grow()
        second = entry_files(kept.make().path, OWN)[0]
        assert second.path.samefile(first.path)

    def test_outlive_the_one_before(self, kept: Kept) -> None:
        kept.make()
        kept.grow()
        made = kept.make(keep=1)
        assert kept.names() == [made.path.name]

    def test_as_many_stay_as_are_to_be_kept(self, kept: Kept) -> None:
        made = [kept.make(keep=2).path.name for _ in range(4)]
        assert kept.names() == made[-2:]

    def test_leave_those_of_another_log_alone(self, kept: Kept) -> None:
        others = kept.make().path.name
        another = kept.of_the_other_side()
        made = [another.make(keep=1).path.name for _ in range(2)]
        assert kept.names() == [others, made[-1]]

    async def test_begin_anew_where_the_log_is_another(self, kept: Kept) -> None:
        """Ended by a LOSS below what was backed up, say."""
        kept.make()
        other = LawWorld()
        other.mainland.append(other.contract(), *[other.transfer() for _ in range(30)])
        elsewhere = Kept(other, kept.to)
        assert elsewhere.make().added == other.mainland.size


class TestWhereItLies:
    @pytest.mark.parametrize("place", [".", "backups", "store", "peer/x", "store/../../data/x"])
    async def test_is_not_in_what_is_backed_up(self, scene: Scene, place: str) -> None:
        await scene.node.close()
        config = scene.node.config
        with pytest.raises(InputError) as caught:
            backup(config, config.data / place, keep=7, clock=scene.clock, progress=lambda *_: None)
        assert caught.value.reason == "INSIDE_DATA"

    async def test_is_not_where_a_link_leads_there(self, scene: Scene, tmp_path: Path) -> None:
        await scene.node.close()
        config, link = scene.node.config, tmp_path / "link"
        link.symlink_to(config.data)
        with pytest.raises(InputError) as caught:
            backup(config, link / "x", keep=7, clock=scene.clock, progress=lambda *_: None)
        assert caught.value.reason == "INSIDE_DATA"


class TestACrash:
    def die(self) -> None:
        raise KeyboardInterrupt

    def test_leaves_nothing_that_looks_whole(self, kept: Kept) -> None:
        kept.meanwhile = self.die
        with pytest.raises(KeyboardInterrupt):
            kept.make()
        assert kept.newest() is None

    def test_leaves_nothing_once_the_next_was_made(self, kept: Kept) -> None:
        kept.meanwhile = self.die
        with pytest.raises(KeyboardInterrupt):
            kept.make()
        made = kept.make()
        assert kept.names() == [made.path.name]


class TestReadingBack:
    def test_what_does_not_hash_to_the_checkpoint_is_no_backup(self, kept: Kept) -> None:
        def lie(log: OwnLog) -> None:
            honest = log.pages

            def pages(first: int, stop: int) -> Iterator[list[pb.FollowedEntry]]:
                for page in honest(first, stop):
                    page[1].header = page[0].header
                    page[1].body = page[0].body
                    yield page

            log.pages = pages  # type: ignore[method-assign]

        with pytest.raises(StoreError) as caught:
            kept.make(change=lie)
        assert (caught.value.reason, kept.newest()) == ("BAD_BACKUP", None)

    def test_a_body_that_is_not_its_headers_is_no_backup(self, kept: Kept) -> None:
        def lie(log: OwnLog) -> None:
            honest = log.pages

            def pages(first: int, stop: int) -> Iterator[list[pb.FollowedEntry]]:
                for page in honest(first, stop):
                    page[1].body += b"\0"
                    yield page

            log.pages = pages  # type: ignore[method-assign]

        with pytest.raises(StoreError):
            kept.make(change=lie)


class TestErasure:
    @pytest.fixture
    def body(self, kept: Kept) -> bytes:
        return kept.law.mainland.reader.entry(a_transfer(kept.law))[1]

    async def test_is_obeyed_by_the_next(self, kept: Kept, body: bytes) -> None:
        kept.make()
        erase(kept.law, a_transfer(kept.law))
        kept.make()
        assert differing(await kept.restored(), kept.law.mainland) == []

    def test_leaves_the_body_in_no_file(self, kept: Kept, body: bytes) -> None:
        kept.make()
        erase(kept.law, a_transfer(kept.law))
        kept.make()
        assert not [p for p in kept.to.rglob("*") if p.is_file() and body in p.read_bytes()]

    async def test_may_come_while_a_backup_is_made(self, kept: Kept) -> None:
        kept.make()
        kept.grow()
        kept.meanwhile = lambda: erase(kept.law, a_transfer(kept.law))
        kept.make()
        kept.make()
        assert differing(await kept.restored(), kept.law.mainland) == []

    async def test_beyond_the_end_moves_the_end(self, kept: Kept) -> None:
        """The body is gone before it was read, by an entry that the checkpoint does not cover."""
        erased = a_transfer(kept.law)
        made = kept.make(change=lambda _log: erase(kept.law, erased))
        assert made.entries == kept.law.mainland.size
        assert differing(await kept.restored(), kept.law.mainland) == []


def damage(file: Path) -> None:
    """Another file in its place: the one that other backups share stays as it is."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.unlink()
    file.write_bytes(data)


def linked(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


class TestTheList:
    def test_is_of_all_logs_and_says_how_far_each_goes(self, kept: Kept) -> None:
        own = kept.make()
        another = kept.of_the_other_side()
        made = [own, another.make()]
        assert [
            (each.path, each.origin, each.entries, each.peer_entries, each.fault)
            for each in examine(find_backups(kept.to), verify=True)
        ] == [
            (made[0].path, kept.origin, kept.law.mainland.size, kept.law.hong_kong.size, ""),
            (
                made[1].path,
                another.origin,
                another.law.mainland.size,
                another.law.hong_kong.size,
                "",
            ),
        ]

    def test_takes_no_name_for_a_style(
        self, kept: Kept, capsys: pytest.CaptureFixture[str]
    ) -> None:
        named = kept.make().path.rename(kept.to / "[red]a\x1b[2J")
        command(named, list_=True)
        assert "[red]a\\x1b[2J" in capsys.readouterr().out

    def test_says_when_each_was_made(self, kept: Kept) -> None:
        kept.make()
        (listed,) = examine(find_backups(kept.to), verify=False)
        assert listed.made_at == kept.law.clock.now

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda path: entry_files(path, OWN)[-1].path.unlink(), "the files of own end at entry"),
            (lambda path: entry_files(path, PEER)[-1].path.unlink(), "the files of peer end at entry"),
            (lambda path: (path / MANIFEST).write_text("{}"), "not a ledgerd-backup/v1 file"),
            (lambda path: (path / "SHA256SUMS").unlink(), "cannot read"),
            (lambda path: damage(entry_files(path, OWN)[-1].path), "its files are not what its SHA256SUMS says"),
            (lambda path: linked(entry_files(path, OWN)[-1].path, "/dev/zero"), "not a file"),
            (lambda path: piped(entry_files(path, OWN)[-1].path), "not a file"),
        ],
        ids=[
            "a file of its log is gone", "one of the peer's is", "no manifest", "no sums", "rot",
            "a file without end", "a pipe to which nobody writes",
        ],
    )  # fmt: skip
    def test_names_what_is_not_whole(
        self, kept: Kept, spoil: Callable[[Path], None], said: str
    ) -> None:
        kept.make()
        kept.grow()
        spoil(kept.make().path)
        whole, spoilt = examine(find_backups(kept.to), verify=True)
        assert (whole.fault, said in spoilt.fault) == ("", True)

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda _place: None, "there is no such directory"),
            (Path.mkdir, "it is empty"),
            (lambda place: (place / "store").mkdir(parents=True), "it holds a store"),
            (lambda place: (place / "else").mkdir(parents=True), "it holds something else"),
            (lambda place: (place / ".unfinished-x").mkdir(parents=True), "or was cut short"),
        ],
        ids=["nowhere", "empty", "a store", "something else", "cut short"],
    )
    def test_says_why_there_is_none(
        self, tmp_path: Path, make: Callable[[Path], None], said: str
    ) -> None:
        make(tmp_path / "place")
        with pytest.raises(InputError) as caught:
            find_backups(tmp_path / "place")
        assert (caught.value.reason, said in caught.value.message) == ("NO_BACKUP", True)
