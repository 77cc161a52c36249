"""What the peer asked to have cosigned, under its own signature, and did not get: some of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ledgerd.peer.notes import Known, parse_known
from ledgerd.peer.store import PeerStore
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import lp8, u64

# META: prefix ‖ u64 number → u64 time (µs) ‖ lp8(reason) ‖ note.
_PREFIX: Final = b"refused/"
_END: Final = b"refused0"
# Of one reason: the first, which tell how it began, and the newest.
KEPT: Final = 64
FIRST: Final = 8


class Refusal(NamedTuple):
    """A checkpoint by the log's key; at is µs."""

    at: int
    reason: str
    note: bytes


class Refused:
    """
    The first refusals and the newest of each reason, each note once; one flushes out no other.

    Belongs to the store's thread.
    """

    def __init__(self, store: PeerStore, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        # By number: what is still to be compared with what is replayed; after a restart, all.
        self._unmet = {each: parse_known(one.note) for each, one in self._kept().items()}

    def keep(self, reason: str, note: bytes) -> None:
        """Keep one, durably, in the place of the oldest but the first; raises StoreError."""
        kept = self._kept()
        if any((reason, note) == refusal[1:] for refusal in kept.values()):
            return
        number = max(kept, default=0) + 1
        alike = [each for each, refusal in kept.items() if refusal.reason == reason]
        with self._store.write() as transaction:
            value = u64(self._clock()) + lp8(reason.encode()) + note
            transaction.put(Table.META, _PREFIX + u64(number), value)
            if len(alike) >= KEPT:
                transaction.delete(Table.META, _PREFIX + u64(alike[FIRST]))
                self._unmet.pop(alike[FIRST], None)
        self._unmet[number] = parse_known(note)

    def take_met(self, size: int) -> Known | None:
        """One that a replay of so many entries has reached, each once; None: no more."""
        met = next((each for each, known in self._unmet.items() if known.size <= size), None)
        return None if met is None else self._unmet.pop(met)

    def all(self) -> list[Refusal]:
        """The oldest first. In any thread."""
        return list(self._kept().values())

    def _kept(self) -> dict[int, Refusal]:
        with self._store.snapshot() as snapshot:
            return {
                int.from_bytes(key.removeprefix(_PREFIX), "big"): _parse(value)
                for key, value in snapshot.scan(Table.META, _PREFIX, _END)
            }


def _parse(value: bytes) -> Refusal:
    length = value[8]
    reason, note = value[9 : 9 + length], value[9 + length :]
    return Refusal(int.from_bytes(value[:8], "big"), reason.decode(), note)
