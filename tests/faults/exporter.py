"""
An institution's program that exports, as a process of its own: what the outbox tests kill.

usage: exporter.py CLIENT_TOML queue | stream NAME | job COUNT

queue   declares without end, content with a queued record;
stream  declares under caller_refs of NAME until standard input ends, each until it has a receipt;
job     declares COUNT rows of a batch, one after another, each under its own caller_ref.

Every record that is safe is a line of JSON on standard output.
"""

from __future__ import annotations

import asyncio
import json
import sys
from hashlib import sha256
from itertools import count

from institutions import STATEMENT

from ledgerd_client import Declared, LedgerClient
from ledgerd_client.core.errors import NotReadyError, UnavailableError

PAYLOAD = b"name;score\nA;700\n"
# Calls at once.
MANY = 8


async def queue(ledger: LedgerClient) -> None:
    async def work() -> None:
        while True:
            say(await ledger.declare(PAYLOAD, if_unreachable="queue", **STATEMENT))

    await asyncio.gather(*(work() for _ in range(MANY)))


async def stream(ledger: LedgerClient, name: str) -> None:
    names = (f"{name}-{number}" for number in count())
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))

    async def work() -> None:
        while not ended.done():
            say(await until_recorded(ledger, next(names)))

    await asyncio.gather(*(work() for _ in range(MANY)))


async def until_recorded(ledger: LedgerClient, caller_ref: str) -> Declared:
    while True:
        try:
            return await ledger.declare(PAYLOAD, caller_ref=caller_ref, **STATEMENT)
        except (UnavailableError, NotReadyError):
            # The node is down, or not confirmed: the same caller_ref can't make a second record.
            await asyncio.sleep(0)


async def job(ledger: LedgerClient, rows: int) -> None:
    for row in range(rows):
        say(await until_recorded(ledger, f"row {row}"), row=row)


def say(declared: Declared, **more: int) -> None:
    receipt = declared.receipt
    line = {
        "record_id": declared.record_id.hex(),
        "index": declared.index,
        "ticket": sha256(declared.ticket.encode()).hexdigest(),
        "receipt": sha256(receipt.format()).hexdigest() if receipt else "",
    }
    print(json.dumps(line | more), flush=True)  # noqa: T201 - the test reads it


async def main(client: str, command: str, argument: str = "") -> None:
    async with LedgerClient.from_file(client) as ledger:
        match command:
            case "queue":
                await queue(ledger)
            case "stream":
                await stream(ledger, argument)
            case "job":
                await job(ledger, int(argument))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
