"""What a side has to add to a bundle, asked of its node by a party or by a regulator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial

from ledgerd_client._channel import connect
from ledgerd_client._law_view import LawView
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._replies import to_receipt
from ledgerd_client.bundle.model import BundledDecision, BundledEntry, BundledSide
from ledgerd_client.config import Settings
from ledgerd_client.core.body import encode_message, parse_body
from ledgerd_client.core.checkpoint import OpenedCheckpoint
from ledgerd_client.core.errors import LedgerError, NotFoundError, NotReadyError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.node_keys import ROTATING_ROLES
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.trust import Trust
from ledgerd_client.regulator import FoundEntry, Query, RegulatorClient
from ledgerd_client.transport import GrpcTransport, Transport

# Where a log's first rule set stands.
_FIRST_RULE_SET = 1

Prove = Callable[[bytes], Awaitable[Receipt]]
"""The receipt of an entry of this log, of which the header is known, under one checkpoint."""


async def gather_as_institution(
    settings: Settings, trust: Trust, ref: bytes, *, bodies: bool
) -> BundledSide:
    """
    What a party's own node holds of a transfer, under its newest cosigned checkpoint.

    bodies: with the party's own bodies. Raises what the node states, NotReadyError while nothing is
    cosigned, UnavailableError or VerificationError.
    """
    transport = GrpcTransport(connect(settings, trust), settings.timeout_s)
    try:
        view = LawView(transport, trust, settings.origin, settings.keys_directory)
        await view.open()
        party = _Party(view, transport, await view.checkpoint(cosigned=True))
        return await party.side(ref, settings.institution or "", bodies)
    finally:
        await transport.close()


async def gather_as_regulator(client: RegulatorClient, ref: bytes, *, bodies: bool) -> BundledSide:
    """As gather_as_institution, of every party on this side that the grant covers."""
    under = await client.checkpoint(cosigned=True)
    note = under.note
    file = await client.transfer(ref, note)
    halves = tuple(
        BundledEntry(half.receipt, _encoded(half.body) if bodies else b"")
        for half in file.halves
        if half.origin == client.origin
    )
    if not halves:
        raise NotFoundError(f"no half of this transfer that you may read is in {client.origin}")
    findings = [
        _entry(found)
        async for found in client.entries(Query(refs=[ref], kinds=["finding"]), at=note, proof=True)
    ]
    rule_sets = [
        _entry(found)
        async for found in client.entries(Query(kinds=["rule_set"]), at=note, proof=True)
    ]
    named = _rule_sets_of(findings)
    parties = {half.institution for half in file.halves if half.origin == client.origin}
    history = await client.history()
    return BundledSide(
        client.origin,
        await _keys(history, parties, under, partial(client.prove, under=under)),
        _peer_keys(await client.history(history.need_genesis().peer_origin)),
        tuple(entry for entry in rule_sets if entry.receipt.index in named),
        halves,
        tuple(findings),
    )


class _Party:
    """A party's node, asked under one checkpoint."""

    def __init__(self, view: LawView, transport: Transport, under: OpenedCheckpoint) -> None:
        self._view = view
        self._transport = transport
        self._under = under

    async def side(self, ref: bytes, institution: str, bodies: bool) -> BundledSide:
        view, origin = self._view, self._view.origin
        shown = (await view.transfer(ref)).halves
        own = [half for half in shown if (half.origin, half.institution) == (origin, institution)]
        halves = [await self._entry(half.index) for half in own]
        if not halves:
            raise NotFoundError(f"{institution} has stated no half of this transfer")
        found = view.findings(open_only=False)
        indexes = [each.index async for each in found if each.finding.ref == ref]
        findings = [await self._entry(index) for index in indexes]
        rule_sets = [await self._entry(index) for index in sorted(_rule_sets_of(findings))]
        history = await view.histories.refresh(origin)
        return BundledSide(
            origin,
            await _keys(history, {institution}, self._under, self._prove),
            _peer_keys(await view.histories.refresh(history.need_genesis().peer_origin)),
            tuple(rule_sets),
            tuple(halves if bodies else (BundledEntry(half.receipt) for half in halves)),
            tuple(findings),
        )

    async def _entry(self, index: int) -> BundledEntry:
        """An entry with its proof under the checkpoint; verified when the bundle is."""
        size = self._under.checkpoint.size
        if index >= size:
            raise NotReadyError(
                f"the other side's node has not cosigned entry {index} yet",
                reason="NOT_COSIGNED",
                action="try again in a moment",
            )
        reply = await self._transport.get_entry(pb.GetEntryRequest(index=index))
        header = to_receipt(reply.receipt).header
        return BundledEntry(await self._prove(header), reply.body)

    async def _prove(self, header: bytes) -> Receipt:
        return await self._view.prove(header, self._under)


async def _keys(
    history: KeyHistory, institutions: Collection[str], under: OpenedCheckpoint, prove: Prove
) -> tuple[BundledEntry, ...]:
    """What a verifier of this side needs of its key history, as far as the checkpoint reaches."""
    reached = [
        (header, body)
        for header, body in history.entries
        if Header.parse(header).index < under.checkpoint.size
    ]

    def needed(event: body_pb2.KeyEvent) -> bool:
        return event.role in ROTATING_ROLES or (
            event.role == body_pb2.ROLE_INSTITUTION and event.subject in institutions
        )

    picked = _pick(reached, needed)
    return tuple([BundledEntry(await prove(header), body) for header, body in picked])


def _peer_keys(history: KeyHistory) -> tuple[BundledDecision, ...]:
    """What tells the keys by which the other side's node cosigns."""
    roles = {body_pb2.ROLE_COSIGNER, body_pb2.ROLE_AUTHORITY}
    picked = _pick(history.entries, lambda event: event.role in roles)
    headers = (Header.parse(header) for header, _ in picked)
    bodies = (body for _, body in picked)
    return tuple(
        BundledDecision(header.index, header.signature, body)
        for header, body in zip(headers, bodies, strict=True)
    )


def _pick(
    entries: Sequence[tuple[bytes, bytes]], needed: Callable[[body_pb2.KeyEvent], bool]
) -> list[tuple[bytes, bytes]]:
    """GENESIS, LOSS and the key events that are needed; all that a new authority's key signed."""
    events = [parse_body(body).key_event for _, body in entries]
    signed = max(
        (at for at, event in enumerate(events) if event.role == body_pb2.ROLE_AUTHORITY), default=0
    )
    return [
        entry
        for at, (entry, event) in enumerate(zip(entries, events, strict=True))
        if at <= signed or not event.role or needed(event)
    ]


def _rule_sets_of(findings: Iterable[BundledEntry]) -> set[int]:
    """Those that findings name; without any, the log's first."""
    bodies = (body_pb2.Body.FromString(entry.body) for entry in findings)
    return {body.finding.rule_set for body in bodies} or {_FIRST_RULE_SET}


def _entry(found: FoundEntry) -> BundledEntry:
    if found.receipt is None:
        raise LedgerError(f"entry {found.index} came without its proof")
    return BundledEntry(found.receipt, _encoded(found.body))


def _encoded(body: body_pb2.Body | None) -> bytes:
    return b"" if body is None else encode_message(body)
