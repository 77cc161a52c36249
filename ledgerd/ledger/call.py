"""One call's records on their way from worker to writer, which are processes of their own."""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.record import Admitted, Facts

Item = Admitted | LedgerError

_FACTS: Final = len(Facts._fields)
# The version of marshal's format that does not look for what it wrote before.
_NO_REFERENCES: Final = 2


class Call(NamedTuple):
    """So many items, packed: whoever only passes them on does not look at them."""

    records: int
    packed: bytes

    @classmethod
    def of(cls, items: Sequence[Item]) -> Self:
        # Flat tuples and marshal: a third of the time that pickled NamedTuples take.
        return cls(len(items), marshal.dumps([_pack(item) for item in items], _NO_REFERENCES))

    def items(self) -> list[Item]:
        """The items; only for what of() made in a process of this node."""
        return [_unpack(row) for row in marshal.loads(self.packed)]  # noqa: S302 - our own packed it


def _pack(item: Item) -> Any:
    if isinstance(item, LedgerError):
        return pickle.dumps(item)
    facts = item.facts
    return int(facts[0]), *facts[1:], *item[1:]


def _unpack(row: Any) -> Item:
    if isinstance(row, bytes):
        error: LedgerError = pickle.loads(row)  # noqa: S301 - likewise
        return error
    return Admitted(Facts(*row[:_FACTS]), *row[_FACTS:])
