"""
Halves of transfers and contracts as they become known, and what they come to.

Own halves come with their entries, the peer's when an ANCHOR covers them; what they amount to is
decided by rules.reconcile and rules.agreement, from headers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ledgerd.ledger.entry import BodyOf, Entry
from ledgerd.ledger.finding_maker import Concerned, FindingMaker
from ledgerd.ledger.law_machine import contract_id_of
from ledgerd.ledger.peer_log import ANCHOR_KEY, ANCHOR_STEP, AnchorState, PeerHalf, PeerLog
from ledgerd.projections.row_keys import contract_of, is_contract, is_disposal, row_key
from ledgerd.projections.transfer_row import UNJUDGED, Half, OpenFinding, Transfer
from ledgerd.projections.transfers import Transfers
from ledgerd.rules import agreement, reconcile
from ledgerd.rules.reconcile import Condition
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import ChainError
from ledgerd_client.core.header import Halves, Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note

_OWN_RULES: Final = reconcile.OWN_RULES | agreement.OWN_RULES


class Reconciler:
    """Keeps halves and judges them by the rules in force. Belongs to one machine."""

    rules: pb.RuleSet

    def __init__(
        self,
        history: KeyHistory,
        peer_log: PeerLog,
        transfers: Transfers,
        maker: FindingMaker,
        body_of: BodyOf,
    ) -> None:
        self.anchor = AnchorState()
        self.rules = pb.RuleSet()
        self._history = history
        self._peer_log = peer_log
        self._transfers = transfers
        self._maker = maker
        self._body_of = body_of

    def on_half(
        self, transaction: Transaction, transfer: Transfer, entry: Entry
    ) -> list[pb.Finding]:
        """Take an own half of a transfer."""
        transfer.halves.append(_own_half(entry))
        return self._changed(transaction, entry.facts.ref, transfer)

    def on_statement(
        self, transaction: Transaction, entry: Entry
    ) -> tuple[Transfer | None, list[pb.Finding]]:
        """Take what an own party states of a contract; its row, None if it was stated before."""
        key = row_key(entry.facts, entry.facts.kind)
        row = self._transfers.get(transaction, key)
        if not self._take(key, row, _own_half(entry)):
            return None, []
        return row, self._changed(transaction, key, row)

    def on_lost(
        self, transaction: Transaction, header: Header, halves: Halves, author: str
    ) -> list[pb.Finding]:
        """Take an own half of which the header alone is left, as one of the peer's is taken."""
        key = row_key(halves, header.kind)
        half = _peer_half(header, halves, author)._replace(own=True)
        if is_contract(key):
            row = self._transfers.get(transaction, key)
            if not agreement.take(row.halves, half):
                return []
            return self._changed(transaction, key, row)
        transfer = self._transfers.with_room(transaction, key, own=True)
        if transfer is None:
            return []
        transfer.halves.append(half)
        return self._changed(transaction, key, transfer)

    def _changed(
        self, transaction: Transaction, key: bytes, transfer: Transfer
    ) -> list[pb.Finding]:
        if transfer.due == UNJUDGED:
            self._transfers.put(key, transfer, UNJUDGED)
            return []
        return self._judge(transaction, key, transfer, transfer.due)

    def on_anchor(
        self, transaction: Transaction, anchor: pb.Anchor, recorded_at: int
    ) -> list[pb.Finding]:
        """Take up the peer's next halves under the anchor; after the last, judge what is due."""
        if anchor.peer_origin != self._history.need_genesis().peer_origin:
            raise ChainError(f"{anchor.peer_origin} is not this log's peer")
        if anchor.fetched_at > recorded_at:
            raise ChainError("the anchor is of a checkpoint that was fetched after it")
        size = Checkpoint.parse(parse_note(anchor.checkpoint).text).size
        start = self.anchor.taken_up
        self.anchor = state = self.anchor.anchored(size, anchor.fetched_at)
        transaction.put(Table.META, ANCHOR_KEY, state.encode())
        for peer_half in self._peer_log.halves(start, state.taken_up, self._history.origin):
            self._take_up(transaction, peer_half)
        if state.taken_up < state.size:
            return []
        due: list[pb.Finding] = []
        for key in self._transfers.overdue(transaction, state.known_until, ANCHOR_STEP):
            transfer = self._transfers.get(transaction, key)
            due += self._judge(transaction, key, transfer, transfer.due)
        return due

    def _take_up(self, transaction: Transaction, found: PeerHalf) -> None:
        """Keep a half of the peer: those that become known together are judged together."""
        halves = found.header.halves
        assert halves is not None  # noqa: S101 - PeerLog.halves yields no others
        key = row_key(halves, found.header.kind)
        half = _peer_half(found.header, halves, found.institution)
        if is_contract(key):
            transfer = self._transfers.get(transaction, key)
            if not self._take(key, transfer, half):
                return
        else:
            room = self._transfers.with_room(transaction, key, own=False)
            if room is None:
                return
            transfer = room
            transfer.halves.append(half)
        old_due, transfer.due = transfer.due, UNJUDGED
        self._transfers.put(key, transfer, old_due)

    def _take(self, key: bytes, row: Transfer, half: Half) -> bool:
        """Enter a half of a contract or disposal; whether it says anything new."""
        earlier = agreement.restated(row.halves, half)
        if not agreement.take(row.halves, half):
            return False
        if earlier is not None:
            self._transfers.keep(key, half.place, earlier.number, earlier.half)
        return True

    def _judge(
        self, transaction: Transaction, key: bytes, transfer: Transfer, old_due: int
    ) -> list[pb.Finding]:
        """
        Judge a transfer or a contract by its halves; old_due is where its deadline stands.

        Without rules, which may be lost, it waits for an anchor that comes under some.
        """
        if not self.rules.version:
            transfer.due = UNJUDGED
            self._transfers.put(key, transfer, old_due)
            return []
        conditions: Sequence[Condition]
        if is_contract(key):
            parties = self._parties(transaction, key, transfer.halves)
            known_until, rules = self.anchor.known_until, self.rules
            agreed = agreement.agree(transfer.halves, known_until, rules, parties)
            transfer.due, conditions = agreed.due, agreed.conditions
        else:
            verdict = reconcile.judge(transfer.halves, self.anchor.known_until, self.rules)
            transfer.state, transfer.due = verdict.state, verdict.due
            conditions = verdict.conditions
        due = self._changed_findings(transaction, key, transfer, conditions)
        self._transfers.put(key, transfer, old_due)
        return due

    def _changed_findings(
        self,
        transaction: Transaction,
        key: bytes,
        transfer: Transfer,
        conditions: Sequence[Condition],
    ) -> list[pb.Finding]:
        """Open a finding for each new condition and close those whose condition is gone."""
        if not (conditions or transfer.findings):
            return []
        wanted = {(condition.rule, condition.records): condition for condition in conditions}
        standing = {
            (found.rule, found.records): found
            for found in transfer.findings
            if found.rule in _OWN_RULES
        }
        if wanted.keys() == standing.keys():
            return []
        concerned = Concerned(key)
        if is_contract(key):
            concerned = self._party_of(transaction, key, transfer.halves)
        due = []
        for found_key, found in standing.items():
            if found_key not in wanted:
                transfer.findings.remove(found)
                due.append(self._maker.close(found, concerned))
        for wanted_key in wanted:
            if wanted_key not in standing:
                finding = self._maker.open(*wanted_key, concerned)
                transfer.findings.append(OpenFinding(finding.finding_id, *wanted_key))
                due.append(finding)
        return due

    def _party_of(self, transaction: Transaction, key: bytes, halves: Sequence[Half]) -> Concerned:
        """Whose contract it is on this side: the first own half's author; nobody's without one."""
        half = self._parties(transaction, key, halves)
        if half is None:
            return Concerned()
        body = pb.Body.FromString(self._body_of(transaction, half.position))
        return Concerned(b"", half.institution, contract_id_of(body))

    def _parties(self, transaction: Transaction, key: bytes, halves: Sequence[Half]) -> Half | None:
        """Who is party to a contract its own halves say, a disposal's if there are none."""
        if is_disposal(key):
            halves = [*self._transfers.get(transaction, contract_of(key)).halves, *halves]
        return agreement.parties_of(halves)


def _own_half(entry: Entry) -> Half:
    facts = entry.facts
    return Half(
        True, facts.kind, entry.position, entry.recorded_at,
        facts.terms_digest, facts.outcome, facts.author, facts.counterparty,
    )  # fmt: skip


def _peer_half(header: Header, halves: Halves, institution: str) -> Half:
    return Half(
        False, header.kind, header.index, header.recorded_at,
        halves.terms_digest, halves.outcome, institution, "",
    )  # fmt: skip
