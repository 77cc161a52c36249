"""
Both nodes, in one process and on disk: the story's records in, findings out.

What the daemon's loops do by the clock (TICKs, anchors of the peer) is done here by the story's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from scenarios.node import Clock, Node
from scenarios.records import DAY, Event

HOUR = 3_600_000_000
ANCHOR_EVERY = 12 * HOUR
MOST_WAIT = 8 * HOUR
MOST_RECORDS = 500


class Border:
    """Two nodes below a directory, and the story's clock."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True, parents=True)
        self.clock = Clock()
        self.nodes = {
            side: Node(side, other, directory, self.clock)
            for side, other in (("mainland", "hongkong"), ("hongkong", "mainland"))
        }
        mainland, hongkong = self.nodes.values()
        for node, other in ((mainland, hongkong), (hongkong, mainland)):
            node.peer_log.reader, node.peer_log.keys = other.reader, other.history
        self._news = True
        # Where a run that was cut short had come to.
        self.clock.now = max(node.writer.head.last_time for node in self.nodes.values())

    def play(self, events: Iterable[Event], progress: Callable[[int], None]) -> None:
        """Record a story, or what of it is not recorded yet."""
        done = {side: node.count_of_institutions() for side, node in self.nodes.items()}
        for at, batch in batches(events):
            rest: dict[str, list[Event]] = {side: [] for side in self.nodes}
            for event in batch:
                if done[event.node]:
                    done[event.node] -= 1
                else:
                    rest[event.node].append(event)
            if any(rest.values()):
                self.advance(at)
            for side, new in rest.items():
                node = self.nodes[side]
                if new:
                    node.append([node.record(event) for event in new])
                    self._news = True
            progress(len(batch))

    def advance(self, until: int) -> None:
        """Let time pass: TICKs when something is due; anchors when a peer owes, or has news."""
        while (step := self._next_step()) is not None and step[0] <= until:
            self.clock.now = max(self.clock.now, step[0])
            step[1]()
        self.clock.now = max(self.clock.now, until)

    def _next_step(self) -> tuple[int, Callable[[], None]] | None:
        steps: list[tuple[int, int, Callable[[], None]]] = []
        for number, node in enumerate(self.nodes.values()):
            if (timer := node.reader.next_timer()) is not None:
                steps.append((timer + 1, number, node.tick))
            if (deadline := node.reader.next_deadline()) is not None:
                steps.append((deadline + 1, 2 + number, lambda node=node: self._anchor(node)))
        if self._news:
            regular = self.clock.now // ANCHOR_EVERY * ANCHOR_EVERY + ANCHOR_EVERY
            steps.append((regular, 4, self.anchor_both))
        if not steps:
            return None
        at, _, step = min(steps, key=lambda found: found[:2])
        return at, step

    def anchor_both(self) -> None:
        self._news = False
        for node in self.nodes.values():
            self._anchor(node)

    def _anchor(self, node: Node) -> None:
        other = next(each for each in self.nodes.values() if each is not node)
        node.anchor(other.size)

    def close(self) -> None:
        for node in self.nodes.values():
            node.store.close()


def batches(events: Iterable[Event]) -> Iterator[tuple[int, list[Event]]]:
    """
    Events that are recorded together, and when: exact ones at their own time.

    Everyday ones wait for others, but for no exact one, not beyond eight hours, and not overnight.
    """
    batch: list[Event] = []
    for event in events:
        if batch and _apart(batch, event):
            yield batch[-1].at, batch
            batch = []
        batch.append(event)
    if batch:
        yield batch[-1].at, batch


def _apart(batch: list[Event], event: Event) -> bool:
    first = batch[0]
    if event.exact or first.exact:
        return (event.exact, event.at) != (first.exact, first.at)
    day = 16 * HOUR  # midnight of UTC+8
    return (
        len(batch) >= MOST_RECORDS
        or event.at - first.at > MOST_WAIT
        or (event.at - day) // DAY != (first.at - day) // DAY
    )
