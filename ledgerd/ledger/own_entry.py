"""An entry of the node itself: made, and signed with its key."""

from __future__ import annotations

from collections.abc import Callable

from ledgerd_client.core.body import NODE
from ledgerd_client.core.keys import Signs
from ledgerd_client.core.record import Admitted, make_body, make_record_id, sign_admitted


def sign_own(
    key: Signs,
    origin: str,
    now: int,
    random: Callable[[int], bytes],
    *,
    key_index: int = 0,
    **record: object,
) -> Admitted:
    """
    Make and sign an entry of the node itself; record is one field of pb.Body's oneof.

    key_index: of the entry that put the key in force.
    """
    body = make_body(
        origin=origin,
        author=NODE,
        record_id=make_record_id(now, random(10)),
        occurred_at=now,
        salt=random(16),
        **record,
    )
    return sign_admitted(body, key, key_index=key_index)
