"""What bodies about regulators may hold: a grant, queries on record, an order to erase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import (
    DIGEST_SIZE,
    check_institution,
    check_size,
    check_text,
    check_time,
)
from ledgerd_client.core.header import MAX_INSTITUTION_BYTES, check_origin
from ledgerd_client.core.keys import SIGNATURE_SIZE

KIND_NUMBERS: Mapping[str, int] = MappingProxyType({
    field.name: field.number for field in pb.Body.DESCRIPTOR.oneofs_by_name["record"].fields
})  # fmt: skip
"""Each kind of record, by the name of its field in Body.record."""

MAX_ASKED = 24
MAX_REQUEST_BYTES = 1024
MAX_ERASED = 64
ORDER_ID_SIZE = 16
_METHOD_BYTES = 64
_KINDS = frozenset(KIND_NUMBERS.values())


def check_grant(event: pb.KeyEvent) -> None:
    """
    Refuse a regulator's key without a grant, and a grant of anybody else's.

    Its lists are strictly ascending and of known codes, and it has a beginning and an end. Raises
    FieldError.
    """
    reads = event.role == pb.ROLE_REGULATOR and event.action != pb.KEY_ACTION_REVOKE
    if event.HasField("grant") != reads:
        raise FieldError("a regulator's key comes with a grant, and no other event has one")
    if not reads:
        return
    grant = event.grant
    for field, numbers in (("places", grant.places), ("sectors", grant.sectors)):
        check_ascending(f"grant.{field}", numbers)
    check_ascending("grant.kinds", grant.kinds)
    codes.check_codes("grant.places", codes.PLACES, grant.places)
    codes.check_codes("grant.sectors", codes.SECTORS, grant.sectors)
    check_kinds("grant.kinds", grant.kinds)
    check_time("grant.valid_from", grant.valid_from)
    check_time("grant.valid_until", grant.valid_until)
    if grant.valid_from >= grant.valid_until:
        raise FieldError("grant: it ends before it begins")


def check_kinds(field: str, kinds: Sequence[int]) -> None:
    """Refuse a number that is no record's in Body. Raises FieldError UNKNOWN_CODE."""
    for kind in kinds:
        if kind not in _KINDS:
            raise FieldError(f"{field}: {kind} is no kind of record", reason="UNKNOWN_CODE")


def check_ascending(field: str, numbers: Sequence[int]) -> None:
    """Refuse numbers that are not strictly ascending: a set has one spelling."""
    if any(a >= b for a, b in pairwise(numbers)):
        raise FieldError(f"{field} is not strictly ascending")


def check_query_log(body: pb.Body) -> None:
    """Refuse queries on record that say too much or nothing. Raises FieldError."""
    log = body.query_log
    check_text("regulator", log.regulator, MAX_INSTITUTION_BYTES)
    check_time("since", log.since)
    if not log.regulator or not 0 < len(log.asked) <= MAX_ASKED:
        raise FieldError(f"a regulator asked 1 to {MAX_ASKED} listed queries")
    for asked in log.asked:
        check_text("method", asked.method, _METHOD_BYTES)
        check_size("digest", asked.digest, DIGEST_SIZE)
        if not asked.times or len(asked.request) > MAX_REQUEST_BYTES:
            raise FieldError(f"a query was asked once or more, in {MAX_REQUEST_BYTES} bytes")


def check_order(order: pb.ErasureOrder) -> None:
    """Refuse an order that does not say what to erase, of whom and why. Raises FieldError."""
    check_origin(order.origin)
    check_size("order_id", order.order_id, ORDER_ID_SIZE)
    check_institution("institution", order.institution)
    check_ascending("indexes", order.indexes)
    if not 0 < len(order.indexes) <= MAX_ERASED:
        raise FieldError(f"an order names 1 to {MAX_ERASED} entries")
    if not order.reason:
        raise FieldError("an order says the reason", action="give a reason")
    check_text("reason", order.reason, 500)
    check_time("ordered_at", order.ordered_at)


def check_erasure(body: pb.Body) -> None:
    """Refuse an erasure without a signed order. The order's own bytes are checked when read."""
    erasure = body.erasure
    check_size("signature", erasure.signature, SIGNATURE_SIZE)
    check_ascending("remains", [each.index for each in erasure.remains])
    if not 0 < len(erasure.remains) <= MAX_ERASED:
        raise FieldError(f"an erasure is of 1 to {MAX_ERASED} entries")
