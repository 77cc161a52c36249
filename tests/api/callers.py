"""
Everybody who may be at the other end, every method there is, and what comes of the one's calls.

What is expected stands here, written by hand, and not in what is tested.
"""

from __future__ import annotations

import importlib
import pkgutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from nodes import OPERATOR_ID, Credentials, Node, Side

from ledgerd_client import _proto
from ledgerd_client._status import stated
from ledgerd_client.identity import INSTITUTION, OPERATOR, PEER, REGULATOR
from ledgerd_client.pki import Certificate, Validity
from ledgerd_client.transport import open_channel

# Who bears the node's own name.
STANDBY = "standby"
EVERYBODY = f"{INSTITUTION} {REGULATOR} {PEER} {OPERATOR}"

# The roles that may call a method.
MATRIX = {
    "ledger.v1.LedgerService/Append": INSTITUTION,
    "ledger.v1.LedgerService/GetReceipt": INSTITUTION,
    "ledger.v1.LedgerService/GetEntry": INSTITUTION,
    "ledger.v1.LedgerService/GetTransfer": INSTITUTION,
    "ledger.v1.LedgerService/GetCheckpoint": EVERYBODY,
    "ledger.v1.LedgerService/GetInclusionProof": EVERYBODY,
    "ledger.v1.LedgerService/GetConsistencyProof": EVERYBODY,
    "ledger.v1.LedgerService/GetKeyHistory": EVERYBODY,
    "ledger.v1.LedgerService/GetInfo": EVERYBODY,
    "ledger.v1.LedgerService/Check": INSTITUTION,
    "ledger.v1.LedgerService/GetContract": INSTITUTION,
    "ledger.v1.LedgerService/ListFindings": INSTITUTION,
    "ledger.v1.LedgerService/TailFindings": INSTITUTION,
    "ledger.v1.PeerService/AddCheckpoint": PEER,
    "ledger.v1.PeerService/ListHeaders": PEER,
    "ledger.v1.PeerService/GetCosigned": PEER,
    "ledger.v1.PeerService/ListReplica": PEER,
    "ledger.v1.RegulatorService/ListEntries": REGULATOR,
    "ledger.v1.RegulatorService/Tail": REGULATOR,
    "ledger.v1.RegulatorService/GetTransfer": REGULATOR,
    "ledger.v1.RegulatorService/GetContract": REGULATOR,
    "ledger.v1.RegulatorService/Summarize": REGULATOR,
    "ledger.v1.RegulatorService/Follow": REGULATOR,
    "ledger.v1.AdminService/SubmitKeyEvent": OPERATOR,
    "ledger.v1.AdminService/CheckErasure": OPERATOR,
    "ledger.v1.AdminService/SubmitErasure": OPERATOR,
    "ledger.v1.AdminService/ListEvidence": OPERATOR,
    "ledger.v1.AdminService/GetEvidence": OPERATOR,
    "ledger.v1.AdminService/AcknowledgeEvidence": OPERATOR,
    "ledger.v1.AdminService/GetStatus": OPERATOR,
    "ledger.v1.StandbyService/Replicate": STANDBY,
    "ledger.v1.RecoveryService/ListMissing": INSTITUTION,
    "ledger.v1.RecoveryService/ReturnBodies": INSTITUTION,
    "grpc.health.v1.Health/Check": EVERYBODY,
    "grpc.health.v1.Health/Watch": EVERYBODY,
    "grpc.health.v1.Health/List": EVERYBODY,
}

# What somebody in a role is told who has something wrong, whatever the method.
WRONG = {
    "with no certificate": "UNAVAILABLE",
    "whose certificate has expired": "UNAVAILABLE",
    "whose certificate is by a stranger": "UNAVAILABLE",
    "of another SPIFFE domain": "TRUST_DOMAIN",
    # The right authority for a caller of its own side, and this is none.
    "whose certificate is by the other side's authority": "UNAUTHENTICATED",
    "whose certificate is revoked": "CERTIFICATE_REVOKED",
}  # fmt: skip
# What one with a good certificate is told whom the log, or the configuration, does not know.
UNKNOWN = "whom nobody admitted"
LET_IN = "MALFORMED"
GARBAGE = b"\xff\xff"

NAMES = {
    INSTITUTION: "uscc.MATRIX", REGULATOR: "cac.matrix", PEER: "hongkong", OPERATOR: OPERATOR_ID,
    STANDBY: "mainland",
}  # fmt: skip
CALLERS = [(role, wrong) for role in NAMES for wrong in ("", UNKNOWN, *WRONG)]

# What the certificate says, where it is something else.
_ROLES = {STANDBY: PEER}

