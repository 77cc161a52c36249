"""The store of replica and witness: a commit that fails is told of, for the process must end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from ledger.stores import FaultyStore

from ledgerd.peer.store import PeerStore
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table
from ledgerd_client.core.errors import StoreError


@pytest.fixture
def fatal() -> list[StoreError]:
    """What was told."""
    return []


@pytest.fixture
def faulty() -> FaultyStore:
    return FaultyStore(MemoryStore(instance=bytes(16)))


@pytest.fixture
def store(faulty: FaultyStore, fatal: list[StoreError]) -> Iterator[PeerStore]:
    with closing(PeerStore(faulty, on_fatal=fatal.append)) as made:
        yield made


def put(store: PeerStore) -> None:
    with store.write() as transaction:
        transaction.put(Table.META, b"key", b"value")


def refuse() -> None:
    raise StoreError("something else", reason="STORE_CHANGED")


async def test_a_commit_that_goes_well_is_not_told_of(
    store: PeerStore, fatal: list[StoreError]
) -> None:
    await store.run(put, store)
    assert fatal == []


async def test_a_commit_that_fails_is_told_of(
    store: PeerStore, faulty: FaultyStore, fatal: list[StoreError]
) -> None:
    faulty.fails = True
    with pytest.raises(StoreError):
        await store.run(put, store)
    assert [error.reason for error in fatal] == ["COMMIT_FAILED"]


async def test_another_error_is_its_callers_alone(
    store: PeerStore, fatal: list[StoreError]
) -> None:
    with pytest.raises(StoreError):
        await store.run(refuse)
    assert fatal == []


def test_a_command_that_makes_one_has_nothing_to_say_of_it(tmp_path: Path) -> None:
    """Only a node that serves may have lost its memory by that; it says so itself."""
    with (
        structlog.testing.capture_logs() as lines,
        closing(PeerStore.open(tmp_path / "peer", quota=1 << 28, random=os.urandom)) as made,
    ):
        assert (lines, made.is_new) == ([], True)
