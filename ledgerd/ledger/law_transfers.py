"""
The law of what an exporter states of its transfers: TRANSFER, and its CORRECTION and CANCEL.

A transfer counts by its newest statement: the first TRANSFER or a CORRECTION after it, and not at
all once it is cancelled. Its time, and so its year, is the first TRANSFER's occurred_at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ledgerd.ledger.entry import Entry
from ledgerd.ledger.law_counts import Counted, CountLaw
from ledgerd.ledger.law_plain import PlainTransfers, Sent, read_sent
from ledgerd.ledger.law_sent import SentTransfers
from ledgerd.ledger.law_state import LawState
from ledgerd.ledger.law_usage import (
    Stated,
    counting_halves,
    lower_route,
    shows,
    stated_by,
    take_route,
    use,
)
from ledgerd.projections.contracts import Contract
from ledgerd.projections.counters import Noted, noted_contract, noted_transfer
from ledgerd.projections.transfer_row import Transfer
from ledgerd.projections.transfers import Transfers
from ledgerd.projections.usage import Usage
from ledgerd.rules.content import content, invalid_codes, timing
from ledgerd.rules.counting import NEVER, VOLUME, volume
from ledgerd.rules.lapse import Lapse, Party, own
from ledgerd.store.base import Transaction
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import day_of, to_date, year_of
from ledgerd_client.core.header import Kind

# Exemptions whose transfers count towards no threshold (Provisions 7, 8: those of articles 3 to 6).
_UNCOUNTED: Final = frozenset((2, 3, 4, 5, 6, 8))


class TransferLaw:
    """Judges transfers, and through them contracts and counters of their exporters."""

    def __init__(
        self, state: LawState, counts: CountLaw, sent: SentTransfers, transfers: Transfers
    ) -> None:
        self._state = state
        self._counts = counts
        self._sent = sent
        self._transfers = transfers
        self._plain = PlainTransfers(state, sent)

    def on_half(
        self, transaction: Transaction, entry: Entry, body: pb.Body, transfer: Transfer
    ) -> list[pb.Finding]:
        """Judge an own half of the exporter; transfer has it already."""
        halves = transfer.halves
        alone = len(halves) == 1 or sum(half.own for half in halves) == 1
        if entry.facts.kind != Kind.TRANSFER or not alone:
            return self._restated(transaction, entry, body, transfer)
        sent = read_sent(body.transfer.terms, entry.facts.like, body.occurred_at)
        if self._plain.count(transaction, sent, entry):
            return []
        party = self._state.party(entry.facts.author)
        stated = stated_by(entry.position, body.occurred_at, body, party.id)
        due = self._put(transaction, stated, party, entry)
        found = self._judge(transaction, entry.facts.ref, transfer, stated, party)
        if not found:
            self._remember(transaction, sent, stated, party)
        return due + found

    def forget(self) -> None:
        """Judge the next transfers anew: a contract, a key or the rules have changed."""
        self._plain.forget()

    def _remember(self, transaction: Transaction, sent: Sent, stated: Stated, party: Party) -> None:
        state, exemption = self._state, stated.terms.exemption
        counter = None
        if _is_counted(party, exemption):
            counter = self._counts.counter(transaction, party.id, year_of(stated.occurred_at))
        self._plain.remember(
            sent,
            stated.key,
            state.contracts.get(transaction, stated.key),
            state.usage.get(transaction, stated.key) or Usage(),
            counter,
            party.id,
            exemption,
            state.law.at(day_of(stated.occurred_at)),
        )

    def _restated(
        self, transaction: Transaction, entry: Entry, body: pb.Body, transfer: Transfer
    ) -> list[pb.Finding]:
        """Take back what counted before this half, and count what counts with it."""
        halves = [half for half in transfer.halves if half.own]
        before, after = counting_halves(halves[:-1]), counting_halves(halves)
        if before == after:
            return []
        self.forget()
        party = self._state.party(entry.facts.author)
        due: list[pb.Finding] = []
        old = None if before is None else self._read(transaction, before, party.id)
        new, first = None, NEVER
        if after is not None:
            first = after[0]
            new = self._read(transaction, after, party.id, entry, body)
        if old is not None:
            due += self._take_back(transaction, old, party, entry)
        if new is not None:
            moved = old is None or old.key != new.key
            due += self._put(transaction, new, party, entry if moved else None, first=first)
        due += self._judge(transaction, entry.facts.ref, transfer, new, party)
        if old is not None:
            due += self._state.judge(transaction, old.key)
        return due

    def counting(self, transaction: Transaction, ref: bytes) -> tuple[Transfer, Stated | None]:
        """A transfer's row, and the own statement by which it counts, if any does."""
        transfer = self._transfers.get(transaction, ref)
        counting = counting_halves([half for half in transfer.halves if half.own])
        if counting is None:
            return transfer, None
        author = self._state.author(transaction, counting[0])
        return transfer, self._read(transaction, counting, author)

    def judge_volume(self, transaction: Transaction, ref: bytes, *, anew: bool) -> list[pb.Finding]:
        """
        Judge again whether a transfer was too many for its exemption (K12).

        anew: also if nothing of it stands.
        """
        transfer, stated = self.counting(transaction, ref)
        lapses: list[Lapse] = []
        stands = any(found.rule in VOLUME for found in transfer.findings)
        if stated is not None and (anew or stands):
            party = self._state.party(stated.terms.exporter.institution)
            found = self._volume(transaction, stated, party)
            lapses = [Lapse(rule, (own(stated.position),)) for rule in found]
        return self._state.change_transfer(self._transfers, ref, transfer, lapses, only=VOLUME)

    # -- what counts ------------------------------------------------------------------------

    def _read(
        self,
        transaction: Transaction,
        counting: tuple[int, int],
        author: str,
        entry: Entry | None = None,
        body: pb.Body | None = None,
    ) -> Stated:
        """The statement that counts: (first TRANSFER, newest statement), of which entry is one."""
        bodies = {}
        for position in counting:
            if entry is not None and body is not None and position == entry.position:
                bodies[position] = body
            elif position not in bodies:
                raw = self._state.body_of(transaction, position)
                bodies[position] = pb.Body.FromString(raw)
        first, newest = counting
        return stated_by(newest, bodies[first].occurred_at, bodies[newest], author)

    def _put(
        self,
        transaction: Transaction,
        stated: Stated,
        party: Party,
        new: Entry | None,
        *,
        first: int = NEVER,
    ) -> list[pb.Finding]:
        """
        Add a statement to its contract's usage and to its exporter's year.

        new: its entry, when the transfer is new to the contract. first: the transfer's first
        record, when this restates it.
        """
        state, terms = self._state, stated.terms
        contract = state.contracts.get(transaction, stated.key)
        usage = state.usage.get(transaction, stated.key) or Usage()
        state.usage.put(stated.key, usage)
        if new is not None:
            self._sent.add(transaction, stated.key, usage, new.position, new.recorded_at)
        due: list[pb.Finding] = []
        moved = use(usage, contract, stated)
        if _is_counted(party, terms.exemption):
            counted = self._counted(stated, 1, stated.position)._replace(restates=first)
            due += self._counts.add(transaction, counted, contract, usage)
            needed = self._counts.needed(transaction, party.id, counted.year, counted.parameters)
            if take_route(usage, counted.year, needed, stated.position):
                moved = True
                found, place = Noted(stated.position, *needed), noted_contract(stated.key)
                self._counts.note(transaction, party.id, counted.year, place, found)
        return due + state.judge(transaction, stated.key) if moved else due

    def _take_back(
        self, transaction: Transaction, stated: Stated, party: Party, entry: Entry
    ) -> list[pb.Finding]:
        state, terms = self._state, stated.terms
        contract = state.contracts.get(transaction, stated.key)
        usage = state.usage.get(transaction, stated.key) or Usage()
        usage.transfers = max(0, usage.transfers - 1)
        usage.subjects = max(0, usage.subjects - terms.subjects_first_this_year)
        state.usage.put(stated.key, usage)
        due: list[pb.Finding] = []
        if _is_counted(party, terms.exemption):
            counted = self._counted(stated, -1, entry.position)
            due += self._counts.add(transaction, counted, contract, usage)
            needed = self._counts.needed(transaction, party.id, counted.year, counted.parameters)
            lower_route(usage, counted.year, needed)
        if shows(usage, stated) or self._sent.stands(transaction, stated.key):
            self._sent.judge_again(transaction, stated.key, 0, entry.recorded_at)
        if not usage.transfers:
            usage.clear()
        return due

    def _counted(self, stated: Stated, sign: int, position: int) -> Counted:
        terms = stated.terms
        return Counted(
            stated.key,
            year_of(stated.occurred_at),
            (sign * terms.subjects_first_this_year, sign * terms.sensitive_first_this_year),
            position,
            self._state.law.at(day_of(stated.occurred_at)),
        )

    # -- what is found on the transfer -------------------------------------------------------

    def _judge(
        self,
        transaction: Transaction,
        ref: bytes,
        transfer: Transfer,
        stated: Stated | None,
        party: Party,
    ) -> list[pb.Finding]:
        lapses: list[Lapse] = []
        if stated is not None:
            records = (own(stated.position),)
            rules = self._rules(transaction, stated, party)
            lapses = [Lapse(rule, records) for rule in rules]
            # With sensitive data in it no counter frees it.
            counted = not stated.terms.sensitive_subjects
            if counted and any(lapse.rule in VOLUME for lapse in lapses):
                year = year_of(stated.occurred_at)
                found = Noted(stated.position)
                self._counts.note(transaction, party.id, year, noted_transfer(ref), found)
        return self._state.change_transfer(self._transfers, ref, transfer, lapses)

    def _volume(self, transaction: Transaction, stated: Stated, party: Party) -> tuple[str, ...]:
        terms = stated.terms
        if not terms.exemption or party.side != "CN":
            return ()
        counter = self._counts.counter(transaction, party.id, year_of(stated.occurred_at))
        parameters = self._state.law.at(day_of(stated.occurred_at))
        return volume(terms.exemption, terms.sensitive_subjects, counter, parameters)

    def _rules(self, transaction: Transaction, stated: Stated, party: Party) -> Iterator[str]:
        terms, occurred_at = stated.terms, stated.occurred_at
        parameters = self._state.law.at(day_of(occurred_at))
        yield from carried(self._state.contracts.get(transaction, stated.key), stated)
        yield from content(stated.profile, party, parameters)
        yield from self._volume(transaction, stated, party)
        yield from invalid_codes(terms, to_date(day_of(occurred_at)))


def carried(contract: Contract | None, stated: Stated) -> tuple[str, ...]:
    """The rules by which a contract appears not to carry a transfer."""
    if contract is None:
        return ()
    terms = stated.terms
    exporter = terms.exporter.origin, terms.exporter.institution
    recipient = terms.recipient.origin, terms.recipient.institution
    return timing(contract, exporter, recipient, stated.occurred_at, terms.delete_by)


def _is_counted(party: Party, exemption: int) -> bool:
    """Whether the yearly counters have such a transfer; nobody counts in Hong Kong."""
    return party.side == "CN" and exemption not in _UNCOUNTED
