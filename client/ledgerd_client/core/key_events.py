"""Fields of what is said about keys: GENESIS, KEY, LOSS, and which bodies a LOSS took along."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import (
    DIGEST_SIZE,
    check_id,
    check_institution,
    check_size,
    check_text,
    check_time,
)
from ledgerd_client.core.header import MAX_INSTITUTION_BYTES, check_origin
from ledgerd_client.core.keys import KEY_ID_SIZE, SIGNATURE_SIZE, check_public_key
from ledgerd_client.core.supervision import check_grant

MAX_RANGES = 1000

# Whose key it is, where that is neither an institution nor a regulator.
SUBJECTS: Mapping[int, str] = MappingProxyType({
    pb.ROLE_LOG: "node", pb.ROLE_ENTRY: "node", pb.ROLE_COSIGNER: "node",
    pb.ROLE_AUTHORITY: "authority",
})  # fmt: skip


def check_genesis(body: pb.Body) -> None:
    genesis = body.genesis
    keys = (genesis.log_key, genesis.entry_key, genesis.cosigner_key, genesis.authority_key)
    for key in (*keys, genesis.peer_authority_key):
        check_public_key(key)
    if len(set(keys)) != len(keys):
        raise FieldError("log, entry, cosigner and authority keys are four different keys")
    check_origin(genesis.peer_origin)
    if genesis.peer_origin == body.origin:
        raise FieldError("a log is not its own peer")


def check_key_event(body: pb.Body) -> None:
    event = body.key_event
    check_size("public_key", event.public_key, 32)
    if event.action not in pb.KeyAction.values() or not event.action:
        raise FieldError("action is admit, rotate or revoke", reason="UNKNOWN_CODE")
    if event.role not in pb.Role.values() or not event.role:
        raise FieldError("role is none that this version knows", reason="UNKNOWN_CODE")
    _check_subject(event)
    revokes, rotates = (
        event.action == action for action in (pb.KEY_ACTION_REVOKE, pb.KEY_ACTION_ROTATE)
    )
    check_size("possession", event.possession, 0 if revokes else SIGNATURE_SIZE)
    check_size("previous_key_id", event.previous_key_id, KEY_ID_SIZE if rotates else 0)
    if event.compromised_since:
        check_time("compromised_since", event.compromised_since)
    check_text("name", event.name, 200)
    check_id("group", event.group, 64)
    check_grant(event)
    of_node = event.role in {pb.ROLE_LOG, pb.ROLE_ENTRY, pb.ROLE_COSIGNER}
    if event.lost and (revokes or not of_node):
        raise FieldError("only a key of the node that is rotated is said to be lost")
    of_authority = event.role == pb.ROLE_AUTHORITY
    check_size("history_digest", event.history_digest, DIGEST_SIZE if of_authority else 0)


def _check_subject(event: pb.KeyEvent) -> None:
    if event.role == pb.ROLE_INSTITUTION:
        check_institution("subject", event.subject)
        # What rotates or revokes a key need not say again where its institution is.
        if event.action == pb.KEY_ACTION_ADMIT or event.place or event.sector:
            codes.check_codes("place", codes.PLACES, (event.place,))
            codes.check_codes("sector", codes.SECTORS, (event.sector,))
        return
    if event.place or event.sector or event.group:
        raise FieldError("only an institution has a place, a sector and a group")
    if event.role != pb.ROLE_REGULATOR:
        _check_not_enrolled(event)
    # Of a certificate the subject is <role>/<id>.
    limit = MAX_INSTITUTION_BYTES * (2 if event.role == pb.ROLE_TLS else 1)
    check_text("subject", event.subject, limit)
    if not event.subject:
        raise FieldError("a key event names whose key it is")


def _check_not_enrolled(event: pb.KeyEvent) -> None:
    """Of nodes, authorities and certificates: none of them is admitted by a key event."""
    revokes = event.action == pb.KEY_ACTION_REVOKE
    if event.role == pb.ROLE_LOG and revokes:
        if not event.compromised_since:
            raise FieldError("a log key that was replaced is revoked as of when it was stolen")
    elif event.action == pb.KEY_ACTION_ADMIT or revokes != (event.role == pb.ROLE_TLS):
        raise FieldError(
            "keys of the node and of the authority are rotated, and certificates revoked"
        )
    if event.subject != SUBJECTS.get(event.role, event.subject) or event.name:
        raise FieldError("the subject of such a key is 'node' or 'authority', and has no name")


def check_loss(body: pb.Body) -> None:
    loss = body.loss
    if not loss.size:
        raise FieldError("a LOSS never stands first")
    for key in (loss.log_key, loss.cosigner_key):
        check_public_key(key)
    if loss.log_key == loss.cosigner_key:
        raise FieldError("log and cosigner keys are two different keys")
    check_size("root", loss.root, DIGEST_SIZE)
    check_size("log_possession", loss.log_possession, SIGNATURE_SIZE)
    check_size("cosigner_possession", loss.cosigner_possession, SIGNATURE_SIZE)


def check_lost_bodies(body: pb.Body) -> None:
    ranges = body.lost_bodies.ranges
    if not 0 < len(ranges) <= MAX_RANGES:
        raise FieldError(f"lost bodies are 1 to {MAX_RANGES} ranges an entry")
    end = 0
    for number, lost in enumerate(ranges):
        # Ranges that touch are one.
        if lost.first >= lost.end or (number and lost.first <= end):
            raise FieldError("ranges of lost bodies are ascending, apart, and not empty")
        end = lost.end
