from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from client.sdk import EXPORTER, PAYLOAD, RECIPIENT, START, STATEMENT, World

from ledgerd_client import (
    BusyError,
    ConflictError,
    Declared,
    FieldError,
    ForbiddenError,
    InputError,
    LedgerClient,
    LedgerError,
    NotFoundError,
    NotReadyError,
    PersonalDataError,
    Settings,
    Ticket,
    UnavailableError,
)
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._proto import service_pb2
from ledgerd_client._steps import claim_batch, take_back
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.transfer import parse_manifest, parse_terms
from ledgerd_client.keyfile import KeyFile, write_key_file
from ledgerd_client.outbox import Outbox, OutboxRecord, State
from ledgerd_client.payload import Payload
from ledgerd_client.testing import HONG_KONG
from ledgerd_client.transport import MAX_REQUEST_BYTES, REPLY_LOST, STANDBY_BEHIND


def terms_of(declared: Declared) -> pb.Terms:
    return parse_terms(declared.ticket.terms)


def outbox_of(world: World) -> Outbox:
    assert world.exporter.outbox is not None
    return Outbox.open(world.exporter.outbox, now=world.time.now)


def rows(world: World, state: State | None = None) -> list[OutboxRecord]:
    with closing(outbox_of(world)) as outbox:
        return outbox.list(state, limit=10_000)


def transfers(world: World) -> int:
    """How many TRANSFER entries the Mainland's log holds."""
    bodies = map(pb.Body.FromString, world.mainland.log.bodies)
    return sum(body.WhichOneof("record") == "transfer" for body in bodies)


ROW = OutboxRecord(bytes(16), b"body", bytes(33), bytes(64), "transfer", bytes(32))


def pb_record(row: OutboxRecord) -> service_pb2.Record:
    return service_pb2.Record(body=row.body, key_id=row.key_id, signature=row.signature)


def raising(error: LedgerError) -> Callable[[Any], Any]:
    def lie(reply: Any) -> Any:
        raise error

    return lie


def block_keys(world: World) -> None:
    """From now on nothing can be read from, or written to, the directory of kept files."""
    directory = world.exporter.keys_directory
    if directory.is_dir():
        directory.rename(directory.with_suffix(".away"))
        directory.write_bytes(b"")


@asynccontextmanager
async def losing_all_replies(world: World) -> AsyncIterator[LedgerClient]:
    way = world.detour()
    way.lies["append"] = raising(UnavailableError("cut", reason=REPLY_LOST))
    async with world.client(transport=way) as ledger:
        yield ledger


@asynccontextmanager
async def refusing(world: World, error: LedgerError) -> AsyncIterator[LedgerClient]:
    """A client whose node refuses every append as a whole."""
    way = world.detour()
    async with world.client(transport=way) as ledger:
        await ledger.info()
        way.errors["append"] = error
        yield ledger


def with_another_key(world: World) -> Settings:
    """The exporter's settings, with a key that nobody admitted."""
    path = world.file("other.key")
    write_key_file(path, KeyFile(SigningKey(bytes(range(32))), throwaway=True))
    return replace(world.exporter, signing_key=path)


async def put_backlog(world: World, count: int) -> None:
    """Queue transfers while the node is down."""
    world.mainland.go_down()
    async with world.client(replace(world.exporter, peer_origin=HONG_KONG)) as ledger:
        calls = (ledger.declare(b"", **STATEMENT, if_unreachable="queue") for _ in range(count))
        await asyncio.gather(*calls)
    world.mainland.come_up()


def queue_and_die(world: World, count: int) -> subprocess.CompletedProcess[bytes]:
    """Let a process of its own queue transfers, and be killed."""
    worker = Path(__file__).with_name("client_worker.py")
    arguments = (str(world.directory / EXPORTER), str(count))
    return subprocess.run([sys.executable, worker, *arguments], check=False, timeout=60)


