"""A client that is open: what its calls share, and how a record gets into the outbox and out."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

from ledgerd_client import tracing
from ledgerd_client._drafts import Draft
from ledgerd_client._law_view import LawView
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._refresher import Refresher
from ledgerd_client._results import Finding
from ledgerd_client._sender import Sender
from ledgerd_client._steps import is_own, outcome_of
from ledgerd_client._time import Time
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import (
    ConflictError,
    FieldError,
    InputError,
    LedgerError,
    RefusedError,
    UnavailableError,
)
from ledgerd_client.core.fields import SALT_SIZE
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import make_body, make_record_id, read_facts, sign_record
from ledgerd_client.keyfile import read_key_file
from ledgerd_client.outbox import Outbox, OutboxRecord, hash_caller_ref, hash_statement
from ledgerd_client.payload import Payload, PayloadDigest, digest_payload
from ledgerd_client.transport import GrpcTransport, Transport

IfUnreachable = Literal["raise", "queue"]

# For how many calls' time a caller waits whose record may be in the log or not.
_PATIENCE_CALLS = 3


@dataclass(frozen=True, slots=True)
class Submission:
    """How a record is to be submitted, whatever it says. occurred_at: µs."""

    occurred_at: int
    caller_ref: str | None
    if_unreachable: IfUnreachable

    def __post_init__(self) -> None:
        if self.if_unreachable not in {"raise", "queue"}:
            raise FieldError(f"if_unreachable is 'raise' or 'queue', not {self.if_unreachable!r}")
        if not _can_name_a_call(self.caller_ref):
            raise FieldError(
                f"caller_ref is text that is not empty, not {self.caller_ref!r}",
                action="give the call's own name, or None if it has none",
            )


def _can_name_a_call(caller_ref: object) -> bool:
    """None names none; "" is mostly a variable that was not set, the same in every call."""
    return caller_ref is None or (isinstance(caller_ref, str) and caller_ref != "")


@dataclass(frozen=True, slots=True)
class Session:
    us: pb.Party
    # The other side's origin, if the settings name it.
    configured_peer: str | None
    key: SigningKey
    outbox: Outbox
    view: LawView
    sender: Sender
    refresher: Refresher
    time: Time
    # Fewer than the threads of asyncio: hashing must not hold up the outbox.
    hashing: asyncio.Semaphore

    async def measure(self, payload: Payload) -> PayloadDigest:
        """Hash a payload in a thread; raises as digest_payload does."""
        async with self.hashing:
            return await asyncio.to_thread(digest_payload, payload)

    async def peer_origin(self) -> str:
        return await self.view.histories.peer(self.configured_peer)

    async def submit(self, how: Submission, draft: Draft) -> tuple[OutboxRecord, Receipt | None]:
        """
        Sign a record, keep it, and wait for its receipt; None when it stays queued.

        A caller_ref that was used before gives the record of that time. Raises ConflictError if
        that one states something else, or its transfer was cancelled, and as Sender.settle does.
        """
        with tracing.span("submit") as span:
            row, receipt = await self._submit(how, draft)
            if receipt is not None:
                span.set(index=receipt.index)
            span.set(outcome="queued" if receipt is None else "recorded")
            return row, receipt

    async def _submit(self, how: Submission, draft: Draft) -> tuple[OutboxRecord, Receipt | None]:
        signed = self._sign(draft, how)
        row = await asyncio.to_thread(self.outbox.put, signed)
        mine = row.record_id == signed.record_id
        if not mine:
            await self._check_said_again(row, signed)
        return row, await self._settle(row, mine, how.if_unreachable)

    async def _check_said_again(self, row: OutboxRecord, again: OutboxRecord) -> None:
        # A CANCEL said again is the first one, whatever either is called.
        named = row.caller_ref_hash == again.caller_ref_hash
        if named and row.statement_hash != again.statement_hash:
            raise ConflictError(
                f"this caller_ref stands for record {row.record_id.hex()}, which states something"
                " else, or another payload",
                reason="CALLER_REF_REUSED",
                action="call as at the first time, or give what is new a caller_ref of its own",
            )
        if row.kind != "transfer":
            return
        if cancel := await asyncio.to_thread(self.outbox.cancel_of, row.ref):
            raise ConflictError(
                f"this caller_ref stands for transfer {row.record_id.hex()}, which record"
                f" {cancel.record_id.hex()} has cancelled",
                reason="TRANSFER_CANCELLED",
                action="do not send the data under its ticket; if it is to be sent after all,"
                " declare it under another caller_ref",
            )

    async def recorded_id(self, row: OutboxRecord, receipt: Receipt | None) -> bytes:
        """
        The id under which the log has a record: the first one's for an accepted ACK said again.

        Raises VerificationError, and UnavailableError FATE_UNKNOWN when the node does not tell.
        """
        if receipt is None or is_own(row, receipt):
            return row.record_id
        try:
            return await self.view.record_id(receipt)
        except (RefusedError, UnavailableError) as error:
            raise UnavailableError(
                f"the transfer was acknowledged before, as which record is not told now:"
                f" {error.message}",
                reason="FATE_UNKNOWN",
                action="call again: it is recorded once",
            ) from error

    async def _settle(
        self, row: OutboxRecord, mine: bool, if_unreachable: IfUnreachable
    ) -> Receipt | None:
        outcome = outcome_of(row)
        if isinstance(outcome, LedgerError):
            raise outcome
        if outcome is not None:
            return outcome
        return await self.sender.settle(row, mine=mine, may_queue=if_unreachable == "queue")

    async def check(self, drafts: Sequence[Draft]) -> list[tuple[Finding, ...]]:
        """The findings that records would raise, stated now; raises what one is refused for."""
        now = self.time.now()
        bodies = [self._body(draft, self._record_id(), now) for draft in drafts]
        for body in bodies:
            read_facts(body)
        return await self.view.check(bodies)

    def _record_id(self) -> bytes:
        return make_record_id(self.time.now(), secrets.token_bytes(10))

    def _body(self, draft: Draft, record_id: bytes, occurred_at: int) -> bytes:
        return make_body(
            origin=self.us.origin,
            author=self.us.institution,
            record_id=record_id,
            occurred_at=occurred_at,
            salt=secrets.token_bytes(SALT_SIZE),
            **{draft.kind: draft.message},
        )

    def _sign(self, draft: Draft, how: Submission) -> OutboxRecord:
        record_id = self._record_id()
        body = self._body(draft, record_id, how.occurred_at)
        record = sign_record(body, self.key)
        ticket = None
        if draft.ticket is not None:
            ticket = replace(
                draft.ticket, body=body, key_id=record.key_id, signature=record.signature
            ).encode()
        row = OutboxRecord(
            record_id, body, record.key_id, record.signature, draft.kind, draft.ref, ticket
        )
        if how.caller_ref is None:
            return row
        key = self.outbox.caller_ref_key
        return replace(
            row,
            caller_ref_hash=hash_caller_ref(key, how.caller_ref),
            statement_hash=hash_statement(key, draft.kind, draft.statement),
        )


@asynccontextmanager
async def open_session(
    settings: Settings, transport: Transport | None, time: Time
) -> AsyncIterator[Session]:
    """Open everything that settings name, and close it in reverse; a given transport stays open."""
    institution, key_path, path = settings.institution, settings.signing_key, settings.outbox
    if institution is None or key_path is None or path is None:
        raise InputError(
            "this is for the role institution, and these settings are an operator's: they name no"
            " institution",
            reason="WRONG_ROLE",
            action="use the client.toml of an institution (--config, LEDGERCTL_CONFIG): it sets"
            " institution, signing_key and outbox",
        )
    async with AsyncExitStack() as stack:
        trust = settings.read_trust()
        key = read_key_file(key_path).key
        outbox = await asyncio.to_thread(Outbox.open, path, now=time.now)
        stack.callback(outbox.close)
        if transport is None:
            transport = GrpcTransport.connect(settings, trust)
            stack.push_async_callback(transport.close)
        view = LawView(transport, trust, settings.origin, settings.keys_directory)
        await view.open()
        patience_us = int(settings.timeout_s * _PATIENCE_CALLS * 1_000_000)
        queued, recorded = asyncio.Event(), asyncio.Event()
        sender = Sender(
            outbox, view, time, queued=queued, recorded=recorded, patience_us=patience_us
        )
        refresher = Refresher(outbox, view, time, queued=queued, recorded=recorded)
        us = pb.Party(origin=settings.origin, institution=institution)
        await stack.enter_async_context(_running(sender))
        await stack.enter_async_context(_running(refresher))
        hashing = asyncio.Semaphore(os.cpu_count() or 1)
        yield Session(us, settings.peer_origin, key, outbox, view, sender, refresher, time, hashing)


@asynccontextmanager
async def _running(worker: Sender | Refresher) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.close()
        await task
