"""What a node sends to whoever follows it, and what is said of it when it does not verify."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Protocol, TypeVar

from ledgerd.ledger.verifying import AuditError
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import LedgerError, UnavailableError, VerificationError

R = TypeVar("R")


class Way(Protocol):
    """The way to the node. Raises LedgerError."""

    def follow(self, request: pb.FollowRequest) -> AsyncGenerator[pb.FollowResponse, None]:
        """As RegulatorService.Follow."""


async def first_note(stream: AsyncIterator[pb.FollowResponse]) -> bytes:
    """The checkpoint that a stream begins with; b"" where the node has none."""
    async for message in stream:
        if message.entries:
            raise VerificationError("the node sent entries before their checkpoint")
        return message.checkpoint
    raise UnavailableError("the node sent nothing")


def judge(what: str, check: Callable[[], R]) -> R:
    """What check says; whatever it raises means that what the node sent does not verify."""
    try:
        return check()
    except LedgerError as error:
        raise AuditError(f"{what}: {error.message}", reason=error.reason) from error
