"""What records would raise if they were appended now. Nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from ledgerd.ledger.entry import Entry
from ledgerd.ledger.head import Head
from ledgerd.ledger.machine import Machine
from ledgerd.ledger.peer_log import NoPeerLog
from ledgerd.store.base import Store
from ledgerd.store.overlay import Overlay
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ConflictError, LedgerError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.record import SignedRecord, check_clock, read_record


class Checker:
    """
    Judges unsigned records over a snapshot of a store. Any thread may ask; it writes nothing.

    history() gives the keys admitted so far; clock the time in µs.
    """

    def __init__(
        self, store: Store, history: Callable[[], KeyHistory], *, clock: Callable[[], int]
    ) -> None:
        self._store = store
        self._history = history
        self._clock = clock

    def check(self, bodies: Sequence[bytes], author: str) -> list[list[pb.Finding] | LedgerError]:
        """
        For each body by author, the findings that it would open and close, or why it is refused.

        Only those that concern the author: what another institution is told is not for its eyes.
        They are judged as one call of that order. Positions are those that the records would have
        if no finding came between them.
        """
        judged: list[list[pb.Finding] | LedgerError] = []
        with self._store.snapshot() as snapshot:
            overlay = Overlay(snapshot)
            head = Head.load(snapshot)
            machine = Machine.at(snapshot, self._history(), NoPeerLog())
            now = max(self._clock(), head.last_time)
            position = head.size
            for body in bodies:
                try:
                    entry = self._read(machine, overlay, body, author, position, now)
                    found = machine.apply(overlay, entry)
                    judged.append(_shown_to(author, found, machine, overlay))
                    position += 1
                except LedgerError as error:
                    judged.append(error.with_traceback(None))
        return judged

    def _read(
        self,
        machine: Machine,
        overlay: Overlay,
        body: bytes,
        author: str,
        position: int,
        now: int,
    ) -> Entry:
        unsigned = SignedRecord(body, b"", b"")
        facts = read_record(unsigned, origin=machine.history.origin, author=author)
        check_clock(facts, now)
        if machine.records.find(overlay, facts.author, facts.record_id) is not None:
            raise ConflictError(
                f"record_id {facts.record_id.hex()} is in the log already",
                reason="RECORD_ID_REUSED",
                action="make a new record_id for a new record",
            )
        return Entry(position, now, facts, sha256(body).digest(), b"", body)


def _shown_to(
    author: str, found: list[pb.Finding], machine: Machine, overlay: Overlay
) -> list[pb.Finding]:
    return [each for each in found if author in machine.concerned_by(overlay, each)]
