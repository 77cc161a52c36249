"""Erasure over the network: what the authority signed an operator hands in, and nobody else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from builders import MAINLAND, RECIPIENT
from ledger.law_world import LawWorld, at
from ledger.stores import reopened
from ledger.threaded import InThread
from nodes import Client, Node, refused

from ledgerd.api.admin import AdminHandlers
from ledgerd.api.errors import Context
from ledgerd.ledger.committer import Committer
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.sequencer import Sequencer
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import (
    ForbiddenError,
    LedgerError,
    NotFoundError,
    NotReadyError,
    SignatureError,
)
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.erasing import SignedOrder

pytestmark = pytest.mark.asyncio(loop_scope="module")

NONE: Context = None  # type: ignore[assignment]


def request(signed: SignedOrder) -> pb.SubmitErasureRequest:
    return pb.SubmitErasureRequest(order=signed.order, signature=signed.signature)


def order_by(key: SigningKey, origin: str, institution: str, *indexes: int) -> SignedOrder:
    return SignedOrder.make(
        origin,
        key,
        order_id=os.urandom(16),
        institution=institution,
        indexes=indexes,
        reason="kept long enough",
        now=at("2030-01-01"),
    )


class TestAtANode:
    def order(self, node: Node, *indexes: int) -> SignedOrder:
        key = node.side.authority.key_file.key
        return order_by(key, node.side.origin, "uscc.91440300MA5EXMPLXX", *indexes)

    async def refused(self, client: Client, signed: SignedOrder) -> LedgerError:
        return await refused(client.admin.SubmitErasure(request(signed)))

    async def test_what_is_young_is_refused(self, node: Node, exporter: Client) -> None:
        index = await exporter.place(exporter.transfer())
        error = await self.refused(node.operator, self.order(node, index))
        assert (type(error), error.reason) == (NotReadyError, "RETENTION")

    async def test_an_order_that_nobody_signed_is_refused(self, node: Node) -> None:
        signed = self.order(node, 1)
        forged = SignedOrder(signed.origin, signed.order, bytes(64))
        error = await self.refused(node.operator, forged)
        assert (type(error), error.reason) == (SignatureError, "NOT_ORDERED")

    async def test_of_no_entry_is_refused(self, node: Node) -> None:
        error = await self.refused(node.operator, self.order(node, 10**9))
        assert isinstance(error, NotFoundError)

    async def test_it_is_no_institutions_business(self, node: Node, exporter: Client) -> None:
        assert isinstance(await self.refused(exporter, self.order(node, 1)), ForbiddenError)

    async def test_nor_a_regulators(self, node: Node, regulator: Client) -> None:
        assert isinstance(await self.refused(regulator, self.order(node, 1)), ForbiddenError)


class TestOfWhatIsOldEnough:
    """Of a log that is four years old, which no node that runs today has."""

    @pytest.fixture
    def old(self) -> tuple[LawWorld, int]:
        law = LawWorld()
        index = law.mainland.place(law.pipia())
        law.clock.now = at("2030-01-01")
        return law, index

    @asynccontextmanager
    async def admin(self, law: LawWorld) -> AsyncIterator[AdminHandlers]:
        node = law.mainland
        store = reopened(node.store, Path())
        sequencer = Sequencer(
            InThread(Committer(store, lambda: node.new_writer(store))),
            on_commit=lambda _: None,
            on_fatal=lambda _: None,
        )
        await sequencer.start()
        keyring = Keyring(store, MAINLAND, node.log.authority.public)
        yield AdminHandlers(
            keyring, sequencer, Reader(store), law.clock, node.by_node, NONE, NONE, NONE
        )
        await sequencer.stop()

    def order(self, law: LawWorld, index: int) -> pb.SubmitErasureRequest:
        key = law.mainland.log.authority
        return request(order_by(key, MAINLAND, law.exporter.id, index))

    async def test_the_receipt_is_of_the_erasure(self, old: tuple[LawWorld, int]) -> None:
        law, index = old
        async with self.admin(law) as admin:
            reply = await admin.SubmitErasure(self.order(law, index), NONE)
            checked = await admin.CheckErasure(pb.CheckErasureRequest(index=index), NONE)
        assert reply.receipt.header
        assert checked.reason == "ERASED"

    async def test_handed_in_again_it_gets_the_same_receipt(
        self, old: tuple[LawWorld, int]
    ) -> None:
        law, index = old
        order = self.order(law, index)
        async with self.admin(law) as admin:
            first = await admin.SubmitErasure(order, NONE)
            again = await admin.SubmitErasure(order, NONE)
        assert first.receipt.header == again.receipt.header

    async def test_handed_in_twice_at_once_it_is_one_erasure(
        self, old: tuple[LawWorld, int]
    ) -> None:
        law, index = old
        order = self.order(law, index)
        async with self.admin(law) as admin:
            replies = await asyncio.gather(*(admin.SubmitErasure(order, NONE) for _ in range(3)))
        assert len({reply.receipt.header for reply in replies}) == 1

    async def test_what_the_machine_refuses_the_operator_is_told(
        self, old: tuple[LawWorld, int]
    ) -> None:
        law, index = old
        key = law.mainland.log.authority
        signed = order_by(key, MAINLAND, RECIPIENT, index)
        async with self.admin(law) as admin:
            with pytest.raises(ForbiddenError):
                await admin.SubmitErasure(request(signed), NONE)
