"""A revoked certificate: what goes on under it is cut off, and nothing is answered any more."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from builders import new_border
from cli.tool import Tool
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding
from nodes import OPERATOR_ID, Client, Node, refused

from ledgerd.api.identity import Caller
from ledgerd.api.roles import Access
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.authority import Authority
from ledgerd_client.authority_directory import save_authority
from ledgerd_client.core.body import parse_body
from ledgerd_client.core.errors import TrustError
from ledgerd_client.identity import INSTITUTION, OPERATOR, PEER, REGULATOR
from ledgerd_client.pki import Certificate

pytestmark = pytest.mark.asyncio(loop_scope="module")

INFO = pb.GetInfoRequest()


async def revoke(node: Node, client: Client) -> None:
    certificate = Certificate.parse(client.credentials.certificate)
    revoked = node.side.authority.revoke_certificate(certificate, now=datetime.now(UTC))
    await node.submit(revoked.record)


def respelled(certificate: bytes) -> bytes:
    """The same certificate with the other s of its authority's ECDSA signature; no key needed."""
    read = Certificate.parse(certificate).x509
    r, s = decode_dss_signature(read.signature)
    # The last element of the DER is the signature, as a bit string of no unused bits.
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = encode_dss_signature(r, order - s)
    whole = read.public_bytes(Encoding.DER)
    end = whole.rindex(b"\x03" + bytes([len(read.signature) + 1]) + b"\x00" + read.signature)
    inner = whole[4:end] + b"\x03" + bytes([len(other) + 1]) + b"\x00" + other
    return ssl.DER_cert_to_PEM_cert(b"\x30\x82" + len(inner).to_bytes(2, "big") + inner).encode()


class TestARevokedCertificate:
    async def test_is_refused_on_a_connection_that_is_open(self, node: Node) -> None:
        client = await node.institution("uscc.REVOKED1")
        await client.ledger.GetInfo(INFO)
        await revoke(node, client)
        error = await refused(client.ledger.GetInfo(INFO))
        assert error.reason == "CERTIFICATE_REVOKED"

    async def test_is_refused_on_a_new_connection(self, node: Node) -> None:
        client = await node.institution("uscc.REVOKED2")
        await revoke(node, client)
        error = await refused(node.client(client.credentials).ledger.GetInfo(INFO))
        assert error.reason == "CERTIFICATE_REVOKED"

    async def test_has_its_calls_cut_off(self, node: Node) -> None:
        client = await node.institution("uscc.REVOKED3")
        call = client.ledger.TailFindings(pb.TailFindingsRequest())
        reading = asyncio.ensure_future(refused(call.read()))
        await client.ledger.GetInfo(INFO)
        await revoke(node, client)
        error = await asyncio.wait_for(reading, 10)
        assert error.reason == "CERTIFICATE_REVOKED"

    async def test_takes_no_other_of_the_same_holder_along(self, node: Node) -> None:
        client = await node.institution("uscc.REVOKED4")
        another = node.client(node.side.issue(INSTITUTION, client.id), client.id)
        await revoke(node, client)
        assert (await another.ledger.GetInfo(INFO)).origin == node.side.origin

    async def test_leaves_the_signing_key_good(self, node: Node) -> None:
        client = await node.institution("uscc.REVOKED5")
        await revoke(node, client)
        credentials = node.side.issue(INSTITUTION, client.id)
        another = node.client(replace(credentials, signing=client.credentials.signing), client.id)
        assert await another.place(another.transfer()) > 0

    async def test_of_an_operator_is_refused_too(self, node: Node) -> None:
        other = node.client(node.side.issue(OPERATOR, OPERATOR_ID))
        await other.ledger.GetInfo(INFO)
        await revoke(node, other)
        error = await refused(other.ledger.GetInfo(INFO))
        assert error.reason == "CERTIFICATE_REVOKED"

    async def test_is_refused_in_another_spelling_of_its_signature_too(self, node: Node) -> None:
        """(r, s) and (r, n - s) are both the authority's signature, of another file each."""
        client = await node.institution("uscc.REVOKED9")
        await revoke(node, client)
        again = replace(client.credentials, certificate=respelled(client.credentials.certificate))
        error = await refused(node.client(again, client.id).ledger.GetInfo(INFO))
        assert error.reason == "CERTIFICATE_REVOKED"

    async def test_takes_another_on_the_same_key_along(self, node: Node) -> None:
        client = await node.institution("uscc.REVOKED10")
        again = node.side.issue(INSTITUTION, client.id, tls=client.credentials.tls_key)
        await revoke(node, client)
        error = await refused(node.client(again, client.id).ledger.GetInfo(INFO))
        assert error.reason == "CERTIFICATE_REVOKED"

    async def test_comes_once(self, node: Node) -> None:
        client = await node.institution("uscc.REVOKED6")
        await revoke(node, client)
        error = await refused(revoke(node, client))
        assert error.reason == "KEY_REVOKED"


