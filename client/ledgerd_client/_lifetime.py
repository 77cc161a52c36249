"""What a client holds open between `async with` and its end."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Generic, TypeVar

from ledgerd_client.core.errors import NotReadyError

_T = TypeVar("_T")


class Lifetime(Generic[_T]):
    """`__aenter__` sets _held, and puts on _stack whatever is to be closed."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._held: _T | None = None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held = None
        await self._stack.__aexit__(kind, error, traceback)

    def _opened(self) -> _T:
        if self._held is None:
            raise NotReadyError(
                "the client is not open", reason="CLOSED", action="use it in `async with`"
            )
        return self._held
