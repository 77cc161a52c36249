"""A standby that does not run: what it lacks to go on with the log, and how it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from typing import Final

from ledgerd.clock import now
from ledgerd.config import Config
from ledgerd.credentials import NEXT, NodeKeys, beside, key_path, load_trust
from ledgerd.ledger.head import FOLLOWS_KEY, Head, follows_another
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.standing import forget_shown
from ledgerd.ledger.writer import Writer
from ledgerd.mirror.store import MirrorStore
from ledgerd.peer.anchors import Anchored, newest_anchor, put_anchored
from ledgerd.peer.notes import parse_known, stripped
from ledgerd.peer.ports import PeerClient
from ledgerd.peer.recovery import come_up
from ledgerd.peer.replica import Replica
from ledgerd.peer.spent import Spent
from ledgerd.peer.submit import put_newest_cosigned
from ledgerd.peer.witness import put_cosigned
from ledgerd.signing import put_in_place
from ledgerd.store.base import Store
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.chain import SignatureCheck, check_signatures
from ledgerd_client.core.checkpoint import Checkpoint, OpenedCheckpoint
from ledgerd_client.core.errors import FieldError, InputError, LedgerError, NotReadyError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import key_id
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.record import Key, admit
from ledgerd_client.keyfile import public_key, read_secret

Clock = Callable[[], int]
Random = Callable[[int], bytes]

_BY_COPY: Final = "use `ledgerd recover --from` its directory, with a data directory of its own"


@contextmanager
def stopped_standby(config: Config, random: Random) -> Iterator[StoppedStandby]:
    """
    Hold a standby's directory while the block lasts.

    Raises NotReadyError ALREADY_SERVED while it runs; StoreError NO_STORE; InputError STORE_EXISTS
    for the ledger of a node, which a standby that was promoted is.
    """
    if promoted_size(config) is not None:
        raise InputError(
            f"{config.data} holds the ledger of a node, not of a standby",
            reason="STORE_EXISTS",
            action="if it is a standby that was promoted, start it with `ledgerd serve`; else run"
            " this on the standby's machine",
        )
    with closing(MirrorStore(config.data, config.origin, random)) as store:
        yield StoppedStandby(config, store)


def promoted_size(config: Config) -> int | None:
    """How many entries the ledger of a node has; None for a standby. Raises StoreError NO_STORE."""
    with closing(LmdbStore.open(config.store, readonly=True)) as store:
        with store.snapshot() as snapshot:
            head = None if follows_another(snapshot) else Head.find(snapshot)
        return head.size if head else None


def has_taken(config: Config, loss: pb.Loss) -> bool:
    """Whether a LOSS is in the log, of a standby or of a node. Raises StoreError NO_STORE."""
    with closing(LmdbStore.open(config.store, readonly=True)) as store:
        with store.snapshot() as snapshot:
            if Head.find(snapshot) is None:
                return False
        return loss in _history(config, store).losses()


def check_entry_key(config: Config, history: KeyHistory) -> None:
    """
    See that the node's entry key is here: a LOSS replaces the two others only.

    Raises FieldError WRONG_KEYS, or InputError for a file that can't be read.
    """
    path = key_path(config, pb.ROLE_ENTRY)
    there = [each for each in (path, beside(path, NEXT)) if each.exists()]
    wanted = history.key_in_force(pb.ROLE_ENTRY)
    if wanted.public not in [public_key(read_secret(each)) for each in there]:
        raise FieldError(
            f"{path} is not the entry key that the log has in force since entry"
            f" {wanted.admitted_at}: this standby could not be promoted",
            reason="WRONG_KEYS",
            action="put a copy of the node's entry key there, from its machine or from where its"
            f" keys are kept; if it is lost, {_BY_COPY}",
        )


def _history(config: Config, store: Store) -> KeyHistory:
    authority = load_trust(config).authority(config.origin)
    return Keyring(store, config.origin, authority).history


class StoppedStandby:
    """Made by stopped_standby alone."""

    def __init__(self, config: Config, store: MirrorStore) -> None:
        self._config = config
        self._store = store

    @property
    def head(self) -> Head:
        return Reader(self._store.log).head()

    @property
    def end(self) -> Checkpoint:
        return parse_known(self.head.checkpoint).checkpoint

    @property
    def history(self) -> KeyHistory:
        return _history(self._config, self._store.log)

    def covers(self, note: bytes) -> bool:
        """Whether a note is of all that is here."""
        return parse_known(note).checkpoint == self.end

    def check_whole(self) -> None:
        """
        See that a checkpoint covers what is here.

        Raises NotReadyError STANDBY_BEHIND, or PROMOTION_BEGUN when a LOSS was taken behind it.
        """
        self._store.check_not_promoted()
        with self._store.log.snapshot() as snapshot:
            head, held = Head.find(snapshot), self._store.held(snapshot).size
        size = head.size if head else 0
        if held != size or not size:
            raise NotReadyError(
                f"the standby was cut short in its first copy, or in a long step: {held} entries"
                f" are here, and {size} of them under a checkpoint",
                reason="STANDBY_BEHIND",
                action="if the node that it follows can be started, run `ledgerd standby --once`,"
                f" and ask again; else {_BY_COPY}",
            )

    async def check_ahead_of(self, client: PeerClient, *, waited: bool) -> bytes:
        """
        See that all that the peer has cosigned is here; return its note of that, b"" for none.

        A key of the peer's that is not known here is looked for in its own log. waited: the node
        showed the peer nothing that this standby lacks, so that what a peer forgot is here. Raises
        NotReadyError STANDBY_BEHIND, or PEER_FORGOT when the peer can't say.
        """
        note, _ = await client.get_cosigned()
        size = 0
        if note:
            opened = self._opened(note)
            if not opened.cosigned:
                # By a key, perhaps, that the old node never told this standby of.
                await self._fetch_peer(client)
                opened = self._opened(note)
            known = opened.checkpoint
            if known.size > self.head.size:
                raise _behind(
                    f"the peer has cosigned {known.size} entries, {self.head.size} are here:"
                    f" {known.size - self.head.size} are missing"
                )
            if Reader(self._store.log).root(known.size) != known.root:
                raise _behind(f"the peer has cosigned {known.size} other entries than are here")
            size = known.size if opened.cosigned else 0
        with self._store.log.snapshot() as snapshot:
            anchored = self._store.anchored(snapshot).note
        forgot = (note and not size) or (anchored and parse_known(anchored).size > size)
        if forgot and not waited:
            raise NotReadyError(
                "the peer has lost what it cosigned: it can't say what it knew of this log, and"
                " cosigns again only once it has replayed the log anew",
                reason="PEER_FORGOT",
                action="if the old node ran with standby.wait ever since this standby was last in"
                " step with it, call this again with --waited; else bring the old node, or its"
                " disk, back and have it serve until the peer cosigns again; without either the"
                " authority begins a new log, under a new origin",
            )
        return stripped(note, (*opened.signed, *opened.cosigned)) if size else b""

    def declare(self, approval: Approval, keys: NodeKeys, *, clock: Clock, random: Random) -> None:
        """Append the LOSS, in one commit."""
        authority = self.history.key_in_force(pb.ROLE_AUTHORITY)
        item = admit(
            approval.record,
            origin=self._config.origin,
            author=AUTHORITY,
            keys={key_id(authority.public): Key(authority.admitted_at, authority.public)},
        )
        writer = Writer(
            self._store.log,
            log_key=keys.log_signer,
            entry_key=keys.entry,
            authority=load_trust(self._config).authority(self._config.origin),
            peer_log=self._replica(),
            clock=clock,
            random=random,
            promoting=True,
        )
        for role in (pb.ROLE_LOG, pb.ROLE_ENTRY):
            writer.hold(role, keys.held(role))
        (outcome,) = writer.commit([[item]])[0].outcomes
        if isinstance(outcome, LedgerError):
            raise outcome

    def hand_over(self, cosigned: bytes) -> None:
        """
        Make the replica a peer store to go on with: the witness knows what our log anchored last.

        What was replayed beyond that is fetched again, from the peer itself.
        """
        anchored = newest_anchor(Reader(self._store.log))
        with self._store.peer.write() as transaction:
            if cosigned:
                put_newest_cosigned(transaction, cosigned)
            if anchored is not None:
                put_cosigned(transaction, anchored.note)
                put_anchored(transaction, Anchored(anchored.size, anchored.fetched_at))
        if anchored is not None:
            self._replica().cut_back(anchored)

    def finish(self, keys: NodeKeys) -> int:
        """
        What is left once the LOSS is in the log.

        No mark is written beside the store: without one the node takes no appends before the peer
        has cosigned the LOSS.
        """
        history, spent = self.history, Spent(self._config.data)
        spent.keep(self._store.peer.instance)
        spent.spend(history.node_keys(pb.ROLE_COSIGNER)[-2].public)
        put_in_place(self._config, keys.in_force(history))
        forget_shown(self._config.data)
        with self._store.log.write() as transaction:
            transaction.delete(Table.META, FOLLOWS_KEY)
        return Reader(self._store.log).head().size

    def _opened(self, note: bytes) -> OpenedCheckpoint:
        return open_log_checkpoint(note, self.history, self._replica().verified_history())

    async def _fetch_peer(self, client: PeerClient) -> None:
        replica = self._replica()
        async with aclosing(client.list_headers(replica.size)) as messages:
            await come_up(replica, messages)

    def _replica(self) -> Replica:
        origin = self.history.need_genesis().peer_origin
        authority = load_trust(self._config).authority(origin)
        return Replica(self._store.peer, origin, authority, check=_check_signatures, clock=now)


async def _check_signatures(checks: list[SignatureCheck]) -> None:
    await asyncio.to_thread(check_signatures, checks)


def _behind(message: str) -> NotReadyError:
    return NotReadyError(
        f"the standby can't go on by itself: {message}",
        reason="STANDBY_BEHIND",
        action="if the old node or its disk lives, start it, and have the standby follow it with"
        f" `ledgerd standby --once`; else {_BY_COPY}",
    )
