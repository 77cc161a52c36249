"""One more entry for the log of a node that does not run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing

from ledgerd.config import Config
from ledgerd.credentials import NodeKeys, load_trust
from ledgerd.ledger.high_water import HighWater, write_mark
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.peer_log import NoPeerLog
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.standing import Standing
from ledgerd.ledger.writer import Writer
from ledgerd.peer.submit import cosigned_size
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import LedgerError, StoreError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.record import Admitted


def append_offline(
    config: Config,
    keys: NodeKeys,
    make: Callable[[KeyHistory], Admitted],
    *,
    clock: Callable[[], int],
    random: Callable[[int], bytes],
) -> tuple[int, KeyHistory]:
    """
    Append what make makes of the log's key history; return its index, and the history after it.

    clock is in µs, random(n) gives n random bytes. When this returns the entry is on the disk.
    Raises NotReadyError while the node runs, or when its store is not known to be whole; StoreError
    or InputError for what lies on the disk; and what the log refuses the entry for.
    """
    authority = load_trust(config).authority(config.origin)
    with ExitStack() as stack:
        stack.enter_context(DirectoryLock(config.data))
        store = stack.enter_context(
            closing(LmdbStore.open(config.store, map_size=config.limits.map_size))
        )
        keyring = Keyring(store, config.origin, authority)
        _check_standing(config, store, keyring.history)
        writer = Writer(
            store,
            log_key=keys.log_signer,
            entry_key=keys.entry,
            authority=authority,
            peer_log=NoPeerLog(),
            clock=clock,
            random=random,
            cosigned=lambda: cosigned_entries(config),
        )
        for role, coming in keys.coming.items():
            writer.hold(role, coming)
        writer.hold_retired(keys.retired.get(pb.ROLE_LOG, ()))
        (outcome,) = writer.commit([[make(keyring.history)]])[0].outcomes
        if isinstance(outcome, LedgerError):
            raise outcome
        write_mark(config.data, HighWater(store.instance, writer.head.size))
        keyring.refresh()
        return writer.head.size - 1, keyring.history


def cosigned_entries(config: Config) -> int:
    """How many entries the peer has cosigned, as far as this node's disk knows; 0 for nothing."""
    try:
        with closing(LmdbStore.open(config.peer_store, readonly=True)) as store:
            return cosigned_size(store)
    except StoreError:
        return 0


def _check_standing(config: Config, store: LmdbStore, history: KeyHistory) -> None:
    """A node that was rolled back, or does not know that it was not, appends nothing."""
    standing = Standing(
        config.data,
        Reader(store),
        store.instance,
        lambda note: open_log_checkpoint(note, history).checkpoint,
        on_change=lambda _refusal: None,
    )
    standing.start()
    if standing.refusal is not None:
        raise standing.refusal
