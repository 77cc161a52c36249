"""
`ledgerd promote`: a standby goes on with the log, by its authority's LOSS and under other keys.

The fence is not here. It is the peer, which cosigns one history: either the old node's beyond the
end that the LOSS names, and then never the LOSS; or the LOSS, and then nothing more by the old key
(docs/adr/0020). Until it has, the promoted node takes no appends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from ledgerd.config import Config
from ledgerd.credentials import NEXT, NodeKeys, beside, key_path, load_trust
from ledgerd.ledger.head import FOLLOWS_KEY, Head
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.writer import Writer
from ledgerd.mirror.store import MirrorStore
from ledgerd.peer.anchors import Anchored, newest_anchor, put_anchored
from ledgerd.peer.notes import parse_known, stripped
from ledgerd.peer.ports import PeerClient
from ledgerd.peer.replica import Replica
from ledgerd.peer.spent import Spent
from ledgerd.peer.stored import stored_replica
from ledgerd.peer.submit import put_newest_cosigned
from ledgerd.peer.witness import put_cosigned
from ledgerd.rotating import make_next
from ledgerd.signing import put_in_place
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import FieldError, LedgerError, NotReadyError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey, key_id
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.record import Key, admit
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import public_key, read_key_file, read_secret, write_new
from ledgerd_client.loss_request import LossRequest

_ROLES: Final = (pb.ROLE_LOG, pb.ROLE_COSIGNER)

Clock = Callable[[], int]
Random = Callable[[int], bytes]


class Asked(NamedTuple):
    """What the authority is asked to sign: the log ends at size; and what to read out to it."""

    size: int
    fingerprint: str


async def request_promotion(
    config: Config, out: Path, client: PeerClient, *, random: Random
) -> Asked:
    """
    Ask the authority to end the log where this standby stands, and give it this standby's keys.

    Raises NotReadyError ALREADY_SERVED while the standby runs: what it tells the old node that it
    holds must not go on behind this; STANDBY_BEHIND when it lacks what the peer has cosigned, or
    was cut short in the middle of a step; InputError.
    """
    with _standby(config, random) as standby:
        standby.check_whole()
        cosigned = await standby.check_ahead_of(client)
        log, cosigner = (_next_key(config, role, random) for role in _ROLES)
        note = cosigned if cosigned and standby.covers(cosigned) else standby.head.checkpoint
        request = LossRequest.make(checkpoint=note, log_key=log, cosigner_key=cosigner, missing=0)
    data = request.format()
    write_new(out, data, mode=0o644)
    return Asked(request.end.size, fingerprint(data))


async def promote(
    config: Config, approval: Approval, client: PeerClient, *, clock: Clock, random: Random
) -> int:
    """
    Take the authority's LOSS: this standby is the node from there on; return the log's size.

    When this returns, it is on the disk. Cut short, it is called again. Raises FieldError
    OTHER_TREE or WRONG_KEYS when the LOSS is not what was asked for, and NotReadyError as
    request_promotion does: also when the peer has cosigned more by now.
    """
    loss = approval.read_body().loss
    keys = NodeKeys.load(config)
    with _standby(config, random) as standby:
        if loss not in standby.history.losses():
            _check_keys(config, loss)
            standby.check_whole()
            if (loss.size, loss.root) != (standby.head.size, standby.end.root):
                raise FieldError(
                    "the LOSS is not of what this standby holds",
                    reason="OTHER_TREE",
                    action="ask anew, with `ledgerd promote --request`",
                )
            await standby.check_ahead_of(client)
            standby.declare(approval, keys, clock=clock, random=random)
        standby.hand_over(await standby.check_ahead_of(client))
        return standby.finish(keys)


class _Standby:
    """A standby that does not run, and its stores."""

    def __init__(self, config: Config, store: MirrorStore) -> None:
        self._config = config
        self._store = store
        self._authority = load_trust(config).authority(config.origin)

    @property
    def head(self) -> Head:
        return Reader(self._store.log).head()

    @property
    def end(self) -> Checkpoint:
        return parse_known(self.head.checkpoint).checkpoint

    @property
    def history(self) -> KeyHistory:
        return Keyring(self._store.log, self._config.origin, self._authority).history

    def covers(self, note: bytes) -> bool:
        """Whether a note is of all that is here."""
        return parse_known(note).checkpoint == self.end

    def check_whole(self) -> None:
        """See that a checkpoint covers what is here; raises NotReadyError STANDBY_BEHIND."""
        with self._store.log.snapshot() as snapshot:
            held = self._store.held(snapshot).size
        if held != self.head.size:
            raise _behind(f"it was cut short between {self.head.size} and {held} entries")

    async def check_ahead_of(self, client: PeerClient) -> bytes:
        """
        See that all that the peer has cosigned is here; return its note of that, b"" for none.

        Raises NotReadyError STANDBY_BEHIND.
        """
        note = await client.get_cosigned()
        if not note:
            return b""
        peer = self._replica().verified_history()
        opened = open_log_checkpoint(note, self.history, peer)
        known = opened.checkpoint
        if known.size > self.head.size or Reader(self._store.log).root(known.size) != known.root:
            raise _behind(f"the peer has cosigned {known.size} entries, {self.head.size} are here")
        return stripped(note, (*opened.signed, *opened.cosigned)) if opened.cosigned else b""

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
            authority=self._authority,
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
        with self._store.log.write() as transaction:
            transaction.delete(Table.META, FOLLOWS_KEY)
        return Reader(self._store.log).head().size

    def _replica(self) -> Replica:
        origin = self.history.need_genesis().peer_origin
        authority = load_trust(self._config).authority(origin)
        return stored_replica(self._store.peer, origin, authority)


@contextmanager
def _standby(config: Config, random: Random) -> Iterator[_Standby]:
    LmdbStore.open(config.store, readonly=True).close()
    with closing(MirrorStore(config.data, config.origin, random)) as store:
        yield _Standby(config, store)


def _next_key(config: Config, role: int, random: Random) -> SigningKey:
    """A key of this standby alone, which was never used."""
    path = beside(key_path(config, role), NEXT)
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


def _behind(message: str) -> NotReadyError:
    return NotReadyError(
        f"the standby can't go on by itself: {message}",
        reason="STANDBY_BEHIND",
        action="use `ledgerd recover --from` its directory, with a data directory of its own",
    )
