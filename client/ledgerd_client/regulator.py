"""
The client of a regulator: ask a node, or a mirror of it, and believe only what verifies.

    async with RegulatorClient.from_file("client.toml") as regulator:
        async for entry in regulator.entries(Query(rules=["K4"], standing="stands")):
            print(entry.index, entry.body.finding.rule)
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Self

from ledgerd_client._asking import Query
from ledgerd_client._channel import connect
from ledgerd_client._entangled import Entangled, entangle
from ledgerd_client._entries import (
    Erased,
    FoundEntry,
    ProvenHalf,
    Summary,
    TransferFile,
    author_of,
)
from ledgerd_client._lifetime import Lifetime
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._regulator_view import PAGE, RegulatorView
from ledgerd_client._results import ContractView, NodeInfo
from ledgerd_client.config import LOCAL_ENDPOINT, Settings
from ledgerd_client.core.checkpoint import OpenedCheckpoint
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.trust import Trust
from ledgerd_client.regulator_transport import GrpcRegulatorTransport, RegulatorTransport
from ledgerd_client.transport import GrpcTransport, Transport

__all__ = [
    "DIMENSIONS", "Entangled", "Erased", "FoundEntry", "ProvenHalf", "Query", "RegulatorClient",
    "Summary", "TransferFile", "author_of",
]  # fmt: skip

_PREFIX = "DIMENSION_"
DIMENSIONS = tuple(name.removeprefix(_PREFIX).lower() for name, _ in pb.Dimension.items())[1:]
"""What can be counted by."""

Ways = tuple[Transport, RegulatorTransport]


def read_settings(
    path: str | os.PathLike[str], mirror: str | os.PathLike[str] | None = None
) -> Settings:
    """The settings of a file, or those to ask the mirror behind a socket with; InputError."""
    settings = Settings.from_file(path)
    if mirror is None:
        return settings
    endpoint = f"{LOCAL_ENDPOINT}{Path(mirror).absolute()}"
    # It may be behind the node, and is no older state of it: its newest is kept apart.
    return replace(settings, endpoint=endpoint, keys=settings.keys_directory / "mirror")


class RegulatorClient(Lifetime[RegulatorView]):
    """
    A regulator's way to a node, or to a mirror of it. Belongs to one event loop.

    Every answer is as of a checkpoint: at, a signed note of this log, or the newest. Calls raise
    LedgerError: InputError for what cannot be asked, RefusedError for what the grant does not
    cover, UnavailableError, and VerificationError when an answer does not prove itself. What was
    left out of an answer no proof shows: a mirror does, by giving the same one.
    """

    def __init__(self, settings: Settings, *, ways: Ways | None = None) -> None:
        """Nothing is opened before `async with`. ways are the caller's to close."""
        super().__init__()
        self._settings = settings
        self._ways = ways

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], mirror: str | os.PathLike[str] | None = None
    ) -> Self:
        """
        The client of a settings file; mirror is the socket to ask in place of the node.

        Raises InputError.
        """
        return cls(read_settings(path, mirror))

    @property
    def at_mirror(self) -> bool:
        return self._settings.endpoint.startswith(LOCAL_ENDPOINT)

    @property
    def origin(self) -> str:
        return self._settings.origin

    async def __aenter__(self) -> Self:
        settings = self._settings
        trust = settings.read_trust()
        async with AsyncExitStack() as opening:
            ways = self._ways or self._connect(trust, opening)
            view = RegulatorView(*ways, trust, settings.origin, settings.keys_directory)
            await view.open()
            self._stack = opening.pop_all()
        self._held = view
        return self

    async def entries(
        self, query: Query, *, at: bytes = b"", proof: bool = False, limit: int | None = None
    ) -> AsyncGenerator[FoundEntry, None]:
        """
        What a query finds, in its order, or the first `limit` of it.

        All is as of one checkpoint; proof: each entry comes with a receipt under it.
        """
        left = limit
        size = PAGE if limit is None else max(1, min(limit, PAGE))
        async with aclosing(self._opened().pages(query, at=at, proof=proof, size=size)) as pages:
            async for page in pages:
                for entry in page.entries[:left]:
                    yield entry
                if left is not None and (left := left - len(page.entries)) <= 0:
                    return

    async def tail(self, query: Query) -> AsyncGenerator[FoundEntry, None]:
        """What matches from query.first on, as it comes; goes on for ever."""
        start = query.first
        while True:
            async for item in self._opened().tail(replace(query, first=start)):
                if isinstance(item, int):
                    start = item
                else:
                    yield item

    async def transfer(self, ref: bytes, at: bytes = b"") -> TransferFile:
        """A transfer with both halves, each proven in its log."""
        return await self._opened().transfer_file(ref, at)

    async def contract(self, contract_id: str, at: bytes = b"") -> list[ContractView]:
        """A contract as each of its parties on this side has stated it."""
        return await self._opened().contract_views(contract_id, at)

    async def summarize(self, query: Query, by: Sequence[str], at: bytes = b"") -> Summary:
        """Counts of what a query finds, by up to four of DIMENSIONS."""
        if unknown := sorted(set(by) - set(DIMENSIONS)):
            raise FieldError(
                f"{unknown[0]!r} is nothing to count by",
                reason="UNKNOWN_CODE",
                action=f"use one of {', '.join(DIMENSIONS)}",
            )
        numbers = [pb.Dimension.Value(_PREFIX + name.upper()) for name in by]
        return await self._opened().summary(query, numbers, at)

    async def as_of(self, checkpoint: OpenedCheckpoint) -> int:
        """When the newest entry below a checkpoint was recorded, µs."""
        size = checkpoint.checkpoint.size
        query = Query(first=max(size - 1, 0), end=size)
        async with aclosing(self._opened().pages(query, at=checkpoint.note, size=1)) as pages:
            return (await anext(pages)).as_of

    async def checkpoint(self, *, cosigned: bool = False) -> OpenedCheckpoint:
        """The newest checkpoint, or the newest one that the other side's node cosigned."""
        return await self._opened().checkpoint(cosigned=cosigned)

    async def prove(self, header: bytes, under: OpenedCheckpoint) -> Receipt:
        """The receipt of an entry under an earlier checkpoint; verify_receipt judges it."""
        return await self._opened().prove(header, under)

    async def open(self, note: bytes) -> OpenedCheckpoint:
        """
        Verify a checkpoint of this log that somebody kept, and that today's log extends it.

        Raises InputError for what is none, or another log's.
        """
        return await self._opened().open_kept(note)

    async def history(self, origin: str = "") -> KeyHistory:
        """The key history of this log, or of the other side's, as the node has it now; verified."""
        return await self._opened().histories.refresh(origin or self.origin)

    async def info(self) -> NodeInfo:
        """What the node says of itself."""
        return await self._opened().info()

    async def headers(
        self, end: OpenedCheckpoint, start: OpenedCheckpoint | None = None
    ) -> AsyncGenerator[Header, None]:
        """
        Every header below one checkpoint, or between two: nothing is missing, changed or added.

        Each is verified to follow from the one before and to be signed by whom it says; with the
        last one the tree is end's. Raises VerificationError where it is not, and FieldError
        BEGINS_LATER where start is the larger one.
        """
        async with aclosing(self._opened().replayed(end, start)) as entries:
            async for header, _ in entries:
                yield header

    async def entangled(self, own: Collection[int] = (), peer: Collection[int] = ()) -> Entangled:
        """
        The order of both sides' entries, as far as their anchors prove it.

        Replays both logs from the beginning, and holds each anchor to the tree that it is of;
        32 bytes an entry are kept in memory. own, peer: of which entries the headers are wanted.
        Raises FieldError for one that is not there, ForkError where an anchor is of another tree.
        """
        return await entangle(self._opened(), own, peer)

    def _connect(self, trust: Trust, stack: AsyncExitStack) -> Ways:
        channel = connect(self._settings, trust)
        timeout_s = self._settings.timeout_s
        transport = GrpcTransport(channel, timeout_s)
        stack.push_async_callback(transport.close)
        return transport, GrpcRegulatorTransport(
            channel, timeout_s, lambda: transport.known_checkpoint
        )
