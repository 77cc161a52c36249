"""What was erased, and an older copy of the store: it is not brought back."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders import EXPORTER
from recovery.scene import Scene

from ledgerd.recovery import collecting
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import NotFoundError
from ledgerd_client.core.remains import order_digest


@dataclass
class Erased:
    """A body that was erased, and copies of the store from before that and from after."""

    scene: Scene
    index: int
    body: bytes
    old: Path
    new: Path

    def found(self) -> bytes | None:
        """What is recovered of it, in the directory of the recovery."""
        own = self.scene.data / collecting.RECOVERING / "own"
        with closing(LmdbStore.open(own, readonly=True)) as store, store.snapshot() as snapshot:
            return snapshot.get(Table.BODIES, u64(self.index))


@pytest.fixture
async def erased(scene: Scene) -> Erased:
    transfer = scene.border.transfer()
    index = (await scene.declare(transfer)).index
    await scene.acknowledge(transfer)
    await scene.settle()
    old = await scene.copy_store()
    body = scene.node.reader.entry(index)[1]
    scene.clock.advance(hours=24 * 365 * 4)
    await scene.settle()
    order = encode_message(
        pb.ErasureOrder(
            origin=scene.node.origin,
            order_id=os.urandom(16),
            institution=EXPORTER,
            indexes=[index],
            reason="kept long enough",
            ordered_at=scene.clock(),
        )
    )
    signature = scene.side.authority.key_file.key.sign(order_digest(scene.node.origin, order))
    erasure = scene.node.reader.erasure(order, signature)
    assert not isinstance(erasure, int)
    assert await scene.node.append(scene.node.own.sign(erasure=erasure))
    await scene.settle()
    new = await scene.copy_store()
    await scene.lose()
    return Erased(scene, index, body, old, new)


class TestAnErasedBody:
    @pytest.mark.parametrize("newest_first", [False, True])
    async def test_is_not_taken_out_of_an_older_copy(
        self, erased: Erased, newest_first: bool
    ) -> None:
        copies = [erased.old, erased.new]
        await erased.scene.recover(*(reversed(copies) if newest_first else copies))
        assert erased.found() is None
        salt = pb.Body.FromString(erased.body).salt
        own = erased.scene.data / collecting.RECOVERING / "own"
        # Nor was it ever written: what is deleted stays in the file's pages.
        assert not any(salt in file.read_bytes() for file in own.iterdir())

    async def test_goes_again_when_a_copy_says_later_that_it_was_erased(
        self, erased: Erased
    ) -> None:
        await erased.scene.recover(erased.old)
        before = erased.found()
        await erased.scene.recover(erased.new)
        assert (before, erased.found()) == (erased.body, None)

    async def test_is_missing_of_nobody(self, erased: Erased) -> None:
        assert EXPORTER not in (await erased.scene.recover(erased.new)).missing

    async def test_is_erased_in_the_log_that_is_back(self, erased: Erased) -> None:
        await erased.scene.come_back(erased.old, erased.new)
        with pytest.raises(NotFoundError) as gone:
            erased.scene.node.reader.entry(erased.index)
        assert gone.value.reason == "ERASED"
        await erased.scene.settle()
        erased.scene.node.audit()