class TestStating:
    async def test_a_recorded_transfer_has_a_place_in_the_log(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
        assert (declared.status, declared.index) == ("recorded", world.mainland.log.size - 1)

    async def test_its_ticket_carries_its_receipt_and_no_record(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
        ticket = Ticket.parse(declared.ticket.encode())
        assert declared.receipt is not None
        assert (ticket.receipt, ticket.body) == (declared.receipt.format(), b"")

    async def test_the_recipient_is_on_the_other_side(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
        assert terms_of(declared).recipient == pb.Party(
            origin=world.hong_kong.log.origin, institution=RECIPIENT
        )

    @pytest.mark.parametrize("purposes", [[3, 7], [7, 3, 3], ["FraudPreventionAndDetection", 3]])
    async def test_codes_are_numbers_or_names_in_any_order(
        self, world: World, purposes: list[int | str]
    ) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT | {"purposes": purposes})
        assert list(terms_of(declared).purposes) == [3, 7]

    async def test_what_is_left_out_claims_nothing(self, world: World) -> None:
        async with world.client() as ledger:
            terms = terms_of(await ledger.declare(PAYLOAD, **STATEMENT))
        assert (terms.consent_form, terms.exemption, terms.transmission) == (1, 1, 6)

    async def test_a_date_is_a_date(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT, delete_by=date(2027, 2, 28))
        assert terms_of(declared).delete_by == 20270228

    async def test_parts_are_listed_in_the_ticket(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare({"b.csv": b"2", "a.csv": b"1"}, **STATEMENT)
        parts = parse_manifest(declared.ticket.manifest).parts
        assert [part.name for part in parts] == ["a.csv", "b.csv"]

    async def test_remote_viewing_sends_nothing_and_commits_to_nothing(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(None, **STATEMENT, transmission="remote_view")
        assert (terms_of(declared).commitment, declared.ticket.salt) == (b"", b"")

    async def test_it_happened_when_the_caller_says(self, world: World) -> None:
        moment = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT, occurred_at=moment)
        body = pb.Body.FromString(world.mainland.log.bodies[declared.index or 0])
        assert body.occurred_at == int(moment.timestamp()) * 1_000_000

    async def test_a_file_is_read_from_its_path(self, world: World, tmp_path: Path) -> None:
        (tmp_path / "batch.csv").write_bytes(PAYLOAD)
        async with world.client() as ledger:
            by_path = await ledger.declare(tmp_path / "batch.csv", **STATEMENT)
        by_path.ticket.check_payload(sha256(PAYLOAD).digest(), parts=False)


class TestWhatCannotBeStated:
    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"purposes": ["CreditCheck"]}, FieldError),
            ({"purposes": []}, FieldError),
            ({"purposes": "CreditChecking"}, FieldError),
            ({"legal_basis": 99}, FieldError),
            ({"legal_basis": True}, FieldError),
            ({"subjects": -1}, FieldError),
            ({"subjects": "many"}, FieldError),
            ({"subjects_first_this_year": 1201}, FieldError),
            ({"recipient": "somebody"}, FieldError),
            ({"recipient": 3}, FieldError),
            ({"recipient": None}, FieldError),
            ({"subjects": None}, FieldError),
            ({"notice_digest": b"short"}, FieldError),
            ({"contract_id": ""}, FieldError),
            ({"contract_id": "4111 1111 1111 1111"}, PersonalDataError),
            ({"occurred_at": datetime(2026, 8, 1, 12, 0)}, FieldError),  # noqa: DTZ001 -- that is it
            ({"if_unreachable": "ignore"}, FieldError),
        ],
        ids=str,
    )
    async def test_it_is_refused_before_anything_is_kept(
        self, world: World, changes: dict[str, Any], error: type[Exception]
    ) -> None:
        async with world.client() as ledger:
            with pytest.raises(error):
                await ledger.declare(PAYLOAD, **STATEMENT | changes)
        assert rows(world) == []

    @pytest.mark.parametrize("ticket", [b"", None, "a.ticket"], ids=repr)
    async def test_what_is_no_ticket_is_told_so(self, world: World, ticket: Any) -> None:
        async with world.client() as ledger:
            with pytest.raises(InputError, match="ticket is"):
                await ledger.cancel(ticket, "exported twice")

    async def test_nothing_is_sent_only_when_it_is_viewed_from_afar(self, world: World) -> None:
        async with world.client() as ledger:
            with pytest.raises(FieldError, match="remote viewing"):
                await ledger.declare(None, **STATEMENT)

    async def test_a_misspelt_field_is_a_type_error(self, world: World) -> None:
        async with world.client() as ledger:
            with pytest.raises(TypeError, match="purpose"):
                await ledger.declare(PAYLOAD, **STATEMENT, purpose=["CreditChecking"])

    async def test_a_missing_field_is_a_type_error(self, world: World) -> None:
        said = {name: value for name, value in STATEMENT.items() if name != "legal_basis"}
        async with world.client() as ledger:
            with pytest.raises(TypeError, match="legal_basis"):
                await ledger.declare(PAYLOAD, **said)

    async def test_a_payload_is_not_read_for_terms_that_cannot_be(self, world: World) -> None:
        async with world.client() as ledger:
            with pytest.raises(FieldError):
                await ledger.declare(unreadable, **STATEMENT | {"subjects": -1})


class TestOpening:
    async def test_a_client_that_is_not_open_says_so(self, world: World) -> None:
        with pytest.raises(NotReadyError, match="not open"):
            await world.client().info()

    async def test_a_client_may_be_opened_again(self, world: World) -> None:
        ledger = world.client()
        async with ledger:
            pass
        async with ledger:
            assert (await ledger.info()).origin == world.mainland.log.origin

    async def test_an_operators_settings_are_not_enough(self, world: World) -> None:
        settings = replace(world.exporter, institution=None, signing_key=None, outbox=None)
        with pytest.raises(InputError, match="institution"):
            async with world.client(settings):
                pass

    async def test_a_trust_file_that_is_not_there_is_named(self, world: World) -> None:
        settings = replace(world.exporter, trust=Path("nowhere"))
        with pytest.raises(InputError, match="nowhere"):
            async with world.client(settings):
                pass

    async def test_a_payload_that_cannot_be_read_is_refused(self, world: World) -> None:
        async with world.client() as ledger:
            with pytest.raises(InputError):
                await ledger.declare(unreadable, **STATEMENT)


