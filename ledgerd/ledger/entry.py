"""One entry of this log, as it is applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from ledgerd.store.base import Transaction
from ledgerd_client.core.record import Facts

# The body of an entry of this log, by its position: one that is applied already, or about to be.
BodyOf: TypeAlias = Callable[[Transaction, int], bytes]


class Entry(NamedTuple):
    """One entry of this log, with what is known of its body."""

    position: int
    recorded_at: int
    facts: Facts
    body_digest: bytes
    header: bytes
    body: bytes
