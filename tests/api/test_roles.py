"""What being let in means; who is let in to which method stands in test_matrix."""

from __future__ import annotations

import pytest
from grpc_health.v1 import health_pb2
from nodes import Client, Node, refused

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import ForbiddenError
from ledgerd_client.identity import INSTITUTION, OPERATOR, PEER, REGULATOR, ROLES

pytestmark = pytest.mark.asyncio(loop_scope="module")

INFO = pb.GetInfoRequest()
HEALTH = "/grpc.health.v1.Health/Check"

Callers = dict[str, Client]


@pytest.fixture(scope="module")
def callers(node: Node, exporter: Client, regulator: Client, the_peer: Client) -> Callers:
    """One of each role, each of them admitted."""
    return {
        INSTITUTION: exporter, REGULATOR: regulator, OPERATOR: node.operator, PEER: the_peer,
    }  # fmt: skip


class TestRoles:
    @pytest.mark.parametrize("role", ROLES)
    async def test_every_role_may_ask_for_information(self, callers: Callers, role: str) -> None:
        reply = await callers[role].ledger.GetInfo(INFO)
        assert reply.appends

    async def test_a_request_is_parsed_only_after_its_caller_was_let_in(
        self, exporter: Client
    ) -> None:
        submit = exporter.channel.unary_unary("/ledger.v1.AdminService/SubmitKeyEvent")
        assert (await refused(submit(b"\xff\xff"))).reason == "WRONG_ROLE"

    async def test_no_request_is_awaited_of_a_caller_that_is_not_let_in(
        self, exporter: Client
    ) -> None:
        submit = exporter.channel.stream_unary("/ledger.v1.AdminService/SubmitKeyEvent")
        assert (await refused(submit())).reason == "WRONG_ROLE"

    async def test_a_call_without_a_request_is_malformed(self, exporter: Client) -> None:
        info = exporter.channel.stream_unary("/ledger.v1.LedgerService/GetInfo")
        assert (await refused(info(iter(())))).reason == "MALFORMED"

    async def test_health_is_told_to_whoever_was_admitted(self, exporter: Client) -> None:
        reply = await exporter.channel.unary_unary(HEALTH)(b"")
        assert health_pb2.HealthCheckResponse.FromString(reply).status == 1


class TestWhomTheLogAdmits:
    async def test_an_institution_that_was_never_admitted_is_refused(self, node: Node) -> None:
        stranger = node.client(node.side.issue(INSTITUTION, "uscc.STRANGER"))
        error = await refused(stranger.ledger.GetInfo(INFO))
        assert (type(error), error.reason) == (ForbiddenError, "NOT_ADMITTED")

    async def test_an_institution_may_call_from_its_admission_on(self, node: Node) -> None:
        credentials = node.side.issue(INSTITUTION, "uscc.NEWCOMER")
        client = node.client(credentials)
        await refused(client.ledger.GetInfo(INFO))
        await node.submit(node.side.admission(INSTITUTION, "uscc.NEWCOMER", credentials))
        assert (await client.ledger.GetInfo(INFO)).appends

    async def test_an_institution_whose_keys_are_revoked_may_still_ask(self, node: Node) -> None:
        institution = await node.institution("uscc.RETIRED")
        await node.revoke(institution)
        assert (await institution.ledger.GetInfo(INFO)).appends

    async def test_a_regulator_without_a_good_key_is_refused(self, node: Node) -> None:
        regulator = await node.regulator("cac.retired")
        await node.revoke(regulator, REGULATOR)
        error = await refused(regulator.regulator.ListEntries(pb.ListEntriesRequest()))
        assert error.reason == "NOT_ADMITTED"

    async def test_an_institution_is_no_regulator_of_the_same_name(
        self, node: Node, exporter: Client
    ) -> None:
        client = node.client(node.side.issue(REGULATOR, exporter.id))
        error = await refused(client.regulator.ListEntries(pb.ListEntriesRequest()))
        assert error.reason == "NOT_ADMITTED"

    async def test_an_operator_that_is_not_configured_is_refused(self, node: Node) -> None:
        client = node.client(node.side.issue(OPERATOR, "nobody"))
        assert (await refused(client.ledger.GetInfo(INFO))).reason == "NOT_ADMITTED"

    async def test_a_peer_of_another_name_is_refused(self, node: Node) -> None:
        client = node.client(node.peer.issue(PEER, "macao"))
        error = await refused(client.peer.GetCosigned(pb.GetCosignedRequest()))
        assert error.reason == "NOT_ADMITTED"
