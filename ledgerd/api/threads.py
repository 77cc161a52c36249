"""Where reading that takes a while is done, so that the event loop does not wait for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class InThread(Protocol):
    """Calls a function in a thread that outlives no store."""

    def __call__(self, function: Callable[[Unpack[Ts]], R], *args: *Ts) -> Awaitable[R]: ...
