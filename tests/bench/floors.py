"""What the machine can do at all: the floors that our ratios are taken against, in the same run."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import lmdb

from ledgerd_client.core.keys import SigningKey, verify

VERIFICATIONS = 30_000
COMMITS = 400
CALLS = 6_000


def ed25519_rate() -> float:
    """Verifications a second in two threads (PyNaCl drops the GIL)."""
    key = SigningKey(os.urandom(32))
    message = os.urandom(200)
    signature = key.sign(message)

    def work(count: int) -> None:
        for _ in range(count):
            verify(key.public, message, signature)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [500, 500]))
        started = time.perf_counter()
        list(pool.map(work, [VERIFICATIONS // 2] * 2))
        return VERIFICATIONS / (time.perf_counter() - started)


def lmdb_commit(directory: Path) -> float:
    """Seconds that one durable commit of a small record takes (median)."""
    times = []
    with lmdb.open(str(directory), map_size=1 << 30) as environment:
        for number in range(COMMITS):
            started = time.perf_counter()
            with environment.begin(write=True) as transaction:
                transaction.put(number.to_bytes(8, "big"), os.urandom(500))
            times.append(time.perf_counter() - started)
    return statistics.median(times)


async def echo(
    credentials: Callable[[], grpc.ChannelCredentials], tls: Path, request: bytes, reply: int
) -> tuple[float, float]:
    """(calls/s with 64 in flight, median seconds of one at a time) of a bare gRPC+mTLS echo."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, __file__, str(tls), str(reply), stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        port = int(await server.stdout.readline())
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials(), options) as channel:
            call = channel.unary_unary("/echo.Echo/Echo")
            await call(request)
            return await _rate(call, request), await _round_trip(call, request)
    finally:
        server.terminate()
        await server.wait()


async def _rate(call: grpc.aio.UnaryUnaryMultiCallable, request: bytes) -> float:
    left = iter(range(CALLS))

    async def work() -> None:
        for _ in left:
            await call(request)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(64)))
    return CALLS / (time.perf_counter() - started)


async def _round_trip(call: grpc.aio.UnaryUnaryMultiCallable, request: bytes) -> float:
    times = []
    for _ in range(500):
        started = time.perf_counter()
        await call(request)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


async def serve(tls: Path, reply: int) -> None:
    """The echo's server: any request is answered by reply bytes."""
    answer = bytes(reply)

    async def handle(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return answer

    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(handle)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
    pair = ((tls / "node.key").read_bytes(), (tls / "node.crt").read_bytes())
    credentials = grpc.ssl_server_credentials(
        [pair], (tls / "ca.crt").read_bytes(), require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(port, flush=True)  # noqa: T201 - the parent reads it
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
