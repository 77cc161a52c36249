"""A new rule set for a ledger that is there: one entry, and nothing else."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from nodes import Side, found_one

from ledgerd.adopting import adopt_rules
from ledgerd.ledger.high_water import MARK_FILE, HighWater
from ledgerd.ledger.reader import Reader
from ledgerd.rules.law import newest_law
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd_client._proto import body_pb2
from ledgerd_client.core.errors import NotReadyError


@pytest.fixture
def founded(tmp_path: Path) -> Side:
    """A ledger without a law, configured to have the newest."""
    side, peer = found_one(tmp_path)
    side.configure(peer, law="newest")
    return side


def far_ahead() -> int:
    """A time after every other entry's."""
    return 4_000_000_000_000_000


def adopt(side: Side) -> int:
    return adopt_rules(side.config, clock=far_ahead, random=os.urandom)


def last_rules(side: Side) -> body_pb2.RuleSet:
    with closing(LmdbStore.open(side.config.store, readonly=True)) as store:
        reader = Reader(store)
        return body_pb2.Body.FromString(reader.entry(reader.head().size - 1)[1]).rule_set


class TestAdopting:
    def test_appends_the_configured_rules(self, founded: Side) -> None:
        assert (adopt(founded), last_rules(founded).law) == (2, newest_law())

    def test_keeps_the_high_water_mark(self, founded: Side) -> None:
        adopt(founded)
        mark = HighWater.parse((founded.config.data / MARK_FILE).read_bytes())
        assert mark.size == 3

    def test_is_refused_while_the_node_runs(self, founded: Side) -> None:
        with DirectoryLock(founded.config.data), pytest.raises(NotReadyError):
            adopt(founded)

    def test_is_refused_for_a_store_that_may_have_been_rolled_back(self, founded: Side) -> None:
        (founded.config.data / MARK_FILE).unlink()
        with pytest.raises(NotReadyError) as caught:
            adopt(founded)
        assert caught.value.reason == "UNCONFIRMED"
