"""
What an entry does: the ledger's state as a function of its log and of the peer's.

`Machine.apply` runs for every entry once, in log order: live inside the write transaction, and
again in a rebuild or an audit. It returns the findings that are now due; nothing else in the
daemon decides about them.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledgerd.ledger.bereft import Bereft
from ledgerd.ledger.compromise import RULE as COMPROMISED
from ledgerd.ledger.compromise import find_compromised
from ledgerd.ledger.entry import BodyOf, Entry
from ledgerd.ledger.erasing import Erasing
from ledgerd.ledger.finding_maker import Concerned, FindingMaker
from ledgerd.ledger.indexer import Indexer
from ledgerd.ledger.law_machine import LawMachine, contract_id_of
from ledgerd.ledger.peer_log import AnchorState, PeerLog
from ledgerd.ledger.reconciler import Reconciler
from ledgerd.projections import findings, registry
from ledgerd.projections.anchored import put_anchor
from ledgerd.projections.erased import body_or_remains, stored_body
from ledgerd.projections.lost import is_lost
from ledgerd.projections.records import Records
from ledgerd.projections.row_keys import row_key
from ledgerd.projections.transfer_row import Position, Transfer
from ledgerd.projections.transfers import Transfers
from ledgerd.rules import lateness
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import BY_INSTITUTIONS
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import StoreError
from ledgerd_client.core.header import KINDS_WITH_HALVES, Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.record import Facts

RULE_SET_KEY = b"rule_set"
_HALVES_OF_TRANSFERS = KINDS_WITH_HALVES - {Kind.CONTRACT}


class Machine:
    """
    The state that entries change, but for what lies in the store.

    Belongs to one thread. After a transaction that did not commit: load() again.
    """

    def __init__(
        self, history: KeyHistory, peer_log: PeerLog, body_of: BodyOf, header_of: BodyOf
    ) -> None:
        """
        body_of: of entries before those applied since the last flush(), or what remains of it.

        header_of: of entries before those of the transaction.
        """
        self.history = history
        self.records = Records()
        self.transfers = Transfers()
        # Whether a law is in force.
        self._judging = False
        self._body_of = body_of
        # Of the entries since the last flush().
        self._bodies: dict[int, bytes] = {}
        self._headers: dict[int, bytes] = {}
        self._header_of = header_of
        self._maker = FindingMaker(history)
        self._reconciler = Reconciler(history, peer_log, self.transfers, self._maker, self._body)
        self._law = LawMachine(history, self._maker, self.transfers, self._body)
        self._erasing = Erasing(self._body, header_of)
        self._indexer = Indexer(history)
        self.bereft = Bereft(history, self.transfers, self._law, self._body, self.concerned_by)

    @classmethod
    def load(cls, snapshot: Snapshot, origin: str, authority: bytes, peer_log: PeerLog) -> Machine:
        """Take up the state where the store's last commit left it."""
        return cls.at(snapshot, registry.load_history(snapshot, origin, authority), peer_log)

    @classmethod
    def at(cls, snapshot: Snapshot, history: KeyHistory, peer_log: PeerLog) -> Machine:
        """
        As load(), with keys that were verified already.

        Raises NotReadyError NO_SUCH_LAW, ChainError when the law in force is not this program's.
        """
        machine = cls(history, peer_log, _body_or_nothing, stored_header)
        machine._enter(*stored_rule_set(snapshot))
        machine._reconciler.anchor = AnchorState.load(snapshot)
        machine.transfers.load(snapshot)
        machine._law.load(snapshot)
        machine.bereft.load(snapshot)
        return machine

    @property
    def rules(self) -> pb.RuleSet:
        """The rule set in force."""
        return self._reconciler.rules

    @property
    def anchor(self) -> AnchorState:
        """How far the peer's log is reconciled."""
        return self._reconciler.anchor

    @property
    def rule_set(self) -> int:
        """The index of the RULESET entry in force."""
        return self._maker.rule_set

    def read(self, transaction: Transaction, coming: Iterable[Facts]) -> None:
        """Read at once what apply() will look up for these, each of which it may be given."""
        coming = list(coming)
        self.records.read(transaction, ((facts.author, facts.record_id) for facts in coming))
        keys = (row_key(facts, facts.kind) for facts in coming if facts.ref)
        self.transfers.read(transaction, keys)

    def apply(self, transaction: Transaction, entry: Entry) -> list[pb.Finding]:
        """
        Change projections as this entry says; return the findings that must follow it.

        A GENESIS, key event or LOSS was checked by history.check before it was given its place.
        """
        facts = entry.facts
        self._law.pass_time(transaction, entry.recorded_at, ticking=self._judging)
        self.records.add(facts.author, facts.record_id, entry.position, entry.body_digest)
        self._bodies[entry.position] = entry.body
        self._headers[entry.position] = entry.header
        self.transfers.at = entry.position
        if facts.kind in BY_INSTITUTIONS:
            transfer, due = self._apply_record(transaction, entry)
            self._indexer.take(transaction, entry, transfer)
        else:
            due = self._apply_other(transaction, entry)
        if moved := self.transfers.take_moves():
            self._indexer.move(transaction, entry.position, moved)
        return due

    def apply_lost(self, transaction: Transaction, header: Header) -> list[pb.Finding]:
        """
        Change projections by an entry whose body is lost; return the findings that follow.

        Its halves are reconciled by the header, as the peer's are. No law is applied to it, and it
        is in no index.
        """
        self._law.pass_time(transaction, header.recorded_at, ticking=self._judging)
        key = self.history.find(header.key_id) if header.kind in BY_INSTITUTIONS else None
        author = key.subject if key is not None else ""
        rested_on = "" if header.kind in _HALVES_OF_TRANSFERS else author
        self.bereft.lose(transaction, header, rested_on)
        self.transfers.at = header.index
        due: list[pb.Finding] = []
        if header.halves is not None:
            due = self._reconciler.on_lost(transaction, header, header.halves, author)
        self._indexer.move(transaction, header.index, self.transfers.take_moves())
        return due

    def flush(self, transaction: Transaction) -> None:
        """Put what apply() collected; the last thing before a commit."""
        self.records.flush(transaction)
        self.transfers.flush(transaction)
        self._law.flush(transaction)
        self._indexer.flush(transaction)
        self._bodies.clear()
        self._headers.clear()

    def _body(self, transaction: Transaction, position: int) -> bytes:
        if position in self._bodies:
            return self._bodies[position]
        return self._body_of(transaction, position)

    def _header(self, transaction: Transaction, position: int) -> bytes:
        if position in self._headers:
            return self._headers[position]
        return self._header_of(transaction, position)

    def _enter(self, position: int, rules: pb.RuleSet) -> None:
        self._law.enter(rules)
        self._maker.rule_set, self._reconciler.rules = position, rules
        self._judging = bool(rules.law)

    def _apply_record(
        self, transaction: Transaction, entry: Entry
    ) -> tuple[Transfer | None, list[pb.Finding]]:
        """Take what an institution wrote; the row that it is a half of, and what is due."""
        facts = entry.facts
        transfer = None
        due: list[pb.Finding] = []
        if facts.kind in _HALVES_OF_TRANSFERS:
            transfer = self.transfers.with_room(transaction, facts.ref, own=True)
            # Of too many it was found that they are: what follows is in the log and no more.
            if transfer is None:
                return None, []
            due = self._reconciler.on_half(transaction, transfer, entry)
        elif facts.kind == Kind.CONTRACT:
            transfer, due = self._reconciler.on_statement(transaction, entry)
        due += self._lateness(entry)
        if self._judging and not (transfer and any(half.lost for half in transfer.halves)):
            due += self.bereft.known(transaction, self._law.apply(transaction, entry, transfer))
        return transfer, due

    def _apply_other(self, transaction: Transaction, entry: Entry) -> list[pb.Finding]:
        body = pb.Body.FromString(entry.body)
        record = body.WhichOneof("record")
        if record == "finding":
            self._add_finding(transaction, entry.position, body.finding)
            return []
        self._indexer.take_other(transaction, entry.position, body)
        if record in {"genesis", "key_event", "loss"}:
            header = Header.parse(entry.header)
            self.history.apply(header, body, raw=(entry.header, entry.body))
            registry.add_key_entry(transaction, entry.position)
            due = self._compromised(transaction, entry.position, body.key_event)
            if self._judging and body.key_event.role == pb.ROLE_INSTITUTION:
                found = self._law.on_key(transaction, body.key_event.subject, entry.recorded_at)
                due += self.bereft.known(transaction, found)
            return due
        if record == "rule_set":
            self._enter(entry.position, body.rule_set)
            transaction.put(Table.META, RULE_SET_KEY, u64(entry.position))
        elif record == "tick":
            due = self._law.tick(transaction, entry.recorded_at) if self._judging else []
            return self.bereft.known(transaction, due)
        elif record == "erasure":
            # Whether it may be erased is asked of the tables as of this entry.
            self.transfers.flush(transaction)
            self._law.flush(transaction)
            law = self.rules.law
            self._erasing.apply(transaction, entry, body.erasure, self.history, law)
        elif record == "anchor":
            due = self._reconciler.on_anchor(transaction, body.anchor, entry.recorded_at)
            put_anchor(transaction, entry.position, self.anchor.encode())
            return due
        return []

    def _compromised(
        self, transaction: Transaction, position: int, event: pb.KeyEvent
    ) -> list[pb.Finding]:
        if not event.compromised_since or event.role != pb.ROLE_INSTITUTION:
            return []
        # Whatever was recorded before this entry counts, in whichever commit.
        self.records.flush(transaction)
        found = find_compromised(transaction, event, self._header)
        if found is None:
            return []
        places = (Position(own=True, entry=index) for index in (position, found.first))
        concerned = Concerned(institution=event.subject)
        return [self._maker.open(COMPROMISED, tuple(places), concerned, found.numbers)]

    def _add_finding(self, transaction: Transaction, position: int, finding: pb.Finding) -> None:
        concerned = self.concerned_by(transaction, finding)
        closes = findings.add_finding(transaction, position, finding, concerned)
        self._indexer.take_finding(transaction, position, finding, concerned, closes)

    def concerned_by(self, transaction: Transaction, finding: pb.Finding) -> list[str]:
        """Institutions of this side whom a finding concerns, each once."""
        if finding.institution or not finding.ref:
            return [finding.institution] if finding.institution else []
        halves = self.transfers.get(transaction, finding.ref).halves
        return list(dict.fromkeys(half.institution for half in halves if half.own))

    def _lateness(self, entry: Entry) -> list[pb.Finding]:
        facts = entry.facts
        if not lateness.is_late(facts.occurred_at, entry.recorded_at, self.rules):
            return []
        place = Position(own=True, entry=entry.position)
        concerned = Concerned(facts.ref)
        if facts.kind in {Kind.RECORD, Kind.CONTRACT}:
            contract_id = contract_id_of(pb.Body.FromString(entry.body))
            concerned = Concerned(b"", facts.author, contract_id)
        return [self._maker.open(lateness.RULE, (place,), concerned)]


def stored_rule_set(snapshot: Snapshot) -> tuple[int, pb.RuleSet]:
    """The RULESET in force as of a commit, and the index of its entry; an empty one before any."""
    index = snapshot.get(Table.META, RULE_SET_KEY)
    if index is None:
        return 0, pb.RuleSet()
    position = int.from_bytes(index, "big")
    return position, pb.Body.FromString(stored_body(snapshot, position)).rule_set


def stored_header(snapshot: Snapshot, position: int) -> bytes:
    """The header of an entry that the log has; raises StoreError NO_HEADER."""
    header = snapshot.get(Table.HEADERS, u64(position))
    if header is None:
        raise StoreError(f"entry {position} has no header", reason="NO_HEADER")
    return header


def _body_or_nothing(transaction: Transaction, position: int) -> bytes:
    body = body_or_remains(transaction, position)
    if body is None and is_lost(transaction, position):
        return b""
    return stored_body(transaction, position) if body is None else body