class TestTheAuthority:
    async def test_revokes_by_the_digest_of_the_certificate(self, node: Node) -> None:
        certificate = Certificate.parse(node.side.issue(INSTITUTION, "uscc.A").certificate)
        approval = node.side.authority.revoke_certificate(certificate, now=datetime.now(UTC))
        event = parse_body(approval.record.body).key_event
        assert (event.role, event.action, event.subject, event.public_key) == (
            body_pb2.ROLE_TLS,
            body_pb2.KEY_ACTION_REVOKE,
            "institution/uscc.A",
            certificate.digest,
        )

    async def test_revokes_only_what_it_issued(self, node: Node) -> None:
        authority: Authority = node.peer.authority
        certificate = Certificate.parse(node.side.issue(INSTITUTION, "uscc.A").certificate)
        with pytest.raises(TrustError):
            authority.revoke_certificate(certificate, now=datetime.now(UTC))


class TestTheTool:
    async def test_revokes_a_certificate_of_its_side(self, node: Node, tool: Tool) -> None:
        tool.path("authority").mkdir()
        save_authority(node.side.authority, tool.path("authority"))
        client = await node.institution("uscc.REVOKED7")
        tool.path("tls.crt").write_bytes(client.credentials.certificate)
        out = ("--dir", "authority", "--out", "approval.json", "--yes")
        tool.ok("authority", "revoke-certificate", "tls.crt", *out)
        await node.submit(Approval.parse(tool.path("approval.json").read_bytes()).record)
        error = await refused(client.ledger.GetInfo(INFO))
        assert error.reason == "CERTIFICATE_REVOKED"


class TestWhoMayRevoke:
    """Whose certificates an authority has a say about, on either side of the border."""

    @pytest.fixture
    def revoked(self) -> tuple[Access, bytes]:
        """A certificate that the other side's authority has revoked, and who decides."""
        border, digest = new_border(), bytes(range(32))
        event = body_pb2.KeyEvent(
            action=body_pb2.KEY_ACTION_REVOKE,
            role=body_pb2.ROLE_TLS,
            subject="peer/hongkong",
            public_key=digest,
        )
        border.hong_kong.by_authority(key_event=event)
        keyring = SimpleNamespace(history=border.mainland.history())
        access = Access(
            cast("Any", keyring),
            operators=(),
            peer="hongkong",
            clock=lambda: 0,
            last_time=lambda: 0,
            peer_keys=border.hong_kong.history,
        )
        return access, digest

    async def test_of_its_own_node_each_authority(self, revoked: tuple[Access, bytes]) -> None:
        access, digest = revoked
        assert access.is_revoked(Caller(PEER, "hongkong"), digest)

    @pytest.mark.parametrize("role", [INSTITUTION, OPERATOR, REGULATOR])
    async def test_of_nobody_of_ours_the_other_authority(
        self, revoked: tuple[Access, bytes], role: str
    ) -> None:
        access, digest = revoked
        assert not access.is_revoked(Caller(role, "uscc.A"), digest)
