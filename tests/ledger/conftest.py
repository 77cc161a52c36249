from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ledger.by_remains import check_by_remains
from ledger.law_world import LawWorld
from ledger.world import World

from ledgerd.store.base import Store
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.memory import MemoryStore


@pytest.fixture
def world() -> World:
    """Both sides, in memory."""
    return World()


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, store_path: Path) -> Iterator[Store]:
    """An empty store of either kind."""
    made: Store
    if request.param == "lmdb":
        made = LmdbStore.create(store_path, instance=os.urandom(16))
    else:
        made = MemoryStore(instance=os.urandom(16))
    with closing(made):
        yield made


@pytest.fixture
def stored_world(store: Store) -> World:
    """Both sides, the Mainland's in a store of either kind."""
    return World(store=store)


@pytest.fixture
def law() -> Iterator[LawWorld]:
    """
    Both sides under the newest law.

    Whatever a test does there, a rebuild finds the same: by bodies, and by what remains of them.
    """
    world = LawWorld()
    yield world
    for node in (world.mainland, world.hong_kong):
        node.audit()
        check_by_remains(node)
        check_by_remains(node, lambda index: index % 2 == 0)
