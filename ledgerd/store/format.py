"""
Of which formats a store may be: what its tables are, and what their keys and values mean.

A store says its format in META. Whoever changes the format has one version of the program read it
before the next one writes it, so that each version opens what the one before or after it wrote.
"""

from __future__ import annotations

from typing import Final

from ledgerd_client.core.encoding import parse_decimal
from ledgerd_client.core.errors import MalformedError, StoreError

FORMAT_KEY: Final = b"format"
"""In META: a decimal number in ASCII."""

WRITTEN: Final = 1
READ: Final = frozenset((WRITTEN,))


def format_value() -> bytes:
    """What META says of a store that is made now."""
    return b"%d" % WRITTEN


def check_format(value: bytes | None) -> None:
    """
    Refuse a store by what its META says of its format, which is None of one before 0.1.0.

    Raises StoreError STORE_TOO_NEW or STORE_TOO_OLD.
    """
    found = _parse(value)
    if found in READ:
        return
    known = ", ".join(map(str, sorted(READ)))
    if found > max(READ):
        raise StoreError(
            f"the store is of format {found}, and this ledgerd knows {known}",
            reason="STORE_TOO_NEW",
            action="start the ledgerd that wrote it, or a newer one; the store is as it was",
        )
    raise StoreError(
        f"the store is of format {found}, and this ledgerd knows {known}",
        reason="STORE_TOO_OLD",
        action="start the ledgerd that wrote it, then each version after it in turn;"
        " the store is as it was",
    )


def _parse(value: bytes | None) -> int:
    if value is None:
        return 0
    try:
        return parse_decimal(value.decode("ascii", "replace"))
    except MalformedError:
        raise StoreError("the store's format is not a number", reason="BAD_HEAD") from None
