"""
`ledgerd recover`, its last steps: the end of a log is asked to be given up, and is.

There is one way to do it: a LOSS that the authority signed, with new keys. So no key ever signs two
trees of one size, whatever an operator insists on.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from ledgerd.config import Config
from ledgerd.credentials import NEXT, RETIRED, NodeKeys, beside, key_path, load_trust
from ledgerd.init import rule_set_of
from ledgerd.ledger.high_water import HighWater, write_mark
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.standing import forget_shown
from ledgerd.peer.ports import PeerClient
from ledgerd.peer.recovery import Progress, Recovery, unwatched
from ledgerd.peer.spent import Spent
from ledgerd.recovery.collecting import RECOVERING, Clock, Random, check_base, opened, put_aside
from ledgerd.recovery.rebuilding import declare_loss, hand_over, rebuild
from ledgerd.rotating import make_next
from ledgerd.signing import put_in_place, recall_entry_key
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.errors import FieldError, NotReadyError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.record import SignedRecord
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import read_key_file, write_new
from ledgerd_client.loss_request import LossRequest

_UNFINISHED: Final = "unfinished-recovery"
_UNFINISHED_PEER: Final = "unfinished-peer"


async def request_loss(config: Config, out: Path, *, clock: Clock, random: Random) -> str:
    """
    Make the keys to go on with, and the request for the authority; return its fingerprint.

    Raises NotReadyError NOT_RECOVERED before recover() has come to a checkpoint, InputError.
    """
    async with opened(config, clock=clock, random=random) as recovery:
        if not recovery.base:
            raise NotReadyError(
                "nothing is recovered yet",
                reason="NOT_RECOVERED",
                action="run `ledgerd recover` without --request first",
            )
        log, cosigner = (
            _next_key(config, role, random) for role in (pb.ROLE_LOG, pb.ROLE_COSIGNER)
        )
        missing = recovery.bodies.missing_by_author().total()
        request = LossRequest.make(
            checkpoint=recovery.base, log_key=log, cosigner_key=cosigner, missing=missing
        )
    data = request.format()
    write_new(out, data, mode=0o644)
    return fingerprint(data)


def _next_key(config: Config, role: int, random: Random) -> SigningKey:
    """A key of this recovery alone: it was never used, and is moved away with it."""
    path = _key_of(config, role)
    if path.exists() and _in_use(config, role, _read_key(config, path).public):
        # A LOSS was taken with it, and this directory was put back.
        path.unlink()
    if not path.exists():
        make_next(config, path, SigningKey(random(32)))
    return _read_key(config, path)


def _read_key(config: Config, path: Path) -> SigningKey:
    return read_key_file(path, config.keys.passphrase).key


def _in_use(config: Config, role: int, public: bytes) -> Path | None:
    """Which of the node's own key files holds a key: it is in force, or was."""
    path = key_path(config, role)
    for each in (path, beside(path, RETIRED)):
        if each.exists() and _read_key(config, each).public == public:
            return each
    return None


def _key_of(config: Config, role: int) -> Path:
    return config.data / RECOVERING / key_path(config, role).name


async def declare(
    config: Config,
    approval: Approval,
    client: PeerClient,
    also: Sequence[Approval] = (),
    *,
    clock: Clock,
    random: Random,
    progress: Progress = unwatched,
) -> int:
    """
    Take the authority's LOSS: make the store anew and put it in place; return its size.

    also: what it had decided of keys in the lost end, and decides again in the same commit.

    When this returns, it is on the disk. Cut short, it is called again. Raises FieldError
    OTHER_TREE or WRONG_KEYS when the LOSS is not what was asked for, NotReadyError PEER_AHEAD when
    the peer has cosigned more by now, AuditError for what was recovered.
    """
    loss = approval.read_body().loss
    keys = _with_next(config, loss)
    if _is_in_place(config, loss):
        # To make it once more would be another tree under the same key.
        return _finish(config, keys, clock)
    _check_unused(config, loss)
    async with opened(config, clock=clock, random=random) as recovery:
        base = recovery.own.verified
        if base is None or (loss.size, loss.root) != (base.size, base.checkpoint.root):
            raise FieldError(
                "the LOSS is not of the tree that was recovered",
                reason="OTHER_TREE",
                action="ask anew, with `ledgerd recover --request`",
            )
        if await recovery.asked_again(client) > base.size:
            raise NotReadyError(
                f"the peer has cosigned more than {base.size} entries by now",
                reason="PEER_AHEAD",
                action="run `ledgerd recover` again, and ask the authority anew",
            )
        check_base(config, recovery)
        unfinished = config.data / _UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        with closing(
            LmdbStore.create(unfinished, instance=random(16), map_size=config.limits.map_size)
        ) as store:
            decisions = [each.record for each in (approval, *also)]
            _write_anew(config, store, recovery, decisions, keys, clock, random, progress)
    _put_keys_beside(config)
    _put_peer_in_place(config, clock)
    put_aside(config.store, clock)
    unfinished.rename(config.store)
    return _finish(config, keys, clock)


