"""
What an authority had decided in the end of a log that is given up, and must be handed in again.

Without its revocation a stolen key is good again; without its ERASURE a body is not erased.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from ledgerd.store.base import Snapshot, Store
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import encode_base64, u64
from ledgerd_client.core.header import Header, Kind


def lost_decisions(copy: Store, size: int) -> Iterator[str]:
    """A line for each decision of the authority's that a copy of the store has beyond a size."""
    with copy.snapshot() as snapshot:
        for key, raw in snapshot.scan(Table.HEADERS, u64(size)):
            header = Header.parse(raw)
            body = _body(snapshot, key, header)
            if body.HasField("key_event"):
                yield f"entry {header.index}: {_event(body.key_event)}"
            elif body.HasField("erasure"):
                order = pb.ErasureOrder.FromString(body.erasure.order)
                yield f"entry {header.index}: erasure of {', '.join(map(str, order.indexes))}"


def _body(snapshot: Snapshot, key: bytes, header: Header) -> pb.Body:
    raw = snapshot.get(Table.BODIES, key) if header.kind in {Kind.KEY, Kind.NODE} else None
    if raw is None or sha256(raw).digest() != header.body_digest:
        return pb.Body()
    return pb.Body.FromString(raw)


def _event(event: pb.KeyEvent) -> str:
    action = pb.KeyAction.Name(event.action).removeprefix("KEY_ACTION_").lower()
    role = pb.Role.Name(event.role).removeprefix("ROLE_").lower()
    return f"{action} {role} {event.subject}, key {encode_base64(event.public_key)}"
