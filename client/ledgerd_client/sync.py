"""
The same clients for code without an event loop: every method blocks until it is done.

    with LedgerClient.from_file("client.toml") as ledger:
        declared = ledger.declare("batch.csv", recipient="hkbr.12345678", ...)
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from functools import wraps
from threading import Thread
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from ledgerd_client import client, regulator
from ledgerd_client.config import Settings
from ledgerd_client.transport import Transport

__all__ = ["LedgerClient", "RegulatorClient"]

C = TypeVar("C", bound=AbstractAsyncContextManager[Any])
P = ParamSpec("P")
R = TypeVar("R")


def _blocking(
    method: Callable[Concatenate[C, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[_Blocking[C], P], R]:
    @wraps(method)
    def call(self: _Blocking[C], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(method(self._client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[C, P], AsyncGenerator[R, None]],
) -> Callable[Concatenate[_Blocking[C], P], Iterator[R]]:
    @wraps(method)
    def iterate(self: _Blocking[C], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        items = method(self._client, *args, **kwargs)
        try:
            while True:
                item = self._run(_next(items))
                if item is None:
                    return
                yield item
        finally:
            self._run(items.aclose())

    return iterate


async def _next(items: AsyncGenerator[R, None]) -> R | None:
    return await anext(items, None)


class _Blocking(Generic[C]):
    """A client, run by a thread of its own."""

    def __init__(self, client: C) -> None:
        self._client = client
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="ledgerd-client", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._run(self._client.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._run(self._client.__aexit__(kind, error, traceback))
        finally:
            self._stop()

    def _run(self, call: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class LedgerClient(_Blocking[client.LedgerClient]):
    """
    client.LedgerClient, run by a thread of its own. Any thread may call it, several at once.

    What the calls mean, and what they raise, stands there.
    """

    def __init__(self, settings: Settings, *, transport: Transport | None = None) -> None:
        super().__init__(client.LedgerClient(settings, transport=transport))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        return cls(Settings.from_file(path))

    declare = _blocking(client.LedgerClient.declare)
    acknowledge = _blocking(client.LedgerClient.acknowledge)
    cancel = _blocking(client.LedgerClient.cancel)
    flush = _blocking(client.LedgerClient.flush)
    receipt = _blocking(client.LedgerClient.receipt)
    wait_cosigned = _blocking(client.LedgerClient.wait_cosigned)
    transfer = _blocking(client.LedgerClient.transfer)
    record = _blocking(client.LedgerClient.record)
    declare_under = _blocking(client.LedgerClient.declare_under)
    check = _blocking(client.LedgerClient.check)
    check_transfer = _blocking(client.LedgerClient.check_transfer)
    contract = _blocking(client.LedgerClient.contract)
    findings = _iterating(client.LedgerClient.findings)
    tail_findings = _iterating(client.LedgerClient.tail_findings)
    checkpoint = _blocking(client.LedgerClient.checkpoint)
    info = _blocking(client.LedgerClient.info)


class RegulatorClient(_Blocking[regulator.RegulatorClient]):
    """regulator.RegulatorClient, likewise."""

    def __init__(self, settings: Settings, *, ways: regulator.Ways | None = None) -> None:
        super().__init__(regulator.RegulatorClient(settings, ways=ways))

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], mirror: str | os.PathLike[str] | None = None
    ) -> Self:
        return cls(regulator.read_settings(path, mirror))

    @property
    def at_mirror(self) -> bool:
        return self._client.at_mirror

    @property
    def origin(self) -> str:
        return self._client.origin

    entries = _iterating(regulator.RegulatorClient.entries)
    tail = _iterating(regulator.RegulatorClient.tail)
    transfer = _blocking(regulator.RegulatorClient.transfer)
    contract = _blocking(regulator.RegulatorClient.contract)
    summarize = _blocking(regulator.RegulatorClient.summarize)
    as_of = _blocking(regulator.RegulatorClient.as_of)
    checkpoint = _blocking(regulator.RegulatorClient.checkpoint)
    prove = _blocking(regulator.RegulatorClient.prove)
    open = _blocking(regulator.RegulatorClient.open)
    history = _blocking(regulator.RegulatorClient.history)
    info = _blocking(regulator.RegulatorClient.info)
    headers = _iterating(regulator.RegulatorClient.headers)
    entangled = _blocking(regulator.RegulatorClient.entangled)
