"""Two real nodes: they read each other, cosign, anchor and reconcile, and survive an outage."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders import (
    EXPORTER,
    HONG_KONG,
    HONG_KONG_PLACE,
    MAINLAND,
    SHENZHEN,
    Border,
    Institution,
    Log,
    new_key,
)
from peer.sides import DEADLINE_HOURS, Clock, Side, Wire, rounds

from ledgerd.ledger.own_entry import sign_own
from ledgerd.peer.notes import parse_known
from ledgerd.rules.reconcile import State
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledgerd_client.core.errors import (
    LedgerError,
    NotReadyError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signer
from ledgerd_client.core.transfer import parse_terms, ref_of

RECIPIENT = "hkbr.50000001"
BANK = 1


@dataclass
class Both:
    """Both sides, an institution on each, and the wire between them."""

    mainland: Side
    hong_kong: Side
    clock: Clock
    exporter: Institution
    recipient: Institution

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.mainland, self.hong_kong

    @property
    def border(self) -> Border:
        return Border(self.mainland.log, self.hong_kong.log, self.exporter, self.recipient)

    def transfer(self) -> pb.Transfer:
        return self.border.transfer()

    async def declare(self, transfer: pb.Transfer) -> None:
        await self.mainland.place(self.mainland.by(self.exporter, transfer=transfer))

    async def acknowledge(self, transfer: pb.Transfer) -> None:
        ack = self.border.ack(transfer)
        await self.hong_kong.place(self.hong_kong.by(self.recipient, ack=ack))

    def cut(self, *, down: bool = True) -> None:
        for side in self.sides:
            side.client.down = down

    async def settle(self, seconds: float = 5) -> None:
        """Let the interval between anchors pass, and both sides do all that there is to do."""
        self.clock.advance(seconds=seconds)
        await rounds(*self.sides, count=4)

    def states(self, transfer: pb.Transfer) -> list[State]:
        ref = ref_of(parse_terms(transfer.terms))
        return [side.reader.transfer(ref).state for side in self.sides]

    @property
    def findings(self) -> list[str]:
        return [rule for side in self.sides for rule in side.findings]


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    clock, mainland, hong_kong = Clock(), Log(MAINLAND), Log(HONG_KONG)
    sides = []
    for log, peer in ((mainland, hong_kong), (hong_kong, mainland)):
        directory = tmp_path / log.origin.rpartition("/")[2]
        directory.mkdir()
        sides.append(Side(directory, log, peer, clock, Wire()))
    one, other = sides
    one.client.other, other.client.other = other, one
    for side in sides:
        await side.open()
    yield Both(
        one,
        other,
        clock,
        await one.enrol(EXPORTER, place=SHENZHEN, sector=BANK),
        await other.enrol(RECIPIENT, place=HONG_KONG_PLACE, sector=BANK),
    )
    for side in sides:
        await side.close()


class TestCosigning:
    async def test_both_logs_come_to_be_cosigned(self, both: Both) -> None:
        await both.settle()
        assert [side.peer.own_cosigned.size for side in both.sides] == [
            side.size for side in both.sides
        ]

    async def test_the_note_carries_both_signatures(self, both: Both) -> None:
        await both.settle()
        side, peer = both.sides
        cosigner = Signer(peer.log.origin, COSIGNATURE_V1, peer.log.cosigner_key).verifier
        note = side.peer.own_cosigned.newest()
        log_key = side.log_signer.verifier
        opened = open_checkpoint(note, log=[log_key], cosigners=[cosigner], strict=True)
        assert list(opened.cosigned) == [cosigner]

    async def test_it_is_known_after_a_restart(self, both: Both) -> None:
        await both.settle()
        before = both.mainland.peer.own_cosigned.newest()
        await both.mainland.reopen()
        assert both.mainland.peer.own_cosigned.newest() == before

    async def test_a_new_record_is_cosigned_within_three_rounds(self, both: Both) -> None:
        await both.settle()
        await both.declare(both.transfer())
        side, peer = both.sides
        with pytest.raises(UnavailableError):
            await side.peer.submitter.step()
        await peer.peer.monitor.step()
        await side.peer.submitter.step()
        assert side.peer.own_cosigned.size == side.size

    async def test_a_peer_that_reads_but_never_finishes_is_behind(self, both: Both) -> None:
        with pytest.raises(UnavailableError) as caught:
            await both.mainland.peer.submitter.step()
        assert caught.value.reason == "REPLAY_BEHIND"

    async def test_when_all_is_cosigned_nothing_is_asked(self, both: Both) -> None:
        await both.settle()
        both.cut()
        assert await both.mainland.peer.submitter.step()

    async def test_while_the_peer_catches_up_it_is_asked_again_soon(self, both: Both) -> None:
        await both.settle()
        await both.declare(both.transfer())
        await both.hong_kong.peer.monitor.step()
        await both.declare(both.transfer())
        assert not await both.mainland.peer.submitter.step()

    async def test_each_shows_the_other_what_it_verified(self, both: Both) -> None:
        await both.settle()
        for side in both.sides:
            assert side.client.known_checkpoint == side.peer.replica.verified.note

    async def test_a_peer_that_has_lost_its_state_cosigns_nothing_more(self, both: Both) -> None:
        await both.settle()
        peer = both.hong_kong
        await peer.close()
        for path in (peer.directory / "peer").iterdir():
            path.unlink()
        await peer.open()
        before = both.mainland.peer.own_cosigned.size
        await both.declare(both.transfer())
        with pytest.raises(NotReadyError, match="lost what it cosigned"):
            await both.settle()
        assert both.mainland.peer.own_cosigned.size == before


class HeardWire(Wire):
    """Tells a test what the other side said that it cosigned."""

    def __init__(self, other: Side | None) -> None:
        super().__init__(other=other)
        self.said: asyncio.Queue[bytes] = asyncio.Queue()

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        lines = await super().add_checkpoint(old_size, proof, note)
        self.said.put_nowait(note)
        return lines

    async def get_cosigned(self) -> tuple[bytes, bytes]:
        note, seen = await super().get_cosigned()
        self.said.put_nowait(note)
        return note, seen


class AskedWire(Wire):
    """Tells a test for what the other side was asked."""

    def __init__(self, other: Side | None) -> None:
        super().__init__(other=other)
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> object:
        if name.startswith("get_"):
            self.asked.append(name)
        return super().__getattribute__(name)


class TestAStart:
    async def test_asks_the_peer_once_what_it_knows(self, both: Both) -> None:
        side = both.mainland
        await rounds(*both.sides)
        wire = side.client = AskedWire(both.hong_kong)
        await side.reopen()
        await rounds(side, count=1)
        assert wire.asked == ["get_cosigned"]


class TestRunning:
    async def test_a_record_is_cosigned_without_anybody_asking(self, both: Both) -> None:
        side = both.mainland
        wire = side.client = HeardWire(both.hong_kong)
        for one in both.sides:
            await one.reopen()
            await one.peer.start()
        await both.declare(both.transfer())
        wanted, size = side.size, 0
        async with asyncio.timeout(30):
            while size < wanted:
                note = await wire.said.get()
                size = parse_known(note).size if note else 0
        assert size >= wanted


class TestCosignatureThatIsNone:
    """What the peer sends back is checked before it is kept."""

    async def test_a_line_by_another_key_is_refused(self, both: Both) -> None:
        await both.settle()
        note = both.mainland.reader.head().checkpoint
        with pytest.raises(VerificationError):
            await both.mainland.peer.own_cosigned.take(note)

    async def test_another_tree_is_refused(self, both: Both) -> None:
        await both.settle()
        side = both.mainland
        note = sign_checkpoint(Checkpoint(side.log.origin, 2, bytes(32)), side.log_signer)
        with pytest.raises(VerificationError):
            await side.peer.own_cosigned.take(note)

    async def test_an_older_one_does_not_take_the_place_of_the_newest(self, both: Both) -> None:
        await both.settle()
        older = both.mainland.peer.own_cosigned.newest()
        await both.declare(both.transfer())
        await both.settle()
        newest = both.mainland.peer.own_cosigned.newest()
        await both.mainland.peer.own_cosigned.take(older)
        assert both.mainland.peer.own_cosigned.newest() == newest


class TestReconciliation:
    async def test_both_halves_under_an_anchor_are_matched_on_both_sides(self, both: Both) -> None:
        transfer = both.transfer()
        await both.declare(transfer)
        await both.acknowledge(transfer)
        await both.settle()
        assert both.states(transfer) == [State.MATCHED, State.MATCHED]

    async def test_a_match_leaves_no_finding(self, both: Both) -> None:
        transfer = both.transfer()
        await both.declare(transfer)
        await both.acknowledge(transfer)
        await both.settle()
        assert both.findings == []

    async def test_the_peers_half_is_by_the_institution_that_its_key_names(
        self, both: Both
    ) -> None:
        transfer = both.transfer()
        await both.declare(transfer)
        await both.acknowledge(transfer)
        await both.settle()
        side = both.mainland
        halves = side.peer.replica.halves(0, both.hong_kong.size, side.log.origin)
        assert [half.institution for half in halves] == [RECIPIENT]

    async def test_halves_for_another_log_are_not_ours(self, both: Both) -> None:
        transfer = both.transfer()
        await both.acknowledge(transfer)
        await both.settle()
        halves = both.mainland.peer.replica.halves(0, both.hong_kong.size, "gba.example/macao")
        assert list(halves) == []

    async def test_a_transfer_that_the_peer_knows_nothing_of_stays_open(self, both: Both) -> None:
        transfer = both.transfer()
        await both.declare(transfer)
        await both.settle()
        assert both.states(transfer)[0] is State.OPEN

    async def test_an_anchor_beyond_the_deadline_finds_it_unacknowledged(self, both: Both) -> None:
        transfer = both.transfer()
        await both.declare(transfer)
        await both.settle()
        both.clock.advance(hours=DEADLINE_HOURS)
        await both.settle()
        assert both.mainland.findings == ["K15.unacknowledged"]

    async def test_time_alone_finds_nothing(self, both: Both) -> None:
        transfer = both.transfer()
        await both.declare(transfer)
        await both.settle()
        both.clock.advance(hours=10 * DEADLINE_HOURS)
        both.cut()
        await both.settle()
        assert both.findings == []

    async def test_a_late_ack_cures_it(self, both: Both) -> None:
        transfer = both.transfer()
        await both.declare(transfer)
        both.clock.advance(hours=DEADLINE_HOURS)
        await both.settle()
        await both.acknowledge(transfer)
        await both.settle()
        assert both.states(transfer) == [State.MATCHED, State.MATCHED]

    async def test_one_deadline_makes_one_anchor_of_an_idle_peer(self, both: Both) -> None:
        await both.declare(both.transfer())
        await both.settle()
        anchors = len(both.mainland.anchors)
        both.clock.advance(hours=DEADLINE_HOURS)
        for _ in range(5):
            await both.settle()
        assert len(both.mainland.anchors) == anchors + 1


class TestOutage:
    """The peer is down for longer than every deadline; then it is back."""

    async def test_appends_go_on(self, both: Both) -> None:
        await both.settle()
        both.cut()
        for _ in range(3):
            await both.declare(both.transfer())
            await both.settle()
        assert both.mainland.reader.head().size == both.mainland.size

    async def test_healed_with_both_halves_present_it_leaves_no_finding(self, both: Both) -> None:
        await both.settle()
        both.cut()
        transfer = both.transfer()
        await both.declare(transfer)
        both.clock.advance(hours=1)
        await both.acknowledge(transfer)
        for _ in range(4):
            both.clock.advance(hours=DEADLINE_HOURS)
            await both.settle()
        both.cut(down=False)
        await both.settle()
        assert (both.states(transfer), both.findings) == ([State.MATCHED] * 2, [])

    async def test_healed_everything_is_cosigned(self, both: Both) -> None:
        await both.settle()
        both.cut()
        await both.declare(both.transfer())
        both.clock.advance(hours=100)
        await both.settle()
        both.cut(down=False)
        await both.settle()
        assert [side.peer.own_cosigned.size for side in both.sides] == [
            side.size for side in both.sides
        ]

    async def test_the_failure_is_raised_for_the_loop_to_count(self, both: Both) -> None:
        both.cut()
        with pytest.raises(UnavailableError):
            await both.mainland.peer.monitor.step()


class TestIdle:
    async def test_two_idle_nodes_write_nothing_more(self, both: Both) -> None:
        """An anchor on one side is no news on the other, and so nothing echoes."""
        transfer = both.transfer()
        await both.declare(transfer)
        await both.acknowledge(transfer)
        await both.settle()
        sizes = [side.size for side in both.sides]
        for _ in range(10):
            both.clock.advance(hours=DEADLINE_HOURS)
            await both.settle()
        assert [side.size for side in both.sides] == sizes


class TestOurselvesInThePeersLog:
    """The peer's anchors say what it saw of us; only our own signature counts."""

    async def anchored(self, both: Both, size: int, root: bytes, signer: Signer) -> None:
        """Hong Kong's node anchors a checkpoint of the mainland's log; the mainland reads it."""
        await both.settle()
        # Looked at as it arrives: Hong Kong need not be able to apply it.
        log = both.mainland.log
        note = sign_checkpoint(Checkpoint(log.origin, size, root), signer)
        anchor = pb.Anchor(peer_origin=log.origin, checkpoint=note, fetched_at=both.clock())
        peer = both.hong_kong.log
        item = sign_own(peer.entry_key, peer.origin, both.clock(), os.urandom, anchor=anchor)
        await both.hong_kong.place(item)
        await both.mainland.peer.monitor.step()

    async def test_on_a_tree_that_we_hold_it_is_well(self, both: Both) -> None:
        side = both.mainland
        await self.anchored(both, 2, side.reader.root(2), side.log_signer)
        assert side.sequencer.refuse is None

    async def test_on_another_tree_it_stops_appends(self, both: Both) -> None:
        side = both.mainland
        await self.anchored(both, 2, bytes(32), side.log_signer)
        assert side.sequencer.refuse is not None
        assert side.sequencer.refuse.reason == "ROLLED_BACK"

    async def test_by_another_key_it_means_nothing(self, both: Both) -> None:
        side = both.mainland
        await self.anchored(both, 2, bytes(32), Signer(side.log.origin, ED25519, new_key()))
        assert side.sequencer.refuse is None


