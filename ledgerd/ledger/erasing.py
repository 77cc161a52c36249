"""
Erasure: an institution's bodies go on the order of its side's authority, and their remains stay.

Applied like every other entry, live, in an audit and in a mirror: an ERASURE that no order allows,
or too early, by the authority's clock or the node's, is no entry of this log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from ledgerd.ledger.entry import BodyOf, Entry
from ledgerd.ledger.law_machine import contracts_of
from ledgerd.projections.contracts import Contract, contract_key
from ledgerd.projections.erased import ErasedBody, body_or_remains, erase, erasure_of, find_erased
from ledgerd.projections.transfers import get_transfer
from ledgerd.rules.law import load_law, newest_law
from ledgerd.rules.reconcile import State
from ledgerd.rules.retention import keep_until
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import BY_INSTITUTIONS, MAX_BODY_BYTES
from ledgerd_client.core.days import day_of, to_date
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    ChainError,
    ForbiddenError,
    NotFoundError,
    NotReadyError,
    StoreError,
    TooLargeError,
)
from ledgerd_client.core.fields import MAX_TIME
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.remains import open_order, remains_of

# States in which the other half, or a correction of it, may still come.
_OPEN: Final = frozenset((State.OPEN, State.REOPENED))
# Of a body, beside its record: salt, origin, author, record_id, time.
_ENVELOPE_BYTES: Final = 512
# No order, with its signature, is shorter.
_MAX_REMAINS: Final = MAX_BODY_BYTES - _ENVELOPE_BYTES - 128


class Erasable(NamedTuple):
    """Whether an entry's body may be erased (K21); keep_until: yyyymmdd, 0: not known yet."""

    allowed: bool
    keep_until: int
    reason: str = ""
    message: str = ""


class Erasing:
    """Erases what an order names. Belongs to one machine, whose rows are put before apply()."""

    def __init__(self, body_of: BodyOf, header_of: BodyOf) -> None:
        self._body_of = body_of
        self._header_of = header_of

    def apply(
        self,
        transaction: Transaction,
        entry: Entry,
        erasure: pb.Erasure,
        history: KeyHistory,
        law: str,
    ) -> None:
        """
        Erase the bodies that an ERASURE names, and keep what remains of them.

        law: the version in force. Raises SignatureError NOT_ORDERED, ChainError when the remains
        are not those of the bodies, and what refuse() raises.
        """
        authority = history.key_in_force(pb.ROLE_AUTHORITY, entry.position).public
        order = open_order(
            erasure.order, erasure.signature, origin=history.origin, authority=authority
        )
        if [each.index for each in erasure.remains] != list(order.indexes):
            raise ChainError("the erasure does not say what remains of each body that is ordered")
        # A node whose clock is ahead carries out nothing that the authority ordered too early.
        now = min(entry.recorded_at, order.ordered_at)
        for each in erasure.remains:
            if each.index >= entry.position:
                raise NotFoundError(f"there is no entry {each.index} yet")
            header = Header.parse(self._header_of(transaction, each.index))
            body = self._body_of(transaction, each.index)
            # Whose it is comes first: of another's, no waiting makes it what was ordered.
            if pb.Body.FromString(body).author != order.institution:
                raise ForbiddenError(
                    f"entry {each.index} is not by {order.institution}",
                    reason="NOT_ERASABLE",
                    action="nothing was erased; order entries of one institution, and name it",
                )
            found = judge(transaction, header, body, now, law, erasure=entry.position)
            refuse(found, each.index)
            if remains_of(body) != each.body:
                raise ChainError(f"entry {each.index} has other remains than the erasure says")
            erase(transaction, each.index, ErasedBody(entry.position, each.body))


def judge(
    snapshot: Snapshot,
    header: Header,
    body: bytes,
    now: int,
    law: str,
    *,
    erasure: int | None = None,
) -> Erasable:
    """
    Whether the body of an entry may be erased at a time (µs) under a law; body, or its remains.

    law: a version; empty: the newest one. erasure: the ERASURE that erases it, which a mirror knows
    before it comes to it.
    """
    if why_never := _why_never(header, body):
        return Erasable(False, 0, "NOT_ERASABLE", why_never)
    earlier = erasure_of(snapshot, header.index)
    if earlier is not None and earlier != erasure:
        return Erasable(False, 0, "ERASED", f"it was erased by entry {earlier}")
    today = day_of(now)
    ends_on = _end_of_contract(snapshot, header, pb.Body.FromString(body))
    until = keep_until(header.recorded_at, ends_on, load_law(law or newest_law()).at(today))
    if until is None:
        message = "the contract has no end yet, and is kept for three years after it"
        return Erasable(False, 0, "RETENTION", message)
    if today <= until:
        message = f"the record is kept until {_iso(until)}"
        return Erasable(False, to_date(until), "RETENTION", message)
    if _is_open(snapshot, header):
        message = "the other half of its transfer may still come"
        return Erasable(False, to_date(until), "OPEN_TRANSFER", message)
    return Erasable(True, to_date(until))


