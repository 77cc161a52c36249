"""
Real nodes in the test's own process: founded as `ledgerd init` does, served as `ledgerd serve`
does, on a free port of loopback, and called over mutual TLS.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from builders import (
    EXPORTER,
    HONG_KONG,
    MAINLAND,
    RECIPIENT,
    SHENZHEN,
    WHOLE,
    Border,
    Institution,
    Log,
)

from ledgerd.config import Config
from ledgerd.daemon import run
from ledgerd.init import found, request_genesis
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client.approval import Approval
from ledgerd_client.authority import Authority
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import SignedRecord, sign_record
from ledgerd_client.core.transfer import ref_of
from ledgerd_client.core.trust import Trust
from ledgerd_client.enrolment import EnrolmentRequest, GenesisRequest
from ledgerd_client.identity import INSTITUTION, OPERATOR, PEER, REGULATOR, SpiffeId
from ledgerd_client.keyfile import read_file
from ledgerd_client.pki import CertificateRequest, TlsKey, Validity
from ledgerd_client.transport import CHECKPOINT_METADATA, from_rpc_error, open_channel

OPERATOR_ID = "ops"
LIFE = timedelta(days=2)

NODE_TOML = """\
origin = "{origin}"
id = "{id}"
trust_domain = "{domain}"
data = "data"
listen = "localhost:0"
trust = "trust.txt"
operators = ["ops"]
{top}
[keys]
log = "keys/log.key"
entry = "keys/entry.key"
cosigner = "keys/cosigner.key"

[tls]
certificate = "tls.crt"
key = "tls.key"

[peer]
endpoint = "{peer_endpoint}"
id = "{peer_id}"
trust_domain = "{peer_domain}"

[timing]
poll_interval_s = 0.2
anchor_interval_s = 0.05
drain_s = 5

[limits]
workers = 1
map_size = 1073741824
reserve_bytes = 1048576
replica_quota_bytes = 268435456

[rules]
law = "{law}"
"""


def now() -> int:
    return time.time_ns() // 1000


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller has: a certificate with its key and, to sign records, an institution's key."""

    certificate: bytes
    tls_key: bytes
    signing: SigningKey = field(default_factory=lambda: SigningKey(os.urandom(32)))


class Side:
    """One side of a border: its authority, and the directory of its node."""

    def __init__(self, directory: Path, origin: str, name: str) -> None:
        self.directory = directory
        self.origin = origin
        self.name = name
        self.domain = f"{name}.invalid"
        # From some days ago, so that a certificate by it can have expired.
        validity = Validity.starting(datetime.now(UTC) - 2 * LIFE, 5 * LIFE)
        self.authority = Authority.create(origin, self.domain, validity=validity)
        directory.mkdir(mode=0o700, parents=True)

    def configure(
        self, peer: Side, *, endpoint: str = "localhost:1", top: str = "", law: str = ""
    ) -> Config:
        """
        Write node.toml and trust file; top are more lines for the top of the former.

        law: by which contents are judged; by none unless a test says so.
        """
        text = NODE_TOML.format(
            origin=self.origin,
            id=self.name,
            domain=self.domain,
            peer_endpoint=endpoint,
            peer_id=peer.name,
            peer_domain=peer.domain,
            top=top,
            law=law,
        )
        trust = Trust.of([self.authority.trust, peer.authority.trust])
        (self.directory / "trust.txt").write_bytes(trust.format())
        self.toml.write_text(text)
        return self.config

    @property
    def toml(self) -> Path:
        return self.directory / "node.toml"

    @property
    def config(self) -> Config:
        return Config.load(self.toml)

    def approve_genesis(
        self, peer: Side, *, request: Path | None = None, **changes: Any
    ) -> Approval:
        """What the authority makes of the node's request, one made here unless there is one."""
        request = request or self.directory / "genesis-request.json"
        if not request.exists():
            request_genesis(self.config, request, os.urandom)
        fields = {"peer_origin": peer.origin, "peer_authority": peer.authority.verifier.public}
        return self.authority.begin(
            GenesisRequest.parse(read_file(request)),
            now=datetime.now(UTC),
            life=LIFE,
            **{**fields, **changes},
        )

    def found(self, peer: Side, *, law: str = "") -> None:
        self.configure(peer, law=law)
        found(self.config, self.approve_genesis(peer), clock=now, random=os.urandom)

    # -- callers ----------------------------------------------------------------------------

    def issue(
        self, role: str, subject: str, *, domain: str = "", tls: bytes = b"", **changes: Any
    ) -> Credentials:
        """A certificate by this side's TLS authority for tls, or a new key; changes: its validity."""
        key = TlsKey.parse(tls) if tls else TlsKey.generate()
        holder = SpiffeId(domain or self.domain, role, subject)
        hosts = ("localhost",) if role == PEER else ()
        validity = changes.get("validity") or Validity.starting(datetime.now(UTC), LIFE)
        asked = CertificateRequest.make(key, holder, hosts)
        return Credentials(self.authority.tls.issue(asked, validity).pem, key.pem)

    def admission(
        self,
        role: str,
        subject: str,
        credentials: Credentials,
        *,
        grant: body_pb2.Grant = WHOLE,
        replaces: bytes = b"",
    ) -> SignedRecord:
        """
        The authority's ADMIT event for a caller's signing key, or ROTATE of the one it replaces.

        grant: what a regulator may read.
        """
        key = TlsKey.parse(credentials.tls_key)
        place, sector = (SHENZHEN, 1) if role == INSTITUTION else (0, 0)
        request = EnrolmentRequest.make(
            origin=self.origin,
            name="A name",
            csr=CertificateRequest.make(key, SpiffeId(self.domain, role, subject)),
            key=credentials.signing,
            place=place,
            sector=sector,
        )
        return self.authority.approve(
            request,
            now=datetime.now(UTC),
            life=LIFE,
            grant=grant if role == REGULATOR else None,
            replaces=replaces,
        ).record