class TestConfirmation:
    """A node that may have been restored asks its peer what it signed before."""

    async def test_the_peers_word_confirms_it(self, both: Both) -> None:
        await both.settle()
        side = both.mainland
        await side.reopen()
        side.standing.start()
        assert side.sequencer.refuse is not None
        await side.peer.submitter.step()
        await side.peer.monitor.step()
        assert side.sequencer.refuse is None

    async def test_not_before_its_log_was_looked_at(self, both: Both) -> None:
        await both.settle()
        side = both.mainland
        await side.reopen()
        side.standing.start()
        await side.peer.submitter.step()
        assert side.sequencer.refuse is not None

    async def test_a_peer_that_cosigned_nothing_confirms_it_too(self, both: Both) -> None:
        side = both.mainland
        side.standing.start()
        await side.peer.monitor.step()
        with suppress(UnavailableError):
            await side.peer.submitter.step()
        assert side.sequencer.refuse is None

    async def test_without_the_peer_it_stays_unconfirmed(self, both: Both) -> None:
        side = both.mainland
        side.standing.start()
        both.cut()
        with pytest.raises(UnavailableError):
            await side.peer.submitter.step()
        assert side.sequencer.refuse is not None

    async def test_more_than_it_holds_stops_it(self, both: Both) -> None:
        """The store is put back to an older copy; the peer remembers more."""
        side = both.mainland
        await self.put_back(both)
        side.standing.start()
        with suppress(LedgerError):
            await side.peer.submitter.step()
        assert side.sequencer.refuse is not None
        assert side.sequencer.refuse.reason == "ROLLED_BACK"

    async def test_a_peer_that_has_lost_its_state_tells_what_it_anchored(self, both: Both) -> None:
        side = both.mainland
        await self.put_back(both)
        for each in both.sides:
            await self.lose_peer(each)
        side.standing.start()
        with suppress(LedgerError):
            await side.peer.submitter.step()
        assert side.sequencer.refuse is not None
        assert side.sequencer.refuse.reason == "ROLLED_BACK"

    async def test_what_it_cosigned_before_stops_it_whatever_it_says_now(self, both: Both) -> None:
        """Our own disk holds its cosignature on more than the store has."""
        side = both.mainland
        await self.put_back(both)
        side.standing.start()
        side.standing.confirm(b"")
        assert side.sequencer.refuse is not None
        assert side.sequencer.refuse.reason == "ROLLED_BACK"

    async def put_back(self, both: Both) -> None:
        """Put an older copy of the store in its place; the peer's directory stays."""
        side = both.mainland
        await side.close()
        copied = shutil.copytree(side.directory / "store", side.directory / "copy")
        await side.open()
        await both.declare(both.transfer())
        await both.settle()
        await side.close()
        shutil.rmtree(side.directory / "store")
        copied.rename(side.directory / "store")
        await side.open()

    async def lose_peer(self, side: Side) -> None:
        await side.close()
        for name in ("peer", "rolled-back"):
            path = side.directory / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        await side.open()