def _write_anew(
    config: Config,
    store: LmdbStore,
    recovery: Recovery,
    decisions: Sequence[SignedRecord],
    keys: NodeKeys,
    clock: Clock,
    random: Random,
    progress: Progress,
) -> None:
    authority = load_trust(config).authority(config.origin)
    verifier = rebuild(store, recovery, authority, progress)
    rules = rule_set_of(config.rules)
    declare_loss(
        store, verifier, recovery, decisions, keys, rules, authority,
        clock=clock, random=random,
    )  # fmt: skip
    hand_over(store, recovery)


def _with_next(config: Config, loss: pb.Loss) -> NodeKeys:
    """The node's keys, and beside them those of this recovery, which the LOSS must name."""
    keys = NodeKeys.load(config)
    for role, named in ((pb.ROLE_LOG, loss.log_key), (pb.ROLE_COSIGNER, loss.cosigner_key)):
        path = _key_of(config, role)
        key = _read_key(config, path) if path.exists() else None
        if key is None or key.public != named:
            raise FieldError(
                "the approval is no LOSS with the keys that this recovery asked for",
                reason="WRONG_KEYS",
                action="take the approval of what `ledgerd recover --request` wrote last",
            )
        keys = keys.with_next(role, key)
    return keys


def _check_unused(config: Config, loss: pb.Loss) -> None:
    """A LOSS is taken once: a node that has gone over to its keys may have served with them."""
    for role, named in ((pb.ROLE_LOG, loss.log_key), (pb.ROLE_COSIGNER, loss.cosigner_key)):
        if used := _in_use(config, role, named):
            raise FieldError(
                f"the LOSS was taken before: {used} is a key that it puts in force",
                reason="WRONG_KEYS",
                action="run `ledgerd recover` and `--request` anew, which makes other keys; a copy"
                " of the data directory from then is no way back",
            )


def _put_keys_beside(config: Config) -> None:
    for role in (pb.ROLE_LOG, pb.ROLE_COSIGNER):
        following = beside(key_path(config, role), NEXT)
        following.unlink(missing_ok=True)
        shutil.copy2(_key_of(config, role), following)


def _put_peer_in_place(config: Config, clock: Clock) -> None:
    """
    Before the store, whose new keys must never meet an older state of the witness.

    A copy: cut short, all of it is made again. Not named yet as the witness's: an old store that
    is started with it would find that its witness has forgotten.
    """
    unfinished = config.data / _UNFINISHED_PEER
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(config.data / RECOVERING / "peer", unfinished)
    put_aside(config.peer_store, clock)
    unfinished.rename(config.peer_store)


def _is_in_place(config: Config, loss: pb.Loss) -> bool:
    """Whether the store is the one that was made with this LOSS."""
    if not config.store.exists():
        return False
    history = _history(config)
    return loss in history.losses()


def _history(config: Config) -> KeyHistory:
    with closing(LmdbStore.open(config.store, readonly=True)) as store:
        authority = load_trust(config).authority(config.origin)
        return Keyring(store, config.origin, authority).history


def _finish(config: Config, keys: NodeKeys, clock: Clock) -> int:
    """What is left once the store is in its place; the log's size."""
    with closing(LmdbStore.open(config.store, readonly=True)) as store:
        mark = HighWater(store.instance, Reader(store).head().size)
    write_mark(config.data, mark)
    forget_shown(config.data)
    with closing(LmdbStore.open(config.peer_store, readonly=True)) as peer:
        Spent(config.data).keep(peer.instance)
    history = _history(config)
    Spent(config.data).spend(history.node_keys(pb.ROLE_COSIGNER)[-2].public)
    put_in_place(config, recall_entry_key(config, keys, history).in_force(history))
    put_aside(config.data / RECOVERING, clock)
    return mark.size
