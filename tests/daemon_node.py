"""
The daemon as a node under the SDK's contract (client/contract.py): two processes of a border.

They serve all tests of a session, each with institutions' keys of its own. Clients come through a
proxy, which can lose a reply.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import border
import grpc
from nodes import OPERATOR_ID, Credentials, Side, free_port, make_sides

from ledgerd.ledger.reader import Reader
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client import Settings
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client.core.body import NODE
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.note import parse_note
from ledgerd_client.identity import INSTITUTION, OPERATOR
from ledgerd_client.keyfile import KeyFile
from ledgerd_client.transport import GrpcTransport, Transport, open_channel, read_tls_pair

NO_NEWS = {Kind.ANCHOR, Kind.NODE}


class Proxy:
    """Carries bytes between clients and a node."""

    def __init__(self, target: int, node: DaemonNode) -> None:
        self._target = target
        self._node = node
        self._lose_above: int | None = None
        self._listener = socket.create_server(("localhost", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next_reply(self) -> None:
        """Break the connection as soon as the node has appended something and answers."""
        self._lose_above = self._node.size()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client = self._listener.accept()[0]
                try:
                    node = socket.create_connection(("localhost", self._target))
                except OSError:  # the node is down
                    client.close()
                    continue
                for pump in (self._to_node, self._to_client):
                    threading.Thread(target=pump, args=(client, node), daemon=True).start()

    def _to_node(self, client: socket.socket, node: socket.socket) -> None:
        with suppress(OSError), node:
            while data := client.recv(65536):
                node.sendall(data)

    def _to_client(self, client: socket.socket, node: socket.socket) -> None:
        with suppress(OSError), client:
            while data := node.recv(65536):
                if self._lose_above is not None and self._node.size() > self._lose_above:
                    self._lose_above = None
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)


class DaemonNode:
    """One side's node, as a process."""

    peer: DaemonNode

    def __init__(self, side: Side, port: int) -> None:
        self.side = side
        self._port = port
        self._process = border.Node(side.toml)
        self._proxy = Proxy(port, self)
        self._numbers = itertools.count()
        # Those of the test that runs.
        self.channels: list[grpc.aio.Channel] = []
        self._operator = self._channel(side.issue(OPERATOR, OPERATOR_ID))
        self._ledger = rpc.LedgerServiceStub(self._operator)

    def launch(self) -> None:
        self._process.launch()

    def prepare(self) -> None:
        """Wait until it serves."""
        self._process.wait_for("READY=1")

    def close(self) -> None:
        self._operator.close()
        self._proxy.close()
        self._process.stop()
        self._process.close()

    # -- the contract -----------------------------------------------------------------------

    def enrol(self, institution: str) -> Settings:
        credentials = self.side.issue(INSTITUTION, institution)
        self._submit(self.side.admission(INSTITUTION, institution, credentials))
        # So that no anchor stands between what a test appends.
        self._settle()
        self.peer._settle()
        return self._settings(institution, credentials)

    def transport(self, settings: Settings) -> Transport:
        certificate, key = read_tls_pair(settings.tls_certificate, settings.tls_key)
        authorities = self.side.authority.trust.certificates
        channel = open_channel(
            settings.endpoint, authorities=authorities, certificate=certificate, key=key
        )
        self.channels.append(channel)
        return GrpcTransport(channel, settings.timeout_s)

    async def settle(self) -> None:
        await asyncio.to_thread(self._settle)

    async def go_down(self) -> None:
        await asyncio.to_thread(self._process.stop)

    async def come_up(self) -> None:
        await asyncio.to_thread(self._process.start)
        for channel in self.channels:  # it tries again by itself, but not at once
            await channel.channel_ready()

    async def lose_next_reply(self) -> None:
        await asyncio.to_thread(self._proxy.lose_next_reply)

    # -- how it is done ---------------------------------------------------------------------

    def size(self) -> int:
        size: int = self._info().size
        return size

    def _settle(self) -> None:
        """Wait until the peer has cosigned this log and anchored whatever is news in it."""
        size, news = self.size(), self._last_news()
        while self._info().cosigned_size < size or self.peer._anchored() <= news:
            pass

    def _info(self) -> Any:
        return self._ledger.GetInfo(pb.GetInfoRequest(), wait_for_ready=True)

    def _last_news(self) -> int:
        headers = [Header.parse(header) for header, _ in self._entries()]
        return max(header.index for header in headers if header.kind not in NO_NEWS)

    def _anchored(self) -> int:
        """How much of the peer's log stands under an anchor in this one."""
        anchored = 0
        for _, body in self._entries(author=NODE):
            if note := body_pb2.Body.FromString(body).anchor.checkpoint:
                anchored = Checkpoint.parse(parse_note(note).text).size
        return anchored

    def _entries(self, author: str = "") -> list[tuple[bytes, bytes]]:
        """From the store itself: what a regulator asks would be put on record."""
        with closing(LmdbStore.open(self.side.config.store, readonly=True)) as store:
            return Reader(store).page(0, author=author, count=2**62).entries

    def _submit(self, record: Any) -> None:
        request = pb.SubmitKeyEventRequest(
            record=pb.Record(body=record.body, key_id=record.key_id, signature=record.signature)
        )
        rpc.AdminServiceStub(self._operator).SubmitKeyEvent(request, wait_for_ready=True)

    def _settings(self, institution: str, credentials: Credentials) -> Settings:
        home = self.side.directory / f"client-{next(self._numbers)}"
        home.mkdir()
        files = {
            "tls.crt": credentials.certificate,
            "tls.key": credentials.tls_key,
            "signing.key": KeyFile(credentials.signing).format(),
        }
        for name, data in files.items():
            (home / name).write_bytes(data)
            (home / name).chmod(0o600)
        return Settings(
            endpoint=f"localhost:{self._proxy.port}",
            origin=self.side.origin,
            trust=self.side.config.trust,
            tls_certificate=home / "tls.crt",
            tls_key=home / "tls.key",
            institution=institution,
            signing_key=home / "signing.key",
            outbox=home / "outbox.sqlite",
        )

    def _channel(self, credentials: Credentials) -> grpc.Channel:
        roots = map(ssl.DER_cert_to_PEM_cert, self.side.authority.trust.certificates)
        return grpc.secure_channel(
            f"localhost:{self._port}",
            grpc.ssl_channel_credentials(
                "".join(roots).encode(), credentials.tls_key, credentials.certificate
            ),
        )


