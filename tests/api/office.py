"""RegulatorService over a ledger in memory: what tests of its answers ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from builders import WHOLE
from google.protobuf.message import Message
from ledger.world import Node

from ledgerd.api.desk import Desk
from ledgerd.api.identity import Caller, set_caller
from ledgerd.api.regulator import RegulatorHandlers
from ledgerd.api.roles import Access
from ledgerd.api.threads import InThread
from ledgerd.ledger.answers import Answers
from ledgerd.ledger.keyring import Keyring
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header
from ledgerd_client.identity import REGULATOR

NONE: Any = None
CAC = "cac.shenzhen"
M = TypeVar("M")


class OtherLog:
    """The peer's log, all of it replayed."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def headers(self, start: int, stop: int) -> Iterator[Header]:
        return map(Header.parse, self._node.reader.headers(start, stop - start, stop))

    def entries(self, start: int, stop: int) -> Iterator[tuple[bytes, bytes]]:
        for header in self.headers(start, stop):
            raw, body = self._node.reader.entry(header.index)
            yield raw, body if header.kind in KINDS_SHARED_WITH_PEER else b""

    def newest(self) -> tuple[int, bytes]:
        head = self._node.reader.head()
        return head.size, head.checkpoint

    def inclusion(self, index: int, size: int) -> list[bytes]:
        return self._node.reader.inclusion_proof(index, size)[1]


class Recorder:
    """Remembers what was put on record."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str, Message, int]] = []

    async def note(self, regulator: str, method: str, request: Message, size: int) -> None:
        self.noted.append((regulator, method, request, size))


class Office:
    """Where a node's regulators ask. now: the machine's clock, µs."""

    def __init__(self, node: Node, peer: Node) -> None:
        self.node = node
        self.now = node.clock
        self.recorder = Recorder()
        self.suspects: list[bytes] = []
        self.keyring = Keyring(node.store, node.log.origin, node.log.authority.public)
        self._threads = ThreadPoolExecutor(2)
        access = Access(
            self.keyring,
            operators=(),
            peer="",
            clock=self.now,
            last_time=self._last_time,
            peer_keys=lambda: self.keyring.history,
        )
        self.handlers = RegulatorHandlers(
            Desk(
                origin=node.log.origin,
                peer_origin=node.peer.origin,
                answers=Answers(node.store, node.open_own),
                replica=OtherLog(peer),
                grants=access,
                recorder=self.recorder,
                in_thread=InThread(self._threads),
                suspect=self.suspects.append,
            )
        )

    def _last_time(self) -> int:
        return self.node.reader.head().last_time

    def close(self) -> None:
        self._threads.shutdown()

    def admit(self, regulator: str = CAC, **limits: Any) -> Any:
        """Admit a regulator; limits are fields of its grant, a whole one otherwise."""
        return self.node.enrol(regulator, role=body_pb2.ROLE_REGULATOR, grant=grant(**limits))

    # -- asking -----------------------------------------------------------------------------

    def ask(self, regulator: str) -> RegulatorHandlers:
        """The handlers, called by a regulator."""
        self.keyring.refresh()
        set_caller(Caller(REGULATOR, regulator))
        return self.handlers

    async def entries(
        self, regulator: str = CAC, *, parts: Any = (), page: Any = None, **query: Any
    ) -> pb.ListEntriesResponse:
        request = pb.ListEntriesRequest(query=pb.Query(**query), parts=parts, **(page or {}))
        return await self.ask(regulator).ListEntries(request, NONE)

    async def indexes(self, regulator: str = CAC, **query: Any) -> list[int]:
        return [entry.index for entry in (await self.entries(regulator, **query)).entries]

    async def refusal(self, regulator: str = CAC, **query: Any) -> str:
        """The reason for which a query is refused."""
        with pytest.raises(LedgerError) as caught:
            await self.entries(regulator, **query)
        return caught.value.reason

    async def transfer(
        self, ref: bytes, regulator: str = CAC, checkpoint: bytes = b""
    ) -> pb.TransferView:
        request = pb.RegulatorServiceGetTransferRequest(ref=ref, checkpoint=checkpoint)
        return (await self.ask(regulator).GetTransfer(request, NONE)).transfer

    async def contracts(
        self, contract_id: str, regulator: str = CAC, checkpoint: bytes = b""
    ) -> list[pb.ContractView]:
        request = pb.RegulatorServiceGetContractRequest(
            contract_id=contract_id, checkpoint=checkpoint
        )
        return list((await self.ask(regulator).GetContract(request, NONE)).contracts)

    def tail(self, regulator: str = CAC, **query: Any) -> AsyncIterator[pb.TailResponse]:
        request = pb.TailRequest(query=pb.Query(**query))
        return self.ask(regulator).Tail(request, NONE)

    def follow(self, regulator: str = CAC, **request: Any) -> AsyncIterator[pb.FollowResponse]:
        return self.ask(regulator).Follow(pb.FollowRequest(**request), NONE)


def grant(**limits: Any) -> body_pb2.Grant:
    """A grant for a long time, limited to what is named."""
    made = body_pb2.Grant()
    made.CopyFrom(WHOLE)
    made.MergeFrom(body_pb2.Grant(**limits))
    return made
