"""What a grant lets a regulator read, and when."""

from __future__ import annotations

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ForbiddenError

# In place of a place or a sector, of entries that are no institution's: what every grant covers,
# whatever places and sectors it names, and what only one covers that names none of them.
PUBLIC = 0
NOBODYS = 0xFFFFFFFF


def check_term(grant: pb.Grant, now: int) -> None:
    """Refuse a grant before and after its time (µs). Raises ForbiddenError."""
    if now < grant.valid_from:
        raise ForbiddenError(
            "the grant to read does not hold yet",
            reason="GRANT_NOT_YET",
            action="ask again when it has begun, or ask the authority for another",
        )
    if now >= grant.valid_until:
        raise ForbiddenError(
            "the grant to read has ended",
            reason="GRANT_EXPIRED",
            action="ask the authority of this side for a new one",
        )
