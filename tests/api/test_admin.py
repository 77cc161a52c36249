"""Key events: operators hand in what the authority signed, and nothing else."""

from __future__ import annotations

import os

import pytest
from builders import new_body, new_border
from nodes import Node, now, receipt_of, refused

from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.errors import ConflictError, FieldError, ForbiddenError, SignatureError
from ledgerd_client.core.header import Kind
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.receipt import verify_receipt
from ledgerd_client.core.record import SignedRecord, sign_record
from ledgerd_client.identity import INSTITUTION

pytestmark = pytest.mark.asyncio(loop_scope="module")


def admission(node: Node, subject: str) -> SignedRecord:
    return node.side.admission(INSTITUTION, subject, node.side.issue(INSTITUTION, subject))


class TestAKeyEvent:
    async def test_is_appended_and_its_receipt_verifies(self, node: Node) -> None:
        receipt = await node.submit(admission(node, "uscc.A1"))
        verified = verify_receipt(receipt_of(receipt), await node.history())
        assert verified.header.kind is Kind.KEY

    async def test_handed_in_twice_gets_the_first_receipt(self, node: Node) -> None:
        record = admission(node, "uscc.A2")
        first, second = await node.submit(record), await node.submit(record)
        assert first.header == second.header

    async def test_that_admits_a_key_again_is_refused(self, node: Node) -> None:
        credentials = node.side.issue(INSTITUTION, "uscc.A3")
        await node.submit(node.side.admission(INSTITUTION, "uscc.A3", credentials))
        again = node.side.admission(INSTITUTION, "uscc.A3", credentials)
        error = await refused(node.submit(again))
        assert (type(error), error.reason) == (ConflictError, "KEY_KNOWN")

    async def test_by_another_key_than_the_authoritys_is_refused(self, node: Node) -> None:
        forged = sign_record(admission(node, "uscc.A4").body, SigningKey(os.urandom(32)))
        error = await refused(node.submit(forged))
        assert (type(error), error.reason) == (ForbiddenError, "KEY_UNKNOWN")

    async def test_with_a_signature_that_fails_is_refused(self, node: Node) -> None:
        record = admission(node, "uscc.A5")
        forged = SignedRecord(record.body, record.key_id, bytes(64))
        assert isinstance(await refused(node.submit(forged)), SignatureError)

    async def test_of_another_kind_is_refused(self, node: Node) -> None:
        loss = new_border().mainland.loss()
        body = new_body(node.side.origin, AUTHORITY, now(), loss=loss)
        error = await refused(node.submit(sign_record(body, node.side.authority.key_file.key)))
        assert isinstance(error, FieldError)
