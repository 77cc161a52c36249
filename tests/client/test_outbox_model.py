"""Two processes use one outbox in any order; a dict of rows must always tell the same story."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from client.outbox_worker import START, make_record
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from ledgerd_client.core.errors import NotReadyError
from ledgerd_client.outbox import Outbox

processes = st.integers(0, 1)
durations = st.integers(1, 20)


@dataclass
class Row:
    state: str = "queued"
    caller_ref: bytes | None = None
    receipt: bytes | None = None
    attempts: int = 0
    due: int = START
    claimed_by: int | None = None
    claimed_until: int = 0

    def queue(self, now: int) -> None:
        self.state, self.attempts = "queued", 0
        self.due, self.claimed_by, self.claimed_until = now, None, 0


class SharedOutbox(RuleBasedStateMachine):
    records = Bundle("records")

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.directory = Path(tempfile.mkdtemp())
        self.open = [self._open(), self._open()]
        self.rows: dict[bytes, Row] = {}

    def _open(self) -> Outbox:
        return Outbox.open(self.directory / "outbox.db", now=lambda: self.now)

    def teardown(self) -> None:
        for outbox in self.open:
            outbox.close()
        shutil.rmtree(self.directory)

    @rule(target=records, process=processes, name=st.none() | st.sampled_from([b"a", b"b", b"c"]))
    def put(self, process: int, name: bytes | None) -> object:
        record = make_record(caller_ref_hash=name)
        stored = self.open[process].put(record)
        known = [i for i, row in self.rows.items() if name and row.caller_ref == name]
        assert stored.record_id == (known or [record.record_id])[0]
        if known:
            return multiple()
        self.rows[record.record_id] = Row(caller_ref=name, due=self.now)
        return record.record_id

    @rule(process=processes, limit=st.integers(1, 4), lease=durations)
    def claim(self, process: int, limit: int, lease: int) -> None:
        free = [
            i for i, row in self.rows.items()
            if row.state == "queued" and row.due <= self.now and row.claimed_until <= self.now
        ][:limit]  # fmt: skip
        assert [r.record_id for r in self.open[process].claim(limit, lease)] == free
        for record_id in free:
            self.rows[record_id].claimed_by = process
            self.rows[record_id].claimed_until = self.now + lease

    @rule(process=processes, record_id=records)
    def release(self, process: int, record_id: bytes) -> None:
        self.open[process].release([record_id])
        row = self.rows[record_id]
        if row.claimed_by == process:
            row.claimed_by, row.claimed_until = None, 0

    @rule(process=processes, record_id=records, receipt=st.binary(min_size=1, max_size=4))
    def recorded(self, process: int, record_id: bytes, receipt: bytes) -> None:
        self.open[process].recorded(record_id, receipt, None)
        row = self.rows[record_id]
        if row.state in {"queued", "refused"}:
            row.state, row.receipt = "recorded", receipt

    @rule(process=processes, record_id=records, receipt=st.binary(min_size=1, max_size=4))
    def cosigned(self, process: int, record_id: bytes, receipt: bytes) -> None:
        self.open[process].cosigned(record_id, receipt)
        row = self.rows[record_id]
        if row.state in {"queued", "recorded", "refused"}:
            row.state, row.receipt = "done", receipt

    @rule(process=processes, record_id=records)
    def requeue(self, process: int, record_id: bytes) -> None:
        self.open[process].requeue(record_id)
        if self.rows[record_id].state == "recorded":
            self.rows[record_id].queue(self.now)

    @rule(process=processes, record_id=records)
    def refused(self, process: int, record_id: bytes) -> None:
        self.open[process].refused(record_id, "KEY_UNKNOWN", "no such key")
        if self.rows[record_id].state == "queued":
            self.rows[record_id].state = "refused"

    @rule(process=processes, record_id=records, wait=durations)
    def failed(self, process: int, record_id: bytes, wait: int) -> None:
        self.open[process].failed(record_id, "UNAVAILABLE", "", self.now + wait)
        row = self.rows[record_id]
        others = row.claimed_until > self.now and row.claimed_by != process
        if row.state == "queued" and not others:
            row.attempts, row.due = row.attempts + 1, self.now + wait
            row.claimed_by, row.claimed_until = None, 0

    @rule(process=processes)
    def retry(self, process: int) -> None:
        refused = [row for row in self.rows.values() if row.state == "refused"]
        assert self.open[process].retry(None) == len(refused)
        for row in refused:
            row.queue(self.now)

    @rule(process=processes, record_id=records)
    def drop(self, process: int, record_id: bytes) -> None:
        row = self.rows[record_id]
        in_flight = row.state == "queued" and row.claimed_until > self.now
        try:
            self.open[process].drop(record_id, "by hand")
        except NotReadyError:
            assert row.state in {"recorded", "done", "dropped"} or in_flight
        else:
            assert row.state in {"queued", "refused"}
            assert not in_flight
            row.state, row.receipt, row.caller_ref = "dropped", None, None

    @rule(duration=durations)
    def time_passes(self, duration: int) -> None:
        self.now += duration

    @rule(process=processes)
    def restart(self, process: int) -> None:
        self.open[process].close()
        self.open[process] = self._open()
        for row in self.rows.values():
            # Its claims live on, but are nobody's now.
            row.claimed_by = None if row.claimed_by == process else row.claimed_by

    @invariant()
    def both_tell_the_same_story(self) -> None:
        expected = [
            (record_id, row.state, row.caller_ref, row.receipt, row.attempts, row.claimed_until)
            for record_id, row in self.rows.items()
        ]
        for outbox in self.open:
            assert expected == [
                (r.record_id, r.state, r.caller_ref_hash, r.receipt, r.attempts, r.claimed_until)
                for r in outbox.list(limit=999)
            ]

    @invariant()
    def what_may_have_to_be_sent_is_whole(self) -> None:
        for state in ("queued", "recorded", "refused"):
            for row in self.open[0].list(state, limit=999):
                whole = make_record(row.record_id)
                assert (row.body, row.signature) == (whole.body, whole.signature)


TestSharedOutbox = SharedOutbox.TestCase
TestSharedOutbox.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
