"""The tables of a ledger's store. A name, once a store was made with it, never changes."""

from __future__ import annotations

import enum


class Table(enum.StrEnum):
    """
    One ordered map from key to value, kept under its own name in the store.

    HEADERS and BODIES are the log, keyed by u64 index, and RETURNED holds bodies that it has lost
    for good and that came back; every other table can be rebuilt from the log. A StrEnum because
    its hash is computed in C: tables are dictionary keys on every read.
    """

    META = "meta"
    HEADERS = "headers"
    BODIES = "bodies"
    TILES = "tiles"
    RECORDS = "records"
    AUTHORS = "authors"
    KEYS = "keys"
    TRANSFERS = "transfers"
    HALVES = "halves"
    ORDINALS = "ordinals"
    AGREEMENTS = "agreements"
    DEADLINES = "deadlines"
    FINDINGS = "findings"
    CONTRACTS = "contracts"
    USAGE = "usage"
    SENT = "sent"
    COUNTERS = "counters"
    OBLIGATIONS = "obligations"
    MATTERS = "matters"
    TIMERS = "timers"
    FINDINGS_OF = "findings_of"
    STANDING = "standing"
    CLOSINGS = "closings"
    OPENED = "opened"
    INDEX = "index"
    LEFT = "left"
    ANCHORS = "anchors"
    ERASED = "erased"
    LOST = "lost"
    RETURNED = "returned"


INSTANCE_KEY = b"instance"
"""In META: the 16 random bytes that tell this store from every other, its own backups too."""
