"""
A store made anew out of what was recovered, and the LOSS that ends the old log in it.

Every entry is verified and applied once more. What nobody returned is named behind the LOSS, and
what the node would have found there is said again, under the rules that are in force then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ledgerd.credentials import NodeKeys
from ledgerd.ledger.head import Head
from ledgerd.ledger.losses import lost_bodies
from ledgerd.ledger.own_entry import sign_own
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.verifying import Given, LogVerifier
from ledgerd.ledger.writer import Writer
from ledgerd.peer.anchors import Anchored, newest_anchor, put_anchored
from ledgerd.peer.bodies import Held
from ledgerd.peer.recovery import Progress, Recovery, unwatched
from ledgerd.peer.submit import put_newest_cosigned
from ledgerd.peer.witness import put_cosigned
from ledgerd.projections.erased import ErasedBody
from ledgerd.store.base import Store, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import FieldError, LedgerError, StoreError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import key_id
from ledgerd_client.core.node_keys import NodeKey
from ledgerd_client.core.record import Admitted, Key, SignedRecord, admit

_PAGE: Final = 1000


def rebuild(
    store: Store, recovery: Recovery, authority: bytes, progress: Progress = unwatched
) -> LogVerifier:
    """
    Write the recovered log into an empty store, up to its base.

    Raises AuditError for what is not as the log says, NotReadyError REPLAY_BEHIND when the peer
    shows less of its own log than is anchored in ours.
    """
    own, peer = recovery.own, recovery.peer
    if own.verified is None or peer is None:
        raise StoreError("nothing is recovered yet", reason="NO_STORE")
    with store.snapshot() as snapshot:
        head = Head.empty(own.origin)
        verifier = LogVerifier.load(snapshot, own.origin, authority, peer, head)
    for start in range(0, own.verified.size, _PAGE):
        page = list(recovery.bodies.entries(start, min(start + _PAGE, own.verified.size)))
        with store.write() as transaction:
            _put(transaction, start, page)
            # Their signatures were checked on their way into the replica.
            verifier.take(transaction, list(map(_given, page)))
        progress(start + len(page), own.verified.size)
    replay = verifier.replay
    head = Head(replay.size, replay.last_time, replay.last_leaf, own.verified.note)
    with store.write() as transaction:
        head.put(transaction)
    return verifier


def declare_loss(
    store: Store,
    verifier: LogVerifier,
    recovery: Recovery,
    decisions: Sequence[SignedRecord],
    keys: NodeKeys,
    rules: pb.RuleSet,
    authority: bytes,
    *,
    clock: Callable[[], int],
    random: Callable[[int], bytes],
) -> Head:
    """
    End the rebuilt log in one commit: LOSS, the bodies that are lost, what is found, the rules.

    decisions: the authority's, LOSS first, and behind it key events; keys: those that they put in
    force are among them. Returns the new head. Raises what the log refuses a decision for,
    StoreError WRONG_KEYS.
    """
    assert recovery.peer is not None  # noqa: S101 - rebuild was done with it
    origin, history = recovery.own.origin, verifier.replay.history
    named = history.key_in_force(pb.ROLE_AUTHORITY)
    authorities = {key_id(named.public): Key(named.admitted_at, named.public)}
    items = [admit(each, origin=origin, author=AUTHORITY, keys=authorities) for each in decisions]
    writer = Writer(
        store,
        log_key=keys.log_signer,
        entry_key=keys.entry,
        authority=authority,
        peer_log=recovery.peer,
        clock=clock,
        random=random,
    )
    # Of a rotation that the LOSS gives up the old key signs on.
    retired = keys.retired.get(pb.ROLE_ENTRY, ())
    for role in (pb.ROLE_LOG, pb.ROLE_ENTRY):
        writer.hold(role, (*keys.held(role), *(retired if role == pb.ROLE_ENTRY else ())))
    present = _entry_key(history, decisions, verifier.replay.size)
    held = {key.public: key for key in (*keys.held(pb.ROLE_ENTRY), *retired)}
    if present.public not in held:
        raise StoreError(
            "the entry key that the log is left with is not among the node's key files",
            reason="WRONG_KEYS",
            action="put it back; or, if it was rotated as lost in the log's lost end, hand that"
            " rotation's approval in again: `ledgerd recover --loss … --also …`",
        )
    said = [
        sign_own(
            held[present.public], origin, clock(), random,
            key_index=present.admitted_at, **record,
        )
        for record in _records(verifier, writer.machine.rules, rules)
    ]  # fmt: skip
    _commit(writer, [*items, *said])
    return writer.head


def _entry_key(history: KeyHistory, decisions: Sequence[SignedRecord], size: int) -> NodeKey:
    """Which key signs the node's entries behind the authority's decisions, of which one is new."""
    present = history.key_in_force(pb.ROLE_ENTRY)
    for index, decision in enumerate(decisions, size):
        event = pb.Body.FromString(decision.body).key_event
        if event.role == pb.ROLE_ENTRY:
            present = NodeKey(event.public_key, index)
    return present


def _records(
    verifier: LogVerifier, present: pb.RuleSet, rules: pb.RuleSet
) -> Iterator[dict[str, object]]:
    for each in lost_bodies(verifier.losses.missing):
        yield {"lost_bodies": each}
    for finding in verifier.due:
        yield {"finding": finding}
    if present != rules:
        yield {"rule_set": rules}


def _commit(writer: Writer, items: list[Admitted]) -> None:
    for outcome in writer.commit([items])[0].outcomes:
        if isinstance(outcome, LedgerError):
            raise outcome
        if not isinstance(outcome, int):
            raise FieldError("the LOSS is in the log already", reason="OTHER_TREE")


def hand_over(store: Store, recovery: Recovery) -> None:
    """
    Make the peer's log that was recovered a peer store to go on with.

    The peer has cosigned the base of ours; and the witness has cosigned what our log anchored last,
    which all that it cosigns from now on, by its new key, must hold. What was fetched beyond that
    the peer may have given up meanwhile, by a LOSS: it is fetched again.
    """
    anchored = newest_anchor(Reader(store))
    with recovery.peer_store.write() as transaction:
        put_newest_cosigned(transaction, recovery.base)
        if anchored is not None:
            put_cosigned(transaction, anchored.note)
            put_anchored(transaction, Anchored(anchored.size, anchored.fetched_at))
    if recovery.peer is not None:
        recovery.peer.cut_back(anchored)


def _put(transaction: Transaction, start: int, page: list[Held]) -> None:
    rows = [(u64(index), held) for index, held in enumerate(page, start)]
    transaction.put_many(Table.HEADERS, ((key, held.header) for key, held in rows))
    bodies = [(key, held.body, held.lost) for key, held in rows if held.body]
    transaction.put_many(Table.BODIES, ((key, body) for key, body, lost in bodies if not lost))
    transaction.put_many(Table.RETURNED, ((key, body) for key, body, lost in bodies if lost))


def _given(held: Held) -> Given:
    erased: ErasedBody | None = held.erased
    if erased is not None:
        return Given(held.header, erased.remains, erased.erasure)
    lost = held.lost or not held.body
    return Given(held.header, b"" if lost else held.body, lost=lost)
