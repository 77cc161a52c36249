"""One call's records on their way from worker to writer, which are processes of their own."""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self, TypeAlias

from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.record import Admitted, Facts

Item = Admitted | LedgerError

# The version of marshal's format that does not look for what it wrote before.
_NO_REFERENCES: Final = 2


class Call(NamedTuple):
    """So many items, packed: whoever only passes them on does not look at them."""

    records: int
    packed: bytes

    @classmethod
    def of(cls, items: Sequence[Item]) -> Self:
        # Flat tuples and marshal: a third of the time that pickled NamedTuples take.
        shared: _Shared = {}
        rows = [_pack(item, shared) for item in items]
        return cls(len(items), marshal.dumps((list(shared), rows), _NO_REFERENCES))

    def items(self) -> list[Item]:
        """The items; only for what of() made in a process of this node."""
        shared, rows = marshal.loads(self.packed)  # noqa: S302 - our own packed it
        return [_unpack(row, shared) for row in rows]


# What many records of a call have alike, by its place: packed once, it is one object for them all.
_Shared: TypeAlias = dict[tuple[Any, ...], int]


def _pack(item: Item, shared: _Shared) -> Any:
    if isinstance(item, LedgerError):
        return pickle.dumps(item)
    (
        (kind, author, record_id, occurred_at, ref, terms_digest, outcome, origin, other, like),
        body, body_digest, key_id, key_index, tail,
    ) = item  # fmt: skip
    alike = int(kind), author, outcome, origin, other, like, key_id, key_index
    place = shared.setdefault(alike, len(shared))
    return place, record_id, occurred_at, ref, terms_digest, body, body_digest, tail


def _unpack(row: Any, shared: Sequence[Any]) -> Item:
    if isinstance(row, bytes):
        error: LedgerError = pickle.loads(row)  # noqa: S301 - likewise
        return error
    place, record_id, occurred_at, ref, terms_digest, body, body_digest, tail = row
    kind, author, outcome, origin, other, like, key_id, key_index = shared[place]
    # To call the class runs a function of Python's, and takes half as long again.
    facts = Facts._make(
        (kind, author, record_id, occurred_at, ref, terms_digest, outcome, origin, other, like)
    )
    return Admitted._make((facts, body, body_digest, key_id, key_index, tail))
