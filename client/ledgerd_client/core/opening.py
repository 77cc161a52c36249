"""
Opening checkpoints under key histories: whose signature a checkpoint of a size must carry.

Which key was in force there the log itself says: a rotation, or a LOSS, put others in their place.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, OpenedCheckpoint, open_checkpoint
from ledgerd_client.core.errors import SignatureError, TrustError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note


def open_log_checkpoint(
    note: bytes, history: KeyHistory, peer: KeyHistory | None = None, *, strict: bool = False
) -> OpenedCheckpoint:
    """
    Open a checkpoint of history's log, cosigned or not by peer's node.

    Raises as open_checkpoint, and TrustError when the key in force at its size has not signed it,
    or peer is not the peer that GENESIS names.
    """
    if peer is not None and peer.origin != history.need_genesis().peer_origin:
        raise TrustError(f"{peer.origin} is not the peer of {history.origin}")
    size = Checkpoint.parse(parse_note(note).text).size
    keys = history.log_keys(size)
    opened = open_checkpoint(
        note, log=keys, cosigners=peer.cosigner_keys() if peer else (), strict=strict
    )
    if keys[0] not in opened.signed:
        raise TrustError(
            f"the key of {history.origin} that is in force at {size} entries has not signed them"
        )
    present = history.key_in_force(pb.ROLE_LOG).public
    return replace(opened, retired=keys[0].public != present)


def loss_below(note: bytes, history: KeyHistory) -> pb.Loss | None:
    """
    The LOSS that made a checkpoint void: its own log's key signed it, and the log ended below it.

    None for a checkpoint that stands, or that this log's key never signed.
    """
    size = Checkpoint.parse(parse_note(note).text).size
    for loss in history.losses():
        if loss.size < size:
            with suppress(SignatureError, TrustError):
                open_checkpoint(note, log=history.log_keys(loss.size)[:1])
                return loss
    return None
