"""Replay: what reaches the replica and what does not, whatever the peer sends."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import HONG_KONG_PLACE, MINUTE, Log, new_body, new_border, new_key
from memory import memory_kept
from peer.conftest import Watch
from peer.sides import Clock, FakePeer, FaultyStore, Side, fork_of

from ledgerd.projections.ordinals import EPOCH
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as body_pb
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import BusyError, ChainError, LedgerError, UnavailableError
from ledgerd_client.core.header import Header
from ledgerd_client.core.merkle import verify_consistency
from ledgerd_client.core.note import ED25519, Signer, parse_note

Bad = Callable[[Watch], None]


async def replayed(watch: Watch, entries: int = 6) -> None:
    """The peer has so many entries; all are replayed and cosigned."""
    grow(watch, entries - len(watch.peer.log.entries))
    await watch.side.peer.monitor.step()
    assert watch.side.peer.witness.cosigned_size == entries


def grow(watch: Watch, count: int) -> None:
    border = watch.border
    for _ in range(count):
        border.hong_kong.record(border.recipient, ack=border.ack(border.transfer()))


def replica_of(watch: Watch) -> dict[Table, list[tuple[bytes, bytes]]]:
    """What is held but for what the peer has signed: that lies beside it, where nobody reads."""
    held = watch.side.held()
    held[Table.META] = [row for row in held[Table.META] if not row[0].startswith(b"refused/")]
    return held


class TestReplay:
    async def test_every_header_is_held(self, watch: Watch) -> None:
        await replayed(watch)
        held = watch.side.held()[Table.HEADERS]
        assert [header for _, header in held] == [header for header, _ in watch.peer.log.entries]

    async def test_only_shared_bodies_are_held(self, watch: Watch) -> None:
        await replayed(watch)
        assert [key[-1] for key, _ in watch.side.held()[Table.BODIES]] == [0, 1]

    async def test_a_body_that_should_not_have_crossed_is_not_kept(self, watch: Watch) -> None:
        def leak(message: pb.ListHeadersResponse) -> None:
            del message.bodies[:]
            for index in range(message.first, message.first + len(message.headers)):
                body = pb.SharedBody(index=index, body=watch.peer.log.entries[index][1])
                message.bodies.append(body)

        watch.peer.change = leak
        await replayed(watch)
        assert [key[-1] for key, _ in watch.side.held()[Table.BODIES]] == [0, 1]

    async def test_its_root_is_the_peers_at_every_size(self, watch: Watch) -> None:
        await replayed(watch, entries=20)
        log, replica = watch.peer.log, watch.side.peer.replica
        roots = [Checkpoint.parse(parse_note(log.checkpoint(n)).text).root for n in range(1, 21)]
        assert [replica.root(size) for size in range(1, 21)] == roots

    async def test_it_proves_consistency_between_its_sizes(self, watch: Watch) -> None:
        await replayed(watch, entries=20)
        replica = watch.side.peer.replica
        proof = replica.consistency_proof(7, 20)
        verify_consistency(7, replica.root(7), 20, replica.root(20), proof)

    async def test_it_goes_on_where_it_stopped(self, watch: Watch) -> None:
        await replayed(watch)
        await replayed(watch, entries=9)
        assert watch.peer.starts == [0, 6]

    async def test_it_goes_on_where_it_stopped_after_a_restart(self, watch: Watch) -> None:
        await replayed(watch)
        await watch.side.reopen()
        await replayed(watch, entries=700)
        assert watch.peer.starts == [0, 6]

    async def test_what_was_verified_is_known_after_a_restart(self, watch: Watch) -> None:
        await replayed(watch)
        before = watch.side.peer.replica.verified
        await watch.side.reopen()
        assert watch.side.peer.replica.verified == before

    async def test_keys_are_those_of_the_log(self, watch: Watch) -> None:
        await replayed(watch)
        history = watch.side.peer.witness.key_history()
        assert history is not None
        assert history.format() == watch.peer.log.history().format()

    async def test_before_genesis_there_are_no_keys(self, watch: Watch) -> None:
        assert watch.side.peer.witness.key_history() is None

    async def test_every_call_carries_what_was_verified(self, watch: Watch) -> None:
        await replayed(watch)
        assert watch.peer.known_checkpoint == watch.peer.log.checkpoint()


class TestCutStream:
    """Whatever came before the cut is kept; nobody relies on it until the root is known."""

    @pytest.fixture(autouse=True)
    async def cut(self, watch: Watch) -> None:
        await replayed(watch)
        grow(watch, 9)
        watch.peer.cut_after = 2
        with pytest.raises(UnavailableError):
            await watch.side.peer.monitor.step()

    async def test_pages_before_the_cut_are_kept(self, watch: Watch) -> None:
        assert watch.side.peer.replica.size > 6

    async def test_they_are_not_verified(self, watch: Watch) -> None:
        assert watch.side.peer.replica.verified_size == 6

    async def test_they_are_shown_to_nobody(self, watch: Watch) -> None:
        with pytest.raises(UnavailableError):
            list(watch.side.peer.replica.halves(0, 9, watch.side.log.origin))

    async def test_nothing_more_is_cosigned(self, watch: Watch) -> None:
        assert watch.side.peer.witness.cosigned_size == 6

    async def test_the_next_round_goes_on_from_them(self, watch: Watch) -> None:
        size, watch.peer.cut_after = watch.side.peer.replica.size, None
        await watch.side.peer.monitor.step()
        assert (watch.peer.starts[-1], watch.side.peer.witness.cosigned_size) == (size, 15)

    async def test_so_does_a_restart(self, watch: Watch) -> None:
        size, watch.peer.cut_after = watch.side.peer.replica.size, None
        await watch.side.reopen()
        await watch.side.peer.monitor.step()
        assert (watch.peer.starts[-1], watch.side.peer.witness.cosigned_size) == (size, 15)

    async def test_if_the_root_is_another_they_are_cut_off(self, watch: Watch) -> None:
        watch.peer.cut_after = None
        other = fork_of(watch.peer.log, 6)
        other.admit("hkbr.12345678", place=HONG_KONG_PLACE)
        for _ in range(9):
            other.record(watch.border.recipient, ack=watch.border.ack(watch.border.transfer()))
        watch.peer.log = other
        with pytest.raises(LedgerError):
            await watch.side.peer.monitor.step()
        await watch.side.peer.monitor.step()
        assert watch.side.peer.witness.cosigned_size == 16


# -- what the peer's node itself may have got wrong; its checkpoint covers it -------------------


def chained_wrongly(watch: Watch) -> None:
    put(watch, previous_leaf_hash=os.urandom(32))


def index_left_out(watch: Watch) -> None:
    put(watch, index=len(watch.peer.log.entries) + 1)


def time_going_back(watch: Watch) -> None:
    put(watch, recorded_at=watch.peer.log.now - 2 * MINUTE)


def time_far_ahead(watch: Watch) -> None:
    put(watch, recorded_at=watch.clock() + 6 * MINUTE)


def signature_by_another(watch: Watch) -> None:
    put(watch, signature=os.urandom(64))


def signature_by_another_pages_before_the_end(watch: Watch) -> None:
    put(watch, signature=os.urandom(64))
    grow(watch, 9)


def key_never_admitted(watch: Watch) -> None:
    watch.peer.log.record(replace(watch.border.recipient, key=new_key()), ack=an_ack(watch))


def key_before_its_admission(watch: Watch) -> None:
    log = watch.peer.log
    later = replace(watch.border.recipient, key=new_key(), admitted_at=len(log.entries) + 1)
    log.record(later, ack=an_ack(watch))
    log.admit(later.id, later.key, place=HONG_KONG_PLACE)


def key_of_another_entry(watch: Watch) -> None:
    watch.peer.log.record(replace(watch.border.recipient, admitted_at=0), ack=an_ack(watch))


def key_after_its_revocation(watch: Watch) -> None:
    log, recipient = watch.peer.log, watch.border.recipient
    log.by_authority(key_event=log.revocation(recipient, place=HONG_KONG_PLACE))
    log.record(recipient, ack=an_ack(watch))


def admission_without_possession(watch: Watch) -> None:
    watch.peer.log.admit("hkbr.12345678", possession=os.urandom(64), place=HONG_KONG_PLACE)


def admission_by_the_node(watch: Watch) -> None:
    log = watch.peer.log
    event = log.admission("hkbr.12345678", new_key(), place=HONG_KONG_PLACE)
    log.add(new_body(log.origin, AUTHORITY, log.now, key_event=event), log.entry_key)


def second_genesis(watch: Watch) -> None:
    log = watch.peer.log
    log.by_authority(genesis=log.genesis(watch.side.log))


def body_twice_in_a_page(watch: Watch) -> None:
    log, recipient = watch.peer.log, watch.border.recipient
    body = recipient.body(log.now, ack=an_ack(watch))
    log.add(body, recipient.key, recipient.admitted_at)
    log.add(body, recipient.key, recipient.admitted_at)


def body_of_an_earlier_page(watch: Watch) -> None:
    log, recipient = watch.peer.log, watch.border.recipient
    log.add(log.entries[3][1], recipient.key, recipient.admitted_at)


def key_event_of_another_log(watch: Watch) -> None:
    log = watch.peer.log
    other = Log("gba.example/macao", authority=log.authority)
    event = log.admission("hkbr.12345678", new_key(), place=HONG_KONG_PLACE)
    other.by_authority(key_event=event)
    log.append(log.header(1, other.entries[0][1], log.authority), other.entries[0][1])


def anchor_that_is_no_body(watch: Watch) -> None:
    log = watch.peer.log
    log.append(log.header(6, b"nothing", log.entry_key), b"nothing")


def an_ack(watch: Watch) -> body_pb.Ack:
    return watch.border.ack(watch.border.transfer())


def put(watch: Watch, **changes: Any) -> None:
    """Append an entry whose header was changed after signing."""
    log, recipient = watch.peer.log, watch.border.recipient
    log.record(recipient, ack=an_ack(watch))
    header, body = log.entries.pop()
    log.append(replace(Header.parse(header), **changes), body)


WRONG_LOGS: list[Bad] = [
    chained_wrongly, index_left_out, time_going_back, time_far_ahead, signature_by_another,
    signature_by_another_pages_before_the_end, key_never_admitted, key_before_its_admission, key_of_another_entry, key_after_its_revocation,
    admission_without_possession, admission_by_the_node, second_genesis, body_twice_in_a_page,
    body_of_an_earlier_page, key_event_of_another_log, anchor_that_is_no_body,
]  # fmt: skip


# -- what may have happened on the way: the checkpoint is genuine --------------------------------


def header_rewritten(watch: Watch) -> None:
    other = fork_of(watch.peer.log, 8)
    other.record(watch.border.recipient, ack=an_ack(watch))
    watch.peer.entries = [*other.entries, *watch.peer.log.entries[9:]]


def last_header_rewritten(watch: Watch) -> None:
    other = fork_of(watch.peer.log, 11)
    other.record(watch.border.recipient, ack=an_ack(watch))
    watch.peer.entries = other.entries


def header_dropped(watch: Watch) -> None:
    watch.peer.entries = watch.peer.log.entries[:8] + watch.peer.log.entries[9:]


def headers_reordered(watch: Watch) -> None:
    entries = list(watch.peer.log.entries)
    entries[8], entries[9] = entries[9], entries[8]
    watch.peer.entries = entries


def header_with_bytes_left_over(watch: Watch) -> None:
    entries = list(watch.peer.log.entries)
    entries[8] = (entries[8][0] + b"\0", entries[8][1])
    watch.peer.entries = entries


def header_more_than_the_checkpoint_covers(watch: Watch) -> None:
    watch.peer.note = watch.peer.log.checkpoint(11)


def page_from_elsewhere(watch: Watch) -> None:
    def move(message: pb.ListHeadersResponse) -> None:
        message.first += 1

    watch.peer.change = move


def page_too_long(watch: Watch) -> None:
    grow(watch, 600)
    watch.peer.page = 513


def root_of_nobody(watch: Watch) -> None:
    """Signed, but by a peer that lies: it proves nothing as long as no headers lead to it."""
    log = watch.peer.log
    checkpoint = Checkpoint(log.origin, len(log.entries), os.urandom(32))
    watch.peer.note = sign_checkpoint(checkpoint, Signer(log.origin, ED25519, log.log_key))


def checkpoint_by_another_key(watch: Watch) -> None:
    log = watch.peer.log
    watch.peer.note = replace(log, log_key=new_key()).checkpoint()


def checkpoint_of_another_log(watch: Watch) -> None:
    watch.peer.note = replace(watch.peer.log, origin="gba.example/macao").checkpoint()


def no_checkpoint(watch: Watch) -> None:
    watch.peer.note = b""


def body_missing(watch: Watch) -> None:
    watch.peer.log.admit("hkbr.12345678", place=HONG_KONG_PLACE)

    def strip(message: pb.ListHeadersResponse) -> None:
        del message.bodies[:]

    watch.peer.change = strip


def body_of_another_entry(watch: Watch) -> None:
    watch.peer.log.admit("hkbr.12345678", place=HONG_KONG_PLACE)

    def swap(message: pb.ListHeadersResponse) -> None:
        for shared in message.bodies:
            shared.body = watch.peer.log.entries[1][1]

    watch.peer.change = swap


WRONG_STREAMS: list[Bad] = [
    header_rewritten, last_header_rewritten, header_dropped, headers_reordered,
    header_with_bytes_left_over, header_more_than_the_checkpoint_covers, page_from_elsewhere,
    page_too_long, root_of_nobody, checkpoint_by_another_key, checkpoint_of_another_log,
    no_checkpoint, body_missing, body_of_another_entry,
]  # fmt: skip
# But for what is signed: beside another tree of its size it is evidence (test_refused.py).
UNSIGNED_STREAMS = [spoil for spoil in WRONG_STREAMS if spoil is not root_of_nobody]


class Silent(FakePeer):
    """Takes the call, and ends it without a word."""

    async def list_headers(self, start: int) -> AsyncIterator[pb.ListHeadersResponse]:
        self.starts.append(start)
        for message in ():
            yield message


class TestFailure:
    """Anything that does not verify: the round fails, and it is as if it had not been sent."""

    @pytest.mark.parametrize("spoil", WRONG_LOGS + WRONG_STREAMS)
    async def test_the_replica_is_as_it_was(self, watch: Watch, spoil: Bad) -> None:
        await replayed(watch)
        before = watch.side.held()
        grow(watch, 6)
        spoil(watch)
        with pytest.raises(LedgerError):
            await watch.side.peer.monitor.step()
        assert replica_of(watch) == before

    async def test_so_it_is_when_nothing_was_sent_at_all(self, watch: Watch) -> None:
        await replayed(watch)
        before = watch.side.held()
        watch.side.peer.monitor._client = Silent(watch.peer.log)
        with pytest.raises(UnavailableError):
            await watch.side.peer.monitor.step()
        assert watch.side.held() == before

    @pytest.mark.parametrize("spoil", WRONG_LOGS + WRONG_STREAMS)
    async def test_nothing_is_cosigned(self, watch: Watch, spoil: Bad) -> None:
        grow(watch, 10)
        spoil(watch)
        with pytest.raises(LedgerError):
            await watch.side.peer.monitor.step()
        assert watch.side.peer.witness.cosigned() == b""

    @pytest.mark.parametrize("spoil", WRONG_LOGS + WRONG_STREAMS)
    async def test_nobody_is_accused(self, watch: Watch, spoil: Bad) -> None:
        await replayed(watch)
        grow(watch, 6)
        spoil(watch)
        with pytest.raises(LedgerError):
            await watch.side.peer.monitor.step()
        assert not watch.side.peer.status().latched

    async def test_a_body_of_an_epoch_before(self, watch: Watch) -> None:
        """The index of digests has written it elsewhere since (projections.ordinals)."""
        log, recipient = watch.peer.log, watch.border.recipient
        watch.peer.page = 512
        watch.clock.advance(hours=EPOCH / 60)
        ack = an_ack(watch)
        while len(log.entries) < EPOCH + 10:
            log.record(recipient, ack=ack)
        await watch.side.peer.monitor.step()
        assert watch.side.peer.witness.cosigned_size == EPOCH + 10
        before = watch.side.held()
        log.add(log.entries[3][1], recipient.key, recipient.admitted_at)
        with pytest.raises(ChainError, match="entry 16394 repeats the body of an earlier one"):
            await watch.side.peer.monitor.step()
        assert replica_of(watch) == before

    async def test_a_replay_that_is_given_up_leaves_nothing_in_memory(self, watch: Watch) -> None:
        """It holds the filters of the whole log, and a peer may have it begin as often as it likes."""
        await replayed(watch)
        with memory_kept() as kept:
            for _ in range(10):
                grow(watch, 1)
                watch.peer.note = watch.peer.log.checkpoint()
                watch.peer.entries = [*watch.peer.log.entries, watch.peer.log.entries[-1]]
                with pytest.raises(LedgerError):
                    await watch.side.peer.monitor.step()
        assert kept[0] < 8 << 20

    @pytest.mark.parametrize("spoil", UNSIGNED_STREAMS)
    async def test_it_is_over_when_the_stream_is_right_again(
        self, watch: Watch, spoil: Bad
    ) -> None:
        await replayed(watch)
        grow(watch, 6)
        spoil(watch)
        with pytest.raises(LedgerError):
            await watch.side.peer.monitor.step()
        watch.peer.entries = watch.peer.note = watch.peer.change = None
        watch.peer.page = 3
        await watch.side.peer.monitor.step()
        assert watch.side.peer.witness.cosigned_size == len(watch.peer.log.entries)

    async def test_a_clock_ahead_is_believed_once_ours_is_there(self, watch: Watch) -> None:
        time_far_ahead(watch)
        with pytest.raises(LedgerError):
            await watch.side.peer.monitor.step()
        watch.clock.advance(seconds=61)
        await watch.side.peer.monitor.step()
        assert watch.side.peer.witness.cosigned_size == 3

    async def test_a_long_tail_is_cut_off_whole(self, watch: Watch) -> None:
        """More than one transaction takes away, and across the edges of tiles."""
        watch.peer.page = 500
        await replayed(watch, entries=300)
        before = watch.side.held()
        grow(watch, 2300)
        last = len(watch.peer.log.entries) - 1
        other = fork_of(watch.peer.log, last)
        other.record(watch.border.recipient, ack=an_ack(watch))
        watch.peer.entries = other.entries
        with pytest.raises(LedgerError):
            await watch.side.peer.monitor.step()
        assert watch.side.held() == before


class TestGenesis:
    """Nothing is believed of a peer before its GENESIS, which the trust file's key must sign."""

    async def test_another_authority_is_not_believed(self, watch: Watch) -> None:
        other = Log(watch.peer.log.origin)
        other.by_authority(genesis=other.genesis(watch.side.log))
        watch.peer.log = other
        with pytest.raises(LedgerError):
            await watch.side.peer.monitor.step()
        assert watch.side.peer.replica.size == 0

    async def test_the_peer_of_somebody_else_is_not_ours(self, watch: Watch) -> None:
        log = fork_of(watch.peer.log, 0)
        log.by_authority(genesis=log.genesis(Log("gba.example/macao")))
        watch.peer.log = log
        with pytest.raises(LedgerError, match="macao as its peer, not us"):
            await watch.side.peer.monitor.step()

    async def test_a_log_without_headers_is_not_believed(self, watch: Watch) -> None:
        watch.peer.entries = []
        with pytest.raises(LedgerError):
            await watch.side.peer.monitor.step()