def _iso(day: int) -> str:
    date = to_date(day)
    return f"{date // 10_000}-{date // 100 % 100:02}-{date % 100:02}"


def _why_never(header: Header, body: bytes) -> str:
    """Why a body is never erased, whatever its age; "" if nothing forbids it."""
    if header.kind not in BY_INSTITUTIONS:
        return "only what institutions wrote is ever erased"
    # Remains are never longer than the body.
    if len(body) > _MAX_REMAINS and len(remains_of(body)) > _MAX_REMAINS:
        return "what remains of it is too large for an entry; it stays as it is"
    return ""


def refuse(found: Erasable, index: int) -> None:
    """
    Raise what judge() found to be in the way of erasing an entry, if anything.

    ForbiddenError NOT_ERASABLE; NotReadyError RETENTION, OPEN_TRANSFER, ERASED.
    """
    if found.allowed:
        return
    error = ForbiddenError if found.reason == "NOT_ERASABLE" else NotReadyError
    raise error(
        f"entry {index} can't be erased: {found.message}",
        reason=found.reason,
        action="nothing was erased; order the others without it, or again once it may be",
    )


def make_erasure(snapshot: Snapshot, order: bytes, signature: bytes) -> pb.Erasure:
    """
    The ERASURE that an encoded order calls for.

    Raises NotFoundError for an entry that is not there, TooLargeError when one entry can't hold it,
    ForbiddenError NOT_ERASABLE for a body whose remains no entry can hold.
    """
    erasure = pb.Erasure(order=order, signature=signature)
    for index in pb.ErasureOrder.FromString(order).indexes:
        header, body = snapshot.get(Table.HEADERS, u64(index)), body_or_remains(snapshot, index)
        if header is None or body is None:
            raise NotFoundError(f"there is no entry {index}")
        if why_never := _why_never(Header.parse(header), body):
            refuse(Erasable(False, 0, "NOT_ERASABLE", why_never), index)
        erasure.remains.add(index=index, body=remains_of(body))
    if erasure.ByteSize() > MAX_BODY_BYTES - _ENVELOPE_BYTES:
        raise TooLargeError(
            "what remains of these bodies does not fit one entry",
            reason="BODY_TOO_LARGE",
            action="order fewer of them at once, or give a shorter reason",
        )
    return erasure


@dataclass(frozen=True, slots=True)
class WhyErased:
    """
    The ERASURE of a body: its index, its recorded_at (µs), the reason that the order gives.

    remains: what is left of the body.
    """

    index: int
    at: int
    reason: str
    remains: bytes


def why_erased(snapshot: Snapshot, index: int) -> WhyErased | None:
    """Why an entry's body is gone; None if it was not erased."""
    erased = find_erased(snapshot, index)
    if erased is None:
        return None
    erasure = erased.erasure
    header = snapshot.get(Table.HEADERS, u64(erasure))
    body = snapshot.get(Table.BODIES, u64(erasure))
    if header is None or body is None:
        raise StoreError(f"entry {index} was erased by entry {erasure}, which is not here")
    order = pb.ErasureOrder.FromString(pb.Body.FromString(body).erasure.order)
    return WhyErased(erasure, Header.parse(header).recorded_at, order.reason, erased.remains)


def _is_open(snapshot: Snapshot, header: Header) -> bool:
    if header.halves is None or header.kind == Kind.CONTRACT:
        return False
    transfer = get_transfer(snapshot, header.halves.ref)
    return transfer is not None and transfer.state in _OPEN


def _end_of_contract(snapshot: Snapshot, header: Header, body: pb.Body) -> int | None:
    """Last day of the contracts that an entry is about; None: no end. About none: its own day."""
    latest = day_of(header.recorded_at)
    for contract_id in contracts_of(body):
        row = snapshot.get(Table.CONTRACTS, contract_key(body.author, contract_id))
        contract = Contract() if row is None else Contract.parse(row)
        if not contract.versions:
            continue
        if not (ends_at := contract.ends_at(MAX_TIME)):
            return None
        latest = max(latest, day_of(ends_at))
    return latest
