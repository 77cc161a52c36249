"""`ledgerd audit --nights`: beside the node that serves, and what the node tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from border import LEDGERD, run
from nodes import Side, found_one, free_port, now, serve
from observe.test_metrics import Watched

from ledgerd.auditing import audit, audit_part
from ledgerd.observe.results import AuditResult
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import LedgerError, NotReadyError
from ledgerd_client.core.errors import VerificationError as Wrong


def nothing(_done: int, _total: int) -> None: ...


@pytest.fixture
def founded(tmp_path: Path) -> Side:
    side, _ = found_one(tmp_path)
    return side


def audited(side: Side, nights: int = 3) -> AuditResult:
    """One night's audit, whatever comes of it."""
    with suppress(LedgerError):
        audit_part(side.config, nights, nothing, clock=now)
    result = AuditResult.read(side.config.data)
    assert result is not None
    return result


def damage(side: Side) -> None:
    with closing(LmdbStore.open(side.config.store)) as store, store.write() as transaction:
        body = transaction.get(Table.BODIES, u64(1)) or b""
        transaction.put(Table.BODIES, u64(1), body[:-1] + b"?")


class TestTheParts:
    def test_follow_each_other(self, founded: Side) -> None:
        assert [audited(founded).part for _ in range(4)] == [0, 1, 2, 0]

    def test_begin_anew_when_there_are_more_nights(self, founded: Side) -> None:
        audited(founded, nights=3)
        assert audited(founded, nights=4).part == 0

    def test_in_which_something_is_wrong_come_again(self, founded: Side) -> None:
        damage(founded)
        assert [(each.part, each.ok) for each in (audited(founded), audited(founded))] == [
            (0, 0), (0, 0),
        ]  # fmt: skip


class TestTheResult:
    def test_says_how_much_was_verified(self, founded: Side) -> None:
        result = audited(founded)
        assert (result.ok, result.entries, result.size, result.message) == (1, 2, 2, "")

    def test_says_what_is_wrong(self, founded: Side) -> None:
        damage(founded)
        assert audited(founded).message == "entry 1: the body is not the one in the header"

    def test_of_a_whole_audit_is_kept_too(self, founded: Side) -> None:
        damage(founded)
        with pytest.raises(Wrong):
            audit(founded.config, nothing, clock=now)
        result = AuditResult.read(founded.config.data)
        assert result is not None
        assert (result.ok, result.parts) == (0, 1)

    def test_that_cannot_be_read_is_none(self, founded: Side) -> None:
        (founded.config.data / AuditResult.FILE).write_text("{}")
        assert AuditResult.read(founded.config.data) is None


async def at_night(watched: Watched) -> AuditResult:
    """The audit of a node that serves, by a process of its own."""
    side = watched.node.side
    words = ("audit", "--config", str(side.toml), "--nights", "3")
    await asyncio.to_thread(run, LEDGERD, *words)
    result = AuditResult.read(side.config.data)
    assert result is not None
    return result


class TestBesideANodeThatServes:
    @pytest.fixture
    async def watched(self, tmp_path: Path) -> AsyncIterator[Watched]:
        side, peer = found_one(tmp_path)
        port = free_port()
        side.configure(peer, top=f'metrics_listen = "localhost:{port}"')
        async with serve(side, peer) as node:
            yield Watched(node, port)

    async def test_it_passes_while_entries_are_appended(self, watched: Watched) -> None:
        exporter = await watched.node.institution()
        auditing = asyncio.create_task(at_night(watched))
        while not auditing.done():
            await exporter.place(exporter.transfer())
        assert (await auditing).ok

    async def test_the_whole_audit_is_refused(self, watched: Watched) -> None:
        with pytest.raises(NotReadyError):
            audit(watched.node.side.config, nothing, clock=now)

    async def test_before_any_the_node_tells_of_none(self, watched: Watched) -> None:
        assert await watched.value("ledgerd_audit_finished_timestamp_seconds") == 0
        assert await watched.value("ledgerd_audit_ok") == 1

    async def test_the_node_tells_when_it_was_made(self, watched: Watched) -> None:
        made = await at_night(watched)
        told = await watched.value("ledgerd_audit_finished_timestamp_seconds")
        assert told == made.finished_at / 1_000_000

    async def test_the_node_tells_when_something_is_wrong(self, watched: Watched) -> None:
        data = watched.node.side.config.data
        AuditResult(0, now(), 1, 2, 0, 3, "entry 1: ...").write(data)
        assert await watched.value("ledgerd_audit_ok") == 0
