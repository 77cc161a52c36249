"""
The year's everyday traffic between 23 institutions: nothing in it is to be found, but for what
`expected` says.

Banks 62 of 100 transfers, credit queries 20, hospitals 14, monthly batches 4; from 5 January to 18
December 2026, in working hours, acknowledged within ten hours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, NamedTuple

from google.protobuf.message import Message
from scenarios.names import (
    BANK,
    CREDIT,
    EVERYDAY,
    HOSPITAL,
    INSURER,
    OTHER,
    Institution,
    derive,
)
from scenarios.records import (
    MINUTE,
    Deal,
    Event,
    ack,
    authority_of,
    day_of,
    digest,
    encode,
    micros,
    number,
)
from scenarios.story import Expected

from ledgerd_client._proto import body_pb2 as pb

FIRST_DAY, LAST_DAY, END = date(2026, 1, 5), date(2026, 12, 18), date(2027, 3, 1)
# Of what an exporter counts in a year: below the early warnings of 80,000 and 8,000 persons.
MOST_NEW, MOST_NEW_SENSITIVE = 70_000, 7_000


class Trade(NamedTuple):
    """A sort of traffic: its share in 100, its contracts, and what it agrees and states."""

    share: int
    contracts: int
    sectors: tuple[int, ...]
    terms: dict[str, Any]
    keep_days: int
    persons: tuple[int, int]


TRADES = {
    "payments": Trade(62, 40, (BANK,), {"purposes": [5], "categories": [1, 7]}, 900, (1, 40)),
    "queries": Trade(20, 26, (BANK, CREDIT), {"purposes": [3, 4], "categories": [1, 7]}, 900, (1, 1)),
    "images": Trade(
        14, 34, (HOSPITAL,),
        {"purposes": [11, 12], "categories": [1, 5], "sensitive_categories": [4], "retention_days": 90},
        60, (1, 3),
    ),
    "batches": Trade(
        4, 18, (INSURER, OTHER, BANK),
        {"purposes": [15, 16], "categories": [1, 9], "retention_days": 180}, 120, (500, 3_000),
    ),
}  # fmt: skip


@dataclass(slots=True)
class Background:
    """So many transfers; the same ones each time."""

    transfers: int
    dice: Random = field(default_factory=lambda: Random(20260105))
    expected: list[Expected] = field(default_factory=list)
    deals: dict[str, list[Deal]] = field(default_factory=dict)
    _new: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    _sensitive: set[str] = field(default_factory=set)
    _held: dict[str, dict[date, list[int]]] = field(default_factory=dict)
    _heap: list[tuple[int, int, Event]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def events(self) -> Iterator[Event]:
        """In time order; `expected` is whole when they are at their end."""
        self._sign_contracts()
        days = [FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]
        working = [day for day in days if day.weekday() < 5]
        names, shares = list(TRADES), [trade.share for trade in TRADES.values()]
        for at, day in enumerate(working):
            share = self.transfers * (at + 1) // len(working) - self.transfers * at // len(working)
            start = micros(datetime.combine(day, time(9)))
            for turn in range(share):
                moment = start + turn * 540 * MINUTE // share
                yield from self._until(moment)
                yield self._transfer(self.dice.choices(names, shares)[0], day, moment)
            if day.month != (day + timedelta(days=7)).month:
                self._push_disposals(day)
        for day in (LAST_DAY, date(2027, 1, 28)):
            yield from self._until(micros(day))
            self._push_disposals(day)
        yield from self._until(micros(END))

    def _until(self, moment: int) -> Iterator[Event]:
        while self._heap and self._heap[0][0] <= moment:
            event = heappop(self._heap)[2]
            if event.kind == "ack":
                self._note_held(event)
            yield event

    def _push(
        self, at: int, author: Institution, kind: str, message: Message, label: str = ""
    ) -> None:
        order = next(self._numbers)
        event = Event(at, author, label, kind, message, at, f"everyday {order}", exact=False)
        heappush(self._heap, (at, order, event))

    # -- contracts -----------------------------------------------------------------------------

    def _sign_contracts(self) -> None:
        numbers = count(1000)
        for name, trade in TRADES.items():
            able = [who for who in EVERYDAY if who.sector in trade.sectors]
            mainland = [who for who in able if who.side == "mainland"]
            hongkong = [who for who in able if who.side == "hongkong"]
            self.deals[name] = []
            for turn in range(trade.contracts):
                pair = mainland[turn % len(mainland)], hongkong[turn // 2 % len(hongkong)]
                exporter, recipient = pair if turn % 3 else pair[::-1]
                day = FIRST_DAY + timedelta(days=turn // 2)
                deal = Deal(
                    f"GBA-SC-2026-{next(numbers)}", exporter, recipient, day, dict(trade.terms)
                )
                self.deals[name].append(deal)
                self._begin(deal)

    def _begin(self, deal: Deal) -> None:
        """Stated two days before it takes effect, filed three to nine days after: pending till then."""
        at = micros(datetime.combine(deal.effective_on - timedelta(days=2), time(10)))
        for party in (deal.exporter, deal.recipient):
            own = deal.own() if party is deal.exporter else None
            label = f"{deal.id}"
            self._push(at, party, "contract", pb.Contract(terms=deal.contract(), side=own), label)
            self.expected.append(Expected(party.side, "K4.pending", "everyday", label, closed=True))
            filed_on = deal.effective_on + timedelta(days=self.dice.randint(3, 9))
            filing = pb.Filing(
                terms=deal.contract(),
                authority=authority_of(party),
                filed_on=number(filed_on),
                result=1,
            )
            self._push(micros(datetime.combine(filed_on, time(15))), party, "filing", filing)
        completed = number(deal.effective_on - timedelta(days=4))
        pipia = pb.Pipia(
            contract_id=deal.id, report_digest=digest(deal.id), completed_on=completed,
            conclusion=1, keep_until=20300101,
        )  # fmt: skip
        self._push(at, deal.exporter, "pipia", pipia)

    # -- transfers -----------------------------------------------------------------------------

    def _transfer(self, name: str, day: date, at: int) -> Event:
        deals = [deal for deal in self.deals[name][:4] if deal.effective_on < day]
        if day > FIRST_DAY + timedelta(days=30):
            deals = self.deals[name]
        deal = self.dice.choice(deals or self.deals[name][:1])
        trade = TRADES[name]
        subjects = self.dice.randint(*trade.persons)
        said: dict[str, Any] = {
            "subjects": subjects,
            "purposes": [trade.terms["purposes"][0]],
            "categories": trade.terms["categories"],
            "delete_by": day + timedelta(days=trade.keep_days),
            **self._sort(name, deal, subjects),
        }
        seed = f"everyday {next(self._numbers)}"
        terms = deal.transfer(seed, at, **said)
        label = self._note_sensitive(deal, said)
        received = at + self.dice.randint(1, 600) * MINUTE
        self._push(received, deal.recipient, "ack", ack(terms, received))
        return Event(
            at, deal.exporter, label, "transfer", pb.Transfer(terms=terms), at, seed, exact=False
        )

    def _sort(self, name: str, deal: Deal, subjects: int) -> dict[str, Any]:
        mainland = deal.exporter.side == "mainland"
        if name == "payments":
            # Provisions 5(1): of a contract with the person; not counted.
            basis = {"legal_basis": 2, "consent_form": 1} if mainland else {}
            return {"exemption": 4, "first": self._fresh(deal, min(subjects, 2), 0), **basis}
        if name == "queries":
            return {
                "legal_basis": 1 if mainland else 10,
                "consent_form": 4,
                "first": self._fresh(deal, self.dice.randint(0, 1), 0),
            }
        if name == "images":
            new = self._fresh(deal, self.dice.randint(0, 1), 1)
            said = {"sensitive_categories": [4], "sensitive_subjects": subjects}
            viewed = {"transmission": 5, "commitment": b""} if self.dice.random() < 0.02 else {}
            return {"first": new, "sensitive_first": new, **said, **viewed}
        return {"first": self._fresh(deal, self.dice.randint(0, 200), 0)}

    def _fresh(self, deal: Deal, persons: int, sort: int) -> int:
        """As many new persons as the exporter's year still has room for."""
        counted = self._new[deal.exporter.id]
        most = (MOST_NEW, MOST_NEW_SENSITIVE)[sort]
        persons = max(0, min(persons, most - counted[sort]))
        for each in range(sort + 1):
            counted[each] += persons
        return persons

    def _note_sensitive(self, deal: Deal, said: dict[str, Any]) -> str:
        """The first person with sensitive data in a year is found of each Mainland exporter."""
        fresh = said.get("sensitive_first") and deal.exporter.side == "mainland"
        if not fresh or deal.exporter.id in self._sensitive:
            return ""
        self._sensitive.add(deal.exporter.id)
        label = f"sensitive {deal.exporter.label}"
        rule = "K11.sensitive_contract"
        self.expected.append(Expected("mainland", rule, "everyday", label, closed=False))
        return label

    # -- disposal ------------------------------------------------------------------------------

    def _note_held(self, event: Event) -> None:
        assert isinstance(event.message, pb.Ack)
        terms = pb.Terms.FromString(event.message.terms)
        days = self._held.setdefault(terms.contract_id, {})
        until = datetime.strptime(str(terms.delete_by), "%Y%m%d").date()  # noqa: DTZ007 - a date
        held = days.setdefault(until, [0, 0])
        held[0] += 1
        held[1] += terms.subjects

    def _push_disposals(self, day: date) -> None:
        """On a month's last working days: what is to be deleted until the next month's end."""
        at = micros(datetime.combine(day + timedelta(days=1), time(3)))
        due_by = (day.replace(day=1) + timedelta(days=70)).replace(day=1) - timedelta(days=1)
        for deal in (*self.deals["images"], *self.deals["batches"]):
            days = self._held.get(deal.id, {})
            gone = [days.pop(until) for until in sorted(days) if until <= due_by]
            if gone:
                self._dispose(deal, at, due_by, [sum(column) for column in zip(*gone, strict=True)])

    def _dispose(self, deal: Deal, at: int, due_by: date, gone: list[int]) -> None:
        terms = encode(
            pb.DisposalTerms(
                **deal.head, method=3, done_at=at, certificate_digest=digest("certificate"),
                due_by=number(due_by), transfers=gone[0], subjects=gone[1],
            )
        )  # fmt: skip
        for party in (deal.exporter, deal.recipient):
            self._push(at, party, "disposal", pb.Disposal(terms=terms))
        change = pb.ConsentChange(
            contract_id=deal.id, matter=derive(f"{deal.id} {day_of(at)}", 16), change=1,
            subjects=self.dice.randint(1, 9), from_date=number(day_of(at)),
        )  # fmt: skip
        self._push(at, deal.exporter, "consent_change", change)
