from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from client.sdk import EXPORTER, PAYLOAD, RECIPIENT, START, STATEMENT, Detour, World

from ledgerd_client import (
    ConflictError,
    Declared,
    FieldError,
    ForbiddenError,
    InputError,
    LedgerClient,
    NotReadyError,
    PersonalDataError,
    Receipt,
    Ticket,
    UnavailableError,
)
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.transfer import parse_manifest, parse_terms
from ledgerd_client.keyfile import KeyFile, write_key_file
from ledgerd_client.outbox import Outbox, OutboxRecord, State


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
        by_path.ticket.check_payload(
            __import__("hashlib").sha256(PAYLOAD).digest(), parts=False
        )


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
            ({"notice_digest": b"short"}, FieldError),
            ({"contract_id": "ID 440301199001010010"}, FieldError),
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
