"""The replica as another process than the node's own reads it: the writer, and an audit."""

from __future__ import annotations

from collections.abc import Iterator

from ledgerd.clock import now
from ledgerd.ledger.peer_log import PeerHalf
from ledgerd.peer.replica import Replica
from ledgerd.peer.store import PeerStore
from ledgerd_client.core.chain import SignatureCheck
from ledgerd_client.core.errors import StoreError, UnavailableError
from ledgerd_client.core.history import KeyHistory


class StoredPeerLog:
    """
    A PeerLog, each time as it stands in a replica's store, which the node keeps growing.

    authority is the key that the trust file pins for origin. Raises UnavailableError for whatever
    is wrong with the store: that refuses one anchor, and never stops the ledger. Belongs to one
    thread.
    """

    def __init__(self, store: PeerStore, origin: str, authority: bytes) -> None:
        self._store = store
        self._origin = origin
        self._authority = authority
        self._replica: Replica | None = None

    def halves(self, start: int, stop: int, counterparty_origin: str) -> Iterator[PeerHalf]:
        return self._now().halves(start, stop, counterparty_origin)

    def root(self, size: int) -> bytes:
        return self._now().root(size)

    def verified_history(self) -> KeyHistory:
        return self._now().verified_history()

    def _now(self) -> Replica:
        try:
            if self._replica is None:
                self._replica = stored_replica(self._store, self._origin, self._authority)
            else:
                self._replica.take_up()
        except StoreError as error:
            raise UnavailableError(f"the replica: {error.message}", reason="REPLICA") from error
        return self._replica


def stored_replica(store: PeerStore, origin: str, authority: bytes) -> Replica:
    """The replica as it stands in its store, for reading alone; raises StoreError."""
    return Replica(store, origin, authority, check=_no_replay, clock=now)


async def _no_replay(checks: list[SignatureCheck]) -> None:
    raise StoreError("whoever reads another process's replica replays nothing")
