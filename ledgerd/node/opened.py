"""What lies on a node's disk, opened, and found to fit together."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from typing import Self

from ledgerd.clock import now
from ledgerd.config import Config
from ledgerd.credentials import NodeFiles, NodeKeys
from ledgerd.ledger.edge import check_edge
from ledgerd.ledger.head import follows_another, is_standby
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.signing import OwnEntries
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd.writing import Writing
from ledgerd_client._proto import body_pb2
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.opening import open_log_checkpoint


@dataclass(frozen=True, slots=True)
class Opened:
    """A node's directory, which is locked, its store, keys and files. Belongs to the event loop."""

    config: Config
    lock: DirectoryLock
    # Only the writer's process writes it.
    store: LmdbStore
    reader: Reader
    files: NodeFiles
    keyring: Keyring
    # Those that the log says are in force.
    keys: NodeKeys
    own_entries: OwnEntries
    genesis: body_pb2.Genesis

    @classmethod
    def open(cls, config: Config, stack: AsyncExitStack, *, throwaway: bool) -> Self:
        """
        Open it all until the stack is left; throwaway allows the keys of a trial.

        Raises LedgerError when something is missing, or does not fit.
        """
        lock = stack.enter_context(DirectoryLock(config.data))
        store = stack.enter_context(
            closing(LmdbStore.open(config.store, map_size=config.limits.map_size, readonly=True))
        )
        with store.snapshot() as snapshot:
            # Before any key is missed: the one that signs must not come to a standby.
            if follows_another(snapshot):
                raise is_standby()
        files = NodeFiles.load(config, throwaway=throwaway)
        keyring = Keyring(store, config.origin, files.trust.authority(config.origin))
        with store.snapshot() as snapshot:
            check_edge(snapshot, keyring.history)
        history = keyring.history
        keys = files.keys.in_force(history)
        admitted_at = history.key_in_force(body_pb2.ROLE_ENTRY).admitted_at
        return cls(
            config=config,
            lock=lock,
            store=store,
            reader=Reader(store),
            files=files,
            keyring=keyring,
            keys=keys,
            own_entries=OwnEntries(
                config.origin, keys.entry, admitted_at, clock=now, random=os.urandom
            ),
            genesis=history.need_genesis(),
        )

    @property
    def peer_origin(self) -> str:
        """Of the other log, as GENESIS names it."""
        return self.genesis.peer_origin

    def open_own(self, note: bytes) -> Checkpoint:
        """Read a checkpoint of this log, under the keys that are in force by now."""
        return open_log_checkpoint(note, self.keyring.history).checkpoint

    def writing(self) -> Writing:
        """What the writer's process is given."""
        config, keys = self.config, self.keys
        return Writing(
            lock=self.lock,
            store=config.store,
            map_size=config.limits.map_size,
            reserve_bytes=config.limits.reserve_bytes,
            log_key=keys.log_signer,
            entry_key=keys.entry,
            coming=keys.coming,
            retired=keys.retired,
            authority=self.keyring.history.authority,
            peer_store=config.peer_store,
            peer_map_size=config.limits.replica_quota_bytes,
            peer_origin=self.peer_origin,
            peer_authority=self.files.trust.authority(self.peer_origin),
        )
