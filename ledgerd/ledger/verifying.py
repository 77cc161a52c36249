"""
A log verified entry by entry: what an audit and a mirror share.

Nothing is taken on trust but the authority's key. The entries are applied to a machine of one's
own, so that every finding that the log calls for must stand where it is called for, and no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from ledgerd.ledger.entry import Entry
from ledgerd.ledger.head import Head
from ledgerd.ledger.losses import Losses
from ledgerd.ledger.machine import Machine
from ledgerd.ledger.peer_log import PeerLog
from ledgerd.ledger.tree import TileWriter, frontier
from ledgerd.projections.erased import ErasedBody, erase, erased_from
from ledgerd.projections.registry import load_history
from ledgerd.store.base import Snapshot, Transaction
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import BY_INSTITUTIONS
from ledgerd_client.core.chain import Replay, SignatureCheck
from ledgerd_client.core.errors import (
    ChainError,
    LedgerError,
    NotReadyError,
    TrustError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.record import Facts, read_facts
from ledgerd_client.core.remains import facts_of_remains


class AuditError(VerificationError):
    """The store is not what its log says; the message names the first place."""

    default_reason = "AUDIT_FAILED"
    default_action = "keep the store as it is, tell the authority, and compare with the peer"


class Given(NamedTuple):
    """
    An entry as it is given.

    erased_by: index of the ERASURE of its body, and body is what remains of it; 0: it is whole.
    lost: its body is, and body is empty.
    """

    header: bytes
    body: bytes
    erased_by: int = 0
    lost: bool = False


class _Due(NamedTuple):
    """A finding that must follow its cause, the entry of that index."""

    cause: int
    recorded_at: int
    finding: pb.Finding


class LogVerifier:
    """
    Verifies one log from where machine, replay and tree stand. Belongs to one thread.

    After an error, or a transaction that did not commit, it is of no more use.
    """

    def __init__(
        self, machine: Machine, replay: Replay, tree: TileWriter, peer_log: PeerLog
    ) -> None:
        # The replay's history is its own: it is changed by step, the machine's by apply.
        self._machine = machine
        self._replay = replay
        self._tree = tree
        self._peer_log = peer_log
        self._due: deque[_Due] = deque()
        # Entries that came without their bodies, by the ERASURE that is said to have erased them.
        self._erased: dict[int, set[int]] = {}
        self.losses = Losses()
        self.findings = 0

    @classmethod
    def load(
        cls, snapshot: Snapshot, origin: str, authority: bytes, peer_log: PeerLog, head: Head
    ) -> Self:
        """Go on where a store stands that was verified up to head, at which no finding is due."""
        history = load_history(snapshot, origin, authority)
        edge = frontier(snapshot, head.size)
        replay = Replay(history, lambda _digest, _index: True, edge, head.last_leaf, head.last_time)
        machine = Machine.load(snapshot, origin, authority, peer_log)
        verifier = cls(machine, replay, TileWriter.load(snapshot, head.size), peer_log)
        for index, erased in erased_from(snapshot, head.size):
            verifier._erased.setdefault(erased.erasure, set()).add(index)
        return verifier

    @property
    def replay(self) -> Replay:
        """Where the log stands."""
        return self._replay

    def take(self, transaction: Transaction, entries: Sequence[Given]) -> list[SignatureCheck]:
        """
        Take the next entries and put what follows from them; return their signatures, unchecked.

        Raises AuditError at the first that is wrong, NotReadyError when an anchor covers more of
        the peer's log than is here, or a rule set names a law that this program does not hold.
        """
        checks: list[SignatureCheck] = []
        leaves: list[bytes] = []
        for index, given in enumerate(entries, self._replay.size):
            try:
                checks.append(self._entry(transaction, given))
            except AuditError:
                raise
            except UnavailableError as error:
                raise _not_replayed(index, error) from error
            except LedgerError as error:
                if error.reason == "NO_SUCH_LAW":  # this program's want, and not the log's fault
                    raise
                raise AuditError(f"entry {index}: {error.message}") from error
            leaves.append(self._replay.last_leaf)
        self._machine.flush(transaction)
        self._tree.append(transaction, leaves)
        return checks

    @property
    def due(self) -> list[pb.Finding]:
        """The findings that are called for and have not come, in order."""
        return [due.finding for due in self._due]

    def check_nothing_due(self) -> None:
        """Raise AuditError when a finding is called for that did not come."""
        for due in self._due:
            raise AuditError(
                f"entry {due.cause} calls for finding {due.finding.rule}, which is missing"
            )

    @property
    def awaits(self) -> int:
        """The largest index of an ERASURE that must come for what is gone already; 0: of none."""
        return max(self._erased, default=0)

    def check_nothing_lost(self) -> None:
        """Raise AuditError when a body is missing that nothing says is lost."""
        try:
            self.losses.check_all_named()
        except ChainError as error:
            raise AuditError(error.message) from None

    def check_nothing_erased(self) -> None:
        """Raise AuditError when a body is gone whose ERASURE did not come."""
        for erasure, indexes in self._erased.items():
            raise AuditError(
                f"the body of entry {min(indexes)} is gone, and entry {erasure} is no ERASURE of it"
            )

    def _entry(self, transaction: Transaction, given: Given) -> SignatureCheck:
        whole = not (given.erased_by or given.lost)
        header, check = self._replay.step(given.header, given.body if whole else None)
        if given.lost:
            self.losses.miss(header.index)
            self._await(header, self._machine.apply_lost(transaction, header))
            return check
        facts = self._facts(transaction, header, given)
        key = self._replay.history.find(header.key_id)
        if key is not None and key.subject != facts.author:
            raise ChainError(f"signed by a key of {key.subject}, but by {facts.author}")
        if self._machine.records.find(transaction, facts.author, facts.record_id) is not None:
            raise ChainError("the record is in the log already")
        self._take_finding(header, given.body)
        self._take_loss(header, given.body)
        if header.kind == Kind.ANCHOR:
            self._check_anchor(pb.Body.FromString(given.body).anchor)
        entry = Entry(
            header.index, header.recorded_at, facts, header.body_digest, given.header, given.body
        )
        self._await(header, self._machine.apply(transaction, entry))
        self._check_erased(header.index, given.body)
        return check

    def _await(self, header: Header, findings: Iterable[pb.Finding]) -> None:
        self._due.extend(_Due(header.index, header.recorded_at, each) for each in findings)

    def _take_loss(self, header: Header, body: bytes) -> None:
        """What is due where bodies are missing, and not there, is said again behind the LOSS."""
        if header.kind == Kind.LOSS and self.losses.missing:
            again = [due._replace(recorded_at=header.recorded_at) for due in self._due]
            self._due = deque(again)
        self.losses.take(header, body)

    def _facts(self, transaction: Transaction, header: Header, given: Given) -> Facts:
        if given.erased_by:
            return self._facts_of_remains(transaction, header, given)
        return read_own_facts(given.body, header, self._replay.history.origin)

    def _facts_of_remains(self, transaction: Transaction, header: Header, given: Given) -> Facts:
        """Take what remains of a body on trust, until the ERASURE that must name it has come."""
        facts = facts_of_remains(header, given.body)
        if pb.Body.FromString(given.body).origin != self._replay.history.origin:
            raise ChainError("what remains of it is of another log")
        if header.kind not in BY_INSTITUTIONS or given.erased_by <= header.index:
            raise ChainError(f"its body can't have been erased by entry {given.erased_by}")
        self._erased.setdefault(given.erased_by, set()).add(header.index)
        erase(transaction, header.index, ErasedBody(given.erased_by, given.body))
        return facts

    def _check_erased(self, index: int, body: bytes) -> None:
        """Whatever came without its body on account of this entry must be what it erases."""
        if waiting := self._erased.pop(index, set()):
            waiting.difference_update(
                each.index for each in pb.Body.FromString(body).erasure.remains
            )
        for position in sorted(waiting):
            raise ChainError(f"the body of entry {position} is gone, and this does not erase it")

    def _check_anchor(self, anchor: pb.Anchor) -> None:
        """The peer signed it, this node cosigned it, and it is of the tree that was replayed."""
        own, peer = self._replay.history, self._peer_log.verified_history()
        if peer.genesis is None:
            raise UnavailableError("nothing of the peer is replayed", reason="REPLAY_BEHIND")
        opened = open_log_checkpoint(anchor.checkpoint, peer, own, strict=True)
        if not opened.cosigned:
            raise TrustError("this node did not cosign the checkpoint that it anchors")
        if opened.checkpoint.root != self._peer_log.root(opened.checkpoint.size):
            raise ChainError("the checkpoint is not of the peer's log as it was replayed")

    def _take_finding(self, header: Header, data: bytes) -> None:
        """
        Cross a FINDING off the list of those that are due.

        They stand in the order in which they fell due, in their cause's commit: one time is all
        that a commit has. So none can be left out, put in, or held back for later.
        """
        body = pb.Body.FromString(data) if header.kind == Kind.NODE else pb.Body()
        if self.losses.missing:
            self._cross_off(body)
            return
        if self._due and header.recorded_at != self._due[0].recorded_at:
            self.check_nothing_due()
        if body.HasField("finding"):
            self.findings += 1
            wanted = self._due.popleft() if self._due else None
            if wanted is None or wanted.finding != body.finding:
                calls_for = f": that is {wanted.finding.rule}" if wanted else ""
                raise ChainError(
                    f"finding {body.finding.rule} is not what the log calls for here{calls_for}"
                )

    def _cross_off(self, body: pb.Body) -> None:
        """Where bodies are missing, findings are too, and some that are there rested on them."""
        if body.HasField("finding"):
            self.findings += 1
            said = _named(body.finding)
            found = next((due for due in self._due if _named(due.finding) == said), None)
            if found is not None:
                self._due.remove(found)


def read_own_facts(body: bytes, header: Header, origin: str) -> Facts:
    """The facts of a body of this log, which its header must repeat; raises as read_facts does."""
    its_origin, facts = read_facts(body)
    if (its_origin, facts.kind, facts.halves) != (origin, header.kind, header.halves):
        raise ChainError("the header does not say what the body says")
    return facts


def _named(finding: pb.Finding) -> tuple[bytes, bool]:
    return finding.finding_id, finding.closed


def _not_replayed(index: int, error: UnavailableError) -> NotReadyError:
    return NotReadyError(
        f"entry {index}: the peer's log is not here, or not as far as the anchors: {error.message}",
        reason=error.reason,
        action="run the audit after the node has replayed its peer",
    )
