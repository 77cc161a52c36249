"""The composition root: one node, started in order and undone in reverse."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

import structlog

from ledgerd.api.identity import Identities
from ledgerd.api.ledger import Log, size_of
from ledgerd.api.roles import Access
from ledgerd.api.server import Server, Services
from ledgerd.api.threads import InThread
from ledgerd.config import Config, split_endpoint
from ledgerd.credentials import NodeKeys, NodeTls, load_trust
from ledgerd.ledger.admission import Admission
from ledgerd.ledger.head import Head
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.machine import PeerLog
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.ledger.standing import Standing
from ledgerd.ledger.workers import Workers
from ledgerd.ledger.writer import AppendResult, Item, Writer
from ledgerd.metrics import OPEN, Metrics
from ledgerd.notify import Notifier
from ledgerd.peer.node import PeerSide
from ledgerd.store.base import Store
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd_client.core.errors import FieldError, NotReadyError, StoreError
from ledgerd_client.core.header import Header
from ledgerd_client.core.trust import Trust

_SAMPLE_INTERVAL_S: Final = 1.0

_log = structlog.get_logger()


async def run(
    config: Config, *, stop: asyncio.Event, ready: asyncio.Future[int], throwaway: bool = False
) -> None:
    """
    Serve until stop is set; resolve ready with the bound port once calls are answered.

    Calls in flight when stop is set are finished. throwaway allows the keys of a trial. Raises
    LedgerError when the node can't start, and StoreError, also after ready, when its store fails:
    the process must then end, and the next one starts from what is on the disk.
    """
    notifier, tasks = Notifier.from_environment(), _Tasks(stop)
    async with AsyncExitStack() as stack:
        node = await _Node.start(config, stack, tasks, notifier, throwaway=throwaway)
        tasks.start(notifier.keep_alive())
        stack.push_async_callback(tasks.stop)
        _log.info("serving", origin=config.origin, port=node.port, size=node.reader.head().size)
        notifier.ready(f"serves {config.origin} at port {node.port}")
        ready.set_result(node.port)
        await stop.wait()
        _log.info("stopping")
        notifier.stopping()
    tasks.raise_failure()
    _log.info("stopped")


def now() -> int:
    """µs since the epoch, UTC."""
    return time.time_ns() // 1000