class TestOlderCheckpoint:
    async def test_an_older_one_is_no_contradiction(self, watch: Watch) -> None:
        await replayed(watch)
        watch.peer.note, watch.peer.entries = watch.peer.log.checkpoint(4), []
        await watch.side.peer.monitor.step()
        assert not watch.side.peer.status().latched

    async def test_what_was_verified_stays(self, watch: Watch) -> None:
        await replayed(watch)
        watch.peer.note, watch.peer.entries = watch.peer.log.checkpoint(4), []
        await watch.side.peer.monitor.step()
        assert watch.side.peer.replica.verified_size == 6

    async def test_its_time_is_not_taken_for_the_newest_ones(self, watch: Watch) -> None:
        await replayed(watch)
        fetched_at = watch.side.peer.status().fetched_at
        watch.peer.note, watch.peer.entries = watch.peer.log.checkpoint(4), []
        watch.clock.advance(hours=1)
        await watch.side.peer.monitor.step()
        assert watch.side.peer.status().fetched_at == fetched_at


class TestFetchTime:
    """It is taken before the question: what the peer recorded until then is in the answer."""

    async def test_it_is_when_the_peer_was_asked(self, watch: Watch) -> None:
        asked_at = watch.clock()

        def dawdle(message: pb.ListHeadersResponse) -> None:
            watch.clock.advance(seconds=5)

        watch.peer.change = dawdle
        await replayed(watch)
        assert watch.side.peer.status().fetched_at == asked_at

    async def test_an_idle_peer_is_known_until_it_was_asked_last(self, watch: Watch) -> None:
        await replayed(watch)
        watch.clock.advance(hours=1)
        await watch.side.peer.monitor.step()
        assert watch.side.peer.status().fetched_at == watch.clock()


