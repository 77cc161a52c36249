"""What regulators are answered from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import Message

from ledgerd.api.identity import Caller
from ledgerd.api.peer import Replica
from ledgerd.api.threads import InThread
from ledgerd.ledger.answers import Answers, At
from ledgerd_client._proto import body_pb2
from ledgerd_client.core.errors import InputError, NotReadyError


class Grants(Protocol):
    """What regulators may read."""

    def grant(self, caller: Caller) -> body_pb2.Grant:
        """At this time; raises ForbiddenError where it is nothing."""


class Recorder(Protocol):
    """Puts queries on record."""

    async def note(self, regulator: str, method: str, request: Message, size: int) -> None:
        """
        Return when the log or the disk has it, so that the answer may leave; size: of the answer.

        Raises LedgerError, and the query is then not to be answered.
        """


@dataclass(frozen=True, slots=True)
class Desk:
    """What regulators are answered from: a node's log, or a mirror's."""

    origin: str
    peer_origin: str
    answers: Answers
    replica: Replica
    grants: Grants
    recorder: Recorder
    in_thread: InThread
    # Told of a checkpoint that is not of this log, as far as is known here.
    suspect: Callable[[bytes], None]

    async def settle(self, note: bytes) -> At:
        """As Answers.settle; a checkpoint that is not of the log as it is here is told of."""
        try:
            return await self.in_thread(self.answers.settle, note)
        except (InputError, NotReadyError):
            self.suspect(note)
            raise
