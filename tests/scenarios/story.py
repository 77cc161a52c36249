"""The edge table, played out: each edge becomes contracts and records, and what is to be found."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from scenarios.cast import Cast, Stated
from scenarios.names import BY_LABEL, Institution
from scenarios.records import (
    GBA,
    MINUTE,
    NATIONAL,
    Deal,
    ack,
    authority_of,
    day_of,
    micros,
    plain,
)

from ledgerd_client._proto import body_pb2 as pb

TABLE = Path(__file__).with_name("edges.toml")
EFFECTIVE_ON = date(2026, 3, 2)
ANY = "*"


class Expected(NamedTuple):
    """A finding that must be there: on a node, resting first on a record of an edge, or on any."""

    node: str
    rule: str
    edge: str
    label: str
    closed: bool


def load() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text())


def plots(table: dict[str, Any]) -> list[Plot]:
    return [Plot.of(f"{number:03d}", edge) for number, edge in enumerate(table["edge"])]


class Plot(Cast):
    """One edge: its records in the order of the table, and what they must come to."""

    __slots__ = ()

    @classmethod
    def of(cls, number: str, edge: dict[str, Any]) -> Plot:
        plot = cls(number, edge)
        for name in ["", *edge.get("others", [])]:
            plot._begin(name)
        for event in edge.get("events", []):
            details = dict(event)
            do, at = details.pop("do"), micros(details.pop("at"))
            deal = plot.deals[details.pop("under", "")]
            getattr(plot, f"_{do}")(deal, at, **details)
        return plot

    def expected(self) -> Iterator[Expected]:
        deal = self.deals[""]
        sides = {"X": deal.exporter.side, "R": deal.recipient.side}
        for row in self.edge["expect"]:
            nodes, rule, label, *closed = row.split()
            for node in nodes:
                yield Expected(sides[node], rule, self.number, label, closed == ["closed"])

    # -- what every contract begins with -----------------------------------------------------

    def _begin(self, name: str) -> None:
        edge, terms = self.edge, dict(self.edge.get("contract", {}))
        deal = Deal(
            f"GBA-SC-2026-{self.number}{name}",
            BY_LABEL[edge.get("exporter", "bank")],
            BY_LABEL[edge.get("recipient", "hk_bank")],
            terms.pop("effective_on", EFFECTIVE_ON),
            terms,
            dict(edge.get("side", {})),
        )
        self.deals[name] = deal
        before = datetime.combine(deal.effective_on - timedelta(days=5), time(10))
        at = micros(edge.get("recorded", before))
        by = {True: "both", False: ""}.get(edge.get("known", True), "exporter")
        label = f"contract@{name}" if name else "contract"
        for institution in self._by(deal, by):
            self._state(deal, institution, at, label)
            self._file_as_said(deal, institution, at)
        assessed = edge.get("pipia", {})
        if by and assessed is not False:
            self._pipia(deal, at, **assessed)

    def _file_as_said(self, deal: Deal, institution: Institution, at: int) -> None:
        if deal.mechanism not in {GBA, NATIONAL}:
            return
        side = "exporter" if institution is deal.exporter else "recipient"
        filed = self.edge.get("filed", True)
        moment = filed.get(side, True) if isinstance(filed, dict) else filed
        if moment is False:
            return
        if isinstance(moment, datetime):
            at = micros(moment)
        elif isinstance(moment, date):
            at = micros(datetime.combine(moment, time(15)))
        said = dict(self.edge.get("filing", {}).get(side, {}))
        if "filed_on" in self.edge:
            said["filed_on"] = self.edge["filed_on"]
        self._file(deal, at, by=side, **said)

    # -- what both parties state ---------------------------------------------------------------

    def _state(self, deal: Deal, institution: Institution, at: int, label: str) -> None:
        side = deal.own() if institution is deal.exporter else None
        message = pb.Contract(terms=self._terms(deal, institution), side=side)
        self._add(at, institution, label, "contract", message)

    def _terms(self, deal: Deal, institution: Institution) -> bytes:
        theirs = self.edge.get("theirs", {}) if institution is deal.recipient else {}
        return deal.contract(**theirs)

    def _contract(
        self,
        deal: Deal,
        at: int,
        *,
        by: str = "both",
        label: str = "anew",
        side: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        """The contract stated anew, or late: what differed between the parties differs no more."""
        deal.terms.update(changes)
        self.edge.pop("theirs", None)
        if side is not None:
            deal.side = side
        for institution in self._by(deal, by):
            self._state(deal, institution, at, label)
            if deal.mechanism in {GBA, NATIONAL}:
                self._file(deal, at, by=self._side(deal, institution))

    def _supplement(
        self, deal: Deal, at: int, *, label: str = "supplement", filed: bool = True, **changes: Any
    ) -> None:
        deal.version += 1
        deal.terms.update({"effective_on": day_of(at), **changes})
        for institution in self._by(deal, "both"):
            side = deal.own() if institution is deal.exporter else None
            message = pb.Supplement(terms=self._terms(deal, institution), side=side)
            self._add(at, institution, label, "supplement", message)
            if filed:
                self._file(deal, at, by=self._side(deal, institution))

    def _file(
        self, deal: Deal, at: int, *, by: str, filed_on: date | None = None, **said: Any
    ) -> None:
        for institution in self._by(deal, by):
            message = pb.Filing(
                terms=self._terms(deal, institution),
                **{"authority": authority_of(institution), "result": 1, **said},
                **plain({"filed_on": filed_on or day_of(at)}),
            )
            self._add(at, institution, "filing", "filing", message)

    # -- transfers -----------------------------------------------------------------------------

    def _transfer(
        self,
        deal: Deal,
        at: int,
        *,
        label: str = "t",
        to: str = "",
        ack: datetime | bool = True,
        declared: bool = True,
        received: dict[str, Any] | None = None,
        theirs: dict[str, Any] | None = None,
        occurred: datetime | None = None,
        **said: Any,
    ) -> None:
        if to:
            deal = Deal(deal.id, deal.exporter, BY_LABEL[to], deal.effective_on)
        stated = Stated(deal, f"{self.number}/{label}", at, said, {**said, **(theirs or {})}, {})
        self.transfers[label] = stated
        if declared:
            message = pb.Transfer(terms=deal.transfer(stated.seed, at, **said))
            happened = at if occurred is None else micros(occurred)
            event = self._add(at, deal.exporter, label, "transfer", message, happened)
            stated.halves["exporter"] = event.record_id
        if ack is not False:
            then = at + 30 * MINUTE if ack is True else micros(ack)
            self._ack(deal, then, of=label, **(received or {}))

    def _ack(self, deal: Deal, at: int, *, of: str = "t", **said: Any) -> None:
        stated = self.transfers[of]
        terms = stated.deal.transfer(stated.seed, stated.at, **stated.recipient)
        event = self._add(at, stated.deal.recipient, f"{of}.ack", "ack", ack(terms, at, **said))
        stated.halves.setdefault("recipient", event.record_id)

    def _cancel(self, deal: Deal, at: int, *, of: str = "t") -> None:
        stated = self.transfers[of]
        terms = stated.deal.transfer(stated.seed, stated.at, **stated.exporter)
        message = pb.Cancel(terms=terms, cause=5)
        self._add(at, deal.exporter, f"{of}.cancel", "cancel", message)

    def _correct(
        self,
        deal: Deal,
        at: int,
        *,
        of: str = "t",
        by: str = "both",
        corrects: str = "",
        **changes: Any,
    ) -> None:
        stated = self.transfers[of]
        for institution in self._by(deal, by):
            side = self._side(deal, institution)
            before = stated.exporter if side == "exporter" else stated.recipient
            terms = deal.transfer(stated.seed, stated.at, **{**before, **changes})
            label = f"{of}.correction"
            record = self._event(at, institution, corrects, "", pb.Correction()).record_id
            message = pb.Correction(
                terms=terms, corrects=record if corrects else stated.halves[side], cause=5
            )
            self._add(at, institution, label, "correction", message)
