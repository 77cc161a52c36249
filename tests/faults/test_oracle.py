"""The oracle sees what it is there for: a record lost or doubled, a checkpoint of another tree."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from border import Node
from faults.oracle import Acknowledged, Verdict, config_of, examine
from faults.trial import Trial

from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Two batches of three are acknowledged, and the nodes are stopped."""
    with Trial(tmp_path_factory.mktemp("oracle")) as trial:
        trial.node.start()
        trial.load(2)
        trial.stop()
        yield trial


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Both nodes have cosigned each other, and are stopped."""
    with Trial(tmp_path_factory.mktemp("met")) as trial:
        trial.border.start()
        trial.stop()
        yield trial


@pytest.fixture
def said(loaded: Trial) -> list[Acknowledged]:
    return loaded.loader.said()


def verdict(loaded: Trial, said: list[Acknowledged]) -> Verdict:
    return examine(config_of(loaded.node.config), said)


def test_nothing_is_wrong_with_what_was_acknowledged(
    loaded: Trial, said: list[Acknowledged]
) -> None:
    assert verdict(loaded, said) == Verdict(0, 0, 0, "")


def test_a_record_that_is_not_there_is_lost(loaded: Trial, said: list[Acknowledged]) -> None:
    assert verdict(loaded, [replace(said[0], records={bytes(16).hex(): 3})]).lost == 1


def test_a_record_at_another_index_is_lost(loaded: Trial, said: list[Acknowledged]) -> None:
    moved = {record: index + 1 for record, index in said[0].records.items()}
    assert verdict(loaded, [replace(said[0], records=moved)]).lost == 3


def test_a_checkpoint_of_another_log_is_inconsistent(
    loaded: Trial, said: list[Acknowledged], tmp_path: Path
) -> None:
    with Trial(tmp_path) as other:
        other.node.start()
        other.load(2)
        shown = other.loader.said()[-1].note
    assert verdict(loaded, [replace(said[0], note=shown)]).inconsistent == 1


class TestWhatThePeerHolds:
    def test_nothing_is_wrong_with_it(self, met: Trial) -> None:
        node, peer = (config_of(one.config) for one in (met.node, met.peer))
        assert examine(node, (), peer) == Verdict(0, 0, 0, "")

    def test_a_checkpoint_that_it_alone_was_shown_is_inconsistent(
        self, met: Trial, loaded: Trial, tmp_path: Path
    ) -> None:
        """It has replayed and cosigned one of another log; this one's node remembers as much."""
        copy = config_of(loaded.border.copy_of(loaded.node, tmp_path / "copy"))
        shutil.copytree(config_of(met.node.config).peer_store, copy.peer_store, dirs_exist_ok=True)
        assert examine(copy, (), config_of(met.peer.config)).inconsistent == 2

    def test_so_is_a_cosignature_that_was_forgotten(self, met: Trial, tmp_path: Path) -> None:
        forgetful = config_of(met.border.copy_of(met.node, tmp_path / "copy"))
        shutil.rmtree(forgetful.peer_store)
        assert examine(forgetful, (), config_of(met.peer.config)).inconsistent == 1


def test_a_body_that_stands_twice_is_doubled_and_fails_the_audit(
    loaded: Trial, said: list[Acknowledged], tmp_path: Path
) -> None:
    node: Node = loaded.node
    copy = config_of(loaded.border.copy_of(node, tmp_path / "copy"))
    with closing(LmdbStore.open(copy.store)) as store, store.write() as transaction:
        first, second = sorted(said[0].records.values())[:2]
        body = transaction.get(Table.BODIES, u64(first))
        assert body is not None
        transaction.put(Table.BODIES, u64(second), body)
    found = examine(copy, said)
    assert (found.doubled, found.lost, bool(found.audit)) == (1, 1, True)
