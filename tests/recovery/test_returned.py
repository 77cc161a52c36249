"""A body that is lost, and comes home later: kept and shown, and nothing is judged anew by it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import pytest
from builders import EXPORTER
from recovery.scene import Scene

from ledgerd.ledger.verifying import AuditError
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import NotFoundError
from ledgerd_client.core.record import Admitted


@dataclass
class Lost:
    """A record of which the log has lost the body for good."""

    scene: Scene
    item: Admitted
    index: int

    @property
    def shown(self) -> bytes:
        return self.scene.node.reader.entry(self.index)[1]


@pytest.fixture
async def lost(scene: Scene) -> Lost:
    item = scene.declared()
    placed = await scene.node.append(item)
    assert placed is not None
    await scene.settle()
    await scene.lose()
    await scene.come_back()
    return Lost(scene, item, placed.index)


class TestALostRecordThatIsSentAgain:
    async def test_is_shown(self, lost: Lost) -> None:
        with pytest.raises(NotFoundError):
            _ = lost.shown
        await lost.scene.node.append(lost.item)
        assert lost.shown == lost.item.body

    async def test_is_durable(self, lost: Lost) -> None:
        await lost.scene.node.append(lost.item)
        await lost.scene.node.reopen()
        assert lost.shown == lost.item.body

    async def test_adds_no_entry(self, lost: Lost) -> None:
        size = lost.scene.size
        await lost.scene.node.append(lost.item)
        assert lost.scene.size == size

    async def test_passes_the_audit(self, lost: Lost) -> None:
        await lost.scene.node.append(lost.item)
        await lost.scene.settle()
        lost.scene.node.audit()

    async def test_stays_lost_to_what_is_judged(self, lost: Lost) -> None:
        """Else what the log says would hang on when it came."""
        await lost.scene.node.append(lost.item)
        with lost.scene.node.dying.snapshot() as snapshot:
            assert snapshot.get(Table.BODIES, u64(lost.index)) is None


class TestAnotherBodyInItsPlace:
    async def test_is_found_by_the_audit(self, lost: Lost) -> None:
        other = lost.scene.declared()
        store = lost.scene.node.config.store
        await lost.scene.node.close()
        with closing(LmdbStore.open(store)) as opened, opened.write() as transaction:
            transaction.put(Table.RETURNED, u64(lost.index), other.body)
        await lost.scene.node.open()
        with pytest.raises(AuditError):
            lost.scene.node.audit()


class TestAfterAnotherLoss:
    async def test_it_is_home_where_a_copy_has_it(self, lost: Lost) -> None:
        await lost.scene.node.append(lost.item)
        await lost.scene.settle()
        copy = await lost.scene.copy_store()
        await lost.scene.lose()
        await lost.scene.come_back(copy)
        assert lost.shown == lost.item.body

    async def test_it_may_come_from_its_author(self, lost: Lost) -> None:
        copy = await lost.scene.copy_store()
        await lost.scene.settle()
        await lost.scene.lose()
        await lost.scene.recover(copy)
        await lost.scene.give_back(EXPORTER, [lost.item.body])
        await lost.scene.come_back()
        assert lost.shown == lost.item.body

    async def test_the_audit_finds_nothing(self, lost: Lost) -> None:
        await lost.scene.node.append(lost.item)
        await lost.scene.settle()
        copy = await lost.scene.copy_store()
        await lost.scene.lose()
        await lost.scene.come_back(copy)
        await lost.scene.settle()
        lost.scene.node.audit()
