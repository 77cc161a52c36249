"""
What an institution may rely on, whichever node it talks to.

Runs against every node of conftest.node_factories; nothing here looks inside one.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from client.contract import NodeUnderTest
from client.sdk import EXPORTER, PAYLOAD, RECIPIENT, STATEMENT

from ledgerd_client import (
    FieldError,
    KeyHistory,
    LedgerClient,
    NotFoundError,
    Receipt,
    Settings,
    TooLargeError,
    Trust,
    UnavailableError,
    verify_receipt,
)
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.header import Header
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.record import make_body, make_record_id, sign_record
from ledgerd_client.keyfile import read_key_file
from ledgerd_client.transport import Transport


@pytest.fixture
def exporter(node: NodeUnderTest) -> Settings:
    return node.enrol(EXPORTER)


@pytest.fixture
def recipient(node: NodeUnderTest) -> Settings:
    return node.peer.enrol(RECIPIENT)


def open_client(node: NodeUnderTest, settings: Settings) -> LedgerClient:
    return LedgerClient(settings, transport=node.transport(settings))


def record(
    settings: Settings,
    *,
    record_id: bytes | None = None,
    later: timedelta = timedelta(),
    key: SigningKey | None = None,
) -> pb.Record:
    """A signed TRANSFER, as another implementation of the SDK would make it."""
    micros = int((datetime.now(UTC) + later).timestamp() * 1e6)
    terms = body_pb2.Terms(
        exporter=body_pb2.Party(origin=settings.origin, institution=settings.institution),
        recipient=body_pb2.Party(origin="elsewhere.example/log", institution=RECIPIENT),
        nonce=os.urandom(16),
        contract_id="C",
        transmission=5,
        purposes=[1],
        categories=[1],
        legal_basis=1,
        consent_form=1,
        exemption=1,
    )
    body = make_body(
        origin=settings.origin,
        author=settings.institution or "",
        record_id=record_id or make_record_id(micros, os.urandom(10)),
        occurred_at=micros,
        salt=os.urandom(16),
        transfer=body_pb2.Transfer(terms=terms.SerializeToString(deterministic=True)),
    )
    signed = sign_record(body, key or read_key_file(settings.signing_key or "").key)
    return pb.Record(body=signed.body, key_id=signed.key_id, signature=signed.signature)


async def append(way: Transport, *records: pb.Record) -> pb.AppendResponse:
    return await way.append(pb.AppendRequest(records=records))


class TestDeclaring:
    async def test_a_declared_transfer_has_a_receipt_that_verifies_offline(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
        trust = Trust.parse(exporter.trust.read_bytes())
        name = sha256(exporter.origin.encode()).hexdigest()[:16]
        kept = (exporter.keys_directory / f"{name}.keys").read_bytes()
        history = KeyHistory.parse(kept, trust.authority(exporter.origin))
        receipt = Receipt.parse(declared.receipt.format() if declared.receipt else b"")
        assert verify_receipt(receipt, history).institution == EXPORTER

    async def test_a_record_is_recorded_once_though_its_reply_was_lost(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            first = await ledger.declare(PAYLOAD, **STATEMENT)
            await node.lose_next_reply()
            second = await ledger.declare(PAYLOAD, **STATEMENT)
            third = await ledger.declare(PAYLOAD, **STATEMENT)
        assert (second.index, third.index) == ((first.index or 0) + 1, (first.index or 0) + 2)

    async def test_a_node_that_is_down_is_said_to_be(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            await ledger.info()
            await ledger.declare(PAYLOAD, **STATEMENT)
            await node.go_down()
            with pytest.raises(UnavailableError):
                await ledger.declare(PAYLOAD, **STATEMENT)
            await node.come_up()

    async def test_what_was_queued_while_it_was_down_is_recorded_when_it_is_up(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            await node.go_down()
            queued = await ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
            await node.come_up()
            assert queued.status == "queued"
            await ledger.flush()
            assert (await ledger.receipt(queued.record_id)).index > 0


class TestAcknowledging:
    async def test_an_accepted_transfer_is_matched_on_both_sides(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings
    ) -> None:
        async with open_client(node, exporter) as ours, open_client(node.peer, recipient) as theirs:
            declared = await ours.declare(PAYLOAD, **STATEMENT)
            await node.settle()
            acknowledged = await theirs.acknowledge(declared.ticket.encode(), PAYLOAD)
            await node.peer.settle()
            await node.settle()
            states = [(await ledger.transfer(declared.ref)).state for ledger in (ours, theirs)]
        assert (acknowledged.outcome, states) == ("accepted", ["matched", "matched"])

    async def test_another_payload_is_a_digest_mismatch_and_the_transfer_refused(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings
    ) -> None:
        async with open_client(node, exporter) as ours, open_client(node.peer, recipient) as theirs:
            declared = await ours.declare(PAYLOAD, **STATEMENT)
            await node.settle()
            acknowledged = await theirs.acknowledge(declared.ticket, b"something else")
            await node.settle()
            await node.peer.settle()
            view = await theirs.transfer(declared.ref)
        assert (acknowledged.outcome, view.state) == ("digest_mismatch", "refused")

    async def test_accepting_again_gives_the_first_receipt_and_no_new_entry(
        self, node: NodeUnderTest, exporter: Settings, recipient: Settings
    ) -> None:
        async with open_client(node, exporter) as ours, open_client(node.peer, recipient) as theirs:
            declared = await ours.declare(PAYLOAD, **STATEMENT)
            await node.settle()
            first = await theirs.acknowledge(declared.ticket, PAYLOAD)
            second = await theirs.acknowledge(declared.ticket, PAYLOAD)
        assert second.index == first.index

    async def test_a_transfer_that_is_taken_back_is_cancelled(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
            await ledger.cancel(declared.ticket, "sent to the wrong desk")
            assert (await ledger.transfer(declared.ref)).state == "cancelled"


class TestReceipts:
    async def test_a_cosigned_receipt_carries_the_peers_cosignature(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
            await node.settle()
            receipt = await ledger.wait_cosigned(declared)
        signers = {line.name for line in parse_note(receipt.checkpoint).signatures}
        assert len(signers) == 2

    async def test_a_receipt_keeps_its_header_as_the_log_grows(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
            await ledger.declare(PAYLOAD, **STATEMENT)
            again = await ledger.receipt(declared.index or 0)
        assert declared.receipt is not None
        assert again.header == declared.receipt.header

    async def test_a_record_that_was_never_sent_is_not_found(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        async with open_client(node, exporter) as ledger:
            with pytest.raises(NotFoundError):
                await ledger.receipt(make_record_id(1, os.urandom(10)))

    async def test_the_records_of_others_are_not_found(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        other = node.enrol("uscc.OTHER")
        async with open_client(node, exporter) as ours, open_client(node, other) as theirs:
            declared = await ours.declare(PAYLOAD, **STATEMENT)
            with pytest.raises(NotFoundError):
                await theirs.receipt(declared.index or 0)

    async def test_an_entry_is_shown_with_its_body_to_its_author(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        way = node.transport(exporter)
        sent = record(exporter)
        index = (await append(way, sent)).outcomes[0].recorded
        entry = await way.get_entry(pb.GetEntryRequest(index=index))
        assert entry.body == sent.body


class TestTheWire:
    """What any client sees, also one that was not written by us."""

    async def test_each_record_of_a_call_has_its_own_outcome(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        bad = record(exporter)
        bad.signature = bytes(64)
        reply = await append(node.transport(exporter), record(exporter), bad, record(exporter))
        assert [outcome.WhichOneof("result") for outcome in reply.outcomes] == [
            "recorded", "refused", "recorded",
        ]  # fmt: skip

    async def test_new_records_of_a_call_are_contiguous_from_first(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        reply = await append(node.transport(exporter), record(exporter), record(exporter))
        assert [outcome.recorded for outcome in reply.outcomes] == [reply.first, reply.first + 1]

    async def test_a_record_said_twice_in_one_call_is_recorded_once(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        sent = record(exporter)
        reply = await append(node.transport(exporter), sent, sent)
        repeated = Header.parse(reply.outcomes[1].repeated.header)
        assert repeated.index == reply.outcomes[0].recorded

    async def test_a_repeated_record_gets_a_receipt_that_proves_it(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        way, sent = node.transport(exporter), record(exporter)
        index = (await append(way, sent)).outcomes[0].recorded
        receipt = (await append(way, sent)).outcomes[0].repeated
        head = Checkpoint.parse(parse_note(receipt.checkpoint).text)
        verify_inclusion(
            leaf_hash(receipt.header), index, head.size, list(receipt.proof), head.root
        )

    async def test_a_record_id_may_not_be_used_for_other_bytes(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        record_id = make_record_id(1, os.urandom(10))
        first, second = (record(exporter, record_id=record_id) for _ in range(2))
        assert await refusal(node.transport(exporter), first, second) == "RECORD_ID_REUSED"

    async def test_a_record_of_the_future_is_refused(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        sent = record(exporter, later=timedelta(minutes=10))
        assert await refusal(node.transport(exporter), sent) == "CLOCK_AHEAD"

    async def test_a_record_by_a_key_that_was_not_admitted_is_refused(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        sent = record(exporter, key=SigningKey(os.urandom(32)))
        assert await refusal(node.transport(exporter), sent) == "KEY_UNKNOWN"

    async def test_a_record_of_another_institution_is_refused(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        sent = record(node.enrol("uscc.OTHER"))
        assert await refusal(node.transport(exporter), sent) == "WRONG_AUTHOR"

    async def test_an_unsigned_record_is_refused(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        sent = record(exporter)
        sent.signature = b""
        assert await refusal(node.transport(exporter), sent) == "UNSIGNED"

    async def test_a_record_with_an_unknown_field_is_refused(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        sent = record(exporter)
        sent.body += b"\xf8\x07\x01"  # field 127, varint 1
        assert await refusal(node.transport(exporter), sent) == "NOT_CANONICAL"

    async def test_a_call_holds_at_most_a_thousand_records(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        with pytest.raises(TooLargeError):
            await append(node.transport(exporter), *[pb.Record()] * 1001)

    async def test_a_call_holds_at_least_one_record(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        with pytest.raises(TooLargeError):
            await append(node.transport(exporter))

    async def test_two_checkpoints_are_shown_to_be_consistent(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        way = node.transport(exporter)
        old = await checkpoint(way)
        await append(way, *(record(exporter) for _ in range(3)))
        new = await checkpoint(way)
        request = pb.GetConsistencyProofRequest(old_size=old.size, new_size=new.size)
        proof = list((await way.get_consistency_proof(request)).proof)
        verify_consistency(old.size, old.root, new.size, new.root, proof)

    async def test_an_entry_is_proven_under_a_size_of_the_callers_choice(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        way = node.transport(exporter)
        reply = await append(way, record(exporter))
        then = Checkpoint.parse(parse_note(reply.checkpoint).text)
        await append(way, record(exporter))
        request = pb.GetInclusionProofRequest(index=reply.first, size=then.size)
        proof = list((await way.get_inclusion_proof(request)).proof)
        verify_inclusion(leaf_hash(reply.headers[0]), reply.first, then.size, proof, then.root)

    async def test_a_proof_for_a_size_that_the_log_has_not_reached_is_refused(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        with pytest.raises(FieldError):
            await node.transport(exporter).get_consistency_proof(
                pb.GetConsistencyProofRequest(old_size=1, new_size=1_000_000)
            )

    async def test_the_keys_of_a_stranger_are_not_known(
        self, node: NodeUnderTest, exporter: Settings
    ) -> None:
        with pytest.raises(NotFoundError):
            await node.transport(exporter).get_key_history(
                pb.GetKeyHistoryRequest(origin="stranger.example/log")
            )

    async def test_a_node_says_who_it_is(self, node: NodeUnderTest, exporter: Settings) -> None:
        info = await node.transport(exporter).get_info(pb.GetInfoRequest())
        assert (info.origin, info.max_records, info.appends) == (exporter.origin, 1000, True)


async def refusal(way: Transport, *records: pb.Record) -> str:
    """The reason for which the last of the records was refused."""
    return (await append(way, *records)).outcomes[-1].refused.reason


async def checkpoint(way: Transport) -> Checkpoint:
    note = (await way.get_checkpoint(pb.GetCheckpointRequest())).checkpoint
    return Checkpoint.parse(parse_note(note).text)
