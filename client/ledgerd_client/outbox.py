"""
The durable outbox: signed records kept until a cosigned checkpoint covers them.

One SQLite file, shared by any number of processes of one institution on one machine. A record is
in it before it is first sent, and leaves the work only when its receipt is cosigned or an operator
says so: a crash, a killed process, a lost reply or a node's lost tail loses none.

| state    | it is                                      | then                                   |
|----------|--------------------------------------------|----------------------------------------|
| queued   | durable, to be sent                        | recorded, cosigned, refused, dropped   |
| recorded | in a node's log, its receipt not cosigned  | cosigned; queued by `requeue`          |
| refused  | set aside, with the node's reason          | queued by `retry`, dropped             |
| done     | cosigned; kept to answer its caller_ref,   |                                        |
|          | and to be given back if a node loses it    |                                        |
| dropped  | given up by an operator, with a reason     |                                        |

A record has a receipt from `recorded` on, and keeps it when it is queued again: only a newer one,
or `drop`, takes it out. A receipt outweighs what another process believed: `recorded` and
`cosigned` apply to a refused record too. A call whose state has passed changes nothing, for
another process was first.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Self

from ledgerd_client._outbox_reader import OutboxReader, Records, Stats, find, find_cancel
from ledgerd_client.core.errors import NotReadyError
from ledgerd_client.outbox_file import OutboxRecord, State, open_file, to_record, translated

__all__ = ["Outbox", "OutboxRecord", "State", "Stats", "hash_caller_ref", "hash_statement"]


class Outbox(OutboxReader):
    """
    The outbox file, open. Every method is one short transaction, durable (fsync) on return.

    Safe for threads of a process and for many processes at once; a forked child opens its own.
    Every method may raise BusyError (file locked, disk full: nothing was changed, try again) and
    StoreError (corruption, failing disk: the change shows whole or not at all when it is opened
    again); those that name a record raise NotFoundError for one that was never put.
    """

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, now: Callable[[], int]) -> Self:
        """
        Open the outbox at path; make it (mode 0600) if there is no such file.

        now returns µs since the epoch, UTC. The file must be on a local disk. Raises InputError
        when it cannot be made, and StoreError when path is something else than an outbox
        (NOT_AN_OUTBOX), of a version unknown here (OUTBOX_VERSION), or has lost its main file
        (OUTBOX_TORN).
        """
        with translated():
            db, caller_ref_key = open_file(Path(path))
        return cls(db, caller_ref_key, now)

    def put(self, entry: OutboxRecord) -> OutboxRecord:
        """
        Store a signed record as queued, due now; return the row.

        If entry's caller_ref_hash is there already, nothing is stored and the row that has it is
        returned, whatever its state: a job run again gets its first ticket and receipt. So is it
        for a CANCEL of a transfer of which one stands. Of processes that race, one stores. Raises
        ConflictError for a record_id used before.
        """
        now = self._now()
        row = replace(
            entry, receipt=None, created_at=now, state="queued", attempts=0, next_attempt_at=now,
            last_reason="", last_message="", claimed_by=None, claimed_until=0,
        )  # fmt: skip
        with self._transaction() as db:
            known = db.execute(
                "SELECT * FROM record WHERE caller_ref_hash = ?", (entry.caller_ref_hash,)
            ).fetchone()
            if not known and entry.kind == "cancel":
                known = find_cancel(db, entry.ref)
            if known:
                return to_record(known)
            db.execute(
                "INSERT INTO record VALUES (NULL, :record_id, :body, :key_id, :signature, :kind,"
                " :ref, :ticket, :receipt, :caller_ref_hash, :statement_hash, :created_at, :state,"
                " :attempts, :next_attempt_at, :last_reason, :last_message,"
                " :claimed_by, :claimed_until)",
                asdict(row),
            )
        return row

    def claim(self, limit: int, lease_us: int) -> Records:
        """
        Lease the oldest records that are due to be sent and that nobody else is sending.

        A claim ends by recorded, cosigned, refused, failed or release, or lease_us from now, when
        others may claim the records: the node takes a record twice for one.
        """
        now = self._now()
        lease = (self._me, now + lease_us)
        with self._transaction() as db:
            rows = db.execute(
                "SELECT * FROM record WHERE state = 'queued' AND next_attempt_at <= :now"
                " AND claimed_until <= :now ORDER BY seq LIMIT :limit",
                {"now": now, "limit": limit},
            ).fetchall()
            db.executemany(
                "UPDATE record SET claimed_by = ?, claimed_until = ? WHERE seq = ?",
                ((*lease, row[0]) for row in rows),
            )
        return [replace(to_record(r), claimed_by=lease[0], claimed_until=lease[1]) for r in rows]

    def recorded(self, record_id: bytes, receipt: bytes, ticket: bytes | None) -> None:
        """Keep the receipt of a record that is in the log, and the ticket if it is a new one."""
        self._update(
            record_id,
            "UPDATE record SET state = 'recorded', receipt = :receipt,"
            " ticket = coalesce(:ticket, ticket)"
            " WHERE record_id = :id AND state IN ('queued', 'refused')",
            receipt=receipt,
            ticket=ticket,
        )

    def cosigned(self, record_id: bytes, receipt: bytes) -> None:
        """
        Let go of a record whose receipt is covered by a cosignature.

        It stays as it is: a node that loses its disk asks for the body again.
        """
        self._update(
            record_id,
            "UPDATE record SET state = 'done', receipt = :receipt"
            " WHERE record_id = :id AND state IN ('queued', 'recorded', 'refused')",
            receipt=receipt,
        )

    def requeue(self, record_id: bytes) -> None:
        """
        Send a recorded record again: the node lost it before it was cosigned.

        The receipt stays until the next one takes its place: it proves what the node lost.
        """
        self._update(
            record_id,
            "UPDATE record SET state = 'queued', attempts = 0,"
            " next_attempt_at = :now, claimed_by = NULL, claimed_until = 0"
            " WHERE record_id = :id AND state = 'recorded'",
            now=self._now(),
        )

    def refused(self, record_id: bytes, reason: str, message: str) -> None:
        """Set aside a queued record that the node refused, until it is retried or dropped."""
        self._update(
            record_id,
            "UPDATE record SET state = 'refused', last_reason = :reason, last_message = :message"
            " WHERE record_id = :id AND state = 'queued'",
            reason=reason,
            message=message,
        )

    def failed(self, record_id: bytes, reason: str, message: str, retry_at: int) -> None:
        """Count a failed attempt and end its claim; due again at retry_at (see _time.backoff)."""
        self._update(
            record_id,
            "UPDATE record SET attempts = attempts + 1, next_attempt_at = :retry_at,"
            " last_reason = :reason, last_message = :message, claimed_by = NULL, claimed_until = 0"
            " WHERE record_id = :id AND state = 'queued'"
            " AND (claimed_by = :me OR claimed_until <= :now)",
            reason=reason,
            message=message,
            retry_at=retry_at,
            me=self._me,
            now=self._now(),
        )

    def release(self, record_ids: Iterable[bytes]) -> None:
        """End claims of this outbox whose records were not sent."""
        with self._transaction() as db:
            db.executemany(
                "UPDATE record SET claimed_by = NULL, claimed_until = 0"
                " WHERE record_id = ? AND claimed_by = ?",
                [(record_id, self._me) for record_id in record_ids],
            )

    def retry(self, record_id: bytes | None) -> int:
        """
        Queue one refused record again, or all of them (None); return how many.

        Raises NotReadyError for a record that is not refused.
        """
        with self._transaction() as db:
            if record_id is not None and (state := find(db, record_id).state) != "refused":
                raise NotReadyError(f"record {record_id.hex()} is {state}, not refused")
            return db.execute(
                "UPDATE record SET state = 'queued', attempts = 0, next_attempt_at = :now,"
                " claimed_by = NULL, claimed_until = 0"
                " WHERE state = 'refused' AND record_id = coalesce(:id, record_id)",
                {"id": record_id, "now": self._now()},
            ).rowcount

    def drop(self, record_id: bytes, reason: str) -> None:
        """
        Give a record up because an operator said so; a tombstone with the reason stays.

        Body, signature and ticket are cleared, and its caller_ref may be declared anew. Raises
        NotReadyError for a record that is in the log, dropped already, or being sent by a process.
        One that is queued may be in the log all the same, if an answer was lost.
        """
        with self._transaction() as db:
            row = find(db, record_id)
            if row.state == "dropped":
                raise NotReadyError(f"record {record_id.hex()} is dropped already")
            if row.state in {"recorded", "done"}:
                raise NotReadyError(
                    f"record {record_id.hex()} is in the log, and stays there",
                    reason="RECORDED",
                    action="take back a transfer with `ledgerctl cancel`, if it must be",
                )
            if row.state == "queued" and row.claimed_until > self._now():
                raise NotReadyError(
                    f"record {record_id.hex()} is being sent", action="wait for its outcome"
                )
            db.execute(
                "UPDATE record SET state = 'dropped', last_reason = 'DROPPED', last_message = ?,"
                " body = x'', signature = x'', ticket = NULL, receipt = NULL,"
                " caller_ref_hash = NULL, statement_hash = NULL WHERE record_id = ?",
                (reason, record_id),
            )

    def _update(self, record_id: bytes, statement: str, **values: object) -> None:
        with self._transaction() as db:
            if not db.execute(statement, {"id": record_id, **values}).rowcount:
                find(db, record_id)


def hash_caller_ref(key: bytes, caller_ref: str) -> bytes:
    """
    Return the 32 bytes that stand for a caller's own reference (HMAC-SHA256).

    A reference may be an order or a customer number, which a plain hash would give away.
    """
    return hmac.digest(key, caller_ref.encode("utf-8", "surrogatepass"), "sha256")


def hash_statement(key: bytes, kind: str, statement: bytes) -> bytes:
    """Return the 32 bytes that stand for what was stated under a caller_ref (HMAC-SHA256)."""
    return hmac.digest(key, kind.encode() + b"\0" + statement, "sha256")
