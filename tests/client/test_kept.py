"""What the SDK kept on this machine, damaged: it is told as that, and nobody is accused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from client.sdk import PAYLOAD, STATEMENT, World

from ledgerd_client import StoreError, UnavailableError, VerificationError
from ledgerd_client._kept import KeptFile, TrustedHead
from ledgerd_client._memory import MemoryLog
from ledgerd_client.core.history import KeyHistory


class Kept:
    """The file that holds the head."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.whole = path.read_bytes()

    def read(self) -> bytes:
        return self.path.read_bytes()

    def put(self, data: bytes) -> None:
        self.path.write_bytes(data)

    def damage(self) -> None:
        """Let it be another tree, in a note that can be read."""
        origin, size, root, rest = self.whole.split(b"\n", 3)
        other = (b"B" if root.startswith(b"A") else b"A") + root[1:]
        self.put(b"\n".join([origin, size, other, rest]))


@pytest.fixture
async def kept(world: World) -> Kept:
    """What a client has kept of a log of three entries; it runs no more."""
    async with world.client() as ledger:
        await ledger.declare(PAYLOAD, **STATEMENT)
    (path,) = world.directory.rglob("*.checkpoint")
    return Kept(path)


def lose_keys(world: World) -> None:
    for path in world.exporter.keys_directory.glob("*.keys"):
        path.unlink()


def head(kept: Kept, log: MemoryLog) -> TrustedHead:
    async def keys() -> KeyHistory:
        return log.history

    async def prove(old: int, new: int) -> Sequence[bytes]:
        return log.consistency_proof(old, new)

    return TrustedHead(KeptFile(kept.path), keys, prove)


class TestADamagedHead:
    async def test_no_flipped_bit_is_believed(self, world: World, kept: Kept) -> None:
        for place in range(len(kept.whole)):
            flipped = bytearray(kept.whole)
            flipped[place] ^= 1
            kept.put(flipped)
            with pytest.raises(StoreError):
                await head(kept, world.mainland.log).load()
        kept.put(kept.whole)
        assert await head(kept, world.mainland.log).load() == 3

    async def test_it_is_no_fork_of_the_nodes(self, world: World, kept: Kept) -> None:
        kept.damage()
        with pytest.raises(StoreError, match=r"checkpoint is not as it was left") as told:
            async with world.client():
                pass
        assert told.value.reason == "KEPT_FILE"

    async def test_it_says_what_to_do(self, world: World, kept: Kept) -> None:
        kept.damage()
        with pytest.raises(StoreError) as told:
            async with world.client():
                pass
        assert "put it back from a copy" in told.value.action

    async def test_it_stays_as_it_is(self, world: World, kept: Kept) -> None:
        kept.damage()
        damaged = kept.read()
        with pytest.raises(StoreError):
            async with world.client():
                pass
        assert kept.read() == damaged

    async def test_one_that_was_emptied_is_not_forgotten(self, world: World, kept: Kept) -> None:
        kept.put(b"")
        with pytest.raises(StoreError, match="empty"):
            async with world.client():
                pass

    async def test_the_head_of_another_log_is_not_this_ones(self, world: World, kept: Kept) -> None:
        with pytest.raises(StoreError):
            await head(kept, world.hong_kong.log).load()

    async def test_an_older_copy_does_in_its_place(self, world: World, kept: Kept) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
        kept.put(kept.whole)
        async with world.client() as ledger:
            assert (await ledger.checkpoint()).checkpoint.size == 4

    async def test_damaged_meanwhile_it_takes_no_record_away(
        self, world: World, kept: Kept
    ) -> None:
        async with world.client() as ledger:
            kept.damage()
            with pytest.raises(UnavailableError, match="not as it was left") as told:
                await world.time.finish(ledger.declare(PAYLOAD, **STATEMENT))
        assert told.value.reason == "FATE_UNKNOWN"


class TestAHeadWithoutItsKeys:
    """The key history is fetched again; until then the head is neither believed nor forgotten."""

    async def test_a_rollback_is_noticed_all_the_same(self, world: World) -> None:
        older = world.copied_log()
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
        lose_keys(world)
        async with world.client(transport=world.elsewhere(older)) as ledger:
            with pytest.raises(VerificationError) as told:
                await ledger.checkpoint()
        assert told.value.reason == "ROLLBACK"

    async def test_a_client_opens_while_the_node_is_down(self, world: World, kept: Kept) -> None:
        lose_keys(world)
        world.mainland.go_down()
        async with world.client() as ledger:
            world.mainland.come_up()
            assert (await ledger.checkpoint()).checkpoint.size == 3

    async def test_nothing_is_sent_over_a_damaged_one(self, world: World, kept: Kept) -> None:
        lose_keys(world)
        kept.damage()
        world.mainland.go_down()
        async with world.client() as ledger:
            world.mainland.come_up()
            with pytest.raises(StoreError):
                await ledger.declare(PAYLOAD, **STATEMENT)
        assert world.mainland.log.size == 3

    async def test_the_node_hears_of_it_at_the_first_call(self, world: World, kept: Kept) -> None:
        way = world.way()
        async with world.client(transport=way):
            assert way.known_checkpoint == kept.whole
