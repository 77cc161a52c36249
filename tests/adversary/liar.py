"""
A node that lies: it holds all keys of the Mainland's side and speaks the protocol over mutual TLS.

What it says is a Script; without one it tells the truth, that is its log, and cosigns whatever the
honest node shows it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any

import grpc
from border import Border
from builders import Institution, Log, node_of

from ledgerd.api.peer_client import PeerClient
from ledgerd.config import Config
from ledgerd.ledger.reader import SHARED_PAGE_HEADERS, Reader
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.authority_directory import load_authority
from ledgerd_client.config import Settings
from ledgerd_client.core import merkle
from ledgerd_client.core.checkpoint import Checkpoint, cosign
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header, recorded_at_of
from ledgerd_client.core.keys import key_id
from ledgerd_client.core.note import COSIGNATURE_V1, Signer, parse_note
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_key_file

Entries = list[tuple[bytes, bytes]]
Message = pb.ListHeadersResponse
# What is sent when the honest node asks for headers from an index on.
Headers = Callable[[int], AsyncIterator[Message | bytes]]
Answer = Callable[[pb.AddCheckpointRequest], str]
_KIND_AT = 49


class LyingLog(Log):
    """A log of now, in the hands of whoever has all of its keys."""

    def header(self, *args: Any, **changes: Any) -> Header:
        return Log.header(self, *args, **{"recorded_at": self.now, **changes})

    @property
    def now(self) -> int:
        """Never below the newest entry's time."""
        last = recorded_at_of(self.entries[-1][0]) if self.entries else 0
        return max(time.time_ns() // 1000, last)

    @classmethod
    def of(cls, border: Border) -> LyingLog:
        """The Mainland's of a border that was prepared."""
        config = Config.load(border.mainland.config)
        keys = [read_key_file(path).key for path in (config.keys.log, config.keys.entry)]
        cosigner = read_key_file(config.keys.cosigner).key
        authority = load_authority(border.directory / "mainland" / "authority").key_file.key
        with closing(LmdbStore.open(config.store, readonly=True)) as store:
            reader = Reader(store)
            entries = [reader.entry(index) for index in range(reader.head().size)]
        return cls(config.origin, *keys, cosigner, authority, entries)

    def institution(self, border: Border, name: str) -> Institution:
        """One of its own, with its key."""
        settings = Settings.from_file(border.client(name))
        assert settings.institution is not None
        assert settings.signing_key is not None
        key = read_key_file(settings.signing_key).key
        found = self.history().find(key_id(key.public))
        assert found is not None
        return Institution(self.origin, settings.institution, key, found.admitted_at)

    def consistency(self, old: int, new: int) -> list[bytes]:
        return merkle.consistency_proof(node_of(self.leaves[:new]), old, new) if old else []


@dataclass
class Script:
    """What the lying node says; None is the truth."""

    headers: Headers | None = None
    cosignature: Answer | None = None
    cosigned: bytes | None = None


@dataclass
class LyingNode:
    """Serves in the place of the Mainland's node; `shown` entries of its log are its truth."""

    border: Border
    log: LyingLog
    shown: int
    client: PeerClient
    script: Script = field(default_factory=Script)
    # From where on it was asked for headers, each time.
    asked: list[int] = field(default_factory=list)
    # The newest checkpoint of the honest node with its cosignature.
    cosigned: bytes = b""
    # Every note that it has cosigned.
    given: set[bytes] = field(default_factory=set)
    # The newest checkpoint of its truth, by its size.
    _signed: tuple[int, bytes] = (0, b"")

    # -- what it says -----------------------------------------------------------------------

    def handler(self) -> grpc.GenericRpcHandler:
        """PeerService; what it answers need not be messages."""
        return grpc.method_handlers_generic_handler(
            "ledger.v1.PeerService",
            {
                "ListHeaders": grpc.unary_stream_rpc_method_handler(
                    self._list_headers, pb.ListHeadersRequest.FromString, _serialized
                ),
                "AddCheckpoint": grpc.unary_unary_rpc_method_handler(
                    self._add_checkpoint, pb.AddCheckpointRequest.FromString, _serialized
                ),
                "GetCosigned": grpc.unary_unary_rpc_method_handler(
                    self._get_cosigned, pb.GetCosignedRequest.FromString, _serialized
                ),
            },
        )

    async def _list_headers(
        self, request: pb.ListHeadersRequest, context: object
    ) -> AsyncIterator[Message | bytes]:
        self.asked.append(request.start)
        headers = self.script.headers or self.truth
        async for message in headers(request.start):
            yield message

    async def _add_checkpoint(
        self, request: pb.AddCheckpointRequest, context: object
    ) -> pb.AddCheckpointResponse:
        lines = (self.script.cosignature or self.cosignature)(request)
        return pb.AddCheckpointResponse(cosignatures=lines)

    async def _get_cosigned(
        self, request: pb.GetCosignedRequest, context: object
    ) -> pb.GetCosignedResponse:
        said = self.cosigned if self.script.cosigned is None else self.script.cosigned
        return pb.GetCosignedResponse(checkpoint=said)

    def truth(self, start: int) -> AsyncIterator[Message]:
        if self._signed[0] != self.shown:
            self._signed = self.shown, self.log.checkpoint(self.shown)
        return served(self.log.entries[: self.shown], self._signed[1], start)

    def cosignature(self, request: pb.AddCheckpointRequest) -> str:
        """Cosign; what is not asked is whether that is wise."""
        checkpoint = Checkpoint.parse(parse_note(request.checkpoint).text)
        signer = Signer(self.log.origin, COSIGNATURE_V1, self.log.cosigner_key)
        line = cosign(checkpoint, signer, time.time_ns() // 1_000_000_000).format()
        self.cosigned = request.checkpoint + line.encode()
        self.given.add(self.cosigned)
        return line

    # -- what it does ----------------------------------------------------------------------

    async def ask(self, log: LyingLog | None = None, size: int | None = None) -> str:
        """Ask for a cosignature as C2SP says: what was cosigned last first. Raises LedgerError."""
        log = log or self.log
        size = len(log.entries) if size is None else size
        note, _ = await self.client.get_cosigned()
        old = Checkpoint.parse(parse_note(note).text).size if note else 0
        proof = log.consistency(old, size) if old <= size else []
        return await self.client.add_checkpoint(min(old, size), proof, log.checkpoint(size))


async def served(entries: Entries, note: bytes, start: int) -> AsyncIterator[Message]:
    """Entries in pages, as an honest node sends them."""
    firsts = range(start, len(entries), SHARED_PAGE_HEADERS) or [start]
    for number, first in enumerate(firsts):
        message = page(first, entries[first : first + SHARED_PAGE_HEADERS])
        message.checkpoint = b"" if number else note
        yield message


def page(first: int, entries: Entries) -> Message:
    """One message; bodies that nodes share go with it."""
    message = Message(first=first, headers=[header for header, _ in entries])
    for index, (header, body) in enumerate(entries, first):
        if len(header) > _KIND_AT and header[_KIND_AT] in KINDS_SHARED_WITH_PEER:
            message.bodies.append(pb.SharedBody(index=index, body=body))
    return message


@asynccontextmanager
async def lying_node(border: Border, log: LyingLog | None = None) -> AsyncIterator[LyingNode]:
    """Serve at the Mainland's endpoint, with its certificate; truthful until it has a script."""
    config = Config.load(border.mainland.config)
    trust = Trust.parse(config.trust.read_bytes())
    honest = Config.load(border.hongkong.config)
    certificate, key = config.tls.certificate.read_bytes(), config.tls.key.read_bytes()
    client = PeerClient.connect(
        honest.listen,
        authorities=trust[honest.origin].certificates,
        certificate=certificate,
        key=key,
        timeout_s=30,
    )
    log = log or LyingLog.of(border)
    node = LyingNode(border, log, len(log.entries), client)
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((node.handler(),))
    roots = (ssl.DER_cert_to_PEM_cert(der) for der in trust[honest.origin].certificates)
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], "".join(roots).encode(), require_client_auth=True
    )
    server.add_secure_port(config.listen, credentials)
    await server.start()
    try:
        yield node
    finally:
        await client.close()
        await server.stop(0)


def _serialized(message: bytes | Any) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()
