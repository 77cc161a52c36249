"""Receipts, entries and transfers: each institution sees its own, and nobody learns of others'."""

from __future__ import annotations

import os

import pytest
from nodes import Client, Node, receipt_of, ref_of_record, refused

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import FieldError, NotFoundError, NotReadyError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.receipt import verify_receipt
from ledgerd_client.core.record import make_record_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

GENESIS, RULES = 0, 1


class TestReceipts:
    async def test_of_ones_own_record_by_index_verifies(self, node: Node, exporter: Client) -> None:
        index = await exporter.place(exporter.transfer())
        reply = await exporter.ledger.GetReceipt(pb.GetReceiptRequest(index=index))
        verified = verify_receipt(receipt_of(reply.receipt), await node.history())
        assert (verified.header.index, verified.institution) == (index, exporter.id)

    async def test_of_ones_own_record_by_record_id(self, exporter: Client) -> None:
        record = exporter.transfer()
        index = await exporter.place(record)
        record_id = body_pb2.Body.FromString(record.body).record_id
        reply = await exporter.ledger.GetReceipt(pb.GetReceiptRequest(record_id=record_id))
        assert Header.parse(reply.receipt.header).index == index

    async def test_of_anothers_record_is_not_found_by_its_record_id(
        self, exporter: Client, other: Client
    ) -> None:
        record = exporter.transfer()
        await exporter.place(record)
        record_id = body_pb2.Body.FromString(record.body).record_id
        request = pb.GetReceiptRequest(record_id=record_id)
        assert isinstance(await refused(other.ledger.GetReceipt(request)), NotFoundError)

    async def test_of_anothers_record_reads_as_if_there_were_none(
        self, exporter: Client, other: Client
    ) -> None:
        index = await exporter.place(exporter.transfer())
        hidden = await refused(other.ledger.GetReceipt(pb.GetReceiptRequest(index=index)))
        absent = await refused(other.ledger.GetReceipt(pb.GetReceiptRequest(index=10**9)))
        assert hidden.message == absent.message.replace(str(10**9), str(index))

    @pytest.mark.parametrize("index", [0, 10**9])
    async def test_cosigned_of_anothers_entry_reads_as_if_there_were_none(
        self, exporter: Client, index: int
    ) -> None:
        request = pb.GetReceiptRequest(index=index, cosigned=True)
        error = await refused(exporter.ledger.GetReceipt(request))
        assert (type(error), error.message) == (NotFoundError, f"there is no entry {index}")

    async def test_of_no_record_at_all_is_refused(self, exporter: Client) -> None:
        error = await refused(exporter.ledger.GetReceipt(pb.GetReceiptRequest()))
        assert isinstance(error, FieldError)

    async def test_of_a_malformed_record_id_is_refused(self, exporter: Client) -> None:
        request = pb.GetReceiptRequest(record_id=b"short")
        assert isinstance(await refused(exporter.ledger.GetReceipt(request)), FieldError)

    async def test_of_an_unknown_record_id_is_not_found(self, exporter: Client) -> None:
        request = pb.GetReceiptRequest(record_id=make_record_id(1, os.urandom(10)))
        assert isinstance(await refused(exporter.ledger.GetReceipt(request)), NotFoundError)

    async def test_cosigned_is_not_ready_while_the_peer_is_silent(self, exporter: Client) -> None:
        index = await exporter.place(exporter.transfer())
        request = pb.GetReceiptRequest(index=index, cosigned=True)
        error = await refused(exporter.ledger.GetReceipt(request))
        assert (type(error), error.reason) == (NotReadyError, "NOT_COSIGNED_YET")


