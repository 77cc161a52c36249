from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import pytest
from client.outbox_worker import LEASE, START, make_record

from ledgerd_client._time import Time, backoff
from ledgerd_client.core.errors import (
    BusyError,
    ConflictError,
    InputError,
    NotFoundError,
    NotReadyError,
    StoreError,
)
from ledgerd_client.outbox import Outbox, OutboxRecord, State, hash_caller_ref, hash_statement

WORKER = Path(__file__).with_name("outbox_worker.py")
HASH = bytes(range(32))

needs_strace = pytest.mark.skipif(
    not shutil.which("strace")
    or subprocess.run(["strace", "-o", os.devnull, "true"], check=False).returncode != 0,
    reason="strace is not installed, or may not trace",
)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def outbox(path: Path, clock: Clock) -> Iterator[Outbox]:
    with closing(Outbox.open(path, now=clock)) as opened:
        yield opened


@pytest.fixture
def other(outbox: Outbox, path: Path, clock: Clock) -> Iterator[Outbox]:
    """The same outbox, as another process has it open."""
    with closing(Outbox.open(path, now=clock)) as opened:
        yield opened


def ids(records: list[OutboxRecord]) -> list[bytes]:
    return [record.record_id for record in records]


def put_some(outbox: Outbox, number: int) -> list[bytes]:
    return [outbox.put(make_record()).record_id for _ in range(number)]


def put_in_state(outbox: Outbox, state: str) -> bytes:
    record_id = outbox.put(make_record(ticket=b"ticket")).record_id
    if state in {"recorded", "done"}:
        outbox.recorded(record_id, b"receipt", None)
    if state == "done":
        outbox.cosigned(record_id, b"cosigned receipt")
    if state == "refused":
        outbox.refused(record_id, "KEY_UNKNOWN", "no such key")
    if state == "dropped":
        outbox.drop(record_id, "sent by hand")
    return record_id


class TestOpen:
    def test_only_its_owner_may_read_the_file(self, outbox: Outbox, path: Path) -> None:
        assert [f.stat().st_mode & 0o777 for f in path.parent.iterdir()] == [0o600] * 3

    def test_nothing_else_is_left_behind(self, outbox: Outbox, path: Path) -> None:
        outbox.close()
        assert list(path.parent.iterdir()) == [path]

    def test_what_was_put_is_there_when_opened_again(
        self, outbox: Outbox, path: Path, clock: Clock
    ) -> None:
        stored = outbox.put(make_record(ticket=b"ticket", caller_ref_hash=HASH))
        outbox.close()
        with closing(Outbox.open(path, now=clock)) as again:
            assert again.get(stored.record_id) == stored

    def test_every_process_gets_the_same_key_for_caller_refs(
        self, outbox: Outbox, other: Outbox
    ) -> None:
        assert outbox.caller_ref_key == other.caller_ref_key

    def test_two_outboxes_have_different_keys(
        self, outbox: Outbox, tmp_path: Path, clock: Clock
    ) -> None:
        with closing(Outbox.open(tmp_path / "second.db", now=clock)) as second:
            assert outbox.caller_ref_key != second.caller_ref_key

    def test_a_directory_is_refused(self, tmp_path: Path, clock: Clock) -> None:
        with pytest.raises(StoreError) as refusal:
            Outbox.open(tmp_path, now=clock)
        assert refusal.value.reason == "NOT_AN_OUTBOX"

    @pytest.mark.parametrize("content", [b"", b"a letter to nobody", b"\0" * 8192])
    def test_a_file_that_is_no_outbox_is_refused_and_left_as_it_is(
        self, path: Path, clock: Clock, content: bytes
    ) -> None:
        path.write_bytes(content)
        with pytest.raises(StoreError) as refusal:
            Outbox.open(path, now=clock)
        assert (refusal.value.reason, path.read_bytes()) == ("NOT_AN_OUTBOX", content)

    def test_a_database_of_another_program_is_refused_and_left_as_it_is(
        self, path: Path, clock: Clock
    ) -> None:
        with closing(sqlite3.connect(path)) as foreign:
            foreign.execute("CREATE TABLE record (state TEXT)")
        content = path.read_bytes()
        with pytest.raises(StoreError) as refusal:
            Outbox.open(path, now=clock)
        assert (refusal.value.reason, path.read_bytes()) == ("NOT_AN_OUTBOX", content)

    def test_an_outbox_of_a_later_version_is_refused(
        self, outbox: Outbox, path: Path, clock: Clock
    ) -> None:
        outbox.close()
        with closing(sqlite3.connect(path)) as later:
            later.execute("PRAGMA user_version = 3")
        with pytest.raises(StoreError, match="version 3; this program knows version 2") as refusal:
            Outbox.open(path, now=clock)
        assert refusal.value.reason == "OUTBOX_VERSION"

    def test_an_outbox_whose_main_file_is_gone_is_not_begun_anew(
        self, outbox: Outbox, path: Path, clock: Clock
    ) -> None:
        """SQLite alone would delete the -wal file, and the last records with it."""
        outbox.put(make_record())
        path.rename(path.with_name("moved.db"))
        with pytest.raises(StoreError) as refusal:
            Outbox.open(path, now=clock)
        assert refusal.value.reason == "OUTBOX_TORN"

    def test_it_makes_no_directories(self, tmp_path: Path, clock: Clock) -> None:
        with pytest.raises(InputError, match="No such file or directory"):
            Outbox.open(tmp_path / "absent" / "outbox.db", now=clock)

    def test_a_closed_outbox_takes_nothing(self, outbox: Outbox) -> None:
        outbox.close()
        with pytest.raises(NotReadyError) as refusal:
            outbox.put(make_record())
        assert refusal.value.reason == "OUTBOX_CLOSED"


