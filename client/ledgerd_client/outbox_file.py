"""The outbox's SQLite file: its rows, how it is made and known again, its errors made ours."""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ledgerd_client.core.errors import (
    BusyError,
    ConflictError,
    InputError,
    LedgerError,
    NotReadyError,
    StoreError,
)
from ledgerd_client.keyfile import sync_directory

State: TypeAlias = Literal["queued", "recorded", "done", "refused", "dropped"]

_APPLICATION_ID = 0x6C64676F  # "ldgo", for file(1) and for us
_VERSION = 2
_LOCK_WAIT_S = 5.0
# Each commit is fsynced; NORMAL would lose acknowledged ones when the power goes.
_DURABLE = "PRAGMA synchronous = FULL"

_SCHEMA = f"""
BEGIN;
CREATE TABLE meta (caller_ref_key BLOB NOT NULL);
CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    record_id BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL,
    key_id BLOB NOT NULL,
    signature BLOB NOT NULL,
    kind TEXT NOT NULL,
    ref BLOB NOT NULL,
    ticket BLOB,
    receipt BLOB,
    caller_ref_hash BLOB UNIQUE,
    statement_hash BLOB,
    created_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    last_reason TEXT NOT NULL,
    last_message TEXT NOT NULL,
    claimed_by BLOB,
    claimed_until INTEGER NOT NULL
);
CREATE INDEX record_state ON record (state, seq);
CREATE INDEX record_cancel ON record (ref) WHERE kind = 'cancel';
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """
    One signed record and how far it got. Times are µs since the epoch, UTC.

    Whoever puts one gives the fields up to statement_hash; the outbox sets the rest. A receipt is
    there from recorded on. Dropped rows have no body and no signature.
    """

    record_id: bytes
    body: bytes = field(repr=False)
    key_id: bytes
    signature: bytes = field(repr=False)
    # "transfer", "ack", "cancel" or "correction".
    kind: str
    ref: bytes
    # Opens the commitment: never printed.
    ticket: bytes | None = field(default=None, repr=False)
    receipt: bytes | None = field(default=None, repr=False)
    # With a caller_ref: it, and what was stated under it, payload included. Keyed with the outbox's
    # own key: whoever has the file can test a guess, as with the ticket.
    caller_ref_hash: bytes | None = None
    statement_hash: bytes | None = None
    created_at: int = 0
    state: State = "queued"
    # Attempts that failed since it was queued, and why the last one did.
    attempts: int = 0
    next_attempt_at: int = 0
    last_reason: str = ""
    last_message: str = ""
    # The lease: which open outbox sends it, and until when nobody else will.
    claimed_by: bytes | None = None
    claimed_until: int = 0


def to_record(row: tuple[object, ...]) -> OutboxRecord:
    """Columns are the fields in order, after seq."""
    return OutboxRecord(*row[1:])  # type: ignore[arg-type]


def open_file(path: Path) -> tuple[sqlite3.Connection, bytes]:
    """
    Open the outbox at path, or make one; return the connection and the caller_ref key.

    The connection may be used by any thread, one at a time, and is in autocommit: transactions are
    begun by hand. Raises as Outbox.open does, within translated().
    """
    # In this order: another process may make the file and open it at this moment.
    orphan = Path(f"{path}-wal").exists()
    if not path.exists():
        if orphan:
            raise StoreError(
                f"{path} is gone, but its last records are in {path}-wal",
                reason="OUTBOX_TORN",
                action="put the outbox file back beside it; never move one without the other",
            )
        _make(path)
    elif not path.is_file():
        raise _foreign(path)
    db = _connect(path)
    try:
        key = _caller_ref_key(db, path)
        db.execute(_DURABLE)
    except BaseException:
        db.close()
        raise
    return db, key


def _make(path: Path) -> None:
    """Make a whole outbox under another name, then give it its own: of two processes one wins."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as directory:
            made = Path(directory, "outbox")
            made.touch(mode=0o600)
            _write_empty(made)
            with suppress(FileExistsError):
                os.link(made, path)
        sync_directory(path.parent)
    except OSError as error:
        raise InputError(
            f"no outbox can be made at {path}: {error.strerror}",
            action="give it a path in a local directory that is there and may be written",
        ) from error


def _write_empty(path: Path) -> None:
    with closing(_connect(path)) as db:
        db.execute(_DURABLE)
        db.executescript(_SCHEMA)
        db.execute("INSERT INTO meta VALUES (?)", (secrets.token_bytes(32),))
        db.execute("PRAGMA journal_mode = WAL")  # stays with the file


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",  # never creates
        uri=True,
        timeout=_LOCK_WAIT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _caller_ref_key(db: sqlite3.Connection, path: Path) -> bytes:
    """Make sure that the file is an outbox that we can read, before anything is written."""
    try:
        application = db.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise _foreign(path) from None
        raise
    if application != _APPLICATION_ID:
        raise _foreign(path)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != _VERSION:
        raise StoreError(
            f"{path} is an outbox of version {version}; this program knows version {_VERSION}",
            reason="OUTBOX_VERSION",
            action="use the ledgerd-client that wrote it, or a newer one",
        )
    key: bytes = db.execute("SELECT caller_ref_key FROM meta").fetchone()[0]
    return key


def _foreign(path: Path) -> StoreError:
    return StoreError(
        f"{path} is not an outbox; it was left as it is",
        reason="NOT_AN_OUTBOX",
        action="give the outbox a path of its own",
    )


@contextmanager
def translated() -> Iterator[None]:
    """Raise what SQLite raises as errors of ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _ours(error) from error


def _ours(error: sqlite3.Error) -> LedgerError:
    if isinstance(error, sqlite3.ProgrammingError):
        return NotReadyError(f"outbox: {error}", reason="OUTBOX_CLOSED")
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = extended & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return BusyError("another process holds the outbox's lock", reason="OUTBOX_LOCKED")
    # A full disk shows as the latter where the index of the -wal file is to grow.
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return BusyError(
            "the outbox's disk is full", reason="DISK_FULL", action="free space, then try again"
        )
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return InputError(
            f"outbox: {error}", action="let this user read and write the file and its directory"
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return ConflictError(f"outbox: {error}")
    return StoreError(
        f"outbox: {error}",
        action="stop, copy the outbox with its -wal file, and check the disk",
    )