class Daemons:
    """A border of two processes, started when a test first asks for it; law as in nodes.Side."""

    def __init__(self, law: str = "") -> None:
        self._law = law
        self._directory = tempfile.TemporaryDirectory(prefix="ledgerd-contract-")
        self._nodes: tuple[DaemonNode, ...] = ()

    def start(self) -> None:
        sides = make_sides(Path(self._directory.name))
        ports = (free_port(), free_port())
        for place, side in enumerate(sides):
            peer = sides[1 - place]
            side.found(peer, law=self._law)
            side.configure(peer, endpoint=f"localhost:{ports[1 - place]}", law=self._law)
            listen = f'listen = "localhost:{ports[place]}"'
            side.toml.write_text(side.toml.read_text().replace('listen = "localhost:0"', listen))
        one, two = map(DaemonNode, sides, ports)
        one.peer, two.peer = two, one
        self._nodes = (one, two)
        for node in self._nodes:
            node.launch()
        for node in self._nodes:
            node.prepare()

    @asynccontextmanager
    async def mainland(self, directory: Path) -> AsyncIterator[DaemonNode]:
        """The Mainland's node; it has a directory of its own."""
        if not self._nodes:
            await asyncio.to_thread(self.start)
        yield self._nodes[0]
        for node in self._nodes:
            node.channels.clear()

    def close(self) -> None:
        for node in self._nodes:
            node.close()
        self._nodes = ()
        self._directory.cleanup()
