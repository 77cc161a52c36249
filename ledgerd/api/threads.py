"""Where reading that takes a while is done, so that the event loop does not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple, Unpack

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class InThread:
    """Calls functions in the threads of an executor, which must be gone before the store is."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def __call__(self, function: Callable[[Unpack[Ts]], R], *args: *Ts) -> Awaitable[R]:
        return asyncio.get_running_loop().run_in_executor(self._executor, function, *args)
