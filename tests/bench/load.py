"""
The load of the benchmark: a process of its own that sends records signed beforehand.

usage: load.py CLIENT_TOML batch SIZE IN_FLIGHT TOTAL | single IN_FLIGHT TOTAL | paced RATE SECONDS
Prints one JSON object: records a second, or latencies in seconds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc

from ledgerd_client._proto import body_pb2 as body
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.config import Settings
from ledgerd_client.core.record import make_body, make_record_id, sign_record
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_key_file
from ledgerd_client.transport import open_channel, read_tls_pair

APPEND = "/ledger.v1.LedgerService/Append"
CONTRACT = "GBA-SC-2026-001"
RECIPIENT = "hkbr.50000001"


def requests(settings: Settings, calls: int, size: int) -> list[bytes]:
    """Serialised AppendRequests of realistic transfers, signed."""
    assert settings.signing_key is not None
    key = read_key_file(settings.signing_key).key
    found = []
    for _ in range(calls):
        records = []
        for _ in range(size):
            signed = sign_record(make_transfer(settings), key)
            records.append(
                pb.Record(body=signed.body, key_id=signed.key_id, signature=signed.signature)
            )
        found.append(pb.AppendRequest(records=records).SerializeToString())
    return found


def make_transfer(settings: Settings) -> bytes:
    assert settings.institution is not None
    now = time.time_ns() // 1000
    other = settings.peer_origin or "hongkong.dev.invalid/log"
    terms = body.Terms(
        exporter=body.Party(origin=settings.origin, institution=settings.institution),
        recipient=body.Party(origin=other, institution=RECIPIENT),
        nonce=os.urandom(16), contract_id=CONTRACT, commitment=os.urandom(32),
        subjects=120, subjects_first_this_year=int(os.urandom(1)[0] < 64), sensitive_subjects=3,
        sensitive_first_this_year=0, purposes=[1, 5, 6], categories=[1, 2, 7],
        sensitive_categories=[5], legal_basis=1, consent_form=3, notice_digest=os.urandom(32),
        notice_version="2026-03", exemption=1, protections=[1], transmission=1,
        delete_by=20281231,
    )  # fmt: skip
    return make_body(
        origin=settings.origin,
        author=settings.institution,
        record_id=make_record_id(now, os.urandom(10)),
        occurred_at=now,
        salt=os.urandom(16),
        transfer=body.Transfer(terms=terms.SerializeToString(deterministic=True)),
    )


def connect(settings: Settings) -> grpc.aio.Channel:
    trust = Trust.parse(settings.trust.read_bytes())
    certificate, key = read_tls_pair(settings.tls_certificate, settings.tls_key)
    return open_channel(
        settings.endpoint,
        authorities=trust[settings.origin].certificates,
        certificate=certificate,
        key=key,
    )


async def closed_loop(
    settings: Settings, size: int, in_flight: int, total: int
) -> dict[str, float]:
    """in_flight callers, each sending its next call when the last one is answered."""
    prepared = requests(settings, total // size, size)
    # A rate is taken of a warm node: a tenth more goes ahead.
    warm = requests(settings, max(in_flight, total // size // 10), size)
    _stand_still()
    async with connect(settings) as channel:
        call = channel.unary_unary(APPEND)
        await _drain(call, iter(warm), in_flight)
        started = time.perf_counter()
        elapsed = await _drain(call, iter(prepared), in_flight) - started
        # What was answered was stored: the first outcome of a repeated call is a receipt.
        answer = pb.AppendResponse.FromString(await call(prepared[-1]))
    assert answer.outcomes[0].WhichOneof("result") == "repeated", answer.outcomes[0]
    return {"rate": (len(prepared) - in_flight + 1) * size / elapsed}


def _stand_still() -> None:
    """Have no collector pass over what was prepared while calls are timed."""
    gc.freeze()
    gc.disable()


async def _drain(
    call: grpc.aio.UnaryUnaryMultiCallable, waiting: Iterator[bytes], in_flight: int
) -> float:
    """Send all; return when the first caller had none left: until then, so many were in flight."""

    async def work() -> float:
        for request in waiting:
            await call(request)
        return time.perf_counter()

    return min(await asyncio.gather(*(work() for _ in range(in_flight))))


async def paced(settings: Settings, rate: float, seconds: float) -> dict[str, float]:
    """
    One record a call at a steady rate, whatever the answers do; latency from its due time.

    A call that the node would refuse, because too many of this caller wait, is sent later.
    """
    prepared = requests(settings, int(rate * seconds), 1)
    _stand_still()
    latencies: list[float] = []
    async with connect(settings) as channel:
        call = channel.unary_unary(APPEND)
        await _drain(call, iter(requests(settings, 50, 1)), 8)
        started = time.perf_counter()

        slots = asyncio.Semaphore(64)

        async def send(request: bytes, due: float) -> None:
            async with slots:
                await call(request)
            latencies.append(time.perf_counter() - due)

        async with asyncio.TaskGroup() as group:
            for number, request in enumerate(prepared):
                due = started + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(send(request, due))
    latencies.sort()
    return {
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[int(len(latencies) * 0.99)],
        "worst": latencies[-1],
    }


def main() -> None:
    settings = Settings.from_file(Path(sys.argv[1]))
    mode, *numbers = sys.argv[2:]
    if mode == "batch":
        size, in_flight, total = map(int, numbers)
        result = asyncio.run(closed_loop(settings, size, in_flight, total))
    elif mode == "single":
        in_flight, total = map(int, numbers)
        result = asyncio.run(closed_loop(settings, 1, in_flight, total))
    else:
        result = asyncio.run(paced(settings, *map(float, numbers)))
    print(json.dumps(result))  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main()
