"""
A node for tests: everything is real but the wire and the disk.

    pytest_plugins = ["ledgerd_client.testing"]

    async def test_it_declares(ledger_node, tmp_path):
        async with ledger_node.client("uscc.BANK1", tmp_path) as ledger:
            ...

`MemoryNode` admits, chains, proves and signs with the code of `core`, under an authority that is
made for it and thrown away. The project's own suite runs one contract against it and the daemon.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from ledgerd_client._memory import MemoryLog
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._time import system_now
from ledgerd_client.client import LedgerClient
from ledgerd_client.config import Settings
from ledgerd_client.core.body import MAX_BODY_BYTES, parse_body
from ledgerd_client.core.errors import (
    LedgerError,
    NotFoundError,
    NotReadyError,
    TooLargeError,
    UnavailableError,
)
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Verifier
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import SignedRecord, admit
from ledgerd_client.core.trust import OriginTrust, Trust
from ledgerd_client.keyfile import KeyFile, write_key_file
from ledgerd_client.transport import MAX_MESSAGE_BYTES, REPLY_LOST, UNREACHABLE

MAINLAND = "mainland.example/ledger"
HONG_KONG = "hongkong.example/ledger"

_MAX_RECORDS = 1_000
_PLACES = {MAINLAND: 440300, HONG_KONG: 810000}

class MemoryNode:
    """
    A node in memory, for any number of institutions. Belongs to one event loop.

    Its peer is one, too, and what the one records the other knows at once. It does not judge: a
    transfer's state follows from its halves alone, there are no deadlines and no findings.
    """

    # The other side's node.
    peer: MemoryNode

    def __init__(self, log: MemoryLog) -> None:
        """Use border(): a node alone has nobody to transfer to."""
        self.log = log
        # How many records each append held that arrived.
        self.batches: list[int] = []
        self._up = True
        self._lose_reply = False
