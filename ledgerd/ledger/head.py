"""Where a log stands: what META says of the newest commit, and nothing else may say."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, Self

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.errors import NotReadyError, StoreError
from ledgerd_client.core.header import genesis_previous

_KEY = b"head"
_CHECKPOINT_KEY = b"checkpoint"
_LAYOUT = struct.Struct(">QQ32s")


# How far a mirror or standby holds the log that it follows: nobody appends to such a store.
FOLLOWS_KEY: Final = b"mirrored"


def follows_another(snapshot: Snapshot) -> bool:
    """Whether a store is a mirror's or a standby's."""
    return snapshot.get(Table.META, FOLLOWS_KEY) is not None


def is_standby() -> NotReadyError:
    """Why nobody appends to such a store."""
    return NotReadyError(
        "the store follows another node, which may be appending",
        reason="STANDBY",
        action="run `ledgerd standby`; when the node is lost, `ledgerd promote`",
    )


class Head(NamedTuple):
    """size in entries; last_time (µs) and last_leaf of the newest entry; checkpoint, a note."""

    size: int
    last_time: int
    last_leaf: bytes
    checkpoint: bytes

    @classmethod
    def empty(cls, origin: str) -> Self:
        return cls(0, 0, genesis_previous(origin), b"")

    @classmethod
    def load(cls, snapshot: Snapshot) -> Self:
        """Read the newest commit's head; raises StoreError when there is none, or no whole one."""
        head = cls.find(snapshot)
        if head is None:
            raise StoreError("the store holds no ledger", reason="NO_STORE")
        return head

    @classmethod
    def find(cls, snapshot: Snapshot) -> Self | None:
        """Read the newest commit's head; None before the first. Raises StoreError."""
        state = snapshot.get(Table.META, _KEY)
        checkpoint = snapshot.get(Table.META, _CHECKPOINT_KEY)
        if state is None or checkpoint is None:
            return None
        if len(state) != _LAYOUT.size:
            raise StoreError("the stored head is damaged", reason="BAD_HEAD")
        return cls(*(*_LAYOUT.unpack(state), checkpoint))

    def put(self, transaction: Transaction) -> None:
        transaction.put(Table.META, _KEY, _LAYOUT.pack(*self[:3]))
        transaction.put(Table.META, _CHECKPOINT_KEY, self.checkpoint)
