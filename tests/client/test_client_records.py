"""Recording what is not a transfer: said twice it is one, and a node that lies is not believed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from client.contracts import MOMENT, a_contract
from client.sdk import World

from ledgerd_client import (
    ConflictError,
    Contract,
    FieldError,
    ForbiddenError,
    Incident,
    Suspend,
    UnavailableError,
    VerificationError,
)
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.testing import HONG_KONG, MAINLAND


@pytest.fixture
def contract() -> Contract:
    return a_contract(MAINLAND, HONG_KONG)


class TestRecording:
    @pytest.mark.parametrize("what", [None, "gba-sc.contract", {}], ids=repr)
    async def test_what_is_nothing_to_record_is_told_so(self, world: World, what: Any) -> None:
        async with world.client() as ledger:
            with pytest.raises(FieldError, match="nothing to record") as told:
                await ledger.record(what)
        assert "Contract" in told.value.action

    async def test_the_same_caller_ref_gives_the_first_record(
        self, world: World, contract: Contract
    ) -> None:
        async with world.client() as ledger:
            first = await ledger.record(contract, caller_ref="gba-sc")
            second = await ledger.record(Contract.parse(contract.file()), caller_ref="gba-sc")
        assert second.record_id == first.record_id

    async def test_another_nonce_is_another_statement(
        self, world: World, contract: Contract
    ) -> None:
        async with world.client() as ledger:
            await ledger.record(contract, caller_ref="gba-sc")
            with pytest.raises(ConflictError, match="caller_ref"):
                await ledger.record(a_contract(MAINLAND, HONG_KONG), caller_ref="gba-sc")

    async def test_another_matter_is_another_statement(self, world: World) -> None:
        def incident() -> Incident:
            return Incident(discovered_at=MOMENT, grade=1, cause=1, affected_subjects=1)

        async with world.client() as ledger:
            await ledger.record(incident(), caller_ref="one")
            with pytest.raises(ConflictError):
                await ledger.record(incident(), caller_ref="one")

    async def test_it_is_queued_while_the_node_is_down(
        self, world: World, contract: Contract
    ) -> None:
        async with world.client() as ledger:
            await ledger.checkpoint()
            world.mainland.go_down()
            queued = await world.time.finish(ledger.record(contract, if_unreachable="queue"))
            assert (queued.status, queued.ref) == ("queued", contract.ref)
            world.mainland.come_up()
            await world.time.finish(ledger.flush())
            assert (await ledger.contract(contract.contract_id)).state == "open"

    async def test_what_stays_on_one_side_has_no_ref(self, world: World) -> None:
        async with world.client() as ledger:
            recorded = await ledger.record(Suspend(contract_id="C", at=MOMENT, cause="agreed"))
        assert (recorded.ref, recorded.status) == (b"", "recorded")

    async def test_a_contract_of_others_is_refused_before_it_is_sent(
        self, world: World, contract: Contract
    ) -> None:
        others = replace(contract, exporter=contract.exporter._replace(institution="uscc.OTHER"))
        async with world.client() as ledger:
            with pytest.raises(ForbiddenError):
                await ledger.record(others)
        assert world.mainland.batches == []

    async def test_many_at_once_are_few_calls(self, world: World) -> None:
        pauses = [Suspend(contract_id=f"C{n}", at=MOMENT, cause=1) for n in range(50)]
        async with world.client() as ledger:
            await asyncio.gather(*map(ledger.record, pauses))
        assert len(world.mainland.batches) < 10


class TestChecking:
    async def test_what_the_node_would_refuse_is_raised(
        self, world: World, contract: Contract
    ) -> None:
        way = world.detour()
        refusal = pb.Refusal(reason="FIELD_OUT_OF_RANGE", message="no")
        way.lies["check"] = lambda _: pb.CheckResponse(outcomes=[pb.CheckOutcome(refused=refusal)])
        async with world.client(transport=way) as ledger:
            with pytest.raises(FieldError):
                await ledger.check(contract)

    async def test_findings_are_read(self, world: World, contract: Contract) -> None:
        way = world.detour()
        finding = body_pb2.Finding(
            finding_id=bytes(32), rule="K22.planned", severity=2, numbers=[7, 5], contract_id="C"
        )
        way.lies["check"] = lambda _: pb.CheckResponse(
            outcomes=[pb.CheckOutcome(findings=[finding.SerializeToString(deterministic=True)])]
        )
        async with world.client(transport=way) as ledger:
            ((found,),) = await ledger.check(contract)
        assert (found.rule, found.numbers) == ("K22.planned", {"subjects": 7, "scale": 5})

    async def test_findings_that_do_not_parse_are_the_nodes_fault(
        self, world: World, contract: Contract
    ) -> None:
        way = world.detour()
        outcome = pb.CheckOutcome(findings=[b"no finding"])
        way.lies["check"] = lambda _: pb.CheckResponse(outcomes=[outcome])
        async with world.client(transport=way) as ledger:
            with pytest.raises(VerificationError):
                await ledger.check(contract)

    async def test_an_answer_to_something_else_is_not_believed(
        self, world: World, contract: Contract
    ) -> None:
        way = world.detour()
        way.lies["check"] = lambda _: pb.CheckResponse()
        async with world.client(transport=way) as ledger:
            with pytest.raises(VerificationError):
                await ledger.check(contract)

    async def test_a_node_that_is_down_is_said_to_be(
        self, world: World, contract: Contract
    ) -> None:
        async with world.client() as ledger:
            await ledger.checkpoint()
            world.mainland.go_down()
            with pytest.raises(UnavailableError):
                await ledger.check(contract)


def another_id(reply: pb.GetContractResponse) -> None:
    reply.contract.contract_id = "another"


def another_ref(reply: pb.GetContractResponse) -> None:
    reply.contract.ref = bytes(32)


def another_signer(reply: pb.GetContractResponse) -> None:
    reply.contract.halves[0].institution = "uscc.OTHER"


def another_place(reply: pb.GetContractResponse) -> None:
    reply.contract.halves[0].index += 1


def no_checkpoint(reply: pb.GetContractResponse) -> None:
    reply.contract.checkpoint = b""


def no_date(reply: pb.GetContractResponse) -> None:
    reply.contract.first_transfer_on = 20260230


class TestAContractsView:
    @pytest.mark.parametrize(
        "lie", [another_id, another_ref, another_signer, another_place, no_checkpoint, no_date]
    )
    async def test_a_false_one_is_not_believed(
        self, world: World, contract: Contract, lie: Any
    ) -> None:
        way = world.detour()
        way.lies["get_contract"] = lie
        async with world.client(transport=way) as ledger:
            await ledger.record(contract)
            with pytest.raises(VerificationError):
                await ledger.contract(contract.contract_id)
