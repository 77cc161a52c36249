"""Records by a key that was in other hands: found when the authority says so (rule S1)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple

from ledgerd.projections.records import newest_by
from ledgerd.store.base import Transaction
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.header import Header
from ledgerd_client.core.keys import key_id

RULE: Final = "S1.key_compromised"
# Of an institution's newest entries so many are looked at: one commit may not take for ever.
_MOST: Final = 10_000


class Compromised(NamedTuple):
    """Entries that a key signed when it was in other hands; times are µs."""

    records: int
    # Index of the first.
    first: int
    first_at: int
    last_at: int

    @property
    def numbers(self) -> tuple[int, int, int]:
        """As the finding states them."""
        return self.records, self.first_at, self.last_at


def find_compromised(
    transaction: Transaction,
    event: pb.KeyEvent,
    header_of: Callable[[Transaction, int], bytes],
) -> Compromised | None:
    """What the key that an event ends signed since it was in other hands; None for nothing."""
    rotated = event.action == pb.KEY_ACTION_ROTATE
    ended = event.previous_key_id if rotated else key_id(event.public_key)
    found: list[Header] = []
    for index in islice(newest_by(transaction, event.subject), _MOST):
        header = Header.parse(header_of(transaction, index))
        if header.recorded_at < event.compromised_since:
            break
        if header.key_id == ended:
            found.append(header)
    if not found:
        return None
    last, first = found[0], found[-1]
    return Compromised(len(found), first.index, first.recorded_at, last.recorded_at)
