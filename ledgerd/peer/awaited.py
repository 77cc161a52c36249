"""A signed checkpoint of the peer that its replay has yet to meet, kept until then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ledgerd.peer.notes import Known, parse_known
from ledgerd.peer.replica import Replica
from ledgerd.peer.store import PeerStore
from ledgerd.store.tables import Table
from ledgerd_client.core.opening import loss_below

# META: one that somebody has shown; and the one that the replay had reached, and went back from.
SHOWN_KEY: Final = b"shown"
LEFT_KEY: Final = b"left"


class Awaited:
    """
    A place for one such checkpoint, in META under a key.

    Reads and writes in the store's thread; known is None while there is none.
    """

    def __init__(self, store: PeerStore, replica: Replica, key: bytes) -> None:
        self.known: Known | None = None
        self._store = store
        self._replica = replica
        self._key = key
        self.take_up()

    def take_up(self) -> None:
        """Take over what the store holds."""
        with self._store.snapshot() as snapshot:
            note = snapshot.get(Table.META, self._key)
        self.known = parse_known(note) if note else None

    def keep(self, known: Known) -> bool:
        """Keep a checkpoint, durably; False while another is kept, so that none displaces it."""
        if self.known is not None:
            return False
        with self._store.write() as transaction:
            transaction.put(Table.META, self._key, known.note)
        self.known = known
        return True

    def meet(self, compare: Callable[[Known], object]) -> None:
        """
        Compare what is kept once the replay has reached it, and let it go.

        It is let go, too, when the replay has come to a LOSS that gave it up: that log need never
        lead to it, nor even grow to its size.
        """
        known = self.known
        if known is None:
            return
        if known.size <= self._replica.verified_size:
            compare(known)
        elif not self._is_void(known):
            return
        with self._store.write() as transaction:
            transaction.delete(Table.META, self._key)
        self.known = None

    def _is_void(self, known: Known) -> bool:
        loss = loss_below(known.note, self._replica.history)
        return loss is not None and loss.size < self._replica.verified_size
