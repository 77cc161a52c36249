"""One call's records on their way from worker to writer, which are processes of their own."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import NamedTuple, Self

from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.record import Admitted

Item = Admitted | LedgerError


class Call(NamedTuple):
    """So many items, packed: whoever only passes them on does not look at them."""

    records: int
    packed: bytes

    @classmethod
    def of(cls, items: Sequence[Item]) -> Self:
        return cls(len(items), pickle.dumps(list(items), pickle.HIGHEST_PROTOCOL))

    def items(self) -> list[Item]:
        """The items; only for what of() made in a process of this node."""
        items: list[Item] = pickle.loads(self.packed)  # noqa: S301 - our own process packed it
        return items
