"""
The law applied to entries, in log order (docs/rules.md says what each rule looks at).

Live, in a rebuild and in an audit this is the one place where contents are judged. Two clocks are
in the log: a record's occurred_at says when a thing happened, a TICK's recorded_at that a deadline
has passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ledgerd.ledger.entry import BodyOf, Entry
from ledgerd.ledger.finding_maker import FindingMaker
from ledgerd.ledger.law_again import AgainLaw
from ledgerd.ledger.law_contracts import OF_CONTRACT, ContractLaw, named_by
from ledgerd.ledger.law_counts import CountLaw
from ledgerd.ledger.law_disposals import DisposalLaw
from ledgerd.ledger.law_freed import FreedLaw
from ledgerd.ledger.law_matters import MatterLaw, named_contracts
from ledgerd.ledger.law_sent import SentTransfers
from ledgerd.ledger.law_state import LawState
from ledgerd.ledger.law_transfers import TransferLaw
from ledgerd.projections.contracts import contract_key
from ledgerd.projections.rows import decode, encode
from ledgerd.projections.sent import CHUNK
from ledgerd.projections.timers import AGAIN, CONTRACT, FREED, MATTER, OBLIGATION, SWEEP
from ledgerd.projections.transfer_row import Transfer
from ledgerd.projections.transfers import Transfers
from ledgerd.rules.lapse import Lapse, own
from ledgerd.rules.law import load_law
from ledgerd.rules.ruleset import rule_set_digest
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import ChainError
from ledgerd_client.core.header import Kind, recorded_at_of
from ledgerd_client.core.history import KeyHistory

TICK_KEY: Final = b"tick"
AWAY_KEY: Final = b"away"

# A node that is there ticks within a second or two of a deadline. One that neither did so nor wrote
# anything else for so long (µs) was away. Part of the rules, as TICK_STEP is.
AWAY_AFTER: Final = 10_000_000
# Times away that are kept.
_MAX_AWAY: Final = 16

# What one TICK judges at most, so that no commit is long. Part of the rules, as ANCHOR_STEP is.
TICK_STEP: Final = 1000

# Subjects that are one judgement; a step of any other is a hundred.
_SINGLE: Final = frozenset((CONTRACT, MATTER, OBLIGATION))

_STATEMENTS: Final = frozenset((Kind.RECORD, Kind.CONTRACT))
# Statements by which transfers are judged, beside their contracts.
_JUDGE_TRANSFERS: Final = frozenset(("contract", "supplement", "termination", "suspend", "resume"))
_MATTERS: Final = frozenset(("onward", "incident", "gov_access", "consent_change"))


class LawMachine:
    """Applies the law in force. After a transaction that did not commit, make it anew."""

    def __init__(
        self, history: KeyHistory, maker: FindingMaker, transfers: Transfers, body_of: BodyOf
    ) -> None:
        self._state = state = LawState(history, maker, body_of)
        self._last_time = 0
        counts = CountLaw(state)
        sent = SentTransfers(state)
        self._counts = counts
        self._transfers = TransferLaw(state, counts, sent, transfers)
        self._contracts = ContractLaw(state, counts, sent)
        self._matters = MatterLaw(state)
        self._disposals = DisposalLaw(state, transfers)
        self._due: Mapping[int, Callable[[Transaction, bytes], list[pb.Finding]]] = {
            CONTRACT: state.judge,
            MATTER: self._matters.due,
            OBLIGATION: self._disposals.due,
            AGAIN: AgainLaw(state, sent, transfers, self._transfers).due,
            SWEEP: self._matters.sweep,
            FREED: FreedLaw(state, counts, self._transfers).due,
        }

    def enter(self, rules: pb.RuleSet) -> None:
        """
        Put a rule set in force.

        Raises NotReadyError NO_SUCH_LAW when this program does not have its law, ChainError when
        it is not the one that the rule set was made with.
        """
        self._state.rules = rules
        self.forget()
        if not rules.law:
            return
        if rules.digest != rule_set_digest(rules):
            raise ChainError(f"law {rules.law} is not the one that the rule set names")
        self._state.law = load_law(rules.law)

    def forget(self) -> None:
        """Judge the next transfers anew: something that they are judged by has changed."""
        self._transfers.forget()

    def on_key(
        self, transaction: Transaction, institution: str, recorded_at: int
    ) -> list[pb.Finding]:
        """Judge by what an institution is registered as now."""
        self.forget()
        return self._counts.on_key(transaction, institution, recorded_at)

    def load(self, snapshot: Snapshot) -> None:
        """Take up what the log says of time; rows are read when they are needed."""
        self._state.now = int.from_bytes(snapshot.get(Table.META, TICK_KEY) or b"", "big")
        away: Any = decode(snapshot.get(Table.META, AWAY_KEY) or b"")
        self._state.away = away
        # Of the newest entry itself: a mirror's Head may stand below it.
        newest = next(snapshot.scan(Table.HEADERS, reverse=True), None)
        self._last_time = recorded_at_of(newest[1]) if newest else 0

    def pass_time(self, transaction: Transaction, recorded_at: int, *, ticking: bool) -> None:
        """
        Take the time of an entry, before it is applied.

        If a deadline passed long before it, and no entry since, the node was away from its newest
        entry until now. ticking: whether a law is in force, by which it would have written a TICK.
        """
        since, self._last_time = self._last_time, recorded_at
        if not ticking or recorded_at - since <= AWAY_AFTER:
            return
        due = self._state.timers.first(transaction)
        if due is not None and recorded_at - due > AWAY_AFTER:
            self._state.away = (*self._state.away, (since, recorded_at))[-_MAX_AWAY:]
            transaction.put(Table.META, AWAY_KEY, encode(*self._state.away))

    def apply(
        self, transaction: Transaction, entry: Entry, transfer: Transfer | None
    ) -> list[pb.Finding]:
        """
        Judge an institution's record.

        transfer: the row that it is a half of; None without one, and if it says nothing new there.
        """
        body = pb.Body.FromString(entry.body)
        kind = entry.facts.kind
        if kind in _STATEMENTS:
            self._state.spill(transaction)
            return self._statement(transaction, entry, body, repeated=transfer is None)
        if transfer is None:
            return []
        if kind == Kind.CORRECTION:
            return self._correction(transaction, entry, body, transfer)
        law = self._disposals if kind == Kind.ACK else self._transfers
        return law.on_half(transaction, entry, body, transfer)

    def tick(self, transaction: Transaction, recorded_at: int) -> list[pb.Finding]:
        """Judge what was due before a TICK, earliest first, as much as one TICK does."""
        state = self._state
        state.now = recorded_at
        transaction.put(Table.META, TICK_KEY, u64(recorded_at))
        due: list[pb.Finding] = []
        left = TICK_STEP
        for subject, key in state.timers.due(transaction, recorded_at, TICK_STEP):
            due += self._due[subject](transaction, key)
            state.spill(transaction)
            left -= 1 if subject in _SINGLE else CHUNK
            if left <= 0:
                break
        return due

    def ref_of(self, transaction: Transaction, key: bytes) -> bytes:
        """The ref of a contract, by its key; b"" when it is not known."""
        contract = self._state.contracts.get(transaction, key)
        return contract.ref if contract is not None and contract.versions else b""

    def flush(self, transaction: Transaction) -> None:
        self._state.flush(transaction)

    def _correction(
        self, transaction: Transaction, entry: Entry, body: pb.Body, transfer: Transfer
    ) -> list[pb.Finding]:
        terms = pb.Terms.FromString(body.correction.terms)
        exporting = terms.exporter.origin == self._state.origin
        law = self._transfers if exporting else self._disposals
        due = law.on_half(transaction, entry, body, transfer)
        if not self._corrects(transaction, entry, body, transfer):
            lapse = Lapse("C3.corrects_nothing", (own(entry.position),))
            due.append(self._state.once(lapse, "", "", entry.facts.ref))
        return due

    def _corrects(
        self, transaction: Transaction, entry: Entry, body: pb.Body, transfer: Transfer
    ) -> bool:
        """Whether an earlier half of the same author is the record that is corrected."""
        for half in transfer.halves:
            mine = half.own and half.institution == entry.facts.author
            if mine and half.position != entry.position:
                stated = pb.Body.FromString(self._state.body_of(transaction, half.position))
                if stated.record_id == body.correction.corrects:
                    return True
        return False

    def _statement(
        self, transaction: Transaction, entry: Entry, body: pb.Body, *, repeated: bool
    ) -> list[pb.Finding]:
        record = body.WhichOneof("record") or ""
        if record in _JUDGE_TRANSFERS:
            self.forget()
        statement: Any = getattr(body, record)
        if record == "contract":
            key = contract_key(body.author, named_by(statement).contract_id)
            return self._contract(transaction, entry, body, key)
        if record in _MATTERS:
            keys = [contract_key(body.author, each) for each in named_contracts(statement)]
            due = self._await(transaction, entry.position, record, keys)
            return due + self._matters.on_record(
                transaction, entry.position, entry.recorded_at, body
            )
        named = named_by(statement)
        key = contract_key(body.author, named.contract_id)
        due = self._await(transaction, entry.position, record, [key])
        if record == "disposal":
            author = pb.Party(origin=self._state.origin, institution=body.author)
            if named.recipient == author and not repeated:
                due += self._disposals.on_disposal(transaction, entry.position, body, named)
        elif self._contracts.is_known(transaction, key):
            due += self._contracts.state(transaction, entry.position, entry.recorded_at, body)
            due += self._state.judge(transaction, key)
            if record == "supplement":
                self._matters.judge_onward_later(transaction, key, entry.recorded_at)
        return due

    def _contract(
        self, transaction: Transaction, entry: Entry, body: pb.Body, key: bytes
    ) -> list[pb.Finding]:
        """Take a CONTRACT, and then what was stated of it before it came."""
        due = self._contracts.state(transaction, entry.position, entry.recorded_at, body)
        for position in self._contracts.take_dangling(transaction, key):
            waiting = pb.Body.FromString(self._state.body_of(transaction, position))
            if waiting.WhichOneof("record") in OF_CONTRACT:
                due += self._contracts.state(transaction, position, entry.recorded_at, waiting)
        due += self._state.judge(transaction, key)
        self._matters.judge_onward_later(transaction, key, entry.recorded_at)
        return due

    def _await(
        self, transaction: Transaction, position: int, record: str, keys: list[bytes]
    ) -> list[pb.Finding]:
        """C2: note contracts that a record names and that nobody has stated."""
        due: list[pb.Finding] = []
        for key in keys:
            if not self._contracts.is_known(transaction, key):
                self._contracts.await_contract(transaction, key, position, record)
                due += self._state.judge(transaction, key)
        return due


def contracts_of(body: pb.Body) -> Sequence[str]:
    """The contracts that an institution's record names."""
    statement: Any = getattr(body, body.WhichOneof("record") or "")
    return named_contracts(named_by(statement))


def contract_id_of(body: pb.Body) -> str:
    """The contract that an institution's record names; empty unless it is one, or it is lost."""
    named = contracts_of(body) if body.WhichOneof("record") else ()
    return named[0] if len(named) == 1 else ""
