"""A year of both nodes: recorded, read, and rebuilt by the audit; each as a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path

from scenarios.background import END, Background
from scenarios.compare import EVERYDAY, Found
from scenarios.node import OtherStore, log_of
from scenarios.records import ORIGINS, Event, micros
from scenarios.sides import Border
from scenarios.story import Expected, Plot, load, plots

from ledgerd.ledger.audit import Auditor
from ledgerd.ledger.reader import Reader
from ledgerd.projections.registry import load_history
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.chain import check_signatures
from ledgerd_client.core.header import Header

# A record of a log, as the story calls it: (origin, index) → (edge, label).
Names = dict[tuple[str, int], tuple[str, str]]


@dataclass(slots=True)
class Year:
    """The edge table and so many everyday transfers, as one stream of events."""

    transfers: int
    labelled: list[Event] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=lambda: plots(load()))
    background: Background = field(init=False)

    def __post_init__(self) -> None:
        self.background = Background(self.transfers)

    @property
    def planted(self) -> list[Event]:
        return sorted((each for plot in self.plots for each in plot.events), key=_time)

    def events(self) -> Iterator[Event]:
        for event in merge(self.planted, self.background.events(), key=_time):
            if event.label:
                self.labelled.append(event)
            yield event

    def expected(self) -> list[Expected]:
        """Only when events() is at its end."""
        planted = [row for plot in self.plots for row in plot.expected()]
        return planted + self.background.expected


def _time(event: Event) -> int:
    return event.at


def play(transfers: int, directory: Path, progress: Callable[[int], None]) -> None:
    """Record a year in a directory, or its rest; what was to be found and was, beside it as JSON."""
    year, border = Year(transfers), Border(directory)
    try:
        border.play(year.events(), progress)
        border.advance(micros(END))
        border.anchor_both()
        names = _names(border, year.labelled)
        found = [
            each
            for side, node in border.nodes.items()
            for each in find(node.reader, range(node.size), side, names)
        ]
    finally:
        border.close()
    told = {"expected": year.expected(), "found": found}
    (directory / "told.json").write_text(json.dumps(told))
    listed = [[*place, *name] for place, name in names.items()]
    (directory / "names.json").write_text(json.dumps(listed))


def told(directory: Path) -> tuple[list[Expected], list[Found]]:
    """What play() left in a directory."""
    read = json.loads((directory / "told.json").read_text())
    return [Expected(*row) for row in read["expected"]], [Found(*row) for row in read["found"]]


def _names(border: Border, labelled: list[Event]) -> Names:
    names: Names = {}
    for event in labelled:
        index = border.nodes[event.node].index_of(event)
        edge, slash, label = event.label.partition("/")
        name = (edge, label) if slash else (EVERYDAY, edge)
        assert index is not None, event.label
        names[ORIGINS[event.node], index] = name
    return names


def find(reader: Reader, indexes: Iterator[int] | range, side: str, names: Names) -> list[Found]:
    """Findings among entries, each as its last entry left it."""
    found: dict[bytes, Found] = {}
    for index in indexes:
        header, body = reader.entry(index)
        if Header.parse(header).kind.name != "NODE":
            continue
        finding = pb.Body.FromString(body).finding
        if not finding.finding_id:
            continue
        if finding.closed:
            found[finding.finding_id] = found[finding.finding_id]._replace(closed=True)
            continue
        first = finding.records[0]
        place = (first.origin, first.index)
        edge, label = names.get(place, (EVERYDAY, f"entry {first.index} of {first.origin}"))
        found[finding.finding_id] = Found(
            side, finding.rule, edge, label, closed=False, severity=finding.severity
        )
    return list(found.values())


# -- the rebuild -----------------------------------------------------------------------------------


def rebuild(directory: Path, side: str, progress: Callable[[int, int], None]) -> None:
    """
    Audit a side's store: everything but the log is built anew beside it and compared.

    What is found is then read by the indexes of the rebuilt store, and told as JSON. Raises
    AuditError.
    """
    other = next(each for each in ORIGINS if each != side)
    names = {
        (origin, index): (edge, label)
        for origin, index, edge, label in json.loads((directory / "names.json").read_text())
    }
    with (
        closing(LmdbStore.open(directory / side, readonly=True)) as store,
        closing(LmdbStore.open(directory / other, readonly=True)) as peer_store,
        closing(
            LmdbStore.create(directory / f"scratch-{side}", instance=bytes(16), map_size=1 << 36)
        ) as scratch,
    ):
        log, peer_log = log_of(side), OtherStore()
        with peer_store.snapshot() as snapshot:
            keys = load_history(snapshot, ORIGINS[other], log_of(other).authority.public)
        peer_log.reader, peer_log.keys = Reader(peer_store), lambda: keys
        Auditor(
            store, scratch, origin=log.origin, authority=log.authority.public, peer_log=peer_log,
            check_signatures=check_signatures, progress=progress,
        ).run()  # fmt: skip
        with scratch.snapshot() as snapshot:
            indexes = sorted(
                int.from_bytes(key[32:], "big") for key, _ in snapshot.scan(Table.FINDINGS)
            )
        found = find(Reader(store), iter(indexes), side, names)
    (directory / f"rebuilt-{side}.json").write_text(json.dumps(found))


def rebuilt(directory: Path, side: str) -> list[Found]:
    """What rebuild() told."""
    rows = json.loads((directory / f"rebuilt-{side}.json").read_text())
    return [Found(*row) for row in rows]