class TestPut:
    def test_a_record_is_queued_and_due_now(self, outbox: Outbox) -> None:
        record = make_record(ticket=b"ticket", caller_ref_hash=HASH)
        assert outbox.put(record) == replace(record, created_at=START, next_attempt_at=START)

    def test_it_is_stored_as_it_was_returned(self, outbox: Outbox, other: Outbox) -> None:
        stored = outbox.put(make_record(ticket=b"ticket", caller_ref_hash=HASH))
        assert other.get(stored.record_id) == stored

    def test_how_far_a_record_got_is_not_the_callers_to_say(self, outbox: Outbox) -> None:
        stored = outbox.put(make_record(state="done", receipt=b"forged", attempts=9))
        assert (stored.state, stored.receipt, stored.attempts) == ("queued", None, 0)

    def test_a_caller_ref_seen_before_returns_the_first_row(self, outbox: Outbox) -> None:
        first = outbox.put(make_record(caller_ref_hash=HASH))
        assert outbox.put(make_record(caller_ref_hash=HASH)) == first

    def test_a_caller_ref_seen_before_stores_nothing(self, outbox: Outbox) -> None:
        first = outbox.put(make_record(caller_ref_hash=HASH))
        outbox.put(make_record(caller_ref_hash=HASH))
        assert ids(outbox.list(limit=9)) == [first.record_id]

    def test_a_job_run_again_gets_its_ticket_and_receipt(self, outbox: Outbox) -> None:
        record_id = outbox.put(make_record(ticket=b"ticket", caller_ref_hash=HASH)).record_id
        outbox.recorded(record_id, b"receipt", None)
        outbox.cosigned(record_id, b"cosigned receipt")
        again = outbox.put(make_record(caller_ref_hash=HASH))
        assert (again.ticket, again.receipt) == (b"ticket", b"cosigned receipt")

    def test_records_without_a_caller_ref_stand_for_themselves(self, outbox: Outbox) -> None:
        put = put_some(outbox, 2)
        assert ids(outbox.list(limit=9)) == put

    def test_a_cancellation_stored_before_is_returned(self, outbox: Outbox) -> None:
        first = outbox.put(replace(make_record(), kind="cancel", ref=HASH))
        assert outbox.put(replace(make_record(), kind="cancel", ref=HASH)) == first

    def test_one_that_was_refused_or_dropped_is_none(self, outbox: Outbox) -> None:
        for end in (outbox.refused, lambda i, *_: outbox.drop(i, "asked to")):
            row = outbox.put(replace(make_record(), kind="cancel", ref=HASH))
            end(row.record_id, "NOT_EXPORTER", "not yours")
        assert (len(outbox.list(limit=9)), outbox.cancel_of(HASH)) == (2, None)

    def test_a_record_id_is_used_once(self, outbox: Outbox) -> None:
        record_id = outbox.put(make_record()).record_id
        with pytest.raises(ConflictError):
            outbox.put(make_record(record_id))

    def test_neither_body_nor_ticket_is_printed(self, outbox: Outbox) -> None:
        shown = repr(outbox.put(make_record(ticket=b"salt")))
        assert "body" not in shown
        assert "salt" not in shown


