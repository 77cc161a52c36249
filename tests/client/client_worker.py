"""
A process that queues transfers while its node is down, and is killed: `client_worker.py DIR NUMBER`.

DIR holds an institution's files; the outbox in it is shared with whoever started this.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sdk import EXPORTER, PAYLOAD, START, STATEMENT

from ledgerd_client import LedgerClient, Settings, UnavailableError
from ledgerd_client.testing import MAINLAND
from ledgerd_client.transport import UNREACHABLE


class NoNode:
    known_checkpoint = peer_checkpoint = b""

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        async def call(request: Any) -> Any:
            raise UnavailableError("the node is down", reason=UNREACHABLE)

        return call


async def main(directory: Path, count: int) -> None:
    settings = Settings(
        endpoint="memory.invalid:443",
        origin=MAINLAND,
        trust=directory / "trust",
        tls_certificate=directory / "tls.pem",
        tls_key=directory / "tls.key",
        institution=EXPORTER,
        signing_key=directory / "signing.key",
        outbox=directory / "outbox.sqlite",
    )
    async with LedgerClient(settings, transport=NoNode(), now=lambda: START) as ledger:
        for _ in range(count):
            await ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
