"""Who plays in an edge, and what they state beside contracts and transfers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from google.protobuf.message import Message
from scenarios.names import HONG_KONG, THIRD_PARTIES, Institution, derive
from scenarios.records import Deal, Event, day_of, digest, encode, micros, plain

from ledgerd_client._proto import body_pb2 as pb


class Stated(NamedTuple):
    """A transfer of the story, as later records speak of it."""

    deal: Deal
    seed: str
    at: int
    # Of each party, what it says other than the default; and the record that says so.
    exporter: dict[str, Any]
    recipient: dict[str, Any]
    halves: dict[str, bytes]


@dataclass(slots=True)
class Cast:
    """An edge's contracts by name, its records so far, and its transfers by label."""

    number: str
    edge: dict[str, Any]
    deals: dict[str, Deal] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    transfers: dict[str, Stated] = field(default_factory=dict)
    ended_on: dict[str, date] = field(default_factory=dict)
    used: set[tuple[str, str]] = field(default_factory=set)

    def _terminate(
        self,
        deal: Deal,
        at: int,
        *,
        by: str = "both",
        label: str = "termination",
        notified: bool = False,
        on: date | None = None,
    ) -> None:
        ended_on = self.ended_on.setdefault(deal.id, on or day_of(at))
        terms = pb.TerminationTerms(
            **deal.head, cause=1, method=3, **plain({"terminated_on": ended_on})
        )
        told = plain({"authority_notified_on": day_of(at)}) if notified else {}
        for institution in self._by(deal, by):
            message = pb.Termination(terms=encode(terms), **told)
            self._add(at, institution, label, "termination", message)

    def _dispose(
        self,
        deal: Deal,
        at: int,
        *,
        by: str = "both",
        label: str = "disposal",
        refs: list[str] | None = None,
        **said: Any,
    ) -> None:
        named = sorted(deal.ref(self.transfers[name].seed) for name in refs or [])
        fields = {"method": 3, "done_at": at, "certificate_digest": "certificate", **said}
        terms = pb.DisposalTerms(**deal.head, refs=named, **plain(fields))
        for institution in self._by(deal, by):
            self._add(at, institution, label, "disposal", pb.Disposal(terms=encode(terms)))

    def _pipia(
        self, deal: Deal, at: int, *, by: str = "exporter", label: str = "pipia", **said: Any
    ) -> None:
        completed = said.pop("completed_on", deal.effective_on - timedelta(days=7))
        fields = {"conclusion": 1, "keep_until": completed + timedelta(days=1_200), **said}
        message = pb.Pipia(
            contract_id=deal.id,
            report_digest=digest(label),
            **plain({"completed_on": completed, **fields}),
        )
        for institution in self._by(deal, by):
            self._add(at, institution, label, "pipia", message)

    def _suspend(self, deal: Deal, at: int, *, since: datetime | None = None) -> None:
        then = at if since is None else micros(since)
        message = pb.Suspend(contract_id=deal.id, at=then, cause=2)
        self._add(at, deal.exporter, "suspension", "suspend", message)

    def _resume(self, deal: Deal, at: int, *, since: datetime | None = None) -> None:
        then = at if since is None else micros(since)
        message = pb.Resume(contract_id=deal.id, at=then)
        self._add(at, deal.exporter, "resumption", "resume", message)

    def _onward(
        self, deal: Deal, at: int, *, label: str = "onward", matter: str = "", **said: Any
    ) -> None:
        conditions = dict.fromkeys(("needed", "told", "consented", "listed"), True)
        fields = {"third_party": "hk_third", "third_party_place": HONG_KONG, **conditions, **said}
        fields["third_party"] = THIRD_PARTIES[fields["third_party"]]
        message = pb.Onward(
            contract_id=deal.id, matter=self._matter(matter or label), purposes=[1],
            ref=deal.ref(self.transfers["t"].seed), agreement_digest=digest("agreement"), **fields,
        )  # fmt: skip
        self._add(at, deal.recipient, label, "onward", message)

    def _incident(
        self,
        deal: Deal,
        at: int,
        *,
        by: str = "exporter",
        label: str = "incident",
        matter: str = "",
        notices: list[tuple[int, datetime]] | None = None,
        also: list[str] | None = None,
        **said: Any,
    ) -> None:
        concerned = sorted(each.id for each in [deal, *(self.deals[name] for name in also or [])])
        fields = {"grade": 2, "cause": 1, "affected_subjects": 100, "categories": [1], **said}
        message = pb.Incident(
            matter=self._matter(matter or label), contract_ids=concerned, **plain(fields),
            notices=[pb.Notice(authority=to, at=micros(when)) for to, when in notices or []],
        )  # fmt: skip
        for institution in self._by(deal, by):
            self._add(at, institution, label, "incident", message)

    def _gov_access(
        self, deal: Deal, at: int, *, label: str = "gov_access", matter: str = "", **said: Any
    ) -> None:
        fields = {"requester": 2, "territory": deal.recipient.place, "received_at": at, **said}
        message = pb.GovAccess(
            contract_id=deal.id, matter=self._matter(matter or label), **plain(fields)
        )
        self._add(at, deal.recipient, label, "gov_access", message)

    # -- helpers -------------------------------------------------------------------------------

    def _matter(self, name: str) -> bytes:
        return derive(f"matter {self.number}/{name}", 16)

    def _by(self, deal: Deal, by: str) -> list[Institution]:
        parties = {"exporter": [deal.exporter], "recipient": [deal.recipient], "": []}
        return parties.get(by, [deal.exporter, deal.recipient])

    def _side(self, deal: Deal, institution: Institution) -> str:
        return "exporter" if institution is deal.exporter else "recipient"

    def _add(
        self,
        at: int,
        author: Institution,
        label: str,
        kind: str,
        message: Message,
        occurred_at: int = 0,
    ) -> Event:
        while (author.side, label) in self.used:
            label += "'"
        self.used.add((author.side, label))
        event = self._event(at, author, label, kind, message, occurred_at)
        self.events.append(event)
        return event

    def _event(
        self,
        at: int,
        author: Institution,
        label: str,
        kind: str,
        message: Message,
        occurred_at: int = 0,
    ) -> Event:
        full = f"{self.number}/{label}"
        seed = f"{full}/{author.side}"
        return Event(at, author, full, kind, message, occurred_at or at, seed)