Who = tuple[str, str]
Channels = dict[Who, grpc.aio.Channel]


def methods() -> dict[str, Any]:
    """Every method that a generated file of ours describes, and those of the health service."""
    names = [f"{_proto.__name__}.{each.name}" for each in pkgutil.iter_modules(_proto.__path__)]
    files = [importlib.import_module(name) for name in names if name.endswith("_pb2")]
    services = [
        service
        for file in (*files, health_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
    ]
    return {
        f"{service.full_name}/{each.name}": each for service in services for each in service.methods
    }


METHODS = methods()


def expected(method: str, role: str, wrong: str) -> str:
    if wrong in WRONG:
        return WRONG[wrong]
    if role == STANDBY and wrong:
        return "TRUST_DOMAIN"  # a node of another name than ours is the other side's
    if role not in MATRIX[method].split():
        return "WRONG_ROLE"
    return "NOT_ADMITTED" if wrong else LET_IN


async def answer(channel: grpc.aio.Channel, method: str) -> str:
    """Why a call with garbage in it is refused; gRPC's code where the node itself says nothing."""
    path = f"/{method}"
    try:
        if METHODS[method].server_streaming:
            await channel.unary_stream(path)(GARBAGE, timeout=30).read()
        else:
            await channel.unary_unary(path)(GARBAGE, timeout=30)
    except grpc.aio.AioRpcError as error:
        told = stated(error)
        return told.reason if told else error.code().name
    return "it was answered"


class Callers:
    """Makes everybody of CALLERS what they show, and tells one node of those it admits or not."""

    def __init__(self, node: Node, stranger: Side) -> None:
        self._node = node
        self._stranger = stranger

    async def everybody(self) -> dict[Who, Credentials | None]:
        """None for nothing at all."""
        return {who: await self._shown(*who) for who in CALLERS}

    async def _shown(self, role: str, wrong: str) -> Credentials | None:
        if not wrong:
            return await self._admitted(role)
        if wrong == "whose certificate is revoked":
            credentials = await self._admitted(role)
            await self._revoke(credentials)
            return credentials
        if wrong == "with no certificate":
            return None
        return self._credentials(role, wrong)

    def _credentials(self, role: str, wrong: str) -> Credentials:
        own, other = self._sides(role)
        name, domain = NAMES[role], own.domain
        role = _ROLES.get(role, role)
        if wrong == "whose certificate has expired":
            ended = Validity.starting(datetime.now(UTC) - timedelta(days=2), timedelta(days=1))
            return own.issue(role, name, validity=ended)
        if wrong == "whose certificate is by a stranger":
            return self._stranger.issue(role, name, domain=domain)
        if wrong == "of another SPIFFE domain":
            return own.issue(role, name, domain="other.invalid")
        if wrong == "whose certificate is by the other side's authority":
            return other.issue(role, name, domain=domain)
        assert wrong == UNKNOWN
        return own.issue(role, "nobody")

    def _sides(self, role: str) -> tuple[Side, Side]:
        """Whose authority vouches for a role, and the other."""
        node = self._node
        return (node.peer, node.side) if role == PEER else (node.side, node.peer)

    async def _admitted(self, role: str) -> Credentials:
        """With a key of its own each time."""
        if role == INSTITUTION:
            return (await self._node.institution(NAMES[role])).credentials
        if role == REGULATOR:
            return (await self._node.regulator(NAMES[role])).credentials
        return self._sides(role)[0].issue(_ROLES.get(role, role), NAMES[role])

    async def _revoke(self, credentials: Credentials) -> None:
        # By its key: so the node's own authority can revoke a certificate of the peer's, too.
        own = self._node.side.issue(OPERATOR, "anybody", tls=credentials.tls_key)
        certificate = Certificate.parse(own.certificate)
        order = self._node.side.authority.revoke_certificate(certificate, now=datetime.now(UTC))
        await self._node.submit(order.record)


@asynccontextmanager
async def channels_to(
    side: Side, port: int, everybody: dict[Who, Credentials | None]
) -> AsyncIterator[Channels]:
    """Everybody's way to a server of a side's, at a port of this machine."""
    made = {who: _channel(side, port, shown) for who, shown in everybody.items()}
    yield made
    for channel in made.values():
        await channel.close()


def _channel(side: Side, port: int, shown: Credentials | None) -> grpc.aio.Channel:
    authorities = side.authority.trust.certificates
    if shown is None:
        roots = "".join(map(ssl.DER_cert_to_PEM_cert, authorities)).encode()
        return grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(roots))
    return open_channel(
        f"localhost:{port}",
        authorities=authorities,
        certificate=shown.certificate,
        key=shown.tls_key,
    )