class TestCallerRef:
    async def test_the_same_call_again_gives_the_first_ticket(self, world: World) -> None:
        async with world.client() as ledger:
            first = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            again = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
        assert (again, transfers(world)) == (first, 1)

    async def test_after_a_restart_as_well(self, world: World) -> None:
        async with world.client() as ledger:
            first = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
        async with world.client() as ledger:
            again = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
        assert again == first

    async def test_two_at_once_are_one(self, world: World) -> None:
        async with world.client() as ledger:
            both = await asyncio.gather(*(
                ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1") for _ in range(2)
            ))  # fmt: skip
        assert (both[0], transfers(world)) == (both[1], 1)

    async def test_long_after_it_was_cosigned_as_well(self, world: World) -> None:
        async with world.client() as ledger:
            first = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            world.mainland.cosign()
            cosigned = await ledger.wait_cosigned(first)
            again = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
        assert again.receipt == cosigned

    async def test_it_stands_for_one_transfer_only(self, world: World) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            with pytest.raises(ConflictError, match="caller_ref"):
                await ledger.declare(PAYLOAD, **STATEMENT | {"subjects": 7}, caller_ref="order 1")

    @pytest.mark.parametrize("caller_ref", ["", 17, b"order 1"], ids=repr)
    async def test_it_is_text_that_is_not_empty(self, world: World, caller_ref: Any) -> None:
        async with world.client() as ledger:
            with pytest.raises(FieldError, match="caller_ref"):
                await ledger.declare(PAYLOAD, **STATEMENT, caller_ref=caller_ref)
        assert transfers(world) == 0

    async def test_it_stands_for_one_kind_of_record_only(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            with pytest.raises(ConflictError, match="caller_ref"):
                await ledger.cancel(declared.ticket, "", caller_ref="order 1")

    @pytest.mark.parametrize(
        "payload", [b"another", b"", {"batch.csv": PAYLOAD}], ids=["other", "empty", "parts"]
    )
    async def test_it_stands_for_one_payload_only(self, world: World, payload: Payload) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            with pytest.raises(ConflictError) as told:
                await ledger.declare(payload, **STATEMENT, caller_ref="order 1")
        assert (told.value.reason, transfers(world)) == ("CALLER_REF_REUSED", 1)

    async def test_that_is_told_before_anything_else_of_it(self, world: World) -> None:
        """
        A refused record does not answer for what it does not state.
        """
        async with world.client(with_another_key(world)) as ledger:
            with pytest.raises(ForbiddenError):
                await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            with pytest.raises(ConflictError):
                await ledger.declare(b"another", **STATEMENT, caller_ref="order 1")

    async def test_the_refusal_names_the_record_that_has_it(self, world: World) -> None:
        async with world.client() as ledger:
            first = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            with pytest.raises(ConflictError, match=first.record_id.hex()):
                await ledger.declare(b"another", **STATEMENT, caller_ref="order 1")

    async def test_of_two_payloads_at_once_one_is_declared(self, world: World) -> None:
        async with world.client() as ledger:
            both = await asyncio.gather(
                *(
                    ledger.declare(payload, **STATEMENT, caller_ref="order 1")
                    for payload in (PAYLOAD, b"another")
                ),
                return_exceptions=True,
            )
        assert {type(one) for one in both} == {Declared, ConflictError}

    async def test_another_time_is_the_same_call(self, world: World) -> None:
        moments = [datetime(2026, 8, day, tzinfo=UTC) for day in (1, 2)]
        async with world.client() as ledger:
            both = [
                await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="1", occurred_at=moment)
                for moment in moments
            ]
        assert both[0] == both[1]

    @pytest.mark.parametrize(
        "changes",
        [
            {"payload": b""},
            {"outcome": "rejected"},
            {"reason": "unreadable"},
            {"received_subjects": 7},
        ],
        ids=str,
    )
    async def test_an_acknowledgement_says_one_thing(
        self, world: World, changes: dict[str, Any]
    ) -> None:
        """
        Also when it is cosigned, and its body is kept no more.
        """
        call: dict[str, Any] = {"payload": b"not what was declared", "caller_ref": "1"}
        async with world.client() as ours, world.client(world.recipient) as theirs:
            ticket = (await ours.declare(PAYLOAD, **STATEMENT)).ticket
            first = await theirs.acknowledge(ticket, **call)
            world.hong_kong.cosign()
            await theirs.wait_cosigned(first)
            again = await theirs.acknowledge(ticket, **call)
            with pytest.raises(ConflictError, match="caller_ref"):
                await theirs.acknowledge(ticket, **call | changes)
        assert (again.record_id, again.outcome) == (first.record_id, "digest_mismatch")

    async def test_a_cancellation_has_one_reason(self, world: World) -> None:
        async with world.client() as ledger:
            ticket = (await ledger.declare(PAYLOAD, **STATEMENT)).ticket
            first = await ledger.cancel(ticket, "exported twice", caller_ref="1")
            again = await ledger.cancel(ticket, "exported twice", caller_ref="1")
            with pytest.raises(ConflictError, match="caller_ref"):
                await ledger.cancel(ticket, "wrong desk", caller_ref="1")
        assert again == first

    async def test_a_cancelled_transfer_is_not_given_again_as_if_it_stood(
        self, world: World
    ) -> None:
        async with world.client() as ledger:
            first = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            cancelled = await ledger.cancel(first.ticket, "exported twice")
            with pytest.raises(ConflictError, match=cancelled.record_id.hex()) as told:
                await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
        assert told.value.reason == "TRANSFER_CANCELLED"

    async def test_its_data_may_be_declared_under_another(self, world: World) -> None:
        async with world.client() as ledger:
            first = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            await ledger.cancel(first.ticket, "wrong desk")
            anew = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1b")
        assert anew.status == "recorded"

    async def test_it_is_nowhere_on_the_disk_and_in_no_log(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG", "ledgerd_client")
        world.mainland.lose_next_reply()
        async with world.client() as ledger:
            await world.time.finish(
                ledger.declare(PAYLOAD, **STATEMENT, caller_ref="customer-4711")
            )
            files = [path for path in (world.directory / EXPORTER).rglob("*") if path.is_file()]
            assert not any(b"customer-4711" in path.read_bytes() for path in files)
        assert "customer-4711" not in caplog.text


class TestCancelledAgain:
    async def test_it_is_the_first_record(self, world: World) -> None:
        async with world.client() as ledger:
            ticket = (await ledger.declare(PAYLOAD, **STATEMENT)).ticket
            first = await ledger.cancel(ticket, "exported twice")
            size = world.mainland.log.size
            again = await ledger.cancel(ticket, "exported twice")
        assert (again, world.mainland.log.size) == (first, size)

    @pytest.mark.parametrize(
        "names", [(None, "1"), ("1", None), ("1", "2")], ids=["then", "first", "both"]
    )
    async def test_whatever_name_and_reason_it_is_given(
        self, world: World, names: tuple[str | None, str | None]
    ) -> None:
        async with world.client() as ledger:
            ticket = (await ledger.declare(PAYLOAD, **STATEMENT)).ticket
            first = await ledger.cancel(ticket, "exported twice", caller_ref=names[0])
            again = await ledger.cancel(ticket, "wrong desk", caller_ref=names[1])
        assert again == first

    async def test_two_at_once_are_one(self, world: World) -> None:
        async with world.client() as ledger:
            ticket = (await ledger.declare(PAYLOAD, **STATEMENT)).ticket
            one, other = await asyncio.gather(*(ledger.cancel(ticket, why) for why in "ab"))
        assert one == other

    async def test_another_transfer_is_cancelled_by_a_record_of_its_own(self, world: World) -> None:
        async with world.client() as ledger:
            both = [await ledger.declare(PAYLOAD, **STATEMENT) for _ in range(2)]
            one, other = [await ledger.cancel(each.ticket, "") for each in both]
        assert one.record_id != other.record_id


class TestUnreachable:
    async def test_the_caller_is_told_at_once(self, world: World) -> None:
        world.mainland.go_down()
        async with world.client(replace(world.exporter, peer_origin=HONG_KONG)) as ledger:
            with pytest.raises(UnavailableError) as told:
                await ledger.declare(PAYLOAD, **STATEMENT)
        assert told.value.reason == "UNREACHABLE"

    async def test_nothing_is_sent_behind_its_back(self, world: World) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.go_down()
            with pytest.raises(UnavailableError):
                await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.come_up()
            await ledger.flush()
        assert (transfers(world), rows(world, "queued")) == (1, [])

    async def test_its_caller_ref_may_be_used_again(self, world: World) -> None:
        async with world.client() as ledger:
            await ledger.info()
            await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.go_down()
            with pytest.raises(UnavailableError):
                await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            world.mainland.come_up()
            declared = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
        assert declared.status == "recorded"

    async def test_or_the_record_is_queued(self, world: World) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.go_down()
            queued = await ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
        assert (queued.status, queued.index, queued.receipt) == ("queued", None, None)

    async def test_a_queued_ticket_holds_the_signed_record(self, world: World) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.go_down()
            queued = await ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
        (row,) = rows(world, "queued")
        ticket = Ticket.parse(queued.ticket.encode())
        assert (ticket.queued, ticket.body, ticket.signature) == (True, row.body, row.signature)

    async def test_what_is_queued_is_sent_by_itself_when_the_node_is_back(
        self, world: World
    ) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.go_down()
            queued = await ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
            world.mainland.come_up()
            await world.until(lambda: transfers(world) == 2)
            world.mainland.cosign()
            receipt = await world.time.finish(ledger.wait_cosigned(queued))
        assert receipt.index == 3

    async def test_a_node_that_is_busy_is_left_alone_as_long_as_it_asked(
        self, world: World
    ) -> None:
        way = world.detour()
        async with world.client(transport=way) as ledger:
            await ledger.info()
            way.errors["append"] = BusyError("too fast", reason="TOO_FAST", retry_after_s=40)
            await ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
            told = world.time.micros
            await ledger.declare(b"", **STATEMENT, if_unreachable="queue")
            with pytest.raises(BusyError) as caught:
                await ledger.declare(b"more", **STATEMENT)
            asked = way.asked.count("append")
            del way.errors["append"]
            await world.until(lambda: transfers(world) == 2)
        assert (asked, caught.value.reason) == (1, "TOO_FAST")
        assert world.time.micros >= told + 40_000_000

    async def test_flush_says_what_is_in_the_way(self, world: World) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.go_down()
            await ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
            with pytest.raises(UnavailableError):
                await ledger.flush()

    async def test_flush_sends_all_that_was_lost_or_says_that_it_cannot_tell(
        self, world: World
    ) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.go_down()
            with pytest.raises(UnavailableError):
                await ledger.flush()

    async def test_flush_returns_when_nothing_is_queued(self, world: World) -> None:
        async with world.client() as ledger:
            await ledger.flush()

    async def test_a_node_that_takes_no_records_is_as_good_as_down(self, world: World) -> None:
        async with refusing(world, NotReadyError("read only")) as ledger:
            queued = await ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
            with pytest.raises(NotReadyError):
                await ledger.declare(PAYLOAD, **STATEMENT)
        assert (queued.status, len(rows(world, "queued"))) == ("queued", 1)

    async def test_a_caller_who_may_not_append_queues_nothing(self, world: World) -> None:
        async with refusing(world, ForbiddenError("no such institution")) as ledger:
            with pytest.raises(ForbiddenError):
                await ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
        assert rows(world, "queued") == []


class TestALostReply:
    async def test_the_retry_gets_the_index_of_the_first_attempt(self, world: World) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.lose_next_reply()
            size = world.mainland.log.size
            declared = await world.time.finish(ledger.declare(PAYLOAD, **STATEMENT))
        assert (declared.index, world.mainland.log.size) == (size, size + 1)

    async def test_the_receipt_of_a_retry_verifies_like_any_other(self, world: World) -> None:
        world.mainland.lose_next_reply()
        async with world.client() as ours, world.client(world.recipient) as theirs:
            declared = await world.time.finish(ours.declare(PAYLOAD, **STATEMENT))
            assert (await theirs.acknowledge(declared.ticket, PAYLOAD)).accepted

    async def test_a_fate_that_stays_unknown_is_said_to_be(self, world: World) -> None:
        async with losing_all_replies(world) as ledger:
            with pytest.raises(UnavailableError) as told:
                await world.time.finish(ledger.declare(PAYLOAD, **STATEMENT))
        assert told.value.reason == "FATE_UNKNOWN"

    async def test_it_is_known_only_after_three_calls_time(self, world: World) -> None:
        async with losing_all_replies(world) as ledger:
            with pytest.raises(UnavailableError):
                await world.time.finish(ledger.declare(PAYLOAD, **STATEMENT))
        assert world.time.micros >= START + 30_000_000

    async def test_the_record_stays_queued_and_the_same_call_gives_its_receipt(
        self, world: World
    ) -> None:
        async with losing_all_replies(world) as ledger:
            with pytest.raises(UnavailableError):
                await world.time.finish(ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1"))
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
        assert (declared.index, transfers(world)) == (2, 1)

    async def test_a_record_that_the_standby_lacks_stays_queued(self, world: World) -> None:
        way = world.detour()
        behind = UnavailableError("on this node's disk alone", reason=STANDBY_BEHIND)
        way.lies["append"] = raising(behind)
        async with world.client(transport=way) as ledger:
            with pytest.raises(UnavailableError) as told:
                await world.time.finish(ledger.declare(PAYLOAD, **STATEMENT))
        assert (told.value.reason, len(rows(world, "queued")), transfers(world)) == (
            "FATE_UNKNOWN", 1, 1,
        )  # fmt: skip

    async def test_a_record_that_may_have_been_sent_is_never_dropped(self, world: World) -> None:
        async with losing_all_replies(world) as ledger:
            with pytest.raises(UnavailableError):
                await world.time.finish(ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1"))
        world.mainland.go_down()
        async with world.client() as ledger:
            with pytest.raises(UnavailableError) as told:
                await world.time.finish(ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1"))
        assert (told.value.reason, len(rows(world, "queued"))) == ("FATE_UNKNOWN", 1)


class TestAReplyThatCannotBeVerifiedYet:
    """The node has stored the record; what is in the way is on this machine, or passes."""

    async def test_a_disk_that_takes_no_checkpoint_takes_no_record_away(self, world: World) -> None:
        way = world.detour()
        async with world.client(transport=way) as ledger:
            way.lies["append"] = lambda _: block_keys(world)
            with pytest.raises(UnavailableError) as told:
                await world.time.finish(ledger.declare(PAYLOAD, **STATEMENT))
        [row] = rows(world, "queued")
        assert (told.value.reason, row.last_reason, transfers(world)) == (
            "FATE_UNKNOWN", REPLY_LOST, 1,
        )  # fmt: skip

    async def test_what_is_in_the_way_is_said(self, world: World) -> None:
        way = world.detour()
        async with world.client(transport=way) as ledger:
            way.lies["append"] = lambda _: block_keys(world)
            await ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
            with pytest.raises(UnavailableError, match=r"cannot read .*checkpoint"):
                await ledger.flush()

    async def test_nor_does_a_node_that_does_not_show_its_keys(self, world: World) -> None:
        way = world.detour()
        way.lies["get_key_history"] = lambda _: service_pb2.GetKeyHistoryResponse()
        settings = replace(world.exporter, peer_origin=HONG_KONG)
        async with world.client(settings, way) as ledger:
            with pytest.raises(UnavailableError) as told:
                await world.time.finish(ledger.declare(PAYLOAD, **STATEMENT))
            del way.lies["get_key_history"]
            await world.time.finish(ledger.flush())
        assert (told.value.reason, len(rows(world, "recorded")), transfers(world)) == (
            "FATE_UNKNOWN", 1, 1,
        )  # fmt: skip


class TestTakingBack:
    """Whether a record was certainly never sent, seen from the outbox alone."""

    ERROR = UnavailableError("down", reason="UNREACHABLE")

    def test_one_that_was_only_put_is_dropped(self, world: World) -> None:
        with closing(outbox_of(world)) as outbox:
            outbox.put(ROW)
            assert take_back(outbox, ROW.record_id, self.ERROR, START)
            assert outbox.get(ROW.record_id).state == "dropped"

    def test_so_is_one_that_we_have_claimed(self, world: World) -> None:
        with closing(outbox_of(world)) as outbox:
            outbox.put(ROW)
            outbox.claim(1, 30_000_000)
            assert take_back(outbox, ROW.record_id, self.ERROR, START)

    def test_one_that_another_process_is_sending_is_kept(self, world: World) -> None:
        with closing(outbox_of(world)) as outbox, closing(outbox_of(world)) as other:
            outbox.put(ROW)
            other.claim(1, 30_000_000)
            assert not take_back(outbox, ROW.record_id, self.ERROR, START)
            assert outbox.get(ROW.record_id).state == "queued"

    def test_one_that_another_process_may_have_sent_is_kept(self, world: World) -> None:
        with closing(outbox_of(world)) as outbox, closing(outbox_of(world)) as other:
            outbox.put(ROW)
            other.claim(1, 30_000_000)
            other.failed(ROW.record_id, REPLY_LOST, "", START)
            assert not take_back(outbox, ROW.record_id, self.ERROR, START)

    def test_one_whose_sender_may_have_died_since_is_kept(self, world: World) -> None:
        with closing(outbox_of(world)) as outbox, closing(outbox_of(world)) as dead:
            outbox.put(ROW)
            dead.claim(1, 30_000_000)
            world.time.micros += 30_000_000
            assert not take_back(outbox, ROW.record_id, self.ERROR, world.time.micros)

    def test_one_that_is_recorded_is_kept(self, world: World) -> None:
        with closing(outbox_of(world)) as outbox:
            outbox.put(ROW)
            outbox.recorded(ROW.record_id, b"receipt", None)
            assert not take_back(outbox, ROW.record_id, self.ERROR, START)
            assert outbox.get(ROW.record_id).state == "recorded"


class TestBatching:
    async def test_calls_collect_while_one_is_in_flight(self, world: World) -> None:
        way = world.detour()
        way.open.clear()
        async with world.client(transport=way) as ledger:
            first = asyncio.create_task(ledger.declare(PAYLOAD, **STATEMENT))
            await world.until(lambda: "append" in way.asked)
            others = [asyncio.create_task(ledger.declare(PAYLOAD, **STATEMENT)) for _ in range(40)]
            await world.until(lambda: len(rows(world, "queued")) == 41)
            way.open.set()
            declared = await asyncio.gather(first, *others)
        assert world.mainland.batches == [1, 40]
        assert sorted(d.index or 0 for d in declared) == list(range(2, 43))

    async def test_each_call_gets_the_receipt_of_its_own_record(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await asyncio.gather(*(
                ledger.declare(PAYLOAD, **STATEMENT | {"subjects": n}) for n in range(1, 31)
            ))  # fmt: skip
        bodies = [pb.Body.FromString(world.mainland.log.bodies[d.index or 0]) for d in declared]
        assert [b.record_id for b in bodies] == [d.record_id for d in declared]

    async def test_a_backlog_goes_in_batches_of_a_thousand(self, world: World) -> None:
        await put_backlog(world, 1_100)
        async with world.client() as ledger:
            await ledger.flush()
        assert world.mainland.batches == [1_000, 100]

    async def test_a_batch_is_no_larger_than_a_request_may_be(self, world: World) -> None:
        with closing(outbox_of(world)) as outbox:
            for number in range(300):
                record_id = number.to_bytes(16, "big")
                whole = bytes(32_000), bytes(33), bytes(64)
                outbox.put(OutboxRecord(record_id, *whole, "transfer", bytes(32)))
            batches = [claim_batch(outbox) for _ in range(4)]
        records = [
            service_pb2.Record(body=row.body, key_id=row.key_id, signature=row.signature)
            for row in batches[0]
        ]
        size = service_pb2.AppendRequest(records=records).ByteSize()
        assert MAX_REQUEST_BYTES - 40_000 < size <= MAX_REQUEST_BYTES
        assert list(map(len, batches)) == [130, 130, 40, 0]


class TestSharing:
    async def test_two_clients_of_one_outbox_record_each_transfer_once(self, world: World) -> None:
        async with world.client() as one, world.client() as other:
            calls = [
                ledger.declare(PAYLOAD, **STATEMENT, caller_ref=f"order {number}")
                for number in range(20)
                for ledger in (one, other)
            ]
            declared = await world.time.finish(asyncio.gather(*calls))
        assert len({d.record_id for d in declared}) == transfers(world) == 20

    async def test_one_client_hears_of_what_the_other_sent(self, world: World) -> None:
        way = world.detour()
        way.open.clear()
        async with world.client(transport=way) as one, world.client() as other:
            sending = asyncio.create_task(one.declare(PAYLOAD, **STATEMENT, caller_ref="1"))
            await world.until(lambda: "append" in way.asked)
            waiting = asyncio.create_task(other.declare(PAYLOAD, **STATEMENT, caller_ref="1"))
            await asyncio.sleep(0)
            way.open.set()
            both = await world.time.finish(asyncio.gather(sending, waiting))
        assert both[0] == both[1]

    async def test_what_a_killed_process_queued_is_recorded_once_each(self, world: World) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
        killed = await asyncio.to_thread(queue_and_die, world, 7)
        async with world.client() as ledger:
            await world.time.finish(ledger.flush())
        assert (killed.returncode, transfers(world)) == (-signal.SIGKILL, 8)

    async def test_what_it_was_sending_is_sent_again_when_its_lease_is_over(
        self, world: World
    ) -> None:
        await put_backlog(world, 3)
        with closing(outbox_of(world)) as dead:
            claimed = dead.claim(10, 30_000_000)
        records = [pb_record(row) for row in claimed]
        # It died after the node had stored two of the three.
        await world.way().append(service_pb2.AppendRequest(records=records[:2]))
        async with world.client() as ledger:
            await world.time.finish(ledger.flush())
        assert (transfers(world), len(rows(world, "recorded"))) == (3, 3)


class TestRefusals:
    async def test_a_refused_record_is_set_aside_and_its_caller_told_why(
        self, world: World
    ) -> None:
        async with world.client(with_another_key(world)) as ledger:
            with pytest.raises(ForbiddenError) as told:
                await ledger.declare(PAYLOAD, **STATEMENT)
        (row,) = rows(world, "refused")
        assert (told.value.reason, row.last_reason) == ("KEY_UNKNOWN", "KEY_UNKNOWN")

    async def test_the_same_call_is_told_so_again_and_what_to_do(self, world: World) -> None:
        async with world.client(with_another_key(world)) as ledger:
            for _ in range(2):
                with pytest.raises(ForbiddenError) as told:
                    await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
        assert "ledgerctl outbox" in told.value.action

    async def test_others_of_the_same_batch_are_recorded(self, world: World) -> None:
        async with world.client(with_another_key(world)) as bad, world.client() as good:
            results = await world.time.finish(
                asyncio.gather(
                    *(ledger.declare(PAYLOAD, **STATEMENT) for ledger in (good, bad, good)),
                    return_exceptions=True,
                )
            )
        assert [isinstance(result, Declared) for result in results] == [True, False, True]

    async def test_a_record_of_the_future_is_a_field_error(self, world: World) -> None:
        async with world.client() as ledger:
            moment = datetime.fromtimestamp(START // 1_000_000 + 600, UTC)
            with pytest.raises(FieldError) as told:
                await ledger.declare(PAYLOAD, **STATEMENT, occurred_at=moment)
        assert told.value.reason == "CLOCK_AHEAD"


class TestWaitingForACosignature:
    async def test_the_outbox_sees_by_itself_that_a_record_is_in_for_good(
        self, world: World
    ) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.cosign()
            await world.until(lambda: rows(world, "done"))

    async def test_the_outbox_keeps_what_a_node_may_ask_back(self, world: World) -> None:
        async with world.client() as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            sent = [row.body for row in rows(world)]
            world.mainland.cosign()
            await world.until(lambda: rows(world, "done"))
        assert [row.body for row in rows(world)] == sent != [b""]

    async def test_a_cosigned_receipt_names_both_nodes(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.cosign()
            receipt = await ledger.wait_cosigned(declared)
        assert receipt.checkpoint.count(b"\xe2\x80\x94 ") == 2

    async def test_a_peer_that_is_silent_for_too_long_is_reported(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
            with pytest.raises(NotReadyError):
                await world.time.finish(ledger.wait_cosigned(declared, timeout_s=60))
        assert world.time.micros >= START + 60_000_000

    async def test_a_record_of_another_machine_is_waited_for_as_well(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
        world.mainland.cosign()
        elsewhere = replace(world.exporter, outbox=world.directory / "another.sqlite")
        async with world.client(elsewhere) as ledger:
            assert (await ledger.wait_cosigned(declared.record_id)).index == declared.index

    async def test_a_record_that_the_node_lost_is_sent_again(self, world: World) -> None:
        way = world.detour()
        way.errors["get_receipt"] = NotFoundError("there is no such record")
        async with world.client(transport=way) as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
            await world.until(lambda: way.asked.count("append") == 2)
            del way.errors["get_receipt"]
            world.mainland.cosign()
            receipt = await world.time.finish(ledger.wait_cosigned(declared))
        assert (receipt.index, transfers(world)) == (declared.index, 1)

    async def test_until_it_is_recorded_again_the_lost_receipt_is_kept(self, world: World) -> None:
        way = world.detour()
        way.errors["get_receipt"] = NotFoundError("there is no such record")
        async with world.client(transport=way) as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
            assert declared.receipt is not None
            way.errors["append"] = UnavailableError("down")
            await world.until(lambda: rows(world, "queued"))
        [row] = rows(world)
        assert row.receipt == declared.receipt.format()

    async def test_it_is_queued_whatever_receipt_it_had(self, world: World) -> None:
        way = world.detour()
        way.errors["get_receipt"] = NotFoundError("there is no such record")
        async with world.client(transport=way) as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1")
            way.errors["append"] = UnavailableError("down")
            await world.until(lambda: rows(world, "queued"))
            again = await world.time.finish(
                ledger.declare(PAYLOAD, **STATEMENT, caller_ref="order 1", if_unreachable="queue")
            )
        assert (again.record_id, again.status) == (declared.record_id, "queued")

    async def test_its_new_receipt_may_be_of_another_index(self, world: World) -> None:
        before = world.copied_log()
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
        [row] = rows(world)
        with closing(outbox_of(world)) as outbox:
            outbox.requeue(row.record_id)
        before.admit_key("uscc.OTHER", SigningKey(bytes(range(32))), 440300)
        way = world.elsewhere(before)
        await way.append(service_pb2.AppendRequest(records=[pb_record(row)]))
        way.errors["append"] = UnavailableError("down")
        for kept in world.exporter.keys_directory.iterdir():
            kept.unlink()
        async with world.client(transport=way) as ledger:
            assert (await ledger.receipt(declared.record_id)).index == (declared.index or 0) + 1

    async def test_an_acknowledgement_said_twice_is_let_go_twice(self, world: World) -> None:
        async with world.client() as ours, world.client(world.recipient) as theirs:
            ticket = (await ours.declare(PAYLOAD, **STATEMENT)).ticket
            both = [await theirs.acknowledge(ticket, PAYLOAD) for _ in range(2)]
            world.hong_kong.cosign()
            receipts = [await theirs.wait_cosigned(one) for one in both]
            path = world.recipient.outbox
            assert path is not None
            with closing(Outbox.open(path, now=world.time.now)) as outbox:
                await world.until(lambda: outbox.counts()["done"] == 2)
        assert receipts[0] == receipts[1]


class TestAsking:
    async def test_a_transfer_shows_both_halves(self, world: World) -> None:
        async with world.client() as ours, world.client(world.recipient) as theirs:
            declared = await ours.declare(PAYLOAD, **STATEMENT)
            await theirs.acknowledge(declared.ticket, PAYLOAD)
            view = await ours.transfer(declared.ref)
        assert [(half.institution, half.header.kind.name) for half in view.halves] == [
            (EXPORTER, "TRANSFER"), (RECIPIENT, "ACK"),
        ]  # fmt: skip

    async def test_a_receipt_may_be_asked_for_by_index(self, world: World) -> None:
        async with world.client() as ledger:
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
            assert declared.index is not None
            assert (await ledger.receipt(declared.index)).index == declared.index

    async def test_a_cosigned_checkpoint_is_told_from_a_newer_one(self, world: World) -> None:
        async with world.client() as ledger:
            world.mainland.cosign()
            await ledger.declare(PAYLOAD, **STATEMENT)
            cosigned = await ledger.checkpoint(cosigned=True)
            newest = await ledger.checkpoint()
        assert (cosigned.checkpoint.size, newest.checkpoint.size) == (2, 3)

    async def test_no_proof_is_fetched_when_nobody_wrote_in_between(self, world: World) -> None:
        way = world.detour()
        async with world.client(transport=way) as ledger:
            for _ in range(5):
                await ledger.declare(PAYLOAD, **STATEMENT)
        assert way.asked.count("get_consistency_proof") == 0

    async def test_one_is_fetched_when_somebody_did(self, world: World) -> None:
        way = world.detour()
        async with world.client(transport=way) as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
            world.mainland.enrol("uscc.OTHER", world.directory)
            await ledger.declare(PAYLOAD, **STATEMENT)
        assert way.asked.count("get_consistency_proof") == 1

    async def test_a_node_hears_of_the_largest_checkpoint_that_was_verified(
        self, world: World
    ) -> None:
        way = world.way()
        async with world.client(transport=way) as ledger:
            await ledger.declare(PAYLOAD, **STATEMENT)
        assert way.known_checkpoint == world.mainland.log.checkpoint()


def unreadable() -> Any:
    raise OSError("this must not be read")
