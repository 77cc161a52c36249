"""Whatever somebody has shown of the peer's log, compared with the log as it is replayed."""

from __future__ import annotations

from collections.abc import Sequence

from ledgerd.peer.accusations import Accusations
from ledgerd.peer.awaited import LEFT_KEY, SHOWN_KEY, Awaited
from ledgerd.peer.notes import Known
from ledgerd.peer.refused import Refused
from ledgerd.peer.replica import Replica
from ledgerd.peer.store import PeerStore
from ledgerd_client.core.errors import ForkError, TrustError
from ledgerd_client.core.evidence import Evidence, fork_evidence
from ledgerd_client.core.merkle import root_before, verify_consistency


class Compared:
    """
    Compares checkpoints with the peer's signature, and accuses where two contradict each other.

    What the replay has yet to reach is kept, durably. For the store's thread alone.
    """

    def __init__(
        self, store: PeerStore, replica: Replica, accusations: Accusations, refused: Refused
    ) -> None:
        self._replica = replica
        self._refused = refused
        self._accusations = accusations
        self._shown = Awaited(store, replica, SHOWN_KEY)
        self._left = Awaited(store, replica, LEFT_KEY)

    def take_up(self) -> None:
        """Take over what the store holds by now of what was shown."""
        self._shown.take_up()

    def keep(self, known: Known) -> None:
        """Keep one that contradicts nothing, for when the replay reaches it."""
        self._shown.keep(known)

    def leave(self, known: Known) -> bool:
        """As Witness.leave."""
        return self._left.keep(known)

    def largest(self) -> Known | None:
        """The largest checkpoint here: replayed, or kept until it is. In any thread."""
        known = (self._replica.verified, self._left.known, self._shown.known)
        return max((one for one in known if one), key=lambda one: one.size, default=None)

    def check(self, known: Known) -> None:
        """As Witness.compare."""
        self.meet_awaited()
        if self.contradicts(known) and known.size <= self._replica.verified_size:
            raise ForkError(f"the peer has signed another tree of {known.size} entries before")

    def check_headers(self, known: Known, first: int, leaves: Sequence[bytes]) -> None:
        """As Witness.compare_headers."""
        verified = self._replica.verified
        if verified is None or not first < verified.size < known.size:
            return
        parting = self._replica.parting(first, leaves, known)
        if parting is not None:
            self._part(known, verified, *parting)

    def check_proof(
        self, known: Known, inclusion: Sequence[bytes], consistency: Sequence[bytes]
    ) -> None:
        """As Witness.compare_proof."""
        verified = self._replica.verified
        if verified is None or known.size <= verified.size:
            return
        root, tree = root_before(verified.size, known.size, inclusion), known.checkpoint
        verify_consistency(verified.size, root, tree.size, tree.root, consistency)
        if root != verified.checkpoint.root:
            self._part(known, verified, root, consistency)

    def _part(self, known: Known, verified: Known, root: bytes, proof: Sequence[bytes]) -> None:
        """Accuse: root is what the tree under known, the larger one, had at verified's size."""
        if self._accuses(fork_evidence(known.note, verified.note, root=root, proof=proof), known):
            raise ForkError(
                f"the peer has signed another tree of {verified.size} entries",
                action="it is no matter of the network: see `ledgerctl evidence list`, and call"
                " the other operator",
            )

    def look_at(self, known: Known) -> None:
        """Compare; one that contradicts nothing, and the replay has yet to reach, is kept."""
        self.meet_awaited()
        if not self.contradicts(known) and known.size > self._replica.verified_size:
            self._shown.keep(known)

    def contradicts(self, known: Known) -> bool:
        """
        Whether a signed checkpoint contradicts another; if so, accuse.

        But not of what a LOSS gave up, or was signed by a key that, as the authority has said
        since, was not the log's alone: of two such trees that nobody has replayed, neither counts.
        """
        evidence = self._evidence(known)
        if evidence is None:
            return False
        return self._accuses(evidence, known) or known.size <= self._replica.verified_size

    def _accuses(self, evidence: Evidence, known: Known) -> bool:
        try:
            evidence.verify(self._replica.history)
        except TrustError:
            return False
        self._accusations.accuse(evidence, known.checkpoint)
        return True

    def _evidence(self, known: Known) -> Evidence | None:
        size, verified, shown = known.size, self._replica.verified, self._shown.known
        if verified is not None and size <= verified.size:
            root = self._replica.root(size)
            if root == known.checkpoint.root:
                return None
            if size == verified.size:
                return fork_evidence(known.note, verified.note)
            proof = self._replica.consistency_proof(size, verified.size)
            return fork_evidence(known.note, verified.note, root=root, proof=proof)
        if shown is not None and shown.size == size and shown.checkpoint != known.checkpoint:
            return fork_evidence(known.note, shown.note)
        return None

    def meet_awaited(self) -> None:
        """
        Compare what was kept, as far as the replay has come by now.

        While evidence waits, no other is kept: the rest is met when it is acknowledged.
        """
        for awaited in (self._left, self._shown):
            if not self._accusations.latched:
                awaited.meet(self.contradicts)
        reached = self._replica.verified_size
        while not self._accusations.latched and (known := self._refused.take_met(reached)):
            self.contradicts(known)