class TestEntries:
    async def test_ones_own_comes_with_its_body(self, exporter: Client) -> None:
        record = exporter.transfer()
        index = await exporter.place(record)
        reply = await exporter.ledger.GetEntry(pb.GetEntryRequest(index=index))
        assert reply.body == record.body

    async def test_anothers_reads_as_if_there_were_none(
        self, exporter: Client, other: Client
    ) -> None:
        index = await exporter.place(exporter.transfer())
        hidden = await refused(other.ledger.GetEntry(pb.GetEntryRequest(index=index)))
        absent = await refused(other.ledger.GetEntry(pb.GetEntryRequest(index=10**9)))
        assert (type(hidden), hidden.message) == (
            NotFoundError, absent.message.replace(str(10**9), str(index)),
        )  # fmt: skip

    @pytest.mark.parametrize("index", [GENESIS, RULES])
    async def test_of_authority_and_rules_are_for_everybody(
        self, exporter: Client, index: int
    ) -> None:
        reply = await exporter.ledger.GetEntry(pb.GetEntryRequest(index=index))
        assert reply.body

    async def test_a_finding_on_ones_own_record_comes_with_its_body(self, exporter: Client) -> None:
        finding = await place_late(exporter)
        reply = await exporter.ledger.GetEntry(pb.GetEntryRequest(index=finding))
        assert body_pb2.Body.FromString(reply.body).finding.rule

    async def test_a_finding_on_anothers_record_shows_its_header_alone(
        self, exporter: Client, other: Client
    ) -> None:
        finding = await place_late(exporter)
        reply = await other.ledger.GetEntry(pb.GetEntryRequest(index=finding))
        assert (Header.parse(reply.receipt.header).kind, reply.body) == (Kind.NODE, b"")


class TestTransfers:
    async def test_ones_own_is_shown_with_its_halves(self, exporter: Client) -> None:
        record = exporter.transfer()
        index = await exporter.place(record)
        request = pb.GetTransferRequest(ref=ref_of_record(record))
        view = (await exporter.ledger.GetTransfer(request)).transfer
        assert (view.state, [half.index for half in view.halves]) == ("open", [index])

    async def test_anothers_reads_as_if_there_were_none(
        self, exporter: Client, other: Client
    ) -> None:
        record = exporter.transfer()
        await exporter.place(record)
        ref, unknown = ref_of_record(record), os.urandom(32)
        hidden = await refused(other.ledger.GetTransfer(pb.GetTransferRequest(ref=ref)))
        absent = await refused(other.ledger.GetTransfer(pb.GetTransferRequest(ref=unknown)))
        assert hidden.message == absent.message.replace(unknown.hex(), ref.hex())

    async def test_that_names_the_callers_id_on_the_other_side_is_not_shown(
        self, node: Node, other: Client
    ) -> None:
        institution = await node.institution("lei.BOTHSIDES")
        party = body_pb2.Party(origin=node.peer.origin, institution=institution.id)
        record = other.transfer(recipient=party)
        await other.place(record)
        request = pb.GetTransferRequest(ref=ref_of_record(record))
        assert isinstance(await refused(institution.ledger.GetTransfer(request)), NotFoundError)

    @pytest.mark.parametrize("ref", [b"", b"short", bytes(33)])
    async def test_a_ref_of_another_size_is_refused(self, exporter: Client, ref: bytes) -> None:
        error = await refused(exporter.ledger.GetTransfer(pb.GetTransferRequest(ref=ref)))
        assert isinstance(error, FieldError)


class TestTheLog:
    async def test_keys_of_this_log_verify_under_its_authority(self, node: Node) -> None:
        assert (await node.history()).need_genesis().peer_origin == node.peer.origin

    async def test_keys_of_the_peer_are_awaited_until_it_is_replayed(
        self, node: Node, exporter: Client
    ) -> None:
        request = pb.GetKeyHistoryRequest(origin=node.peer.origin)
        error = await refused(exporter.ledger.GetKeyHistory(request))
        assert (error.reason, error.retryable) == ("REPLAY_BEHIND", True)

    async def test_keys_of_a_stranger_are_not_found(self, exporter: Client) -> None:
        request = pb.GetKeyHistoryRequest(origin="stranger.example/log")
        error = await refused(exporter.ledger.GetKeyHistory(request))
        assert isinstance(error, NotFoundError)

    async def test_a_cosigned_checkpoint_is_awaited_while_the_peer_is_silent(
        self, exporter: Client
    ) -> None:
        request = pb.GetCheckpointRequest(cosigned=True)
        assert (await refused(exporter.ledger.GetCheckpoint(request))).reason == "NOT_COSIGNED_YET"


async def place_late(client: Client) -> int:
    """Append a record so long after its event that a finding follows it; the finding's index."""
    return await client.place(client.transfer(at=1_500_000_000_000_000)) + 1
