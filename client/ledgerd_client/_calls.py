"""Calls that wait for the fate of their record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ledgerd_client import tracing
from ledgerd_client.core.errors import LedgerError, UnavailableError
from ledgerd_client.core.receipt import Receipt


@dataclass(slots=True, eq=False)
class Call:
    """
    One of them. Its fate is a receipt, an error, or None: the record stays queued.

    deadline: µs; after it the call is told that the fate is unknown.
    mine: this very call put the record, and may take it back if it was certainly not sent.
    may_queue: its caller is content with a queued record.
    trace: what its caller is about, as tracing.current() says.
    """

    deadline: int
    mine: bool
    may_queue: bool
    fate: asyncio.Future[Receipt | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    trace: object = field(default_factory=tracing.current)

    def tell(self, outcome: Receipt | LedgerError | None) -> None:
        if self.fate.done():  # its caller went away
            return
        if isinstance(outcome, LedgerError):
            self.fate.set_exception(outcome)
        else:
            self.fate.set_result(outcome)


class Calls:
    """All of them, by record_id; two wait for one record when a caller_ref is used twice."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[Call]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[tuple[bytes, list[Call]]]:
        return iter(list(self._waiting.items()))

    def add(self, record_id: bytes, call: Call) -> None:
        self._waiting.setdefault(record_id, []).append(call)

    def overdue(self, now: int) -> list[bytes]:
        """Records that some call has waited for in vain."""
        return [id_ for id_, calls in self if any(call.deadline <= now for call in calls)]

    def tell(self, record_id: bytes, outcome: Receipt | LedgerError | None) -> None:
        """Tell every call that waits for a record."""
        for call in self._waiting.pop(record_id, ()):
            call.tell(outcome)

    def tell_where(self, wanted: Callable[[Call], bool], outcome: LedgerError | None) -> None:
        """Tell the calls that are wanted, whatever their record."""
        for record_id, calls in self:
            for call in filter(wanted, calls):
                call.tell(outcome)
            self._waiting[record_id] = [call for call in calls if not call.fate.done()]
            if not self._waiting[record_id]:
                del self._waiting[record_id]


def unknown_fate(why: str) -> UnavailableError:
    """What a call is told whose record may be in the log or not; the record stays queued."""
    return UnavailableError(
        f"the record is in the outbox, and whether the node has it is not known yet: {why}",
        reason="FATE_UNKNOWN",
        action="call again with the same caller_ref, or flush the outbox: it is recorded once",
    )
