"""
What a grant covers, said in plain words: a specification, entry by entry.

The product says the same in terms of postings (api/asking.py: grant_clauses); tests compare both.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ledgerd.ledger.indexer import registered
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.grant import NOBODYS, PUBLIC
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.supervision import KIND_NUMBERS


class EntryFacts(NamedTuple):
    """
    What a grant asks of an entry: its kind, a field number of Body.record, and whose it is.

    places and sectors are those of the institutions that it is of or concerns. asked_by: the
    regulator whose queries it puts on record, "" for any other entry.
    """

    kind: int
    places: frozenset[int]
    sectors: frozenset[int]
    asked_by: str = ""


def visible(grant: pb.Grant, facts: EntryFacts, regulator: str) -> bool:
    """Whether a regulator's grant covers an entry; its own queries are never anybody else's."""
    if grant.kinds and facts.kind not in grant.kinds:
        return False
    if facts.asked_by == regulator:
        return True
    return _covers(grant.places, facts.places) and _covers(grant.sectors, facts.sectors)


def _covers(granted: Collection[int], of: frozenset[int]) -> bool:
    return not granted or PUBLIC in of or not of.isdisjoint(granted)


def facts_of_entry(
    history: KeyHistory, header: Header, body: pb.Body, concerned: Sequence[str]
) -> EntryFacts:
    """What a grant asks of an entry; concerned: whom a FINDING concerns, () of any other."""
    kind = KIND_NUMBERS[body.WhichOneof("record") or ""]
    if body.HasField("query_log"):
        nobody = frozenset((NOBODYS,))
        return EntryFacts(kind, nobody, nobody, body.query_log.regulator)
    if body.HasField("erasure"):
        concerned = (pb.ErasureOrder.FromString(body.erasure.order).institution,)
    elif not body.HasField("finding"):
        key = history.find(header.key_id)
        if key is None:
            return EntryFacts(kind, frozenset((PUBLIC,)), frozenset((PUBLIC,)))
        return EntryFacts(kind, frozenset((key.place,)), frozenset((key.sector,)))
    keys = list(registered(history, concerned))
    places, sectors = (frozenset(key.place for key in keys), frozenset(key.sector for key in keys))
    return EntryFacts(kind, places, sectors)
