"""
By what rows of projections.transfers are known: a transfer's ref, or "C" ‖ contract_ref, or of a
disposal "C" ‖ contract_ref ‖ its terms' digest.
"""

from __future__ import annotations

from typing import Final

from ledgerd_client.core.contract import DISPOSAL
from ledgerd_client.core.header import Halves, Kind
from ledgerd_client.core.record import Facts

# Before the ref of a contract, so that no transfer's can be taken for it.
_CONTRACT: Final = b"C"
_CONTRACT_BYTES: Final = 33


def row_key(stated: Facts | Halves, kind: int) -> bytes:
    """
    The row of a half of that kind.

    Disposals come for as long as a contract lives, and none replaces another: each has its own.
    """
    if kind != Kind.CONTRACT:
        return stated.ref
    key = contract_row(stated.ref)
    return key + stated.terms_digest if stated.outcome == DISPOSAL else key


def contract_row(ref: bytes) -> bytes:
    return _CONTRACT + ref


def contract_of(key: bytes) -> bytes:
    """The key of the contract that a row is about, a disposal's as its own."""
    return key[:_CONTRACT_BYTES]


def is_contract(key: bytes) -> bool:
    """Whether a row's key is a contract's, or a disposal's under one."""
    return len(key) >= _CONTRACT_BYTES


def is_disposal(key: bytes) -> bool:
    return len(key) > _CONTRACT_BYTES
