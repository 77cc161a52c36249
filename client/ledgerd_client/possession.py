"""What requests to an authority have in common: whoever asks shows that the key is theirs."""

from __future__ import annotations

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.admission import admission_digest, check_possession
from ledgerd_client.core.errors import SignatureError
from ledgerd_client.core.key_events import SUBJECTS
from ledgerd_client.core.keys import check_public_key


def check_asker(public: bytes, digest: bytes, possession: bytes) -> None:
    """Refuse a request for a key that has not signed its digest, or that is no good one."""
    check_public_key(public)
    try:
        check_possession(public, digest, possession)
    except SignatureError as error:
        raise SignatureError(
            "the request is not signed by the key that it names",
            reason=error.reason,
            action="do not approve it; ask the sender for a new one",
        ) from None


def node_key_digest(origin: str, role: pb.Role.ValueType, public: bytes) -> bytes:
    """What a key signs that is to replace one of a node's in its log."""
    return admission_digest(origin, SUBJECTS[role], role, public)
