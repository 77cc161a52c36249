"""The writer's process: it alone writes the ledger's store, and computes beside nobody."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledgerd.clock import now
from ledgerd.ledger.call import Call
from ledgerd.ledger.child import Child
from ledgerd.ledger.committer import Committed, Committer
from ledgerd.ledger.head import Head
from ledgerd.ledger.writer import Writer
from ledgerd.peer.store import PeerStore
from ledgerd.peer.stored import StoredPeerLog
from ledgerd.peer.submit import cosigned_size
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import StoreError, UnavailableError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import Signer


@dataclass(frozen=True, slots=True)
class Writing:
    """
    What the writer's process is given when it is started; the keys travel through a pipe.

    lock: of the node's directory, which the process holds as long as it lives. Sizes in bytes.
    """

    lock: DirectoryLock
    store: Path
    map_size: int
    reserve_bytes: int
    log_key: Signer
    entry_key: SigningKey
    authority: bytes
    peer_store: Path
    peer_map_size: int
    peer_origin: str
    peer_authority: bytes
    # By role: keys that are to replace log_key and entry_key, and those that were replaced.
    coming: Mapping[int, Sequence[SigningKey]] = field(default_factory=dict)
    retired: Mapping[int, Sequence[SigningKey]] = field(default_factory=dict)


class WriterProcess:
    """A Committer in a process of its own. Belongs to one event loop."""

    def __init__(self, writing: Writing) -> None:
        self._child = Child(_make_committer, writing, on_death=self._died)
        self._on_death: Callable[[StoreError], None] = lambda _error: None

    @property
    def pid(self) -> int | None:
        return self._child.pid

    async def start(self, on_death: Callable[[StoreError], None]) -> Head:
        """As Committer.start; on_death is called on the loop when the process ends unasked."""
        await self._child.start()
        head: Head = await self._child.ask("start")
        self._on_death = on_death
        return head

    async def commit(self, calls: Sequence[Call]) -> Committed:
        """As Committer.commit; raises StoreError as _death does when the process is gone."""
        try:
            committed: Committed = await self._child.ask("commit", calls)
        except UnavailableError:
            if self._child.answers:
                raise
            raise self._death() from None
        return committed

    async def hold(self, role: int, key: SigningKey) -> None:
        """Have another key at hand before a rotation names it; role: ROLE_LOG or ROLE_ENTRY."""
        await self._child.ask("hold", role, key)

    async def close(self) -> None:
        """Let it finish its commit, and end it."""
        await self._child.close()

    def _died(self) -> None:
        self._on_death(self._death())

    def _death(self) -> StoreError:
        """WRITER_KILLED: by SIGKILL, and to start again is safe; WRITER_DIED: in another way."""
        if self._child.killed:
            return StoreError(
                "the process that writes the store was killed",
                reason="WRITER_KILLED",
                action="see the system's log for who killed it: mostly memory was short",
            )
        return StoreError(
            "the process that writes the store died",
            reason="WRITER_DIED",
            action="see the system's log, run `ledgerd audit`, then start the daemon anew",
        )


def _make_committer(writing: Writing) -> Callable[..., Any]:
    """In the process: open the stores; returns what answers."""
    store = LmdbStore.open(writing.store, map_size=writing.map_size)
    replica = LmdbStore.open(writing.peer_store, map_size=writing.peer_map_size, readonly=True)
    peer_store = PeerStore(replica)
    writer = Writer(
        store,
        log_key=writing.log_key,
        entry_key=writing.entry_key,
        authority=writing.authority,
        peer_log=StoredPeerLog(peer_store, writing.peer_origin, writing.peer_authority),
        clock=now,
        random=os.urandom,
        cosigned=lambda: cosigned_size(peer_store),
    )
    for role, keys in writing.coming.items():
        writer.hold(role, keys)
    writer.hold_retired(writing.retired.get(pb.ROLE_LOG, ()))
    committer = Committer(store, lambda: writer, reserve_bytes=writing.reserve_bytes)
    questions: dict[str, Callable[..., Any]] = {
        "start": committer.start,
        "commit": committer.commit,
        "hold": lambda role, key: writer.hold(role, [key]),
    }
    return lambda name, *args: questions[name](*args)
