"""Headers that are changed somewhere: on the wire, or by the log, which then signs them anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from adversary.liar import Entries, LyingLog

from ledgerd_client.core.header import Header, genesis_previous
from ledgerd_client.core.merkle import leaf_hash

Change = Callable[[Entries, int], Entries]


def rewritten(entries: Entries, place: int) -> Entries:
    raw, body = entries[place]
    header = replace(Header.parse(raw), body_digest=os.urandom(32))
    return [*entries[:place], (header.encode(), body), *entries[place + 1 :]]


def dropped(entries: Entries, place: int) -> Entries:
    return entries[:place] + entries[place + 1 :]


def inserted(entries: Entries, place: int) -> Entries:
    """One that never was there: another's, of which only the body is new."""
    return [*entries[:place], *rewritten(entries, place)[place : place + 1], *entries[place:]]


def reinserted(entries: Entries, place: int) -> Entries:
    """One that stands elsewhere already."""
    other = entries[place - 1] if place else entries[-1]
    return [*entries[:place], other, *entries[place:]]


def reordered(entries: Entries, place: int) -> Entries:
    one = min(place, len(entries) - 2)
    return [*entries[:one], entries[one + 1], entries[one], *entries[one + 2 :]]


HEADERS: Final[Mapping[str, Change]] = MappingProxyType({
    "header_rewritten": rewritten, "header_dropped": dropped, "header_inserted": inserted,
    "header_reinserted": reinserted, "header_reordered": reordered,
})  # fmt: skip


def chained(log: LyingLog, entries: Entries, start: int = 0) -> Entries:
    """The same entries with places and links that fit from start on, as a log would have them."""
    whole = entries[:start]
    previous = leaf_hash(whole[-1][0]) if whole else genesis_previous(log.origin)
    for index, (raw, body) in enumerate(entries[start:], start):
        header = replace(Header.parse(raw), index=index, previous_leaf_hash=previous)
        whole.append((header.encode(), body))
        previous = leaf_hash(whole[-1][0])
    return whole
