"""
`ledgerd restore` and `ledgerd recover`: a node on a copy of its store, or on no store at all.

There is one way to give up the end of a log: a LOSS that the authority signed, with new keys. So no
key ever signs two trees of one size, whatever an operator insists on.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Final, NamedTuple

from ledgerd.api.guard import Guard
from ledgerd.api.identity import Identities
from ledgerd.api.peer_client import PeerClient as GrpcPeerClient
from ledgerd.api.recovery import RecoveryHandlers
from ledgerd.api.roles import Access
from ledgerd.api.server import RecoveryServer
from ledgerd.config import Config
from ledgerd.credentials import NEXT, RETIRED, NodeKeys, NodeTls, beside, key_path, load_trust
from ledgerd.init import rule_set_of
from ledgerd.ledger.head import Head, follows_another
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.standing import REPLACED_FILE, SHOWN_FILE, HighWater, write_mark
from ledgerd.lost_tail import lost_decisions
from ledgerd.metrics import Metrics
from ledgerd.peer.notes import parse_known
from ledgerd.peer.ports import PeerClient
from ledgerd.peer.recovery import Recovery
from ledgerd.peer.spent import Spent
from ledgerd.peer.submit import newest_cosigned
from ledgerd.rebuilding import declare_loss, hand_over, rebuild
from ledgerd.rotating import make_next
from ledgerd.signing import put_in_place, recall_entry_key
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.chain import SignatureCheck, check_signatures
from ledgerd_client.core.errors import FieldError, NotReadyError, StoreError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.record import SignedRecord
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import read_key_file, write_new
from ledgerd_client.loss_request import LossRequest

# In the data directory, while it lasts.
RECOVERING: Final = "recovering"
_UNFINISHED: Final = "unfinished-recovery"
_UNFINISHED_PEER: Final = "unfinished-peer"
_RESTORING: Final = "unfinished-restore"

Clock = Callable[[], int]
Random = Callable[[int], bytes]


class Found(NamedTuple):
    """
    What is back: entries of the own log, and by institution the bodies that are missing.

    Under "" those that the node wrote itself. lost: what the authority had decided behind that, as
    far as a copy shows it: a line for each.
    """

    size: int
    missing: Mapping[str, int]
    lost: tuple[str, ...] = ()


# -- a copy of the store -----------------------------------------------------------------------


def restore(config: Config, copy: Path, *, clock: Clock, random: Random) -> int:
    """
    Put a copy of the store in the place of one that is gone; return how many entries it has.

    It is a new instance: the node takes no appends before its peer has confirmed it, and its
    cosigner key is spent. The mark of what the old store held stays. Raises StoreError
    STORE_EXISTS or NO_STORE, FieldError WRONG_KEYS for a copy from before a rotation or a LOSS.
    """
    keys, trust = NodeKeys.load(config), load_trust(config)
    with DirectoryLock(config.data):
        check_absent(config)
        unfinished = config.data / _RESTORING
        shutil.rmtree(unfinished, ignore_errors=True)
        LmdbStore.copy(_store_in(copy), unfinished, instance=random(16))
        with closing(LmdbStore.open(unfinished, map_size=config.limits.map_size)) as store:
            history = Keyring(store, config.origin, trust.authority(config.origin)).history
            present = _in_force(keys, history)
            with store.snapshot() as snapshot:
                size = Head.load(snapshot).size
                if follows_another(snapshot):
                    raise _of_a_standby(copy)
        Spent(config.data).spend(present.cosigner.public)
        _put_aside(config.peer_store, clock)
        unfinished.rename(config.store)
    return size


def _of_a_standby(copy: Path) -> NotReadyError:
    """The node that it follows may live: only a LOSS tells the two apart."""
    return NotReadyError(
        f"{copy} is a mirror's or a standby's",
        reason="STANDBY",
        action="promote the standby where it is, or `ledgerd recover --from` it",
    )


def check_absent(config: Config) -> None:
    """Refuse to put a store where there is one; raises StoreError STORE_EXISTS."""
    if config.store.exists():
        raise StoreError(
            f"there is a store in {config.store}",
            reason="STORE_EXISTS",
            action="move it out of the data directory first; do not delete it",
        )


def _in_force(keys: NodeKeys, history: KeyHistory) -> NodeKeys:
    """A retired key never signs alone: it may be in other hands by now."""
    try:
        return keys.in_force(history)
    except FieldError as error:
        raise FieldError(
            f"{error.message}: the copy is from before a rotation or a LOSS",
            reason="WRONG_KEYS",
            action="recover, with `ledgerd recover --from` this copy",
        ) from None


# -- what the peer still has -------------------------------------------------------------------


async def recover(
    config: Config,
    client: PeerClient,
    copies: Iterable[Path] = (),
    *,
    clock: Clock,
    random: Random,
) -> Found:
    """
    Fetch what the peer has cosigned of this log, and bodies out of copies of the store.

    It may be called again, and goes on. The store itself, if there is one, stays as it is and is
    one more copy. Raises NotReadyError while the node runs, NOTHING_COSIGNED, or PEER_BEHIND when
    the peer shows less than it is known to have cosigned; StoreError, InputError for the copies.
    """
    async with opened(config, clock=clock, random=random) as recovery:
        await recovery.fetch(client)
        _check_base(config, recovery)
        size = recovery.own.verified_size
        places = [_store_in(copy) for copy in copies]
        places += [config.store] if config.store.exists() else []
        lost: dict[str, None] = {}
        for by_node in (True, False):
            for place in places:
                with closing(LmdbStore.open(place, readonly=True)) as store:
                    await recovery.take_bodies(store, by_node=by_node)
                    lost |= dict.fromkeys(lost_decisions(store, size))
        await recovery.forget_erased()
        return Found(size, recovery.missing_by_author(), tuple(lost))


async def take_back(
    config: Config,
    stop: asyncio.Event,
    ready: Callable[[int], None],
    *,
    clock: Clock,
    random: Random,
) -> Found:
    """
    Let institutions return bodies until none of theirs is missing, or stop is set.

    ready is told the port once calls are answered. Raises as recover(), and UnavailableError.
    """
    trust = load_trust(config)
    tls = NodeTls.load(config, trust)
    async with opened(config, clock=clock, random=random) as recovery:

        def look() -> None:
            if not set(recovery.missing_by_author()) - {""}:
                stop.set()

        own = trust[config.origin].certificates
        keyring = Keyring(recovery.own_store.store, config.origin, trust.authority(config.origin))
        guard = Guard(
            Identities(config.spiffe_id, own, config.peer_spiffe_id, ()),
            Access(
                keyring,
                operators=(),
                peer=config.peer.id,
                clock=clock,
                last_time=lambda: 0,
                peer_keys=lambda: keyring.history,
            ),
            _Deaf(),
            Metrics(),
        )
        server = RecoveryServer(
            guard,
            RecoveryHandlers(recovery, look),
            connection_age_s=config.timing.connection_age_s,
        )
        look()
        ready(
            await server.start(
                config.listen, certificate=tls.certificate, key=tls.key, authorities=own
            )
        )
        await stop.wait()
        await server.stop(config.timing.drain_s)
        return Found(recovery.own.verified_size, recovery.missing_by_author())


class _Deaf:
    """Of a log that is not whole, whatever callers have seen of it shows nothing new."""

    def mentioned(self, note: bytes) -> None:
        pass


def _check_base(config: Config, recovery: Recovery) -> None:
    """A size that was cosigned is never given up, whatever the peer still knows of it."""
    base = recovery.own.verified_size
    for directory in config.data.glob(f"{config.peer_store.name}*"):
        with closing(LmdbStore.open(directory, readonly=True)) as store, store.snapshot() as kept:
            note = newest_cosigned(kept)
        if note and parse_known(note).size > base:
            raise NotReadyError(
                f"the peer shows {base} entries, and has cosigned {parse_known(note).size}:"
                f" {directory} holds its cosignature",
                reason="PEER_BEHIND",
                action="have the peer recover first; without it, a new log under a new origin is"
                " the only way",
            )


# -- what the authority decides ----------------------------------------------------------------


async def request_loss(config: Config, out: Path, *, clock: Clock, random: Random) -> str:
    """
    Make the keys to go on with, and the request for the authority; return its fingerprint.

    Raises NotReadyError NOTHING_COSIGNED before recover() has come to a checkpoint, InputError.
    """
    async with opened(config, clock=clock, random=random) as recovery:
        if not recovery.base:
            raise NotReadyError(
                "nothing is recovered yet",
                reason="NOTHING_COSIGNED",
                action="run `ledgerd recover` without --request first",
            )
        log, cosigner = (
            _next_key(config, role, random) for role in (pb.ROLE_LOG, pb.ROLE_COSIGNER)
        )
        missing = recovery.missing_by_author().total()
        request = LossRequest.make(
            checkpoint=recovery.base, log_key=log, cosigner_key=cosigner, missing=missing
        )
    data = request.format()
    write_new(out, data, mode=0o644)
    return fingerprint(data)


def _next_key(config: Config, role: int, random: Random) -> SigningKey:
    """A key of this recovery alone: it was never used, and is moved away with it."""
    path = _key_of(config, role)
    if not path.exists():
        make_next(config, path, SigningKey(random(32)))
    return read_key_file(path, config.keys.passphrase).key


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
        _check_base(config, recovery)
        unfinished = config.data / _UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        with closing(
            LmdbStore.create(unfinished, instance=random(16), map_size=config.limits.map_size)
        ) as store:
            decisions = [each.record for each in (approval, *also)]
            _write_anew(config, store, recovery, decisions, keys, clock, random)
    _put_keys_beside(config)
    _put_peer_in_place(config, clock)
    _put_aside(config.store, clock)
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
) -> None:
    authority = load_trust(config).authority(config.origin)
    verifier = rebuild(store, recovery, authority)
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
        key = read_key_file(path, config.keys.passphrase).key if path.exists() else None
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
        path = key_path(config, role)
        for each in (path, beside(path, RETIRED)):
            if each.exists() and read_key_file(each, config.keys.passphrase).key.public == named:
                raise FieldError(
                    f"the LOSS was taken before: {each} is a key that it puts in force",
                    reason="WRONG_KEYS",
                    action="run `ledgerd recover` and `--request` anew, with other keys; a copy of"
                    " the data directory from then is no way back",
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
    _put_aside(config.peer_store, clock)
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
    for shown in (SHOWN_FILE, REPLACED_FILE):
        (config.data / shown).unlink(missing_ok=True)
    with closing(LmdbStore.open(config.peer_store, readonly=True)) as peer:
        Spent(config.data).keep(peer.instance)
    history = _history(config)
    Spent(config.data).spend(history.node_keys(pb.ROLE_COSIGNER)[-2].public)
    put_in_place(config, recall_entry_key(config, keys, history).in_force(history))
    _put_aside(config.data / RECOVERING, clock)
    return mark.size


# -- in common ---------------------------------------------------------------------------------


@asynccontextmanager
async def opened(config: Config, *, clock: Clock, random: Random) -> AsyncIterator[Recovery]:
    """Have what is recovered at hand, of a node that does not run; raises NotReadyError."""
    trust = load_trust(config)
    # On a new disk there is none.
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(DirectoryLock(config.data))
        recovery = Recovery(
            config.data / RECOVERING,
            origin=config.origin,
            trust=trust,
            check=_check_signatures,
            clock=clock,
            random=random,
            quota=config.limits.replica_quota_bytes,
        )
        stack.callback(recovery.close)
        yield recovery


@asynccontextmanager
async def peer_of(config: Config) -> AsyncIterator[GrpcPeerClient]:
    """The way to the peer's node; raises InputError, TrustError."""
    trust = load_trust(config)
    tls = NodeTls.load(config, trust)
    others = (each for each in trust.origins if each.origin != config.origin)
    client = GrpcPeerClient.connect(
        config.peer.endpoint,
        authorities=[der for each in others for der in each.certificates],
        certificate=tls.certificate,
        key=tls.key,
        timeout_s=config.timing.call_timeout_s,
    )
    try:
        yield client
    finally:
        await client.close()


async def _check_signatures(checks: list[SignatureCheck]) -> None:
    await asyncio.to_thread(check_signatures, checks)


def _store_in(path: Path) -> Path:
    """The store of a copy: itself, or of a data directory."""
    return path / "store" if (path / "store").is_dir() else path


def _put_aside(path: Path, clock: Clock) -> None:
    if path.exists():
        path.rename(path.with_name(f"{path.name}.before-{clock()}"))
