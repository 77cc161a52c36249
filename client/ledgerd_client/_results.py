"""What the client's calls return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ledgerd_client.core.header import Header
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.transfer import Ticket

Status = Literal["recorded", "queued"]
Outcome = Literal["accepted", "partial", "rejected", "digest_mismatch"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """
    A signed record that is kept: in the node's log, or durably in the outbox.

    record_id (16 bytes, UUIDv7) names it at the node and in the outbox; ref (32 bytes) names the
    transfer in both logs. receipt is verified; None while the record is queued.
    """

    record_id: bytes
    ref: bytes
    receipt: Receipt | None

    @property
    def status(self) -> Status:
        return "queued" if self.receipt is None else "recorded"

    @property
    def index(self) -> int | None:
        """Its place in the log; None while it is queued."""
        return None if self.receipt is None else self.receipt.index


@dataclass(frozen=True, slots=True)
class Declared(Submitted):
    """
    A transfer that was declared.

    Send ticket.encode() with the data; whoever has it can open the commitment, so keep it as you
    keep the data. While the transfer is queued the ticket holds the signed record in place of the
    receipt, and a recipient takes it only if told to.
    """

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Acknowledged(Submitted):
    """
    A transfer that was acknowledged, and as what. Said again, it is the first record.

    differing_parts: the declared parts that arrived changed, or not at all.
    """

    outcome: Outcome
    differing_parts: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.outcome == "accepted"


@dataclass(frozen=True, slots=True)
class Cancelled(Submitted):
    """A transfer that was taken back."""


@dataclass(frozen=True, slots=True)
class Half:
    """
    One half of a transfer: whose key signed it, for which log, and where the node says it is.

    A receipt proves place and time: index, and of header whatever its institution did not sign.
    """

    origin: str
    index: int
    institution: str
    header: Header


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What a rule says of records, which are (origin, index).

    severity is 1 information, 2 medium, 3 high. A closed finding has been cured.
    """

    finding_id: bytes
    rule: str
    severity: int
    records: tuple[tuple[str, int], ...]
    closed: bool


@dataclass(frozen=True, slots=True)
class TransferView:
    """
    A transfer as the node of one's own side sees it.

    Proven of each half is that its institution signed it, for this transfer and that log. All else
    is the node's word: state and findings, that a half is in the log, when and where, and that
    there are no others.

    The other side's log is known to it up to peer_size entries, as of peer_known_at (µs, UTC).
    checkpoint is the verified signed note of its own log at the time of the answer.
    """

    ref: bytes
    state: str
    halves: tuple[Half, ...]
    findings: tuple[Finding, ...]
    peer_size: int
    peer_known_at: int
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """
    What a node says of itself. Sizes are in bytes, but for size and cosigned_size (entries).

    why_not says why it takes no records when appends is False.
    """

    version: str
    origin: str
    peer_origin: str
    max_records: int
    max_body_bytes: int
    max_message_bytes: int
    size: int
    cosigned_size: int
    appends: bool
    why_not: str
