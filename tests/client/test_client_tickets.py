"""A recipient and the ticket that came with the data: what it proves, and what is made of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from client.sdk import EXPORTER, PAYLOAD, STATEMENT, World

from ledgerd_client import (
    Declared,
    FieldError,
    ForbiddenError,
    InputError,
    LedgerClient,
    MalformedError,
    Ticket,
    TrustError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._proto.service_pb2 import GetEntryResponse
from ledgerd_client._results import Outcome
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.checkpoint import add_signatures
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Signer, parse_note
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import make_body, make_record_id, read_facts, sign_record, verified
from ledgerd_client.core.remains import remains_of
from ledgerd_client.core.transfer import parse_terms
from ledgerd_client.outbox import Outbox
from ledgerd_client.payload import Payload


@dataclass(slots=True)
class Desks:
    """The exporter's and the recipient's open clients, and a declared transfer."""

    exporter: LedgerClient
    recipient: LedgerClient
    declared: Declared
    world: World

    @property
    def ticket(self) -> Ticket:
        return self.declared.ticket

    async def refusal(self, ticket: Ticket, **options: Any) -> VerificationError:
        """Why the recipient does not take a ticket; nothing is then recorded."""
        size = self.world.hong_kong.log.size
        with pytest.raises(VerificationError) as told:
            await self.recipient.acknowledge(ticket, PAYLOAD, **options)
        assert self.world.hong_kong.log.size == size
        return told.value

    def newest_ack(self) -> pb.Ack:
        return pb.Body.FromString(self.world.hong_kong.log.bodies[-1]).ack

    def recipients_outbox(self) -> Outbox:
        assert self.world.recipient.outbox is not None
        return Outbox.open(self.world.recipient.outbox, now=self.world.time.now)

    async def queued_ticket(self) -> Ticket:
        self.world.mainland.go_down()
        declared = await self.exporter.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
        return declared.ticket


@pytest.fixture
async def desks(world: World) -> AsyncIterator[Desks]:
    async with world.client() as exporter, world.client(world.recipient) as recipient:
        yield Desks(exporter, recipient, await exporter.declare(PAYLOAD, **STATEMENT), world)


class TestATicketThatProvesItsTransfer:
    async def test_it_is_taken_as_bytes_or_as_a_ticket(self, desks: Desks) -> None:
        by_bytes = await desks.recipient.acknowledge(desks.ticket.encode(), PAYLOAD)
        by_value = await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        assert by_bytes.index == by_value.index

    async def test_a_cosigned_receipt_in_it_is_verified_as_well(self, desks: Desks) -> None:
        desks.world.mainland.cosign()
        receipt = await desks.exporter.wait_cosigned(desks.declared)
        ticket = replace(desks.ticket, receipt=receipt.format())
        assert (await desks.recipient.acknowledge(ticket, PAYLOAD)).accepted

    async def test_the_recipients_node_hears_which_tree_it_is_in(self, desks: Desks) -> None:
        world = desks.world
        way = world.way(world.recipient)
        async with world.client(world.recipient, way) as recipient:
            await recipient.acknowledge(desks.ticket, PAYLOAD)
        assert way.peer_checkpoint == Receipt.parse(desks.ticket.receipt).checkpoint

    async def test_a_key_that_was_admitted_since_is_looked_up(self, desks: Desks) -> None:
        await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        settings = desks.world.mainland.enrol("uscc.NEWBANK", desks.world.directory)
        async with desks.world.client(settings) as new:
            ticket = (await new.declare(PAYLOAD, **STATEMENT)).ticket
        assert (await desks.recipient.acknowledge(ticket, PAYLOAD)).accepted

    async def test_with_the_keys_at_hand_it_is_acknowledged_while_the_node_is_down(
        self, desks: Desks
    ) -> None:
        await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        ticket = (await desks.exporter.declare(PAYLOAD, **STATEMENT)).ticket
        desks.world.hong_kong.go_down()
        queued = await desks.recipient.acknowledge(ticket, PAYLOAD, if_unreachable="queue")
        assert (queued.status, queued.accepted) == ("queued", True)


class TestATicketThatProvesNothing:
    async def test_one_for_somebody_else_is_not_ours_to_acknowledge(self, desks: Desks) -> None:
        settings = desks.world.hong_kong.enrol("hkbr.OTHER", desks.world.directory)
        async with desks.world.client(settings) as other:
            with pytest.raises(ForbiddenError) as told:  # before the payload is looked at
                await other.acknowledge(desks.ticket, Path("nowhere"))
        assert told.value.reason == "NOT_RECIPIENT"

    async def test_one_without_a_receipt_is_refused(self, desks: Desks) -> None:
        assert (await desks.refusal(await desks.queued_ticket())).reason == "TICKET_QUEUED"

    async def test_unless_the_caller_takes_queued_ones(self, desks: Desks) -> None:
        ticket = await desks.queued_ticket()
        done = await desks.recipient.acknowledge(ticket, PAYLOAD, allow_queued_ticket=True)
        assert done.accepted

    async def test_a_queued_one_must_be_signed_by_the_exporter(self, desks: Desks) -> None:
        ticket = replace(await desks.queued_ticket(), signature=bytes(64))
        await desks.refusal(ticket, allow_queued_ticket=True)

    async def test_a_queued_one_must_be_of_its_own_terms(self, desks: Desks) -> None:
        first = await desks.queued_ticket()
        second = await desks.queued_ticket()
        ticket = replace(first, terms=second.terms, salt=second.salt)
        error = await desks.refusal(ticket, allow_queued_ticket=True)
        assert error.reason == "TICKET_MISMATCH"

    async def test_a_queued_one_by_a_revoked_key_is_refused(self, desks: Desks) -> None:
        ticket = await desks.queued_ticket()
        log = desks.world.mainland.log
        (key,) = log.keys_of(EXPORTER).values()
        log.revoke_key(EXPORTER, key.public)
        await desks.refusal(ticket, allow_queued_ticket=True)

    async def test_also_when_the_key_was_good_as_we_last_heard(self, desks: Desks) -> None:
        await desks.recipient.acknowledge(desks.ticket, PAYLOAD)  # the exporter's keys are at hand
        ticket = await desks.queued_ticket()
        log = desks.world.mainland.log
        (key,) = log.keys_of(EXPORTER).values()
        log.revoke_key(EXPORTER, key.public)
        error = await desks.refusal(ticket, allow_queued_ticket=True)
        assert error.reason == "TICKET_MISMATCH"

    async def test_a_receipt_of_another_transfer_is_refused(self, desks: Desks) -> None:
        other = (await desks.exporter.declare(PAYLOAD, **STATEMENT)).ticket
        error = await desks.refusal(replace(desks.ticket, receipt=other.receipt))
        assert error.reason == "TICKET_MISMATCH"

    async def test_terms_that_were_changed_on_the_way_are_refused(self, desks: Desks) -> None:
        terms = parse_terms(desks.ticket.terms)
        terms.subjects = 1
        error = await desks.refusal(replace(desks.ticket, terms=encode_message(terms)))
        assert error.reason == "TICKET_MISMATCH"

    async def test_a_receipt_of_a_cancellation_is_refused(self, desks: Desks) -> None:
        cancelled = await desks.exporter.cancel(desks.ticket, "")
        assert cancelled.receipt is not None
        error = await desks.refusal(replace(desks.ticket, receipt=cancelled.receipt.format()))
        assert error.reason == "TICKET_MISMATCH"

    async def test_a_receipt_with_a_wrong_proof_is_refused(self, desks: Desks) -> None:
        receipt = Receipt.parse(desks.ticket.receipt)
        forged = replace(receipt, proof=(bytes(32), *receipt.proof[1:]))
        await desks.refusal(replace(desks.ticket, receipt=forged.format()))

    async def test_a_receipt_with_a_signature_by_a_stranger_is_refused(self, desks: Desks) -> None:
        receipt = Receipt.parse(desks.ticket.receipt)
        stranger = Signer("stranger.example", ED25519, SigningKey(os.urandom(32)))
        line = stranger.sign(parse_note(receipt.checkpoint).text)
        signed = replace(receipt, checkpoint=add_signatures(receipt.checkpoint, [line]))
        error = await desks.refusal(replace(desks.ticket, receipt=signed.format()))
        assert isinstance(error, TrustError)

    async def test_a_transfer_signed_with_somebody_elses_key_is_refused(self, desks: Desks) -> None:
        log = desks.world.mainland.log
        desks.world.mainland.enrol("uscc.OTHER", desks.world.directory)
        key = SigningKey(os.urandom(32))
        log.admit_key("uscc.OTHER", key, 440300)
        body = make_body(
            origin=log.origin,
            author=EXPORTER,
            record_id=make_record_id(1, os.urandom(10)),
            occurred_at=1,
            salt=os.urandom(16),
            transfer=pb.Transfer(terms=desks.ticket.terms),
        )
        keys = log.keys_of("uscc.OTHER")
        item = verified(sign_record(body, key), read_facts(body)[1], log.origin, keys)
        receipt = log.receipt(log.append(item))
        error = await desks.refusal(replace(desks.ticket, receipt=receipt.format()))
        assert error.reason == "TICKET_MISMATCH"

    async def test_an_exporter_beyond_the_trust_file_is_refused(self, desks: Desks) -> None:
        terms = parse_terms(desks.ticket.terms)
        terms.exporter.origin = "elsewhere.example/log"
        await desks.refusal(replace(desks.ticket, terms=encode_message(terms)))

    async def test_what_is_no_ticket_is_malformed(self, desks: Desks) -> None:
        with pytest.raises(MalformedError):
            await desks.recipient.acknowledge(b"no ticket", PAYLOAD)


class TestTheOutcome:
    async def test_the_declared_payload_is_accepted(self, desks: Desks) -> None:
        await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        ack = desks.newest_ack()
        assert (ack.outcome, ack.received_subjects) == (pb.OUTCOME_ACCEPTED, 1200)

    async def test_another_one_is_a_mismatch_and_its_commitment_recorded(
        self, desks: Desks
    ) -> None:
        done = await desks.recipient.acknowledge(desks.ticket, b"other")
        ack = desks.newest_ack()
        assert done.outcome == "digest_mismatch"
        assert ack.received_commitment not in {b"", parse_terms(desks.ticket.terms).commitment}

    async def test_a_part_that_was_changed_is_a_mismatch(self, desks: Desks) -> None:
        parts = {"a": b"1", "b": b"2"}
        ticket = (await desks.exporter.declare(parts, **STATEMENT)).ticket
        done = await desks.recipient.acknowledge(ticket, parts | {"b": b"3"})
        assert done.outcome == "digest_mismatch"

    async def test_all_parts_are_accepted(self, desks: Desks) -> None:
        ticket = (await desks.exporter.declare({"a": b"1", "b": b"2"}, **STATEMENT)).ticket
        assert (await desks.recipient.acknowledge(ticket, {"b": b"2", "a": b"1"})).accepted

    async def test_only_the_caller_knows_that_it_is_partial(self, desks: Desks) -> None:
        await desks.recipient.acknowledge(
            desks.ticket, PAYLOAD, outcome="partial", received_subjects=700, reason="500 unread"
        )
        ack = desks.newest_ack()
        assert (ack.outcome, ack.received_subjects, ack.reason) == (
            pb.OUTCOME_PARTIAL, 700, "500 unread",
        )  # fmt: skip

    async def test_what_never_arrived_can_be_rejected(self, desks: Desks) -> None:
        await desks.recipient.acknowledge(
            desks.ticket, None, outcome="rejected", received_subjects=0
        )
        assert desks.newest_ack().received_commitment == b""

    async def test_nothing_is_not_accepted_unasked(self, desks: Desks) -> None:
        with pytest.raises(FieldError, match="payload"):
            await desks.recipient.acknowledge(desks.ticket, None)

    async def test_a_wrong_payload_cannot_be_called_accepted(self, desks: Desks) -> None:
        with pytest.raises(FieldError):
            await desks.recipient.acknowledge(desks.ticket, b"other", outcome="accepted")

    @pytest.mark.parametrize(
        "said",
        [
            {"received_subjects": -1},
            {"reason": 7},
            {"received_at": datetime(1969, 12, 31, tzinfo=UTC)},
        ],
        ids=str,
    )
    async def test_what_no_record_can_hold_is_a_field_error(
        self, desks: Desks, said: dict[str, Any]
    ) -> None:
        with pytest.raises(FieldError):
            await desks.recipient.acknowledge(desks.ticket, PAYLOAD, **said)

    async def test_an_unknown_outcome_is_refused(self, desks: Desks) -> None:
        with pytest.raises(FieldError, match="maybe"):
            await desks.recipient.acknowledge(desks.ticket, PAYLOAD, outcome="maybe")  # type: ignore[arg-type]

    async def test_viewing_from_afar_is_accepted_without_a_payload(self, desks: Desks) -> None:
        said = STATEMENT | {"transmission": "remote_view"}
        ticket = (await desks.exporter.declare(None, **said)).ticket
        assert (await desks.recipient.acknowledge(ticket, None)).accepted


class TestParts:
    """Of a payload that was declared in parts: which names arrived, and which content."""

    PARTS: Mapping[str, bytes] = MappingProxyType({"a.csv": b"1", "b.csv": b"2"})

    async def ticket(self, desks: Desks) -> Ticket:
        return (await desks.exporter.declare(self.PARTS, **STATEMENT)).ticket

    @pytest.mark.parametrize(
        ("arrived", "said"),
        [
            ({"a.csv": b"1"}, "missing: 'b.csv'"),
            ({"a.csv": b"1", "B.CSV": b"2"}, "not declared by that name: 'B.CSV'"),
            ({"a.csv": b"1", "b.csv": b"2", "c.csv": b"3"}, "'c.csv'"),
            (b"1", "missing: 'a.csv', 'b.csv'"),
        ],
        ids=["incomplete", "renamed", "one too many", "not in parts"],
    )
    async def test_other_names_are_no_mismatch_unasked(
        self, desks: Desks, arrived: Payload, said: str
    ) -> None:
        ticket, size = await self.ticket(desks), desks.world.hong_kong.log.size
        with pytest.raises(InputError, match=said) as told:
            await desks.recipient.acknowledge(ticket, arrived)
        assert (told.value.reason, desks.world.hong_kong.log.size) == ("OTHER_PARTS", size)

    async def test_parts_of_what_was_declared_whole_are_no_mismatch_either(
        self, desks: Desks
    ) -> None:
        with pytest.raises(InputError, match="not declared by that name"):
            await desks.recipient.acknowledge(desks.ticket, {"batch.csv": PAYLOAD})

    async def test_only_some_of_many_are_listed(self, desks: Desks) -> None:
        parts = {f"{number:03}.csv": b"" for number in range(200)}
        ticket = (await desks.exporter.declare(parts, **STATEMENT)).ticket
        with pytest.raises(InputError, match=r"'004\.csv' and 194 more"):
            await desks.recipient.acknowledge(ticket, {"199.csv": b""})

    @pytest.mark.parametrize("outcome", ["partial", "rejected", "digest_mismatch"])
    async def test_the_caller_may_say_what_comes_of_it(
        self, desks: Desks, outcome: Outcome
    ) -> None:
        ticket = await self.ticket(desks)
        done = await desks.recipient.acknowledge(ticket, {"a.csv": b"1"}, outcome=outcome)
        assert (done.outcome, done.differing_parts) == (outcome, ("b.csv",))

    async def test_changed_content_is_a_mismatch_and_named(self, desks: Desks) -> None:
        ticket = await self.ticket(desks)
        done = await desks.recipient.acknowledge(ticket, {**self.PARTS, "b.csv": b"3"})
        assert (done.outcome, done.differing_parts) == ("digest_mismatch", ("b.csv",))


class TestAcknowledgingAgain:
    """An accepted acknowledgement is in the log once, whoever says it again."""

    async def test_it_is_the_first_record(self, desks: Desks) -> None:
        first = await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        assert await desks.recipient.acknowledge(desks.ticket, PAYLOAD) == first

    async def test_also_from_another_machine(self, desks: Desks) -> None:
        first = await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        elsewhere = replace(desks.world.recipient, outbox=desks.world.directory / "other.sqlite")
        async with desks.world.client(elsewhere) as other:
            again = await other.acknowledge(desks.ticket, PAYLOAD)
        assert again.record_id == first.record_id

    async def test_also_years_later_under_its_caller_ref(self, desks: Desks) -> None:
        first = await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        await desks.recipient.acknowledge(desks.ticket, PAYLOAD, caller_ref="1")
        desks.world.hong_kong.cosign()
        with closing(desks.recipients_outbox()) as outbox:
            await desks.world.until(lambda: outbox.counts()["done"] == 2)
        again = await desks.recipient.acknowledge(desks.ticket, PAYLOAD, caller_ref="1")
        assert again.record_id == first.record_id

    async def test_the_first_answers_for_itself_while_the_node_is_down(self, desks: Desks) -> None:
        first = await desks.recipient.acknowledge(desks.ticket, PAYLOAD, caller_ref="1")
        desks.world.hong_kong.cosign()
        await desks.recipient.wait_cosigned(first)
        desks.world.hong_kong.go_down()
        again = await desks.recipient.acknowledge(desks.ticket, PAYLOAD, caller_ref="1")
        assert again.record_id == first.record_id

    async def test_the_id_in_the_outbox_has_the_firsts_receipt(self, desks: Desks) -> None:
        first = await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        with closing(desks.recipients_outbox()) as outbox:
            _, second = outbox.list(limit=9)
        assert (await desks.recipient.receipt(second.record_id)).index == first.index

    async def test_a_node_that_does_not_tell_is_asked_again(self, desks: Desks) -> None:
        await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        way = desks.world.detour(desks.world.recipient)
        way.errors["get_entry"] = UnavailableError("too busy")
        async with desks.world.client(desks.world.recipient, way) as recipient:
            with pytest.raises(UnavailableError, match="too busy") as told:
                await recipient.acknowledge(desks.ticket, PAYLOAD)
        assert told.value.reason == "FATE_UNKNOWN"

    async def test_the_first_answers_after_its_erasure(self, desks: Desks) -> None:
        def erase(reply: GetEntryResponse) -> None:
            reply.erased.remains = remains_of(reply.body)
            reply.body = b""

        first = await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        way = desks.world.detour(desks.world.recipient)
        way.lies["get_entry"] = erase
        async with desks.world.client(desks.world.recipient, way) as recipient:
            again = await recipient.acknowledge(desks.ticket, PAYLOAD)
        assert again.record_id == first.record_id

    async def test_a_node_that_shows_another_record_is_not_believed(self, desks: Desks) -> None:
        await desks.recipient.acknowledge(desks.ticket, PAYLOAD)
        way = desks.world.detour(desks.world.recipient)
        other = desks.world.hong_kong.log.bodies[0]
        way.lies["get_entry"] = lambda reply: setattr(reply, "body", other)
        async with desks.world.client(desks.world.recipient, way) as recipient:
            with pytest.raises(VerificationError) as told:
                await recipient.acknowledge(desks.ticket, PAYLOAD)
        assert told.value.reason == "BODY_MISMATCH"


class TestCancelling:
    async def test_only_the_exporter_can(self, desks: Desks) -> None:
        with pytest.raises(ForbiddenError):
            await desks.recipient.cancel(desks.ticket, "no")

    async def test_it_is_recorded_with_its_reason(self, desks: Desks) -> None:
        cancelled = await desks.exporter.cancel(desks.ticket.encode(), "wrong desk")
        body = pb.Body.FromString(desks.world.mainland.log.bodies[cancelled.index or 0])
        assert body.cancel.reason == "wrong desk"