class TestClaim:
    def test_the_oldest_come_first(self, outbox: Outbox) -> None:
        put = put_some(outbox, 5)
        assert ids(outbox.claim(3, LEASE)) == put[:3]

    def test_age_is_the_order_of_puts_also_when_the_clock_went_back(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        first = put_some(outbox, 1)
        clock.now -= 1
        second = put_some(outbox, 1)
        clock.now += 1
        assert ids(outbox.claim(2, LEASE)) == first + second

    def test_what_is_claimed_is_claimed_by_nobody_else(self, outbox: Outbox, other: Outbox) -> None:
        put = put_some(outbox, 3)
        outbox.claim(2, LEASE)
        assert ids(other.claim(3, LEASE)) == put[2:]

    def test_a_thread_of_the_same_process_claims_other_records(self, outbox: Outbox) -> None:
        put = put_some(outbox, 3)
        outbox.claim(2, LEASE)
        assert ids(outbox.claim(3, LEASE)) == put[2:]

    def test_threads_of_one_outbox_share_the_work_out(self, outbox: Outbox) -> None:
        put = put_some(outbox, 200)
        with ThreadPoolExecutor(8) as pool:
            claimed = list(pool.map(lambda _: outbox.claim(5, LEASE), range(40)))
        assert sorted(ids(list(chain.from_iterable(claimed)))) == sorted(put)

    def test_a_claim_is_shown_as_it_is_stored(self, outbox: Outbox) -> None:
        put_some(outbox, 1)
        [claimed] = outbox.claim(1, LEASE)
        assert outbox.get(claimed.record_id) == claimed

    def test_a_claim_ends_with_its_lease(self, outbox: Outbox, other: Outbox, clock: Clock) -> None:
        put = put_some(outbox, 1)
        outbox.claim(1, LEASE)
        clock.now += LEASE
        assert ids(other.claim(1, LEASE)) == put

    def test_a_claim_lasts_as_long_as_its_lease(
        self, outbox: Outbox, other: Outbox, clock: Clock
    ) -> None:
        put_some(outbox, 1)
        outbox.claim(1, LEASE)
        clock.now += LEASE - 1
        assert other.claim(1, LEASE) == []

    def test_what_is_released_is_claimed_again(self, outbox: Outbox, other: Outbox) -> None:
        put = put_some(outbox, 2)
        outbox.claim(2, LEASE)
        outbox.release(put)
        assert ids(other.claim(2, LEASE)) == put

    def test_nobody_releases_the_claim_of_another(self, outbox: Outbox, other: Outbox) -> None:
        put = put_some(outbox, 1)
        outbox.claim(1, LEASE)
        other.release(put)
        assert other.claim(1, LEASE) == []

    @pytest.mark.parametrize("state", ["recorded", "done", "refused", "dropped"])
    def test_only_queued_records_are_claimed(self, outbox: Outbox, state: str) -> None:
        put_in_state(outbox, state)
        assert outbox.claim(1, LEASE) == []


class TestFailed:
    def test_a_failed_attempt_is_counted_and_says_why(self, outbox: Outbox) -> None:
        [record_id] = put_some(outbox, 1)
        outbox.failed(record_id, "UNAVAILABLE", "connection refused", START + 5)
        row = outbox.get(record_id)
        assert (row.attempts, row.last_reason, row.last_message) == (
            1,
            "UNAVAILABLE",
            "connection refused",
        )

    def test_it_is_not_due_before_its_time(self, outbox: Outbox, clock: Clock) -> None:
        [record_id] = put_some(outbox, 1)
        outbox.claim(1, LEASE)
        outbox.failed(record_id, "UNAVAILABLE", "", START + 5)
        clock.now += 4
        assert outbox.claim(1, LEASE) == []

    def test_it_is_due_at_its_time(self, outbox: Outbox, other: Outbox, clock: Clock) -> None:
        [record_id] = put_some(outbox, 1)
        outbox.claim(1, LEASE)
        outbox.failed(record_id, "UNAVAILABLE", "", START + 5)
        clock.now += 5
        assert ids(other.claim(1, LEASE)) == [record_id]

    def test_one_that_waits_holds_up_none_behind_it(self, outbox: Outbox) -> None:
        first, second = put_some(outbox, 2)
        outbox.failed(first, "UNAVAILABLE", "", START + 5)
        assert ids(outbox.claim(2, LEASE)) == [second]

    def test_whoever_lost_the_claim_does_not_end_the_claim_of_the_next(
        self, outbox: Outbox, other: Outbox, clock: Clock
    ) -> None:
        [record_id] = put_some(outbox, 1)
        outbox.claim(1, LEASE)
        clock.now += LEASE
        [claimed] = other.claim(1, LEASE)
        outbox.failed(record_id, "UNAVAILABLE", "", START)
        assert outbox.get(record_id) == claimed


class TestProgress:
    def test_a_recorded_record_has_its_receipt(self, outbox: Outbox) -> None:
        row = outbox.get(put_in_state(outbox, "recorded"))
        assert (row.state, row.receipt, row.ticket) == ("recorded", b"receipt", b"ticket")

    def test_a_new_ticket_takes_the_place_of_the_queued_one(self, outbox: Outbox) -> None:
        record_id = put_in_state(outbox, "queued")
        outbox.recorded(record_id, b"receipt", b"ticket with receipt")
        assert outbox.get(record_id).ticket == b"ticket with receipt"

    def test_what_waits_for_a_cosignature_is_listed_oldest_first(self, outbox: Outbox) -> None:
        recorded = [put_in_state(outbox, s) for s in ("recorded", "queued", "recorded", "done")]
        assert ids(outbox.uncosigned(9)) == [recorded[0], recorded[2]]

    def test_a_cosigned_record_keeps_what_its_caller_ref_needs(self, outbox: Outbox) -> None:
        row = outbox.get(put_in_state(outbox, "done"))
        assert (row.ticket, row.receipt) == (b"ticket", b"cosigned receipt")

    def test_a_cosigned_record_keeps_its_body_for_a_node_that_loses_it(
        self, outbox: Outbox
    ) -> None:
        assert outbox.get(put_in_state(outbox, "done")).body

    def test_its_signature_tells_whether_a_receipt_is_its_own(self, outbox: Outbox) -> None:
        row = outbox.get(put_in_state(outbox, "done"))
        assert row.signature == make_record(row.record_id).signature

    def test_what_a_node_lost_is_sent_again_whole(self, outbox: Outbox) -> None:
        record_id = put_in_state(outbox, "recorded")
        outbox.requeue(record_id)
        [claimed] = outbox.claim(1, LEASE)
        assert (claimed.record_id, claimed.body) == (record_id, make_record(record_id).body)

    def test_what_a_node_lost_keeps_the_receipt_that_proves_it(self, outbox: Outbox) -> None:
        record_id = put_in_state(outbox, "recorded")
        outbox.requeue(record_id)
        assert outbox.get(record_id).receipt == b"receipt"

    def test_until_a_newer_one_takes_its_place(self, outbox: Outbox) -> None:
        record_id = put_in_state(outbox, "recorded")
        outbox.requeue(record_id)
        outbox.recorded(record_id, b"second receipt", None)
        assert outbox.get(record_id).receipt == b"second receipt"

    def test_a_record_that_was_never_recorded_has_no_receipt(self, outbox: Outbox) -> None:
        assert outbox.get(put_in_state(outbox, "queued")).receipt is None

    def test_a_record_sent_again_owes_nothing_to_its_earlier_claim(
        self, outbox: Outbox, other: Outbox
    ) -> None:
        [record_id] = put_some(outbox, 1)
        outbox.claim(1, LEASE)
        outbox.recorded(record_id, b"receipt", None)
        outbox.requeue(record_id)
        assert ids(other.claim(1, LEASE)) == [record_id]

    def test_a_refused_record_is_set_aside_with_its_reason(self, outbox: Outbox) -> None:
        row = outbox.get(put_in_state(outbox, "refused"))
        assert (row.state, row.last_reason, row.last_message) == (
            "refused",
            "KEY_UNKNOWN",
            "no such key",
        )

    @pytest.mark.parametrize(
        ("state", "call", "after"),
        [
            ("recorded", "recorded", "recorded"),
            ("recorded", "refused", "recorded"),
            ("recorded", "failed", "recorded"),
            ("refused", "recorded", "recorded"),
            ("refused", "cosigned", "done"),
            ("refused", "failed", "refused"),
            ("refused", "requeue", "refused"),
            ("queued", "cosigned", "done"),
            ("queued", "requeue", "queued"),
            ("done", "recorded", "done"),
            ("done", "cosigned", "done"),
            ("done", "refused", "done"),
            ("done", "failed", "done"),
            ("done", "requeue", "done"),
            ("dropped", "recorded", "dropped"),
            ("dropped", "cosigned", "dropped"),
            ("dropped", "refused", "dropped"),
            ("dropped", "failed", "dropped"),
            ("dropped", "requeue", "dropped"),
        ],
    )
    def test_a_call_that_comes_late_undoes_nothing(
        self, outbox: Outbox, state: str, call: str, after: str
    ) -> None:
        record_id = put_in_state(outbox, state)
        CALLS[call](outbox, record_id)
        assert outbox.get(record_id).state == after


CALLS: dict[str, Callable[[Outbox, bytes], object]] = {
    "recorded": lambda outbox, record_id: outbox.recorded(record_id, b"late receipt", None),
    "cosigned": lambda outbox, record_id: outbox.cosigned(record_id, b"late receipt"),
    "requeue": lambda outbox, record_id: outbox.requeue(record_id),
    "refused": lambda outbox, record_id: outbox.refused(record_id, "LATE", "late"),
    "failed": lambda outbox, record_id: outbox.failed(record_id, "LATE", "late", START),
    "get": lambda outbox, record_id: outbox.get(record_id),
    "retry": lambda outbox, record_id: outbox.retry(record_id),
    "drop": lambda outbox, record_id: outbox.drop(record_id, "late"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_record_never_put_is_not_found(outbox: Outbox, call: str) -> None:
    with pytest.raises(NotFoundError):
        CALLS[call](outbox, bytes(16))


class TestStats:
    def test_of_an_empty_outbox_nothing_waits(self, outbox: Outbox) -> None:
        stats = outbox.stats()
        assert (set(stats.counts.values()), set(stats.oldest.values())) == ({0}, {None})

    @pytest.mark.parametrize("state", ["queued", "recorded", "refused"])
    def test_the_oldest_of_a_state_is_the_one_that_was_put_first(
        self, outbox: Outbox, clock: Clock, state: State
    ) -> None:
        began = clock()
        put_in_state(outbox, state)
        clock.now += 1
        put_in_state(outbox, state)
        stats = outbox.stats()
        assert (stats.counts[state], stats.oldest[state]) == (2, began)

    def test_what_is_done_waits_for_nothing(self, outbox: Outbox) -> None:
        put_in_state(outbox, "done")
        assert set(outbox.stats().oldest.values()) == {None}


class TestOperator:
    def test_counts_name_every_state(self, outbox: Outbox) -> None:
        for state in ("queued", "recorded", "recorded", "refused"):
            put_in_state(outbox, state)
        assert outbox.counts() == {
            "queued": 1, "recorded": 2, "done": 0, "refused": 1, "dropped": 0,
        }  # fmt: skip

    def test_records_are_listed_by_state(self, outbox: Outbox) -> None:
        put = [put_in_state(outbox, s) for s in ("refused", "queued", "refused")]
        assert ids(outbox.list("refused", limit=9)) == [put[0], put[2]]

    @pytest.mark.parametrize("state", [None, "queued"])
    def test_a_page_begins_after_the_last_record_of_the_one_before(
        self, outbox: Outbox, state: str | None
    ) -> None:
        put = put_some(outbox, 5)
        assert ids(outbox.list(state, limit=2, after=put[1])) == put[2:4]

    def test_a_refused_record_is_retried_from_the_start(self, outbox: Outbox) -> None:
        record_id = put_in_state(outbox, "queued")
        outbox.failed(record_id, "UNAVAILABLE", "", START + 5)
        outbox.refused(record_id, "KEY_UNKNOWN", "no such key")
        outbox.retry(record_id)
        [claimed] = outbox.claim(1, LEASE)
        assert (claimed.record_id, claimed.attempts) == (record_id, 0)

    def test_all_refused_records_are_retried_at_once(self, outbox: Outbox) -> None:
        for state in ("refused", "refused", "done", "dropped", "recorded"):
            put_in_state(outbox, state)
        assert (outbox.retry(None), outbox.counts()["queued"]) == (2, 2)

    @pytest.mark.parametrize("state", ["queued", "recorded", "done", "dropped"])
    def test_only_a_refused_record_is_retried(self, outbox: Outbox, state: str) -> None:
        record_id = put_in_state(outbox, state)
        with pytest.raises(NotReadyError, match=f"is {state}, not refused"):
            outbox.retry(record_id)

    @pytest.mark.parametrize("state", ["queued", "refused"])
    def test_a_dropped_record_leaves_a_tombstone_with_the_reason(
        self, outbox: Outbox, state: str
    ) -> None:
        record_id = put_in_state(outbox, state)
        outbox.drop(record_id, "sent by hand")
        row = outbox.get(record_id)
        assert (row.state, row.last_message) == ("dropped", "sent by hand")

    def test_a_tombstone_keeps_no_body_and_no_ticket(self, outbox: Outbox) -> None:
        row = outbox.get(put_in_state(outbox, "dropped"))
        assert (row.body, row.signature, row.ticket) == (b"", b"", None)

    def test_the_caller_ref_of_a_dropped_record_may_be_declared_anew(self, outbox: Outbox) -> None:
        first = outbox.put(make_record(caller_ref_hash=HASH))
        outbox.drop(first.record_id, "wrong purpose")
        assert outbox.put(make_record(caller_ref_hash=HASH)).record_id != first.record_id

    def test_a_record_is_dropped_once(self, outbox: Outbox) -> None:
        record_id = put_in_state(outbox, "dropped")
        with pytest.raises(NotReadyError, match="is dropped already"):
            outbox.drop(record_id, "twice")

    @pytest.mark.parametrize("state", ["recorded", "done"])
    def test_what_is_in_the_log_is_not_dropped(self, outbox: Outbox, state: str) -> None:
        record_id = put_in_state(outbox, state)
        with pytest.raises(NotReadyError, match="is in the log"):
            outbox.drop(record_id, "too late")
        assert outbox.get(record_id).state == state

    def test_nor_does_a_dropped_record_keep_what_it_stated(self, outbox: Outbox) -> None:
        entry = make_record(caller_ref_hash=HASH, statement_hash=HASH)
        record_id = outbox.put(entry).record_id
        outbox.drop(record_id, "wrong purpose")
        assert outbox.get(record_id).statement_hash is None

    def test_what_is_being_sent_is_not_dropped(self, outbox: Outbox, other: Outbox) -> None:
        [record_id] = put_some(outbox, 1)
        outbox.claim(1, LEASE)
        with pytest.raises(NotReadyError, match="is being sent"):
            other.drop(record_id, "in haste")

    def test_what_a_dead_process_was_sending_is_dropped_after_its_lease(
        self, outbox: Outbox, other: Outbox, clock: Clock
    ) -> None:
        [record_id] = put_some(outbox, 1)
        outbox.claim(1, LEASE)
        clock.now += LEASE
        other.drop(record_id, "sent by hand")
        assert other.get(record_id).state == "dropped"


class TestFaults:
    def test_a_lock_that_is_held_too_long_is_busy(self, outbox: Outbox, other: Outbox) -> None:
        other._db.execute("BEGIN IMMEDIATE")
        outbox._db.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(BusyError) as refusal:
            outbox.put(make_record())
        assert refusal.value.reason == "OUTBOX_LOCKED"

    def test_reading_waits_for_no_writer(self, outbox: Outbox, other: Outbox) -> None:
        put = put_some(outbox, 1)
        other._db.execute("BEGIN IMMEDIATE")
        assert ids(outbox.list(limit=9)) == put

    def test_a_page_that_is_damaged_is_a_store_error(self, outbox: Outbox, path: Path) -> None:
        put_some(outbox, 20)
        outbox.close()
        with path.open("r+b") as file:
            file.seek(2 * 4096)  # after the schema and the key
            file.write(b"\xff" * (path.stat().st_size - 2 * 4096))
        with closing(Outbox.open(path, now=Clock())) as damaged, pytest.raises(StoreError):
            damaged.list(limit=99)

    def test_a_statement_that_fails_leaves_the_outbox_as_it_was(self, outbox: Outbox) -> None:
        record_id = put_in_state(outbox, "queued")
        with pytest.raises(ConflictError):
            outbox.put(make_record(record_id))
        assert not outbox._db.in_transaction


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB, as root only."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "ledgerd-test", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system needs the right to mount one")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.fixture
def full_outbox(small_disk: Path) -> Iterator[tuple[Outbox, list[bytes]]]:
    """An outbox on a disk that is full, and what was put into it before."""
    with closing(Outbox.open(small_disk / "outbox.db", now=Clock())) as outbox:
        stored: list[bytes] = []
        with suppress(BusyError):
            while len(stored) < 1000:
                stored += put_some(outbox, 1)
        yield outbox, stored


class TestFullDisk:
    def test_it_is_said_and_may_be_retried(self, full_outbox: tuple[Outbox, list[bytes]]) -> None:
        outbox, _ = full_outbox
        with pytest.raises(BusyError) as refusal:
            outbox.put(make_record())
        assert refusal.value.reason == "DISK_FULL"

    def test_every_record_that_was_acknowledged_is_there(
        self, full_outbox: tuple[Outbox, list[bytes]]
    ) -> None:
        outbox, stored = full_outbox
        assert ids(outbox.list(limit=9999)) == stored

    def test_work_goes_on_when_there_is_space_again(
        self, full_outbox: tuple[Outbox, list[bytes]], small_disk: Path
    ) -> None:
        outbox, stored = full_outbox
        subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
        new = put_some(outbox, 1)
        assert ids(outbox.list(limit=9999)) == stored + new

    def test_an_outbox_is_not_begun_on_it(
        self, full_outbox: tuple[Outbox, list[bytes]], small_disk: Path
    ) -> None:
        with pytest.raises(BusyError):
            Outbox.open(small_disk / "second.db", now=Clock())


class Worker:
    """A process that shares the outbox; it acts once told to go."""

    def __init__(self, path: Path, command: str, number: int = 0, under: tuple[str, ...] = ()):
        self.process = subprocess.Popen(
            [*under, sys.executable, WORKER, path, command, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.read() == "ready"

    def go(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def read(self) -> str:
        return self.process.stdout.readline().strip()

    def output(self) -> list[str]:
        """Wait for its end; return the lines not read yet."""
        return self.process.communicate()[0].split()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def run_together(path: Path, command: str, number: int, processes: int = 2) -> list[list[str]]:
    workers = [Worker(path, command, number) for _ in range(processes)]
    for worker in workers:
        worker.go()
    return [worker.output() for worker in workers]


class TestProcesses:
    def test_those_that_make_the_outbox_at_once_make_one(self, path: Path) -> None:
        keys = run_together(path, "show_key", 0, processes=4)
        assert len({key for [key] in keys}) == 1

    def test_no_record_is_claimed_twice_and_none_is_left(self, outbox: Outbox, path: Path) -> None:
        put = {record_id.hex(): 1 for record_id in put_some(outbox, 300)}
        one, two = run_together(path, "claim_all", 7)
        assert Counter(one) + Counter(two) == Counter(put)

    def test_of_two_that_declare_the_same_rows_each_row_is_stored_once(
        self, outbox: Outbox, path: Path
    ) -> None:
        one, two = run_together(path, "declare", 50)
        assert one == two == [record_id.hex() for record_id in ids(outbox.list(limit=999))]

    def test_what_a_killed_process_had_claimed_comes_back_after_the_lease(
        self, outbox: Outbox, path: Path, clock: Clock
    ) -> None:
        put = put_some(outbox, 3)
        worker = Worker(path, "claim_and_hang", 2)
        worker.go()
        while worker.read() != "claimed":
            pass
        worker.kill()
        assert ids(outbox.claim(9, LEASE)) == put[2:]
        clock.now += LEASE
        assert ids(outbox.claim(9, LEASE)) == put

    def test_a_forked_child_is_told_to_open_its_own(self, outbox: Outbox, path: Path) -> None:
        worker = Worker(path, "use_after_fork")
        worker.go()
        assert worker.output() == ["OUTBOX_FORKED"]


@needs_strace
class TestCrash:
    def test_a_record_is_synced_before_put_returns(self, outbox: Outbox, path: Path) -> None:
        trace = path.with_name("trace")
        under = ("strace", "-e", "trace=fdatasync,write", "-o", str(trace))
        worker = Worker(path, "put", 3, under)
        worker.go()
        acknowledged = worker.output()
        calls = [line.partition("(")[0] for line in trace.read_text().splitlines()]
        syncs_before = [calls[:i].count("fdatasync") for i, c in enumerate(calls) if c == "write"]
        # The first write says "ready".
        assert len(acknowledged) == 3
        assert all(before < after for before, after in pairwise(syncs_before))

    @pytest.mark.slow
    def test_a_process_killed_at_any_write_leaves_records_whole_or_absent(
        self, tmp_path: Path, clock: Clock
    ) -> None:
        """SIGKILL at the first write or sync, at the second, …, until one run is not reached."""
        killed = 0
        while True:
            path = tmp_path / f"{killed}.db"
            Outbox.open(path, now=clock).close()
            inject = f"inject=pwrite64,fdatasync:signal=SIGKILL:when={killed + 1}"
            worker = Worker(path, "put", 1, ("strace", "-o", os.devnull, "-e", inject))
            worker.go()
            acknowledged = worker.output()
            with closing(Outbox.open(path, now=clock)) as outbox:
                rows = outbox.list(limit=9)
            assert {r.hex() for r in ids(rows)} >= set(acknowledged)
            assert all(
                row == replace(make_record(row.record_id), created_at=START, next_attempt_at=START)
                for row in rows
            )
            if worker.process.returncode != -signal.SIGKILL:
                break
            killed += 1
        assert killed > 10


class TestBackoff:
    @pytest.mark.parametrize(
        ("attempt", "ceiling"),
        [(0, 200_000), (1, 200_000), (2, 400_000), (5, 3_200_000), (9, 51_200_000),
         (10, 60_000_000), (10_000_000, 60_000_000)],
    )  # fmt: skip
    def test_its_ceiling_doubles_up_to_a_minute(self, attempt: int, ceiling: int) -> None:
        assert backoff(attempt, lambda: 0.5) == ceiling // 2

    def test_it_may_be_none_at_all(self) -> None:
        assert backoff(5, lambda: 0.0) == 0

    @pytest.mark.parametrize(("asked", "waited"), [(0, 0.1), (40, 40.1), (10**9, 300.1)])
    def test_it_comes_after_what_the_node_asked_for_within_reason(
        self, asked: float, waited: float
    ) -> None:
        error = BusyError("too fast", retry_after_s=asked)
        assert Time(random=lambda: 0.5).backoff_s(1, error) == pytest.approx(waited)


class TestCallerRef:
    def test_it_is_hashed_as_rfc_4231_test_case_2(self) -> None:
        assert hash_caller_ref(b"Jefe", "what do ya want for nothing?") == bytes.fromhex(
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        )

    def test_a_statement_is_hashed_with_the_kind_of_record(self) -> None:
        """
        HMAC-SHA256 of "ack", a zero byte and "said", computed with OpenSSL.
        """
        assert hash_statement(b"Jefe", "ack", b"said") == bytes.fromhex(
            "b74a60b6bf687e5ec27aaff8ac2580b4907c07e0111982d90aec02a71c126f6d"
        )

    def test_any_text_has_a_hash(self) -> None:
        assert len(hash_caller_ref(HASH, "发票 \ud800")) == 32
