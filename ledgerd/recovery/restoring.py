"""
`ledgerd restore`: a node on a copy of its store.

It gives up nothing: what a copy lacks the peer tells, or `ledgerd recover` brings back.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from ledgerd.config import Config
from ledgerd.credentials import NodeKeys, load_trust
from ledgerd.ledger.head import Head, follows_another
from ledgerd.ledger.keyring import Keyring
from ledgerd.peer.spent import Spent
from ledgerd.recovery.collecting import Clock, Random, put_aside
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd_client.core.errors import FieldError, NotReadyError, StoreError
from ledgerd_client.core.history import KeyHistory

_RESTORING: Final = "unfinished-restore"


def restore(config: Config, copy: Path, *, clock: Clock, random: Random) -> int:
    """
    Put a copy of the store in the place of one that is gone; return how many entries it has.

    It is a new instance: the node takes no appends before its peer has confirmed it, and its
    cosigner key is spent. The mark of what the old store held stays. Raises StoreError
    STORE_EXISTS or NO_STORE, FieldError WRONG_KEYS for a copy from before a rotation or a LOSS.
    """
    keys, trust = NodeKeys.load(config), load_trust(config)
    with DirectoryLock(config.data):
        check_absent(config)
        unfinished = config.data / _RESTORING
        with ExitStack() as undo:
            # It holds bodies: one that is refused is not left behind, nor one that was cut short.
            undo.callback(shutil.rmtree, unfinished, ignore_errors=True)
            shutil.rmtree(unfinished, ignore_errors=True)
            LmdbStore.copy(copy, unfinished, instance=random(16))
            with closing(LmdbStore.open(unfinished, map_size=config.limits.map_size)) as store:
                history = Keyring(store, config.origin, trust.authority(config.origin)).history
                present = _in_force(keys, history)
                with store.snapshot() as snapshot:
                    size = Head.load(snapshot).size
                    if follows_another(snapshot):
                        raise _of_a_standby(copy)
            undo.pop_all()
        Spent(config.data).spend(present.cosigner.public)
        put_aside(config.peer_store, clock)
        unfinished.rename(config.store)
    return size


def _of_a_standby(copy: Path) -> NotReadyError:
    """The node that it follows may live: only a LOSS tells the two apart."""
    return NotReadyError(
        f"{copy} is a mirror's or a standby's",
        reason="STANDBY",
        action="promote the standby where it is, or `ledgerd recover --from` it",
    )


def check_absent(config: Config) -> None:
    """Refuse to put a store where there is one; raises StoreError STORE_EXISTS."""
    if config.store.exists():
        raise StoreError(
            f"there is a store in {config.store}",
            reason="STORE_EXISTS",
            action="move it out of the data directory first; do not delete it",
        )


def _in_force(keys: NodeKeys, history: KeyHistory) -> NodeKeys:
    """A retired key never signs alone: it may be in other hands by now."""
    try:
        return keys.in_force(history)
    except FieldError as error:
        raise FieldError(
            f"{error.message}: the copy is from before a rotation or a LOSS",
            reason="WRONG_KEYS",
            action="recover, with `ledgerd recover --from` this copy",
        ) from None
