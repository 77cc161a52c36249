"""What the client's calls return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
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

    record_id (16 bytes, UUIDv7) names it at the node and in the outbox; ref (32 bytes) names its
    transfer or contract in both logs, and is empty for what stays on one side. receipt is verified;
    None while the record is queued.
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
    """A transfer that was taken back. Said again, it is the first record."""


@dataclass(frozen=True, slots=True)
class Recorded(Submitted):
    """What `record` recorded."""


@dataclass(frozen=True, slots=True)
class Half:
    """
    One half of a transfer or contract: whose key signed it, for which log, and where the node says
    it is.

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

    severity is 1 information, 2 medium, 3 high. A closed finding has been cured. ref is the
    transfer that it is about, if any; institution and contract_id whom and what it concerns if it
    is not about one transfer. numbers are named by the rule: …_on is a date (yyyymmdd), …_at a time
    (µs since the epoch), any other a count. Catalogue.finding puts it into words.
    """

    finding_id: bytes
    rule: str
    severity: int
    records: tuple[tuple[str, int], ...]
    closed: bool
    ref: bytes = b""
    institution: str = ""
    contract_id: str = ""
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FindingEntry:
    """
    A FINDING in the log of one's own side's node.

    Proven is that this node signed it, for this place; the rest is its word. closed_by is the
    entry by which it was closed, closed_at when; None while it stands, and of a closing itself.
    Times are in µs.
    """

    index: int
    recorded_at: int
    finding: Finding
    closed_by: int | None
    closed_at: int | None = None


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
class Stated:
    """
    What both parties stated of one sort, as the node says.

    outcome: 1 contract, 2 filing, 3 supplement, 4 termination, 5 disposal. own and peer are the
    indexes of the newest halves, None without one.
    """

    outcome: int
    state: str
    terms_digest: bytes
    own: int | None
    peer: int | None


@dataclass(frozen=True, slots=True)
class ContractView:
    """
    A contract as the node of one's own side sees it.

    Proven of each half is that its institution signed it, for this contract and that log; all else
    is the node's word. terms are the newest version that we stated ourselves: Contract.parse reads
    them. findings are the indexes of those that stand; subjects how many people were transferred
    for the first time in their year. The other side's log is known as in TransferView. institution:
    whose statements they are, where a regulator asks; "" where the institution itself does.
    """

    contract_id: str
    ref: bytes
    state: str
    halves: tuple[Half, ...]
    terms: bytes
    statements: tuple[Stated, ...]
    findings: tuple[int, ...]
    subjects: int
    first_transfer_on: date | None
    peer_size: int
    peer_known_at: int
    checkpoint: bytes
    institution: str = ""


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
