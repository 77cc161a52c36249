"""
Load for the kill tests: a process of its own that outlives the nodes it talks to.

usage: loader.py CLIENT_TOML JOURNAL BATCH
Each number on a line of standard input has it send so many more batches, one after another. Every
batch is sent until it is answered, however often the node dies meanwhile. Each answer is verified
and then fsynced to the journal, as JSON lines {"records": {record_id: index}, "note": …, "at": …};
at: when it came, in ns of the monotonic clock. On standard output, a line each: `sent N` before a
batch leaves, `lost N` when its answer did not come, `done N` once the answer is in the journal.
Ends when standard input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from itertools import count
from pathlib import Path

import grpc
from bench.load import APPEND, connect, make_transfer

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import TrustError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.merkle import leaf_hash
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.ranges import verify_range
from ledgerd_client.core.receipt import Receipt, verify_receipt
from ledgerd_client.core.record import SignedRecord, read_facts, sign_record
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_key_file

# The node is gone, on its way out, or can't append at present.
AGAIN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
PAUSE_S = 0.05
HISTORY = "/ledger.v1.LedgerService/GetKeyHistory"


async def main() -> None:
    settings, journal, size = Settings.from_file(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    assert settings.signing_key is not None
    key = read_key_file(settings.signing_key).key
    wanted = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    threading.Thread(target=listen, args=(loop, wanted), daemon=True).start()
    await wanted.acquire()
    history = await key_history(settings)
    with journal.open("a") as file:  # noqa: ASYNC230 - one batch at a time is what is wanted
        for number in count(1):
            records = [sign_record(make_transfer(settings), key) for _ in range(size)]
            reply = await send(settings, number, records)
            at = time.monotonic_ns()
            try:
                found = verified(reply, records, history)
            except TrustError:  # the log's key was rotated
                history = await key_history(settings)
                found = verified(reply, records, history)
            json.dump(found | {"at": at}, file)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
            say("done", number)
            await wanted.acquire()


async def send(settings: Settings, number: int, records: list[SignedRecord]) -> pb.AppendResponse:
    """Send the same bytes until an answer comes, on a new connection each time."""
    request = pb.AppendRequest(
        records=[pb.Record(body=r.body, key_id=r.key_id, signature=r.signature) for r in records]
    ).SerializeToString()
    while True:
        say("sent", number)
        async with connect(settings) as channel:
            call = channel.unary_unary(APPEND)
            try:
                return pb.AppendResponse.FromString(await call(request, timeout=30))
            except grpc.aio.AioRpcError as error:
                if error.code() not in AGAIN:
                    raise
                say("lost", number)
        await asyncio.sleep(PAUSE_S)


def verified(
    reply: pb.AppendResponse, records: list[SignedRecord], history: KeyHistory
) -> dict[str, object]:
    """What the reply proves of each record, or an error that ends this process."""
    places: dict[str, int] = {}
    checkpoint = (
        open_log_checkpoint(reply.checkpoint, history).checkpoint if reply.headers else None
    )
    if checkpoint is not None:
        leaves = [leaf_hash(header) for header in reply.headers]
        root = checkpoint.root
        verify_range(leaves, reply.first, checkpoint.size, list(reply.range_proof), root)
    note = reply.checkpoint
    for record, outcome in zip(records, reply.outcomes, strict=True):
        record_id = read_facts(record.body)[1].record_id.hex()
        result = outcome.WhichOneof("result")
        assert result in {"recorded", "repeated"}, outcome
        if result == "recorded":
            places[record_id] = outcome.recorded
        else:
            given = outcome.repeated
            note = given.checkpoint
            receipt = Receipt(given.header, tuple(given.proof), given.checkpoint)
            places[record_id] = verify_receipt(receipt, history, strict=False).header.index
    return {"records": places, "note": note.decode()}


async def key_history(settings: Settings) -> KeyHistory:
    async with connect(settings) as channel:
        raw = await channel.unary_unary(HISTORY)(b"", wait_for_ready=True)
    entries = pb.GetKeyHistoryResponse.FromString(raw).entries
    authority = Trust.parse(settings.trust.read_bytes()).authority(settings.origin)
    return KeyHistory.of(settings.origin, authority, ((e.header, e.body) for e in entries))


def listen(loop: asyncio.AbstractEventLoop, wanted: asyncio.Semaphore) -> None:
    for line in sys.stdin:
        for _ in range(int(line)):
            loop.call_soon_threadsafe(wanted.release)
    os._exit(0)


def say(word: str, number: int) -> None:
    print(word, number, flush=True)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    asyncio.run(main())
