"""`ledgerd adopt-rules`: puts the configured rule set in force from the log's next entry on."""

from __future__ import annotations

from collections.abc import Callable

from ledgerd.config import Config
from ledgerd.credentials import NodeKeys
from ledgerd.init import rule_set_of
from ledgerd.ledger.own_entry import sign_own
from ledgerd.offline import append_offline
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.record import Admitted


def adopt_rules(config: Config, *, clock: Callable[[], int], random: Callable[[int], bytes]) -> int:
    """
    Append a RULESET entry to the log of a node that does not run; return its index.

    Raises as append_offline does, and NotReadyError for a law that this program does not hold.
    """
    rules, keys = rule_set_of(config.rules), NodeKeys.load(config)

    def make(history: KeyHistory) -> Admitted:
        return sign_own(
            keys.in_force(history).entry,
            config.origin,
            clock(),
            random,
            key_index=history.key_in_force(pb.ROLE_ENTRY).admitted_at,
            rule_set=rules,
        )

    return append_offline(config, keys, make, clock=clock, random=random)[0]
