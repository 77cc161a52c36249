"""
What the law's rules look at, in memory and in the store, and how their judgements become findings.

One standing finding a rule a subject: whatever has a row here keeps the findings that stand on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, Protocol

from ledgerd.ledger.entry import BodyOf
from ledgerd.ledger.finding_maker import Concerned, FindingMaker
from ledgerd.projections.contracts import Contract, Version, parse_contract_key, stated_terms
from ledgerd.projections.counters import Counter, Group
from ledgerd.projections.matters import Matter
from ledgerd.projections.obligations import Disposed, Obligation
from ledgerd.projections.rows import Rows
from ledgerd.projections.sent import Again, Sent
from ledgerd.projections.sweeps import Recount, Sweep
from ledgerd.projections.timers import CONTRACT, Timers
from ledgerd.projections.transfer_row import OpenFinding, Position, Transfer
from ledgerd.projections.transfers import Transfers
from ledgerd.projections.usage import Usage
from ledgerd.rules.contract import judge_contract
from ledgerd.rules.lapse import Grace, Judgement, Lapse, Party
from ledgerd.rules.law import Law
from ledgerd.rules.reconcile import OWN_RULES
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.codes import HONG_KONG
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.rulebook import RULES

# Rows of all sorts, encoded, beyond which a commit does not wait for its end to put them.
MAX_HELD_BYTES: Final = 1 << 25


class Subject(Protocol):
    """A row with findings that stand, and a time at which to look at it again."""

    due: int
    findings: list[OpenFinding]


class LawState:
    """
    Rows, timers and the law in force. Belongs to one writer; flush() before each commit.

    now: recorded_at (µs) of the newest TICK. By it deadlines of our own side are judged, so nothing
    but a TICK opens a finding for the passing of time. away: as Grace has it.
    """

    law: Law
    rules: pb.RuleSet

    def __init__(self, history: KeyHistory, maker: FindingMaker, body_of: BodyOf) -> None:
        self.contracts = Rows(Table.CONTRACTS, Contract.parse)
        self.usage = Rows(Table.USAGE, Usage.parse)
        self.counters = Rows(Table.COUNTERS, Counter.parse)
        self.groups = Rows(Table.COUNTERS, Group.parse)
        self.obligations = Rows(Table.OBLIGATIONS, Obligation.parse)
        self.sent = Rows(Table.SENT, Sent.parse)
        self.again = Rows(Table.SENT, Again.parse)
        self.disposed = Rows(Table.OBLIGATIONS, Disposed.parse)
        self.matters = Rows(Table.MATTERS, Matter.parse)
        self.sweeps = Rows(Table.MATTERS, Sweep.parse)
        self.recounts = Rows(Table.COUNTERS, Recount.parse)
        self._rows: tuple[Rows[Any], ...] = (
            self.contracts, self.usage, self.counters, self.groups, self.obligations, self.sent,
            self.again, self.disposed, self.matters, self.sweeps, self.recounts,
        )  # fmt: skip
        self.timers = Timers()
        self.now = 0
        self.away: tuple[tuple[int, int], ...] = ()
        self.body_of = body_of
        self.origin = history.origin
        self._history = history
        self._maker = maker
        self._parties: dict[str, Party] = {}
        self._key_entries = 0

    @property
    def grace(self) -> Grace:
        """How long what meets a deadline may be on its way."""
        return Grace(self.rules.record_within, self.away)

    def party(self, institution: str) -> Party:
        """An institution of this side, by the newest key admitted for it."""
        if len(self._history.entries) != self._key_entries:
            self._key_entries = len(self._history.entries)
            self._parties.clear()
        if institution not in self._parties:
            self._parties[institution] = self._find_party(institution)
        return self._parties[institution]

    def groups_of(self, institution: str) -> list[str]:
        """The groups in which an institution is or was registered, in their order."""
        admitted = self._history.of_subject(pb.ROLE_INSTITUTION, institution)
        return sorted({key.group for _, key in admitted if key.group})

    def _find_party(self, institution: str) -> Party:
        admitted = self._history.of_subject(pb.ROLE_INSTITUTION, institution)
        newest = max((key for _, key in admitted), key=lambda key: key.admitted_at, default=None)
        if newest is None:
            # Nobody whose signature the log takes; a log that holds one anyway is not replayed.
            return Party(institution, "CN", 0, 0)
        side = "HK" if newest.place == HONG_KONG else "CN"
        return Party(institution, side, newest.place, newest.sector, newest.group)

    def terms_of(self, transaction: Transaction, version: Version) -> pb.ContractTerms:
        """All that a version of a contract states; its row has only what each judgement needs."""
        return stated_terms(self.body_of(transaction, version.position))

    def author(self, transaction: Transaction, position: int) -> str:
        """Who wrote an entry of this log."""
        return pb.Body.FromString(self.body_of(transaction, position)).author

    def judge(self, transaction: Transaction, key: bytes) -> list[pb.Finding]:
        """Judge a contract by its rows; both may be absent."""
        author, contract_id = parse_contract_key(key)
        contract = self.contracts.get(transaction, key) or Contract()
        usage = self.usage.get(transaction, key) or Usage()
        party = self.party(author)
        judgement = judge_contract(contract, usage, party, self.now, self.grace, self.law)
        due = self.settle(CONTRACT, key, contract, judgement, author, contract_id)
        self.contracts.put(key, contract)
        return due

    def settle(
        self,
        subject: int,
        key: bytes,
        row: Subject,
        judgement: Judgement,
        institution: str,
        contract_id: str,
    ) -> list[pb.Finding]:
        """Take over a judgement of a row: its timer, and what it opens and closes."""
        self.timers.move(subject, key, row.due, judgement.due)
        row.due = judgement.due
        return self.change(
            row.findings, judgement.lapses, institution=institution, contract_id=contract_id
        )

    def change(
        self,
        standing: list[OpenFinding],
        lapses: Iterable[Lapse],
        *,
        ref: bytes = b"",
        institution: str = "",
        contract_id: str = "",
    ) -> list[pb.Finding]:
        """
        Close what no longer holds and open what is new; standing is changed in place.

        What stands keeps the records that it was opened with, whichever show it now.
        """
        wanted: dict[object, Lapse] = {}
        for lapse in lapses:
            wanted.setdefault(_identity(lapse.rule, lapse.records), lapse)
        if not (wanted or standing):
            return []
        concerned = Concerned(ref, institution, contract_id)
        due = []
        for found in list(standing):
            if wanted.pop(_identity(found.rule, found.records), None) is None:
                standing.remove(found)
                due.append(self._maker.close(found, concerned))
        for lapse in wanted.values():
            finding = self._maker.open(lapse.rule, lapse.records, concerned, lapse.numbers)
            standing.append(
                OpenFinding(finding.finding_id, lapse.rule, tuple(lapse.records), lapse.numbers)
            )
            due.append(finding)
        return due

    def change_transfer(
        self,
        transfers: Transfers,
        ref: bytes,
        transfer: Transfer,
        lapses: Iterable[Lapse],
        *,
        only: Collection[str] = (),
    ) -> list[pb.Finding]:
        """
        As change(), of what the law finds on a transfer; what its halves come to stays.

        only: the rules that were looked at, by default all of the law's; findings of others stay.
        """
        standing: list[OpenFinding] = []
        others: list[OpenFinding] = []
        for found in transfer.findings:
            judged = found.rule in only if only else found.rule not in OWN_RULES
            (standing if judged else others).append(found)
        due = self.change(standing, lapses, ref=ref)
        if due:
            transfer.findings = others + standing
            transfers.put(ref, transfer, transfer.due)
        return due

    def once(
        self, lapse: Lapse, institution: str, contract_id: str, ref: bytes = b""
    ) -> pb.Finding:
        """A finding of no row: a fact that nothing undoes."""
        concerned = Concerned(ref) if ref else Concerned(b"", institution, contract_id)
        return self._maker.open(lapse.rule, lapse.records, concerned, lapse.numbers)

    def flush(self, transaction: Transaction) -> None:
        for rows in self._rows:
            rows.flush(transaction)
        self.timers.flush(transaction)

    def spill(self, transaction: Transaction) -> None:
        """
        Flush once much is held, so that no commit needs more memory than that.

        Between two subjects: a row that somebody still holds would be another one afterwards.
        """
        if sum(rows.held for rows in self._rows) > MAX_HELD_BYTES:
            self.flush(transaction)


def _identity(rule: str, records: Sequence[Position]) -> object:
    return (rule, records[0]) if RULES[rule].each else rule