class TestSlowPeer:
    async def test_it_is_given_up_for_this_round(self, watch: Watch) -> None:
        watch.peer.page = 10_000
        watch.side.peer.monitor._fetch_s = 0
        with pytest.raises(UnavailableError):
            await watch.side.peer.monitor.step()


class TestQuota:
    """When the replica is full it stops; nothing else does."""

    @pytest.fixture
    async def full(self, tmp_path: Path) -> AsyncIterator[Watch]:
        """A replica with room for some of what the peer has."""
        border, clock = new_border(), Clock()
        peer = FakePeer(border.hong_kong)
        (tmp_path / "small").mkdir()
        side = Side(
            tmp_path / "small", border.mainland, border.hong_kong, clock, peer, quota=1 << 18
        )
        await side.open()
        watch = Watch(side, peer, border, clock)
        await replayed(watch, entries=20)
        grow(watch, 600)
        with pytest.raises(BusyError, match="quota") as caught:
            await side.peer.monitor.step()
        assert caught.value.reason == "REPLICA_FULL"
        yield watch
        await side.close()

    async def test_what_fits_is_kept(self, full: Watch) -> None:
        assert 20 < full.side.peer.replica.size < 620

    async def test_the_status_says_so(self, full: Watch) -> None:
        assert full.side.peer.status().replica_full

    async def test_it_does_not_grow_any_more(self, full: Watch) -> None:
        size = full.side.peer.replica.size
        with pytest.raises(BusyError):
            await full.side.peer.monitor.step()
        assert full.side.peer.replica.size == size

    async def test_appends_go_on(self, full: Watch) -> None:
        size = full.side.size
        await full.side.enrol("uscc.91440300MA5EXMPLXX", place=440300, sector=1)
        assert full.side.size == size + 1

    async def test_the_witness_has_room_left(self, full: Watch) -> None:
        note = full.peer.log.checkpoint(20)
        assert await full.side.peer.witness.add_checkpoint(20, [], note)

    async def test_with_more_room_it_goes_on(self, full: Watch) -> None:
        full.side.options = {}
        await full.side.reopen()
        await full.side.peer.monitor.step()
        assert full.side.peer.witness.cosigned_size == 620


