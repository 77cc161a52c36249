"""The replica as the writer's process reads it: what it has is followed, what is wrong refuses."""

from __future__ import annotations

import pytest
from builders import HONG_KONG_PLACE
from peer.conftest import Watch
from peer.test_replica import grow, replayed

from ledgerd.peer.stored import StoredPeerLog
from ledgerd_client.core.errors import UnavailableError


def stored(watch: Watch) -> StoredPeerLog:
    peer = watch.peer.log
    return StoredPeerLog(watch.side.peer._store, peer.origin, peer.authority.public)


async def test_it_holds_what_the_replica_holds(watch: Watch) -> None:
    await replayed(watch, entries=20)
    log, origin = stored(watch), watch.side.log.origin
    replica = watch.side.peer.replica
    assert list(log.halves(0, 20, origin)) == list(replica.halves(0, 20, origin))
    assert log.root(20) == replica.root(20)
    assert log.verified_history().entries == replica.verified_history().entries


async def test_it_follows_a_replica_that_grows(watch: Watch) -> None:
    await replayed(watch, entries=6)
    log = stored(watch)
    assert log.root(6)
    with pytest.raises(UnavailableError):
        log.root(7)
    await replayed(watch, entries=10)
    assert log.root(10) == watch.side.peer.replica.root(10)


async def test_it_learns_of_keys_that_were_admitted_meanwhile(watch: Watch) -> None:
    await replayed(watch, entries=6)
    log = stored(watch)
    before = len(log.verified_history().entries)
    watch.peer.log.admit("hkbr.12345678", place=HONG_KONG_PLACE)
    grow(watch, 3)
    await watch.side.peer.monitor.step()
    after = log.verified_history().entries
    assert len(after) == before + 1
    assert after == watch.side.peer.replica.verified_history().entries


async def test_a_store_that_fails_is_unavailable(watch: Watch) -> None:
    """One anchor is refused; the ledger goes on."""
    await replayed(watch)
    log = stored(watch)
    watch.side.peer._store.close()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            list(log.halves(0, 6, watch.side.log.origin))
