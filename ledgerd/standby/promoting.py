"""
`ledgerd promote`: a standby goes on with the log, by its authority's LOSS and under other keys.

The fence is not here. It is the peer, which cosigns one history: either the old node's beyond the
end that the LOSS names, and then never the LOSS; or the LOSS, and then nothing more by the old key
(docs/adr/0020). Until it has, the promoted node takes no appends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from ledgerd.config import Config
from ledgerd.credentials import NEXT, NodeKeys, beside, key_path
from ledgerd.peer.ports import PeerClient
from ledgerd.rotating import make_next
from ledgerd.standby.stopped import (
    Clock,
    Random,
    check_entry_key,
    has_taken,
    promoted_size,
    stopped_standby,
)
from ledgerd.synced import sync
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.errors import FieldError, LedgerError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import public_key, read_file, read_key_file, read_secret, write_new
from ledgerd_client.loss_request import LossRequest

_ROLES: Final = (pb.ROLE_LOG, pb.ROLE_COSIGNER)


class Asked(NamedTuple):
    """What the authority is asked to sign: the log ends at size; and what to read out to it."""

    size: int
    fingerprint: str


async def request_promotion(
    config: Config, out: Path, client: PeerClient, *, random: Random, waited: bool = False
) -> Asked:
    """
    Ask the authority to end the log where this standby stands, and give it this standby's keys.

    Whatever would be in the way of taking its answer is told before. Called again, it asks the same
    until the standby has followed on. Raises NotReadyError ALREADY_SERVED while the standby runs:
    what it tells the old node that it holds must not go on behind this; STANDBY_BEHIND when it
    lacks what the peer has cosigned, or was cut short in the middle of a step; PEER_FORGOT, unless
    the node waited (as StoppedStandby.check_ahead_of);
    PROMOTION_BEGUN when a LOSS was taken, which promote() finishes; FieldError WRONG_KEYS without
    the entry key; InputError, UnavailableError.
    """
    with stopped_standby(config, random) as standby:
        standby.check_whole()
        check_entry_key(config, standby.history)
        cosigned = await standby.check_ahead_of(client, waited=waited)
        log, cosigner = (_next_key(config, role, random) for role in _ROLES)
        note = cosigned if cosigned and standby.covers(cosigned) else standby.head.checkpoint
        request = LossRequest.make(checkpoint=note, log_key=log, cosigner_key=cosigner, missing=0)
    return Asked(request.end.size, fingerprint(_write(out, request)))


async def promote(
    config: Config,
    approval: Approval,
    client: PeerClient,
    *,
    clock: Clock,
    random: Random,
    waited: bool = False,
) -> int:
    """
    Take the authority's LOSS: this standby is the node from there on; return the log's size.

    When this returns, it is on the disk. Cut short, it is called again; after that too, and changes
    nothing. Raises FieldError OTHER_TREE or WRONG_KEYS when the LOSS is not what was asked for, and
    NotReadyError as request_promotion does: also when the peer has cosigned more by now.
    """
    loss = approval.read_body().loss
    size = promoted_size(config)
    if size is not None and has_taken(config, loss):
        return size
    with stopped_standby(config, random) as standby:
        keys = NodeKeys.load(config)
        if loss not in standby.history.losses():
            _check_keys(config, loss)
            standby.check_whole()
            if (loss.size, loss.root) != (standby.head.size, standby.end.root):
                raise FieldError(
                    "the LOSS is not of what this standby holds",
                    reason="OTHER_TREE",
                    action="ask anew, with `ledgerd promote --request`",
                )
            await standby.check_ahead_of(client, waited=waited)
            standby.declare(approval, keys, clock=clock, random=random)
        standby.hand_over(await standby.check_ahead_of(client, waited=waited))
        return standby.finish(keys)


def _next_key(config: Config, role: int, random: Random) -> SigningKey:
    """A key of this standby alone, which was never used."""
    path = beside(key_path(config, role), NEXT)
    _drop_empty(path)
    if not path.exists():
        make_next(config, path, SigningKey(random(32)))
    return read_key_file(path, config.keys.passphrase).key


def _check_keys(config: Config, loss: pb.Loss) -> None:
    """A LOSS puts keys in force that this standby asked for, and that have never signed."""
    for role, named in zip(_ROLES, (loss.log_key, loss.cosigner_key), strict=True):
        following = beside(key_path(config, role), NEXT)
        if not following.exists() or public_key(read_secret(following)) != named:
            raise FieldError(
                "the approval is no LOSS with the keys that this standby asked for",
                reason="WRONG_KEYS",
                action="take the approval of what `ledgerd promote --request` wrote last",
            )


def _write(out: Path, request: LossRequest) -> bytes:
    """Write the request where there is none; where this standby has asked the same, that stays."""
    _drop_empty(out)
    if out.exists():
        data = read_file(out)
        if _asks_the_same(data, request):
            sync(out)
            return data
    data = request.format()
    write_new(out, data, mode=0o644)
    return data


def _asks_the_same(data: bytes, request: LossRequest) -> bool:
    """Whatever cosignatures the checkpoint had by then."""
    try:
        return LossRequest.parse(data).loss() == request.loss()
    except LedgerError:
        return False


def _drop_empty(path: Path) -> None:
    """What a process leaves that was killed before it could write into a file that it had made."""
    if path.exists() and not path.stat().st_size:
        path.unlink()
