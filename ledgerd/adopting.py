"""`ledgerd adopt-rules`: puts the configured rule set in force from the log's next entry on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing

from ledgerd.config import Config
from ledgerd.credentials import NodeKeys, load_trust
from ledgerd.init import rule_set_of
from ledgerd.ledger.peer_log import NoPeerLog
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.standing import HighWater, Standing, write_mark
from ledgerd.ledger.writer import Writer, sign_own
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd_client.core.errors import LedgerError


def adopt_rules(config: Config, *, clock: Callable[[], int], random: Callable[[int], bytes]) -> int:
    """
    Append a RULESET entry to the log of a node that does not run; return its index.

    clock is in µs, random(n) gives n random bytes. When this returns the entry is on the disk.
    Raises NotReadyError while the node runs, when its store is not known to be whole, or for a law
    that this program does not hold; StoreError or InputError for what lies on the disk.
    """
    rules, keys, trust = rule_set_of(config.rules), NodeKeys.load(config), load_trust(config)
    with ExitStack() as stack:
        stack.enter_context(DirectoryLock(config.data))
        store = stack.enter_context(
            closing(LmdbStore.open(config.store, map_size=config.limits.map_size))
        )
        _check_standing(config, store, keys)
        writer = Writer(
            store,
            log_key=keys.log_signer,
            entry_key=keys.entry,
            authority=trust.authority(config.origin),
            peer_log=NoPeerLog(),
            clock=clock,
            random=random,
        )
        entry = sign_own(keys.entry, config.origin, clock(), random, rule_set=rules)
        (outcome,) = writer.commit([[entry]])[0].outcomes
        if isinstance(outcome, LedgerError):
            raise outcome
        write_mark(config.data, HighWater(store.instance, writer.head.size))
        return writer.head.size - 1


def _check_standing(config: Config, store: LmdbStore, keys: NodeKeys) -> None:
    """A node that was rolled back, or does not know that it was not, appends nothing."""
    standing = Standing(
        config.data,
        Reader(store),
        store.instance,
        keys.log_signer.verifier,
        on_change=lambda _refusal: None,
    )
    standing.start()
    if standing.refusal is not None:
        raise standing.refusal
