"""An outbox that is open: what is in it, and one transaction at a time."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias, get_args

from ledgerd_client.core.errors import NotFoundError, NotReadyError
from ledgerd_client.outbox_file import OutboxRecord, State, to_record, translated

Records: TypeAlias = list[OutboxRecord]  # inside the class `list` is a method


class Stats(NamedTuple):
    """
    How full an outbox is: how many records are in each state.

    oldest: of each state in which a record waits for something, when the oldest one was stored (µs
    since the epoch, UTC); None when there is none.
    """

    counts: dict[State, int]
    oldest: dict[State, int | None]


_WAITING: tuple[State, ...] = ("queued", "recorded", "refused")


class OutboxReader:
    """See outbox.Outbox, of which this is the part that changes nothing."""

    def __init__(self, db: sqlite3.Connection, caller_ref_key: bytes, now: Callable[[], int]):
        self.caller_ref_key = caller_ref_key  # 32 bytes, for hash_caller_ref and hash_statement
        self._db = db
        self._now = now
        self._me = secrets.token_bytes(16)
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file; claims that are still held end with their lease."""
        with self._exclusive() as db:
            db.close()

    def get(self, record_id: bytes) -> OutboxRecord:
        with self._exclusive() as db:
            return find(db, record_id)

    def cancel_of(self, ref: bytes) -> OutboxRecord | None:
        """The first CANCEL of a transfer that stands: neither refused nor dropped."""
        with self._exclusive() as db:
            row = find_cancel(db, ref)
        return to_record(row) if row else None

    def uncosigned(self, limit: int) -> Records:
        """The oldest records that have a receipt and no cosignature on it."""
        return self.list("recorded", limit=limit)

    def list(
        self, state: State | None = None, *, limit: int, after: bytes | None = None
    ) -> Records:
        """Records of one state or of all, oldest first, from the one after record_id `after`."""
        of_state = "AND state = :state" if state else ""
        with self._exclusive() as db:
            rows = db.execute(
                "SELECT * FROM record WHERE seq > coalesce("  # noqa: S608 -- no foreign text in it
                f"(SELECT seq FROM record WHERE record_id = :after), 0) {of_state}"
                " ORDER BY seq LIMIT :limit",
                {"after": after, "state": state, "limit": limit},
            ).fetchall()
        return [to_record(row) for row in rows]

    def counts(self) -> dict[State, int]:
        """How many records are in each state."""
        with self._exclusive() as db:
            rows = db.execute("SELECT state, count(*) FROM record GROUP BY state").fetchall()
        return dict.fromkeys(get_args(State), 0) | dict(rows)

    def stats(self) -> Stats:
        """How full it is, for whoever watches over it; cheap, however much is done."""
        counts = self.counts()
        with self._exclusive() as db:
            found = {
                state: db.execute(
                    "SELECT created_at FROM record WHERE state = ? ORDER BY seq LIMIT 1", (state,)
                ).fetchone()
                for state in _WAITING
            }
        return Stats(counts, {state: row[0] if row else None for state, row in found.items()})

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._exclusive() as db:
            # Deferred, two processes could read the same rows before either writes.
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _exclusive(self) -> Iterator[sqlite3.Connection]:
        if os.getpid() != self._pid:
            # SQLite's locks do not cross a fork: parent and child would corrupt the file.
            raise NotReadyError(
                "the outbox was opened before a fork",
                reason="OUTBOX_FORKED",
                action="open it in the process that uses it",
            )
        with self._lock, translated():
            yield self._db


def find_cancel(db: sqlite3.Connection, ref: bytes) -> tuple[object, ...] | None:
    row: tuple[object, ...] | None = db.execute(
        "SELECT * FROM record WHERE kind = 'cancel' AND ref = ?"
        " AND state NOT IN ('refused', 'dropped') ORDER BY seq LIMIT 1",
        (ref,),
    ).fetchone()
    return row


def find(db: sqlite3.Connection, record_id: bytes) -> OutboxRecord:
    row = db.execute("SELECT * FROM record WHERE record_id = ?", (record_id,)).fetchone()
    if not row:
        raise NotFoundError(f"the outbox has no record {record_id.hex()}")
    return to_record(row)