def make_sides(directory: Path) -> tuple[Side, Side]:
    """Both sides, configured and not founded."""
    mainland = Side(directory / "mainland", MAINLAND, "mainland")
    hong_kong = Side(directory / "hongkong", HONG_KONG, "hongkong")
    mainland.configure(hong_kong)
    hong_kong.configure(mainland)
    return mainland, hong_kong


def found_one(directory: Path) -> tuple[Side, Side]:
    """A founded side, and its peer, of whose node nothing is ever heard."""
    side, peer = make_sides(directory)
    side.found(peer)
    return side, peer


def found_sides(directory: Path) -> tuple[Side, Side]:
    """Both sides, founded, each of which finds the other's node."""
    sides = make_sides(directory)
    ports = (free_port(), free_port())
    for place, side in enumerate(sides):
        peer = sides[1 - place]
        side.found(peer)
        side.configure(peer, endpoint=f"localhost:{ports[1 - place]}")
        text = side.toml.read_text().replace('"localhost:0"', f'"localhost:{ports[place]}"')
        side.toml.write_text(text)
    return sides


class Client:
    """A caller's way to a node."""

    def __init__(self, node: Node, credentials: Credentials, subject: str = "") -> None:
        self.node = node
        self.credentials = credentials
        self.id = subject
        self.channel = open_channel(
            f"localhost:{node.port}",
            authorities=node.side.authority.trust.certificates,
            certificate=credentials.certificate,
            key=credentials.tls_key,
        )
        self.ledger = rpc.LedgerServiceStub(self.channel)
        self.peer = rpc.PeerServiceStub(self.channel)
        self.regulator = rpc.RegulatorServiceStub(self.channel)
        self.admin = rpc.AdminServiceStub(self.channel)

    async def append(self, *records: pb.Record, known: bytes = b"") -> pb.AppendResponse:
        metadata = grpc.aio.Metadata(*([(CHECKPOINT_METADATA, known)] if known else []))
        return await self.ledger.Append(pb.AppendRequest(records=records), metadata=metadata)

    async def place(self, record: pb.Record) -> int:
        """Append one record that must be taken; return its index."""
        outcome = (await self.append(record)).outcomes[0]
        assert outcome.WhichOneof("result") == "recorded", outcome
        return outcome.recorded

    async def refusal(self, *records: pb.Record) -> str:
        """The reason for which the last of the records was refused."""
        return (await self.append(*records)).outcomes[-1].refused.reason

    # -- records ----------------------------------------------------------------------------

    def transfer(self, at: int | None = None, *, origin: str = "", **terms: Any) -> pb.Record:
        """A TRANSFER by this institution; at: when it says that it happened."""
        key = self.credentials.signing
        ours = Institution(origin or self.node.side.origin, self.id, key, 0)
        theirs = Institution(self.node.peer.origin, RECIPIENT, key, 0)
        border = Border(Log(MAINLAND), Log(HONG_KONG), ours, theirs)
        return self.sign(ours.body(at or now(), transfer=border.transfer(**terms)))

    def sign(self, body: bytes) -> pb.Record:
        signed = sign_record(body, self.credentials.signing)
        return pb.Record(body=signed.body, key_id=signed.key_id, signature=signed.signature)


