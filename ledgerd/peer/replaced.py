"""
How a node finds out that its log goes on elsewhere, under keys that it does not hold.

A LOSS by the log's own authority says so, and a checkpoint by the key that it put in force, which
the peer has cosigned: without that nobody has taken it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._proto import service_pb2
from ledgerd_client.core.body import kind_of, parse_body
from ledgerd_client.core.checkpoint import open_checkpoint
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import key_id, verify
from ledgerd_client.core.note import ED25519, Verifier


async def find_foreign_loss(
    messages: AsyncIterator[service_pb2.ListReplicaResponse], history: KeyHistory
) -> bytes:
    """
    Look through what the peer has of this log for a LOSS that is not in our history of it.

    Returns the entry, to be kept (header and body, as base64), or b"".
    """
    note = b""
    async for message in messages:
        note = note or message.checkpoint
        for shared in message.bodies:
            place = shared.index - message.first
            if 0 <= place < len(message.headers):
                header = message.headers[place]
                if _is_foreign(history, note, header, shared.body):
                    return "".join(f"{encode_base64(x)}\n" for x in (header, shared.body)).encode()
    return b""


def _is_foreign(history: KeyHistory, note: bytes, raw: bytes, data: bytes) -> bool:
    """Whoever shows it: nobody else can have signed both."""
    with suppress(LedgerError):
        header, body = Header.parse(raw), parse_body(data)
        said = (kind_of(body), body.origin, sha256(data).digest(), body.loss.size)
        if said != (Kind.LOSS, history.origin, header.body_digest, header.index):
            return False
        if header.kind != Kind.LOSS or body.loss in history.losses():
            return False
        keys = {key_id(key.public): key.public for key in history.node_keys(pb.ROLE_AUTHORITY)}
        verify(keys.get(header.key_id, b""), header.signed_bytes(history.origin), header.signature)
        new = Verifier(history.origin, ED25519, body.loss.log_key)
        return open_checkpoint(note, log=(new,)).checkpoint.size > header.index
    return False
