"""Append: what becomes of an institution's records."""

from __future__ import annotations

import pytest
from nodes import Client, Node, altered, altered_terms, now, receipt_of, refused

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import MAX_BODY_BYTES
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.header import Header
from ledgerd_client.core.merkle import leaf_hash
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.ranges import cut_inclusion
from ledgerd_client.core.receipt import receipts_of, verify_receipt

pytestmark = pytest.mark.asyncio(loop_scope="module")

MINUTE = 60_000_000


class TestNewRecords:
    async def test_the_receipts_of_a_call_verify_offline(
        self, node: Node, exporter: Client
    ) -> None:
        reply = await exporter.append(*(exporter.transfer() for _ in range(3)))
        size = Checkpoint.parse(parse_note(reply.checkpoint).text).size
        leaves = [leaf_hash(header) for header in reply.headers]
        proofs = cut_inclusion(leaves, reply.first, size, list(reply.range_proof))
        history = await node.history()
        for receipt in receipts_of(list(reply.headers), proofs, reply.checkpoint):
            assert verify_receipt(receipt, history).institution == exporter.id

    async def test_each_record_of_a_call_has_an_outcome_of_its_own(self, exporter: Client) -> None:
        bad = exporter.transfer()
        bad.signature = bytes(64)
        reply = await exporter.append(exporter.transfer(), bad, exporter.transfer())
        assert [outcome.WhichOneof("result") for outcome in reply.outcomes] == [
            "recorded", "refused", "recorded",
        ]  # fmt: skip

    async def test_a_thousand_records_go_in_one_call(self, exporter: Client) -> None:
        reply = await exporter.append(*[exporter.transfer()] * 1000)
        assert len(reply.outcomes) == 1000


class TestRepeatedRecords:
    async def test_a_record_sent_again_gets_the_index_that_it_has(self, exporter: Client) -> None:
        record = exporter.transfer()
        index = await exporter.place(record)
        repeated = (await exporter.append(record)).outcomes[0].repeated
        assert Header.parse(repeated.header).index == index

    async def test_its_receipt_verifies_offline(self, node: Node, exporter: Client) -> None:
        record = exporter.transfer()
        await exporter.place(record)
        repeated = (await exporter.append(record)).outcomes[0].repeated
        verified = verify_receipt(receipt_of(repeated), await node.history())
        assert verified.institution == exporter.id

    async def test_a_record_id_is_not_used_for_other_bytes(self, exporter: Client) -> None:
        record = exporter.transfer()
        await exporter.place(record)
        other = exporter.sign(altered(record, salt=bytes(16)))
        assert await exporter.refusal(other) == "RECORD_ID_REUSED"


class TestRefusedRecords:
    async def test_from_the_future(self, exporter: Client) -> None:
        assert await exporter.refusal(exporter.transfer(now() + 10 * MINUTE)) == "CLOCK_AHEAD"

    async def test_of_another_log(self, exporter: Client) -> None:
        record = exporter.transfer(origin="elsewhere.example/log")
        assert await exporter.refusal(record) == "WRONG_ORIGIN"

    async def test_by_another_institution(self, node: Node, exporter: Client) -> None:
        other = await node.institution("uscc.OTHER")
        assert await exporter.refusal(other.transfer()) == "WRONG_AUTHOR"

    async def test_signed_with_the_key_of_another_institution(
        self, node: Node, exporter: Client
    ) -> None:
        other = await node.institution("uscc.OTHER")
        borrowed = node.client(other.credentials, exporter.id)
        assert await exporter.refusal(borrowed.transfer()) == "KEY_UNKNOWN"

    async def test_with_an_identity_number_in_its_text(self, exporter: Client) -> None:
        record = exporter.transfer()
        # Signed by a client that does not look, as ours does.
        terms = altered_terms(record, contract_id="11010519491231002X")
        record.body = altered(record, transfer=body_pb2.Transfer(terms=terms))
        assert await exporter.refusal(record) == "PERSONAL_DATA"

    async def test_larger_than_a_body_may_be(self, exporter: Client) -> None:
        record = exporter.transfer()
        record.body += bytes(MAX_BODY_BYTES)
        assert await exporter.refusal(record) == "BODY_TOO_LARGE"

    async def test_unsigned(self, exporter: Client) -> None:
        record = exporter.transfer()
        record.signature = b""
        assert await exporter.refusal(record) == "UNSIGNED"

    async def test_with_the_signature_of_another_record(self, exporter: Client) -> None:
        record = exporter.transfer()
        record.signature = exporter.transfer().signature
        assert await exporter.refusal(record) == "BAD_SIGNATURE"

    async def test_not_canonically_encoded(self, exporter: Client) -> None:
        record = exporter.transfer()
        record.body += b"\xf8\x07\x01"  # field 127, varint 1
        assert await exporter.refusal(record) == "NOT_CANONICAL"


class TestRevokedKeys:
    async def test_a_new_record_is_refused(self, node: Node) -> None:
        institution = await node.institution("uscc.REVOKED1")
        await node.revoke(institution)
        assert await institution.refusal(institution.transfer()) == "KEY_REVOKED"

    async def test_a_retry_still_gets_its_receipt(self, node: Node) -> None:
        institution = await node.institution("uscc.REVOKED2")
        record = institution.transfer()
        index = await institution.place(record)
        await node.revoke(institution)
        repeated = (await institution.append(record)).outcomes[0].repeated
        assert Header.parse(repeated.header).index == index


class TestTheCallAsAWhole:
    async def test_over_a_thousand_records_are_refused(self, exporter: Client) -> None:
        error = await refused(exporter.append(*[pb.Record()] * 1001))
        assert error.reason == "BATCH_TOO_LARGE"

    async def test_a_call_without_a_record_is_refused(self, exporter: Client) -> None:
        assert (await refused(exporter.append())).reason == "BATCH_EMPTY"

    async def test_bytes_that_are_no_request_are_refused(self, exporter: Client) -> None:
        append = exporter.channel.unary_unary("/ledger.v1.LedgerService/Append")
        assert (await refused(append(b"\xff\xff"))).reason == "MALFORMED"
