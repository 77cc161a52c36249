"""
Two real nodes, through appends, crashes, copies put back and keys replaced, in any order.

Whatever happens, no two trees of one size ever leave a node under one key, what was acknowledged
and cosigned stays in the log, and the audit finds nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from copy import deepcopy
from functools import cache
from operator import ge
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from builders import EXPORTER, HONG_KONG, MAINLAND, RECIPIENT, Border, Log
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from nodes import Side, make_sides, now
from peer.sides import Clock, rounds
from stateful.node import Acknowledged, MortalNode, NotedWire, Seen, counted

from ledgerd.ledger.high_water import MARK_FILE
from ledgerd.peer.notes import parse_known
from ledgerd_client.approval import Approval
from ledgerd_client.core.errors import (
    ChainError,
    ConflictError,
    FieldError,
    NotReadyError,
    StoreError,
    TrustError,
    UnavailableError,
)

which = st.integers(0, 1)
faults = st.sampled_from(["lost", "landed"])


@cache
def loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return loop().run_until_complete(coroutine)


def new_directory() -> Path:
    """In memory where that can be: what is synced is not the question here."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of its own is made in it
    return Path(tempfile.mkdtemp("", "ledgerd-stateful-", memory if memory.is_dir() else None))


NAMES = ("mainland", "hongkong")


class World(NamedTuple):
    """A border at which both nodes have met, on the disk; each example has a copy of it."""

    directory: Path
    sides: tuple[Side, Side]
    border: Border
    left_at: int
    seen: Seen


def make_nodes(
    directory: Path, sides: tuple[Side, Side], clock: Clock, seen: Seen
) -> tuple[MortalNode, MortalNode]:
    mainland, hong_kong = (
        MortalNode(directory / name, side, clock, NotedWire(seen=seen))
        for name, side in zip(NAMES, sides, strict=True)
    )
    mainland.wire.other, hong_kong.wire.other = hong_kong, mainland
    return mainland, hong_kong


@cache
def world() -> World:
    directory = new_directory()
    atexit.register(shutil.rmtree, directory)
    sides = make_sides(directory)
    for side, peer in (sides, sides[::-1]):
        side.found(peer)
    clock, seen = Clock(), Seen()
    clock.now = now()
    mainland, hong_kong = nodes = make_nodes(directory, sides, clock, seen)

    async def meet() -> Border:
        for node in nodes:
            await node.open()
        exporter = await mainland.enrol(sides[0], EXPORTER)
        recipient = await hong_kong.enrol(sides[1], RECIPIENT)
        await rounds(*nodes)
        for node in nodes:
            await node.standing.write_mark()
            await node.close()
        return Border(Log(MAINLAND), Log(HONG_KONG), exporter, recipient)

    return World(directory, sides, run(meet()), clock.now, seen)


class BorderMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        counted["examples"] += 1
        model, sides, self.border, left_at, seen = world()
        self.directory = new_directory()
        shutil.copytree(model, self.directory, dirs_exist_ok=True)
        self.clock = Clock()
        self.clock.now = left_at
        self.seen = deepcopy(seen)
        self.nodes = make_nodes(self.directory, sides, self.clock, self.seen)
        self.transfers = [self.border.transfer()]
        self.acknowledged: list[list[Acknowledged]] = [[], []]
        self.kept: list[list[Acknowledged]] = [[], []]
        self.copies: list[list[Path]] = [[], []]
        self.approvals: list[Approval | None] = [None, None]
        # Whether log and witness have both forgotten what was cosigned.
        self.out_of_reach = False
        for node in self.nodes:
            run(node.open())

    def teardown(self) -> None:
        try:
            # It is called after a failure as well.
            if sys.exc_info()[0] is None:
                self.at_the_end()
        finally:
            for node in self.nodes:
                run(node.close())
            shutil.rmtree(self.directory)

    # -- what goes on -----------------------------------------------------------------------

    @rule(number=which)
    def append(self, number: int) -> None:
        run(self._append(number))

    async def _append(self, number: int) -> None:
        node, border = self.nodes[number], self.border
        if not node.runs:
            return
        if number == 0:
            self.transfers.append(border.transfer())
            item = node.by(border.exporter, transfer=self.transfers[-1])
        else:
            item = node.by(border.recipient, ack=border.ack(self.transfers[-1]))
        acknowledged = await node.append(item)
        if acknowledged is not None:
            self.acknowledged[number].append(acknowledged)

    @rule(number=which)
    def somebody_looks(self, number: int) -> None:
        if self.nodes[number].runs:
            self.nodes[number].look()

    @rule(number=which)
    def what_was_shown_is_mentioned(self, number: int) -> None:
        node = self.nodes[number]
        if node.runs:
            for (origin, _), note in self.seen.shown.items():
                if origin == node.origin:
                    node.standing.mentioned(note)

    @rule(number=which)
    def a_round(self, number: int) -> None:
        self.rounds(number)

    @rule()
    def both_meet(self) -> None:
        self.rounds(0, 1, 0, 1)

    def rounds(self, *numbers: int) -> None:
        for number in numbers:
            node = self.nodes[number]
            if node.runs:
                run(step(node, node.peer.monitor.step))
                run(step(node, node.peer.submitter.step))
                run(node.standing.write_mark())

    @rule(number=which)
    def the_wire_is_cut_or_mended(self, number: int) -> None:
        wire = self.nodes[number].wire
        wire.down = not wire.down

    @rule(seconds=st.sampled_from([2, 60, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    @rule(number=which, name=st.sampled_from(["log", "entry", "cosigner"]))
    def a_key_is_rotated(self, number: int, name: str) -> None:
        node = self.nodes[number]
        if node.appends:
            run(node.rotate(name))

    # -- what goes wrong ----------------------------------------------------------------------

    @rule(number=which)
    def restart(self, number: int) -> None:
        if self.nodes[number].runs:
            run(self.nodes[number].reopen())

    @rule(number=which, fault=faults)
    def crash_in_an_append(self, number: int, fault: str) -> None:
        node = self.nodes[number]
        if node.runs:
            node.dying.fault = fault
            run(self._append(number))
            run(node.reopen())

    @rule(number=which, fault=faults, of_peer=st.booleans())
    def crash_in_a_round(self, number: int, fault: str, of_peer: bool) -> None:
        node = self.nodes[number]
        if node.runs:
            (node.dying_peer if of_peer else node.dying).fault = fault
            self.rounds(number, number)
            run(node.reopen())

    @rule(number=which)
    def a_backup_is_made(self, number: int) -> None:
        node, copies = self.nodes[number], self.copies[number]
        if node.appends:
            copies.append(self.directory / f"copy-{number}-{len(copies)}")
            node.back_up(copies[-1])

    @rule(number=which, which_copy=st.integers(0, 9), elsewhere=st.booleans())
    def a_copy_is_restored(self, number: int, which_copy: int, elsewhere: bool) -> None:
        """elsewhere: on another machine, where only the keys are."""
        node, copies = self.nodes[number], self.copies[number]
        if not copies:
            return
        run(node.close())
        node.lose("store")
        self.clock.advance(seconds=1)
        if elsewhere:
            node.lose("peer*", "high-water", "rolled-back", "recovering*", "witness")
        with suppress(FieldError):  # it stays down
            node.restore(copies[which_copy % len(copies)])
            counted["copies restored"] += 1
            remembers = (node.config.data / MARK_FILE).exists()
            run(node.open())
            if not remembers:
                # Out of reach would be that nobody is heard who remembers more.
                self.what_was_shown_is_mentioned(number)
        self.see_what_is_forgotten()

    @rule(number=which)
    def a_disk_is_lost(self, number: int) -> None:
        node = self.nodes[number]
        run(node.close())
        node.lose("*")
        self.see_what_is_forgotten()

    @rule(number=which)
    def a_witness_is_lost(self, number: int) -> None:
        node = self.nodes[number]
        if node.runs:
            run(node.close())
            node.lose("peer*")
            run(node.open())
            self.see_what_is_forgotten()

    # -- the way back -------------------------------------------------------------------------

    @rule(number=which)
    def a_loss_is_asked_for(self, number: int) -> None:
        """Also for a node that has lost nothing: its operator insists."""
        run(self._ask(number))

    async def _ask(self, number: int) -> None:
        node = self.nodes[number]
        ran = node.runs
        await node.close()
        with suppress(UnavailableError, NotReadyError):
            self.approvals[number] = await node.ask_for_loss(self.copies[number])
        if ran:
            await node.open()

    @rule(number=which)
    def a_loss_is_declared(self, number: int) -> None:
        run(self._declare(number))

    async def _declare(self, number: int) -> None:
        node, approval = self.nodes[number], self.approvals[number]
        if approval is None:
            return
        ran = node.runs
        await node.close()
        with suppress(UnavailableError, NotReadyError, FieldError):
            self.clock.advance(seconds=1)
            await node.declare(approval)
            counted["losses declared"] += 1
            ran = True
        if ran:
            await node.open()
            node.look()

    @rule(number=which)
    def a_loss_is_declared_again(self, number: int) -> None:
        """After a crash towards its end, or by an operator who moves directories back."""
        self.nodes[number].resume_recovery()
        run(self._declare(number))

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def a_second_passes(self) -> None:
        for node in self.nodes:
            if node.runs:
                run(node.sample())

    def see_what_is_forgotten(self) -> None:
        """What is cosigned is out of reach when neither log nor witness has and knows it."""
        for number, node in enumerate(self.nodes):
            peer = self.nodes[1 - number]
            notes = [note for note in (peer.witnessed(), *node.own_cosigned()) if note]
            replayed = parse_known(peer.replayed()).size if peer.replayed() else 0
            trees = [parse_known(note).checkpoint for note in notes]
            kept = [each for each in trees if node.holds(each) or each.size <= replayed]
            largest = max(((each.size, each.root) for each in kept), default=(0, b""))
            if largest[0] < self.seen.cosigned[node.origin][0]:
                self.seen.cosigned[node.origin] = largest
                self.kept[number] = [e for e in self.kept[number] if e.index < largest[0]]
                self.out_of_reach = True

    @invariant()
    def what_is_cosigned_stays(self) -> None:
        for number, node in enumerate(self.nodes):
            if not node.appends:
                continue
            size, root = self.seen.cosigned[node.origin]
            assert size == 0 or node.reader.root(size) == root
            for index, header in self.kept[number]:
                assert index >= size or node.header(index) == header
            self.keep(number)

    def keep(self, number: int) -> None:
        """What was acknowledged and is cosigned by now can't be lost any more."""
        node, acknowledged = self.nodes[number], self.acknowledged[number]
        size = node.peer.own_cosigned.size
        self.kept[number] += [
            each for each in acknowledged
            if each.index < size and node.header(each.index) == each.header
        ]  # fmt: skip

    @invariant()
    def nobody_is_accused(self) -> None:
        if not self.out_of_reach:
            assert [node.accusations for node in self.nodes] == [[], []]

    def at_the_end(self) -> None:
        """Unless too much was forgotten, all that is down comes back, and goes on."""
        for node in self.nodes:
            node.wire.down = False
        for _ in range(2):
            for number, node in enumerate(self.nodes):
                self.clock.advance(seconds=120)
                self.rounds(0, 1, 0, 1)
                if not node.runs and self.copies[number]:
                    # For a peer that has lost what it had of this log, and can have it again.
                    self.a_copy_is_restored(number, -1, elsewhere=False)
                    self.rounds(0, 1, 0, 1)
                if not node.appends:
                    run(self._ask(number))
                    run(self._declare(number))
                elif node.is_spent:
                    run(node.rotate("cosigner"))
        self.what_is_cosigned_stays()
        if not self.out_of_reach:
            self.everything_is_cosigned()
        for node in self.nodes:
            if node.runs:
                self.audit(node)

    def audit(self, node: MortalNode) -> None:
        try:
            node.audit()
        except NotReadyError:
            # Anchors of a peer's log that is gone for good.
            assert self.out_of_reach

    def everything_is_cosigned(self) -> None:
        assert [node.runs for node in self.nodes] == [True, True]
        wanted = [node.reader.head().size for node in self.nodes]
        for _ in range(5):
            cosigned = [node.peer.own_cosigned.size for node in self.nodes]
            if all(map(ge, cosigned, wanted)):
                return
            self.clock.advance(seconds=120)
            self.rounds(0, 1)
        pytest.fail(f"{cosigned} of {wanted} entries are cosigned")


async def step(node: MortalNode, function: Callable[[], Awaitable[object]]) -> None:
    """One of a node's loops once; what fails in it is tried again by the next."""
    try:
        await function()
    except StoreError:
        if "dead" not in {node.dying.fault, node.dying_peer.fault}:
            raise
    except (UnavailableError, NotReadyError, ConflictError, ChainError, TrustError, FieldError):
        pass


TestBorder = BorderMachine.TestCase
# Without shrinking, which takes longer than all the rest: the steps that failed are printed whole.
TestBorder.settings = settings(
    max_examples=2000,
    stateful_step_count=15,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
