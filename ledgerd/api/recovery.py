"""RecoveryService: institutions give back bodies that a node has lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ledgerd.api.errors import Context
from ledgerd.api.identity import current_caller
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc
from ledgerd_client.core.errors import FieldError, LedgerError, NotReadyError

# Bodies in a request.
_PAGE: Final = 1000


class Recovered(Protocol):
    """The log as far as it is back."""

    def list_missing(self, institution: str, start: int) -> Awaitable[tuple[list[int], int]]:
        """Entries of an institution's whose bodies are missing, a page, and where to go on."""

    def missing_of(self, institution: str) -> int:
        """How many bodies of an institution's are missing."""

    def give_back(self, institution: str, body: bytes) -> Awaitable[None]:
        """Take a body from whom wrote it; raises NotFoundError or ForbiddenError."""


class NothingMissing(service_pb2_grpc.RecoveryServiceServicer):
    """Of a node that serves."""

    async def ListMissing(
        self, request: pb.ListMissingRequest, context: Context
    ) -> pb.ListMissingResponse:
        raise _serves()

    async def ReturnBodies(
        self, request: pb.ReturnBodiesRequest, context: Context
    ) -> pb.ReturnBodiesResponse:
        raise _serves()


def _serves() -> NotReadyError:
    return NotReadyError(
        "the node serves, and takes no bodies back",
        reason="NOT_RECOVERING",
        action="send what it has lost as new records",
    )


class RecoveryHandlers(service_pb2_grpc.RecoveryServiceServicer):
    """For institutions. returned() is called after each call that gave something back."""

    def __init__(self, recovered: Recovered, returned: Callable[[], None]) -> None:
        self._recovered = recovered
        self._returned = returned

    async def ListMissing(
        self, request: pb.ListMissingRequest, context: Context
    ) -> pb.ListMissingResponse:
        start: int = getattr(request, "from")  # a keyword of Python's
        found, following = await self._recovered.list_missing(current_caller().id, start)
        return pb.ListMissingResponse(indexes=found, next=following)

    async def ReturnBodies(
        self, request: pb.ReturnBodiesRequest, context: Context
    ) -> pb.ReturnBodiesResponse:
        if not 0 < len(request.bodies) <= _PAGE:
            raise FieldError(f"1 to {_PAGE} bodies are returned at once")
        caller = current_caller().id
        outcomes = [await self._take(caller, body) for body in request.bodies]
        self._returned()
        return pb.ReturnBodiesResponse(outcomes=outcomes, left=self._recovered.missing_of(caller))

    async def _take(self, caller: str, body: bytes) -> pb.ReturnOutcome:
        try:
            await self._recovered.give_back(caller, body)
        except LedgerError as error:
            return pb.ReturnOutcome(refused=pb.Refusal(reason=error.reason, message=error.message))
        return pb.ReturnOutcome()
