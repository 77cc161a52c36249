"""
One process of several that share an outbox: `outbox_worker.py PATH COMMAND [NUMBER]`.

Says "ready" once it is running, starts on a line from stdin, then prints what it did, a line each.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from hashlib import shake_256

from ledgerd_client.core.errors import NotReadyError
from ledgerd_client.outbox import Outbox, OutboxRecord, hash_caller_ref

START = 1_800_000_000_000_000
LEASE = 30_000_000


def make_record(record_id: bytes | None = None, **fields: object) -> OutboxRecord:
    """A record whose every column follows from its record_id, so that a torn one shows."""
    record_id = record_id or os.urandom(16)
    body, key_id, signature, ref = (
        shake_256(name + record_id).digest(size)
        for name, size in ((b"body", 700), (b"key", 33), (b"signature", 64), (b"ref", 32))
    )
    return OutboxRecord(record_id, body, key_id, signature, "transfer", ref, **fields)


def claim_all(outbox: Outbox, limit: int) -> None:
    while claimed := outbox.claim(limit, LEASE):
        for record in claimed:
            say(record.record_id.hex())


def claim_and_hang(outbox: Outbox, limit: int) -> None:
    for record in outbox.claim(limit, LEASE):
        say(record.record_id.hex())
    say("claimed")
    sys.stdin.read()


def declare(outbox: Outbox, number: int) -> None:
    for i in range(number):
        caller_ref_hash = hash_caller_ref(outbox.caller_ref_key, f"job row {i}")
        say(outbox.put(make_record(caller_ref_hash=caller_ref_hash)).record_id.hex())


def put(outbox: Outbox, number: int) -> None:
    for _ in range(number):
        say(outbox.put(make_record()).record_id.hex())


def use_after_fork(outbox: Outbox, _: int) -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        outbox.put(make_record())
    except NotReadyError as error:
        say(error.reason)
    finally:
        os._exit(0)


def show_key(outbox: Outbox, _: int) -> None:
    say(outbox.caller_ref_key.hex())


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


COMMANDS = {
    function.__name__: function
    for function in (claim_all, claim_and_hang, declare, put, use_after_fork, show_key)
}


def main(path: str, command: str, number: str = "0") -> None:
    say("ready")
    sys.stdin.readline()
    with closing(Outbox.open(path, now=lambda: START)) as outbox:
        COMMANDS[command](outbox, int(number))


if __name__ == "__main__":
    main(*sys.argv[1:])
