"""What an operator asks about evidence; that there is some, tests/adversary shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Client, Node, refused

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import FieldError, ForbiddenError, NotFoundError

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIGEST = bytes.fromhex("ab" * 32)


@pytest.fixture
def kept(node: Node) -> Iterator[Path]:
    """A bundle on the node's disk, which waits for nobody."""
    directory = node.side.config.data / "evidence"
    directory.mkdir(exist_ok=True)
    path = directory / f"{DIGEST.hex()}.evidence"
    path.write_bytes(b"a bundle")
    yield path
    path.unlink()


class TestEvidence:
    async def test_is_listed(self, node: Node, kept: Path) -> None:
        listed = await node.operator.admin.ListEvidence(pb.ListEvidenceRequest())
        (one,) = listed.evidence
        assert (one.digest, one.size_bytes, one.latched) == (DIGEST, 8, False)

    async def test_is_given_out_whole(self, node: Node, kept: Path) -> None:
        request = pb.GetEvidenceRequest(digest=DIGEST)
        assert (await node.operator.admin.GetEvidence(request)).bundle == b"a bundle"

    async def test_is_listed_whatever_else_lies_there(self, node: Node, kept: Path) -> None:
        other = kept.with_name("notes.evidence")
        other.write_text("of an operator")
        listed = await node.operator.admin.ListEvidence(pb.ListEvidenceRequest())
        other.unlink()
        assert len(listed.evidence) == 1

    async def test_that_does_not_wait_cannot_be_acknowledged(self, node: Node, kept: Path) -> None:
        request = pb.AcknowledgeEvidenceRequest(digest=DIGEST)
        error = await refused(node.operator.admin.AcknowledgeEvidence(request))
        assert isinstance(error, NotFoundError)

    async def test_that_is_not_there_is_not_found(self, node: Node) -> None:
        request = pb.GetEvidenceRequest(digest=bytes(32))
        assert isinstance(await refused(node.operator.admin.GetEvidence(request)), NotFoundError)

    @pytest.mark.parametrize("digest", [b"", b"../../node", DIGEST + b"\0", bytes(40_000)])
    async def test_is_asked_for_by_a_digest_and_nothing_else(
        self, node: Node, digest: bytes
    ) -> None:
        admin = node.operator.admin
        for call in (
            admin.GetEvidence(pb.GetEvidenceRequest(digest=digest)),
            admin.AcknowledgeEvidence(pb.AcknowledgeEvidenceRequest(digest=digest)),
        ):
            assert isinstance(await refused(call), FieldError)

    async def test_none_is_an_empty_list(self, node: Node) -> None:
        listed = await node.operator.admin.ListEvidence(pb.ListEvidenceRequest())
        assert (list(listed.evidence), list(listed.refused)) == ([], [])

    async def test_is_for_operators(self, exporter: Client) -> None:
        error = await refused(exporter.admin.ListEvidence(pb.ListEvidenceRequest()))
        assert isinstance(error, ForbiddenError)
