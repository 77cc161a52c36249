"""
What one version of a contract says, as rules read it.

A view of the encoded terms that a row holds; nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.days import end_of, from_date, start_of


class Terms(NamedTuple):
    """A version as rules read it: times in µs, parties as (origin, institution)."""

    exporter: tuple[str, str]
    recipient: tuple[str, str]
    version: int
    mechanism: int
    direction: int
    places: tuple[int, int]
    sectors: tuple[int, int]
    # The first µs and the last one; ends_at 0: no end.
    starts_at: int
    ends_at: int
    # As scope_of().
    scope: int
    planned_scale: int
    retention_days: int
    side: pb.ContractSide


def lean_terms(stated: pb.ContractTerms) -> bytes:
    """
    Terms for a row: without what only some judgement needs, which may be long.

    A row has up to a hundred of them, and is written anew with each.
    """
    lean = pb.ContractTerms()
    lean.CopyFrom(stated)
    for field in ("third_parties", "list_ref", "document_digest", "contract_id", "nonce"):
        lean.ClearField(field)
    return encode_message(lean)


@lru_cache(maxsize=4096)
def read_terms(terms: bytes, side: bytes) -> Terms:
    """Read what a version states; both encoded."""
    stated = pb.ContractTerms.FromString(terms)
    return Terms(
        (stated.exporter.origin, stated.exporter.institution),
        (stated.recipient.origin, stated.recipient.institution),
        stated.version,
        stated.mechanism,
        stated.direction,
        (stated.exporter_place, stated.recipient_place),
        (stated.exporter_sector, stated.recipient_sector),
        start_of(from_date(stated.effective_on)),
        end_of(from_date(stated.expires_on)) if stated.expires_on else 0,
        scope_of(
            tuple(stated.purposes),
            tuple(stated.categories),
            tuple(stated.sensitive_categories),
            tuple(stated.means),
            tuple(stated.transmissions),
        ),
        stated.planned_scale,
        stated.retention_days,
        pb.ContractSide.FromString(side),
    )


@lru_cache(maxsize=4096)
def scope_of(
    purposes: tuple[int, ...],
    categories: tuple[int, ...],
    sensitive: tuple[int, ...],
    means: tuple[int, ...],
    transmissions: tuple[int, ...],
) -> int:
    """Five lists of codes as one set of bits: from bit 0, 64, 128, 192 and 256 on."""
    lists = (purposes, categories, sensitive, means, transmissions)
    return sum(_bits(codes) << 64 * place for place, codes in enumerate(lists))


def _bits(codes: Iterable[int]) -> int:
    bits = 0
    for code in codes:
        bits |= 1 << code
    return bits
