"""A regulator's client at a node of the law world, whose clock a test sets; all in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.office import CAC, NONE, Office
from ledger.law_world import LawWorld
from ledger.world import Node
from peer.sides import trust_of

from ledgerd.api.public import Public, PublicHandlers
from ledgerd_client import Settings
from ledgerd_client.core.checkpoint import Checkpoint, add_signatures, cosign, sign_checkpoint
from ledgerd_client.core.note import COSIGNATURE_V1, Signer
from ledgerd_client.core.trust import Trust
from ledgerd_client.regulator import RegulatorClient


class _Way:
    """Calls handlers by the names that a transport has for them."""

    def __init__(self, handlers: Any) -> None:
        self._handlers = handlers
        self.known_checkpoint = b""

    def __getattr__(self, name: str) -> Any:
        method = "".join(part.capitalize() for part in name.split("_"))

        async def call(request: Any) -> Any:
            handlers = self._handlers() if callable(self._handlers) else self._handlers
            return await getattr(handlers, method)(request, NONE)

        return call


@dataclass(frozen=True)
class Counter:
    """Where a node's regulators ask."""

    law: LawWorld
    node: Node
    directory: Path

    @property
    def peer(self) -> Node:
        return self.law.hong_kong if self.node is self.law.mainland else self.law.mainland

    @property
    def trust(self) -> Trust:
        return trust_of(self.law.mainland.log, self.law.hong_kong.log)

    @asynccontextmanager
    async def client(self, regulator: str = CAC, **grant: Any) -> AsyncIterator[RegulatorClient]:
        """The client of a regulator that is admitted now, with a grant for all unless one is given."""
        office = Office(self.node, self.peer)
        office.admit(regulator, **grant)
        public = PublicHandlers(
            Public(
                origin=self.node.log.origin,
                peer_origin=self.peer.log.origin,
                reader=self.node.reader,
                keys=self.node.history,
                peer_keys=self.peer.history,
                cosigned=self.cosigned,
                refused=lambda: None,
            )
        )
        ways: Any = (_Way(public), _Way(lambda: office.ask(regulator)))
        try:
            async with RegulatorClient(self._settings(regulator), ways=ways) as client:
                yield client
        finally:
            office.close()

    def cosigned(self) -> bytes:
        """The newest checkpoint, cosigned by the peer."""
        origin, size = self.node.log.origin, self.node.size
        checkpoint = Checkpoint(origin, size, self.node.reader.root(size))
        cosigner = Signer(self.peer.log.origin, COSIGNATURE_V1, self.peer.log.cosigner_key)
        signature = cosign(checkpoint, cosigner, self.law.clock() // 1_000_000)
        return add_signatures(sign_checkpoint(checkpoint, self.node.log_key), [signature])

    def _settings(self, regulator: str) -> Settings:
        trust = self.directory / "trust.txt"
        trust.write_bytes(self.trust.format())
        nothing = self.directory / "nothing"
        return Settings(
            endpoint="localhost:1",
            origin=self.node.log.origin,
            trust=trust,
            tls_certificate=nothing,
            tls_key=nothing,
            keys=self.directory / f"keys.{regulator}",
        )
