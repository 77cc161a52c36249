"""
A node for tests: everything is real but the wire and the disk.

    pytest_plugins = ["ledgerd_client.testing"]

    async def test_it_declares(ledger_node, tmp_path):
        async with ledger_node.client("uscc.BANK1", tmp_path) as ledger:
            ...

The node admits, chains, proves and signs with the code of `core`, under an authority that is made
for it and thrown away. The project's own suite holds it and the daemon to one contract.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

from ledgerd_client._memory import MemoryLog
from ledgerd_client._memory_service import MemoryService
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._time import system_now
from ledgerd_client.client import LedgerClient
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Verifier
from ledgerd_client.core.trust import OriginTrust, Trust
from ledgerd_client.keyfile import KeyFile, write_key_file
from ledgerd_client.transport import REPLY_LOST, UNREACHABLE

__all__ = ["HONG_KONG", "MAINLAND", "MemoryNode", "MemoryTransport"]

MAINLAND = "mainland.example/ledger"
HONG_KONG = "hongkong.example/ledger"

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class MemoryNode:
    """
    A node in memory, for any number of institutions. Belongs to one event loop.

    Its peer is one, too, and knows at once what it records. It does not judge: the state of a
    transfer or contract follows from its halves, there are no deadlines and no findings, and a
    check only says what would be refused.
    """

    def __init__(self, log: MemoryLog, peer: MemoryLog, place: int) -> None:
        """See border(): a node alone has nobody to transfer to."""
        self.log = log
        self.peer = peer
        # How many records there were in each append that arrived.
        self.batches: list[int] = []
        self.up = True
        self.losing_reply = False
        self._place = place

    @classmethod
    def border(cls, *, now: Callable[[], int] = system_now) -> tuple[MemoryNode, MemoryNode]:
        """The nodes of both sides, Mainland first. now gives µs since the epoch, UTC."""
        mainland, hong_kong = MemoryLog(MAINLAND, now), MemoryLog(HONG_KONG, now)
        mainland.found(hong_kong)
        hong_kong.found(mainland)
        return cls(mainland, hong_kong, 440300), cls(hong_kong, mainland, 810000)

    def client(self, institution: str, directory: Path) -> LedgerClient:
        """A client of a newly enrolled institution, whose files are in directory."""
        return LedgerClient(
            self.enrol(institution, directory), transport=self.transport(institution)
        )

    def enrol(self, institution: str, directory: Path) -> Settings:
        """Admit a new key of an institution and write its files; the settings name no real host."""
        key = SigningKey(os.urandom(32))
        self.log.admit_key(institution, key, self._place)
        directory = directory / institution
        directory.mkdir(parents=True)
        write_key_file(directory / "signing.key", KeyFile(key, throwaway=True))
        (directory / "trust").write_bytes(self.trust().format())
        return Settings(
            endpoint="memory.invalid:443",
            origin=self.log.origin,
            trust=directory / "trust",
            tls_certificate=directory / "tls.pem",
            tls_key=directory / "tls.key",
            institution=institution,
            signing_key=directory / "signing.key",
            outbox=directory / "outbox.sqlite",
        )

    def transport(self, institution: str) -> MemoryTransport:
        """A way to this node with the institution's certificate, as it were."""
        return MemoryTransport(self, institution)

    def trust(self) -> Trust:
        """The trust file of this border; its TLS authority is none."""
        return Trust.of(
            OriginTrust(
                log.origin,
                Verifier(f"{log.origin}/authority", ED25519, log.authority.public),
                (b"no certificate",),
            )
            for log in (self.log, self.peer)
        )

    def go_down(self) -> None:
        """Be unreachable until come_up(); what is in the log stays there."""
        self.up = False

    def come_up(self) -> None:
        self.up = True

    def lose_next_reply(self) -> None:
        """Carry out the next append, and let its reply be lost on the way."""
        self.losing_reply = True

    def cosign(self) -> None:
        """Let the other side's node cosign the newest checkpoint."""
        self.log.cosign(self.peer)


class MemoryTransport:
    """A Transport to a MemoryNode, in the name of one institution."""

    def __init__(self, node: MemoryNode, institution: str) -> None:
        self.known_checkpoint = b""
        self.peer_checkpoint = b""
        self._node = node
        self._service = MemoryService(node.log, node.peer, institution)

    async def append(self, request: pb.AppendRequest) -> pb.AppendResponse:
        response = await self._call(self._service.append, request)
        self._node.batches.append(len(request.records))
        if self._node.losing_reply:
            self._node.losing_reply = False
            raise UnavailableError("the reply was lost", reason=REPLY_LOST)
        return response

    async def get_receipt(self, request: pb.GetReceiptRequest) -> pb.GetReceiptResponse:
        return await self._call(self._service.get_receipt, request)

    async def get_entry(self, request: pb.GetEntryRequest) -> pb.GetEntryResponse:
        return await self._call(self._service.get_entry, request)

    async def get_transfer(self, request: pb.GetTransferRequest) -> pb.GetTransferResponse:
        return await self._call(self._service.get_transfer, request)

    async def get_checkpoint(self, request: pb.GetCheckpointRequest) -> pb.GetCheckpointResponse:
        return await self._call(self._service.get_checkpoint, request)

    async def get_inclusion_proof(
        self, request: pb.GetInclusionProofRequest
    ) -> pb.GetInclusionProofResponse:
        return await self._call(self._service.get_inclusion_proof, request)

    async def get_consistency_proof(
        self, request: pb.GetConsistencyProofRequest
    ) -> pb.GetConsistencyProofResponse:
        return await self._call(self._service.get_consistency_proof, request)

    async def get_key_history(self, request: pb.GetKeyHistoryRequest) -> pb.GetKeyHistoryResponse:
        return await self._call(self._service.get_key_history, request)

    async def get_info(self, request: pb.GetInfoRequest) -> pb.GetInfoResponse:
        return await self._call(self._service.get_info, request)

    async def check(self, request: pb.CheckRequest) -> pb.CheckResponse:
        return await self._call(self._service.check, request)

    async def get_contract(self, request: pb.GetContractRequest) -> pb.GetContractResponse:
        return await self._call(self._service.get_contract, request)

    async def list_findings(self, request: pb.ListFindingsRequest) -> pb.ListFindingsResponse:
        return await self._call(self._service.list_findings, request)

    async def tail_findings(
        self, request: pb.TailFindingsRequest
    ) -> AsyncIterator[pb.TailFindingsResponse]:
        yield await self._call(self._service.tail_findings, request)

    async def close(self) -> None:
        pass

    async def _call(self, method: Callable[[_Request], _Response], request: _Request) -> _Response:
        # As on a wire, others get their turn in between.
        await asyncio.sleep(0)
        if not self._node.up:
            raise UnavailableError("the node is down", reason=UNREACHABLE)
        return method(request)


# Only pytest loads this module as a plugin, and then it is there; the SDK does not need it.
if "pytest" in sys.modules:
    import pytest

    @pytest.fixture
    def ledger_node() -> MemoryNode:
        """The Mainland's node of a new border; its institutions are enrolled by `client`."""
        return MemoryNode.border()[0]