class TestHalves:
    """A PeerLog for the ledger's writer: whatever is wrong refuses one anchor, and stops nothing."""

    async def test_beyond_what_is_verified_there_are_none_yet(self, watch: Watch) -> None:
        await replayed(watch)
        with pytest.raises(UnavailableError):
            list(watch.side.peer.replica.halves(0, 7, watch.side.log.origin))

    async def test_a_store_that_fails_is_unavailable(self, watch: Watch) -> None:
        await replayed(watch)
        watch.side.peer._store.close()
        with pytest.raises(UnavailableError):
            list(watch.side.peer.replica.halves(0, 6, watch.side.log.origin))

    async def test_they_are_found_across_pages(self, watch: Watch) -> None:
        watch.peer.page = 512
        await replayed(watch, entries=1200)
        halves = watch.side.peer.replica.halves(1, 1150, watch.side.log.origin)
        assert [half.header.index for half in halves] == list(range(2, 1150))


class TestAFullDisk:
    """It is called by its own name: what helps is room, not a larger quota."""

    async def test_stops_the_replica(self, watch: Watch) -> None:
        FaultyStore.under(watch.side).full = True
        grow(watch, 20)
        with pytest.raises(BusyError) as caught:
            await watch.side.peer.monitor.step()
        assert caught.value.reason == "DISK_FULL"

    async def test_is_no_quota_that_is_used_up(self, watch: Watch) -> None:
        FaultyStore.under(watch.side).full = True
        assert not watch.side.peer.status().replica_full