class Node:
    """A node that serves, and the callers that a test makes."""

    def __init__(self, side: Side, peer: Side, port: int) -> None:
        self.side = side
        self.peer = peer
        self.port = port
        self._clients: list[Client] = []
        self.operator = self.client(side.issue(OPERATOR, OPERATOR_ID), OPERATOR_ID)

    def client(self, credentials: Credentials, subject: str = "") -> Client:
        self._clients.append(Client(self, credentials, subject))
        return self._clients[-1]

    async def institution(self, subject: str = EXPORTER) -> Client:
        """Admit an institution, or another key of it."""
        return await self._admitted(INSTITUTION, subject)

    async def regulator(
        self, subject: str = "cac.shenzhen", grant: body_pb2.Grant = WHOLE
    ) -> Client:
        """Admit a regulator, with a grant to read everything unless the test says another."""
        return await self._admitted(REGULATOR, subject, grant)

    async def _admitted(self, role: str, subject: str, grant: body_pb2.Grant = WHOLE) -> Client:
        credentials = self.side.issue(role, subject)
        await self.submit(self.side.admission(role, subject, credentials, grant=grant))
        return self.client(credentials, subject)

    def the_peer(self) -> Client:
        """The other side's node."""
        return self.client(self.peer.issue(PEER, self.peer.name), self.peer.name)

    async def submit(self, record: SignedRecord) -> pb.Receipt:
        """Hand in a key event, as the operator."""
        request = pb.SubmitKeyEventRequest(
            record=pb.Record(body=record.body, key_id=record.key_id, signature=record.signature)
        )
        return (await self.operator.admin.SubmitKeyEvent(request)).receipt

    async def revoke(self, client: Client, role: str = INSTITUTION) -> None:
        record = self.side.admission(role, client.id, client.credentials)
        admission = Approval.of(self.side.origin, role, client.id, record, None)
        await self.submit(self.side.authority.revoke(admission, now=datetime.now(UTC)).record)

    async def history(self) -> KeyHistory:
        """The log's keys, verified under the authority's."""
        reply = await self.operator.ledger.GetKeyHistory(pb.GetKeyHistoryRequest())
        entries = [(entry.header, entry.body) for entry in reply.entries]
        return KeyHistory.of(self.side.origin, self.side.authority.verifier.public, entries)

    async def close(self) -> None:
        for client in self._clients:
            await client.channel.close()


@asynccontextmanager
async def serve(side: Side, peer: Side, *, throwaway: bool = False) -> AsyncIterator[Node]:
    """Serve a founded side; raises what `run` raises when it can't start."""
    stop: asyncio.Event = asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(side.config, stop=stop, ready=ready, throwaway=throwaway))
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    node = Node(side, peer, ready.result())
    try:
        yield node
    finally:
        await node.close()
        stop.set()
        await task


async def refused(call: Awaitable[object]) -> LedgerError:
    """The error that a call ends with, as the SDK understands it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def altered(record: pb.Record, **changes: Any) -> bytes:
    """A record's body with some of its fields changed."""
    body = body_pb2.Body.FromString(record.body)
    body.MergeFrom(body_pb2.Body(**changes))
    return body.SerializeToString(deterministic=True)


def altered_terms(record: pb.Record, **changes: Any) -> bytes:
    """The terms of a TRANSFER's record with some of their fields changed."""
    terms = body_pb2.Terms.FromString(body_pb2.Body.FromString(record.body).transfer.terms)
    terms.MergeFrom(body_pb2.Terms(**changes))
    return terms.SerializeToString(deterministic=True)


def ref_of_record(record: pb.Record) -> bytes:
    """The ref of the transfer that a TRANSFER's record declares."""
    return ref_of(body_pb2.Terms.FromString(altered_terms(record)))


def receipt_of(receipt: pb.Receipt) -> Receipt:
    return Receipt(receipt.header, tuple(receipt.proof), receipt.checkpoint)


def bodies(response: pb.ListEntriesResponse) -> list[body_pb2.Body]:
    return [body_pb2.Body.FromString(entry.body) for entry in response.entries]


def indexes(response: pb.ListEntriesResponse) -> list[int]:
    return [Header.parse(entry.header).index for entry in response.entries]
