"""
The law of what a recipient took, and has to dispose of: ACK and its CORRECTION, DISPOSAL.

What was taken is summed by contract and day of delete_by; a DISPOSAL takes away from the oldest day
of its scope on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from ledgerd.ledger.entry import Entry
from ledgerd.ledger.law_state import LawState
from ledgerd.projections.contracts import Contract, contract_key, parse_contract_key
from ledgerd.projections.obligations import (
    Disposed,
    Obligation,
    days_of,
    disposed_key,
    obligation_key,
    parse_obligation_key,
)
from ledgerd.projections.timers import OBLIGATION
from ledgerd.projections.transfer_row import Half, Transfer
from ledgerd.projections.transfers import Transfers
from ledgerd.projections.usage import Usage
from ledgerd.rules.disposal import disposed_late, judge_obligation
from ledgerd.rules.lapse import Judgement, Lapse, own
from ledgerd.store.base import Transaction
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import day_of, from_date, to_date
from ledgerd_client.core.header import Kind

_RECEIVED: Final = frozenset((pb.OUTCOME_ACCEPTED, pb.OUTCOME_PARTIAL))

_BodyOf: TypeAlias = Callable[[Half], pb.Body]


class _Taken(NamedTuple):
    """What a recipient took by a transfer, by which ACK: the obligation that it is of, persons."""

    key: bytes
    subjects: int
    ack: Half


class DisposalLaw:
    """Keeps what each recipient holds, and judges when it is to be gone."""

    def __init__(self, state: LawState, transfers: Transfers) -> None:
        self._state = state
        self._transfers = transfers

    def on_half(
        self, transaction: Transaction, entry: Entry, body: pb.Body, transfer: Transfer
    ) -> list[pb.Finding]:
        """Judge an own half of the recipient; transfer has it already."""
        facts = entry.facts
        halves = [half for half in transfer.halves if half.own and half.institution == facts.author]

        def said(half: Half) -> pb.Body:
            return body if half.position == entry.position else self._said(transaction, half)

        due: list[pb.Finding] = []
        taken, earlier = _taken(halves, said), _taken(halves[:-1], said)
        if _held(taken) != _held(earlier):
            gone = earlier is not None and self._is_gone(transaction, entry, earlier)
            # Taken before given back, so that a day's row outlives a correction of its only one.
            # Of what is gone a CORRECTION takes nothing anew; an ACK says that more has arrived.
            if taken is not None and (not gone or facts.kind == Kind.ACK):
                due += self._take(transaction, taken, entry)
            if earlier is not None and not gone:
                due += self._give_back(transaction, earlier)
        return due + self._compare(entry, transfer, halves, said)

    def on_disposal(
        self, transaction: Transaction, position: int, body: pb.Body, terms: pb.DisposalTerms
    ) -> list[pb.Finding]:
        """Take away what a recipient states that it disposed of."""
        contract = contract_key(body.author, terms.contract_id)
        due: list[pb.Finding] = []
        strangers = False
        if terms.refs:
            taken = {ref: self._by_ref(transaction, ref, contract) for ref in terms.refs}
            strangers = None in taken.values()
            known = [
                each
                for ref, each in taken.items()
                if each is not None
                and self._is_first(transaction, body.author, ref, position, each)
            ]
            transfers, subjects = len(known), sum(each.subjects for each in known)
            late = self._late(transaction, {each.key for each in known}, terms.done_at)
            for each in known:
                due += self._give_back(transaction, each)
        else:
            keys = self._scope(transaction, contract, terms.due_by)
            rows = [row for key in keys if (row := self._state.obligations.get(transaction, key))]
            transfers = sum(row.transfers for row in rows)
            subjects = sum(row.subjects for row in rows)
            late = self._late(transaction, keys, terms.done_at)
            due += self._spend(transaction, keys, terms.transfers, terms.subjects)
        if strangers or terms.transfers > transfers or terms.subjects > subjects:
            numbers = (terms.transfers, transfers, terms.subjects, subjects)
            lapse = Lapse("K16.disposed_more", (own(position),), numbers)
            due.append(self._state.once(lapse, body.author, terms.contract_id))
        left = self._late(transaction, late, terms.done_at)
        if gone := sum(late.values()) - sum(left.values()):
            first = min(parse_obligation_key(key)[1] for key in late)
            dates = to_date(first), to_date(day_of(terms.done_at))
            lapse = Lapse("K16.disposed_late", (own(position),), (*dates, gone))
            due.append(self._state.once(lapse, body.author, terms.contract_id))
        return due + self._state.judge(transaction, contract)

    def due(self, transaction: Transaction, key: bytes) -> list[pb.Finding]:
        row = self._state.obligations.get(transaction, key)
        return [] if row is None else self._settle(key, row)

    def _late(
        self, transaction: Transaction, keys: Iterable[bytes], done_at: int
    ) -> dict[bytes, int]:
        """Transfers of each day that were to be disposed of before done_at (µs)."""
        rows = [(key, self._state.obligations.get(transaction, key)) for key in keys]
        return {
            key: row.transfers
            for key, row in rows
            if row and disposed_late(row, parse_obligation_key(key)[1], done_at, self._state.grace)
        }

    # -- obligations ------------------------------------------------------------------------

    def _take(self, transaction: Transaction, taken: _Taken, entry: Entry) -> list[pb.Finding]:
        contract, _ = parse_obligation_key(taken.key)
        due = self._hold(transaction, contract, 1)
        row = self._state.obligations.get(transaction, taken.key)
        if row is not None:
            row.transfers += 1
            row.subjects += taken.subjects
            self._state.obligations.put(taken.key, row)
            return due
        row = Obligation(entry.position, taken.ack.recorded_at, 1, taken.subjects, 0)
        return due + self._settle(taken.key, row)

    def _give_back(self, transaction: Transaction, taken: _Taken) -> list[pb.Finding]:
        return self._reduce(transaction, taken.key, 1, taken.subjects)

    def _spend(
        self, transaction: Transaction, keys: Iterable[bytes], transfers: int, subjects: int
    ) -> list[pb.Finding]:
        """Take so many transfers away, day by day; with a day's last one go all of its persons."""
        due: list[pb.Finding] = []
        for key in keys:
            row = self._state.obligations.get(transaction, key)
            if row is None or not transfers:
                continue
            number = min(row.transfers, transfers)
            persons = row.subjects if number == row.transfers else min(row.subjects, subjects)
            due += self._reduce(transaction, key, number, persons)
            transfers, subjects = transfers - number, max(0, subjects - persons)
        return due

    def _reduce(
        self, transaction: Transaction, key: bytes, transfers: int, subjects: int
    ) -> list[pb.Finding]:
        row = self._state.obligations.get(transaction, key)
        if row is None:
            return []
        contract, _ = parse_obligation_key(key)
        due = self._hold(transaction, contract, -min(transfers, row.transfers))
        row.transfers -= min(transfers, row.transfers)
        row.subjects -= min(subjects, row.subjects)
        due += self._settle(key, row)
        if not row.transfers:
            self._state.obligations.delete(key)
        return due

    def _settle(self, key: bytes, row: Obligation) -> list[pb.Finding]:
        state = self._state
        contract, day = parse_obligation_key(key)
        author, contract_id = parse_contract_key(contract)
        judgement = Judgement()
        if row.transfers:
            judgement = judge_obligation(row, day, state.now, state.grace)
        due = state.settle(OBLIGATION, key, row, judgement, author, contract_id)
        state.obligations.put(key, row)
        return due

    def _hold(self, transaction: Transaction, contract: bytes, number: int) -> list[pb.Finding]:
        usage = self._state.usage.get(transaction, contract) or Usage()
        usage.held = max(0, usage.held + number)
        self._state.usage.put(contract, usage)
        known = self._state.contracts.get(transaction, contract) or Contract()
        return self._state.judge(transaction, contract) if known.ended else []

    def _scope(self, transaction: Transaction, contract: bytes, due_by: int) -> list[bytes]:
        """Obligations up to a date, oldest first; without one all, and those without a day last."""
        self._state.obligations.flush(transaction)
        last = from_date(due_by) if due_by else None
        days = [*days_of(transaction, contract)]
        dated = [day for day in days if day and (last is None or day <= last)]
        if 0 in days and last is None:
            dated.append(0)
        return [obligation_key(contract, day) for day in dated]

    # -- ACKs -------------------------------------------------------------------------------

    def _is_first(
        self, transaction: Transaction, author: str, ref: bytes, position: int, taken: _Taken
    ) -> bool:
        """Note that a DISPOSAL names a transfer; whether none did since that was taken."""
        key = disposed_key(author, ref)
        known = self._state.disposed.get(transaction, key)
        if known is not None and known.position > taken.ack.position:
            return False
        self._state.disposed.put(key, Disposed(position))
        return True

    def _is_gone(self, transaction: Transaction, entry: Entry, taken: _Taken) -> bool:
        """Whether a DISPOSAL has named the transfer, or left nothing of its day."""
        key = disposed_key(entry.facts.author, entry.facts.ref)
        known = self._state.disposed.get(transaction, key)
        named = known is not None and known.position > taken.ack.position
        return named or self._state.obligations.get(transaction, taken.key) is None

    def _by_ref(self, transaction: Transaction, ref: bytes, contract: bytes) -> _Taken | None:
        """What was taken by a transfer, if it is one under this contract."""
        author, _ = parse_contract_key(contract)
        halves = [
            half
            for half in self._transfers.get(transaction, ref).halves
            if half.own and half.institution == author
        ]
        taken = _taken(halves, partial(self._said, transaction))
        return taken if taken and parse_obligation_key(taken.key)[0] == contract else None

    def _said(self, transaction: Transaction, half: Half) -> pb.Body:
        return pb.Body.FromString(self._state.body_of(transaction, half.position))

    def _compare(
        self, entry: Entry, transfer: Transfer, halves: Sequence[Half], said: _BodyOf
    ) -> list[pb.Finding]:
        """K15.subjects: what arrived, beside what the recipient's newest terms say."""
        accepted = [half for half in halves if half.outcome == pb.OUTCOME_ACCEPTED]
        if not accepted:
            return []
        ack = accepted[0]
        received = said(ack).ack.received_subjects
        terms = _newest_terms(ack, halves, said)
        lapses = []
        if received != terms.subjects:
            numbers = (received, terms.subjects)
            lapses.append(Lapse("K15.subjects", (own(ack.position),), numbers))
        return self._state.change_transfer(self._transfers, entry.facts.ref, transfer, lapses)


def _taken(halves: Sequence[Half], said: _BodyOf) -> _Taken | None:
    """What a recipient's halves of a transfer come to: the newest ACK, as corrected since."""
    ack = next((half for half in reversed(halves) if half.outcome in _RECEIVED), None)
    if ack is None:
        return None
    terms = _newest_terms(ack, halves, said)
    day = from_date(terms.delete_by) if terms.delete_by else 0
    key = obligation_key(contract_key(ack.institution, terms.contract_id), day)
    in_part = ack.outcome == pb.OUTCOME_PARTIAL
    return _Taken(key, said(ack).ack.received_subjects if in_part else terms.subjects, ack)


def _held(taken: _Taken | None) -> tuple[bytes, int] | None:
    return None if taken is None else (taken.key, taken.subjects)


def _newest_terms(ack: Half, halves: Sequence[Half], said: _BodyOf) -> pb.Terms:
    """The terms of an ACK, or of the last CORRECTION after it."""
    after = [half for half in halves if half.kind == Kind.CORRECTION]
    newest = max((ack, *after), key=lambda half: half.position)
    body = said(newest)
    return pb.Terms.FromString(getattr(body, body.WhichOneof("record") or "").terms)
