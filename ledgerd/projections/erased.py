"""
Bodies that were erased, and what remains of them.

ERASED: u64 index → u64 index of the ERASURE ‖ remains (an encoded Body). Whoever reads the body of
an entry that an institution wrote reads it through this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import StoreError

_INDEX_BYTES = 8


class ErasedBody(NamedTuple):
    """What remains of a body, and the index of the ERASURE that erased it."""

    erasure: int
    remains: bytes


def erase(transaction: Transaction, index: int, erased: ErasedBody) -> None:
    """Delete a body, if it is here, and keep what remains of it."""
    transaction.delete(Table.BODIES, u64(index))
    transaction.put(Table.ERASED, u64(index), u64(erased.erasure) + erased.remains)


def find_erased(snapshot: Snapshot, index: int) -> ErasedBody | None:
    """What remains of an entry's body; None if it was not erased."""
    value = snapshot.get(Table.ERASED, u64(index))
    if value is None:
        return None
    return _parse(value)


def erased_from(snapshot: Snapshot, start: int) -> Iterator[tuple[int, ErasedBody]]:
    """Erased bodies, by index, whose ERASURE has the index start or a larger one."""
    for key, value in snapshot.scan(Table.ERASED):
        erased = _parse(value)
        if erased.erasure >= start:
            yield int.from_bytes(key, "big"), erased


def _parse(value: bytes) -> ErasedBody:
    return ErasedBody(int.from_bytes(value[:_INDEX_BYTES], "big"), value[_INDEX_BYTES:])


def erasure_of(snapshot: Snapshot, index: int) -> int | None:
    """The index of the ERASURE that erased an entry's body; None if it was not."""
    erased = find_erased(snapshot, index)
    return None if erased is None else erased.erasure


def body_or_remains(snapshot: Snapshot, index: int) -> bytes | None:
    """The body of an entry, or what remains of it; None when there is no such entry."""
    body = snapshot.get(Table.BODIES, u64(index))
    if body is not None:
        return body
    erased = find_erased(snapshot, index)
    return None if erased is None else erased.remains


def stored_body(snapshot: Snapshot, index: int) -> bytes:
    """As body_or_remains(), of an entry that the log has; raises StoreError NO_BODY."""
    body = body_or_remains(snapshot, index)
    if body is None:
        raise StoreError(f"entry {index} has no body", reason="NO_BODY")
    return body
