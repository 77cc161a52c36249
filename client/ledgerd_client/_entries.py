"""
Entries as a regulator gets them, and what is checked of each before anybody believes it.

Pure functions; they raise as those of _replies do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._results import Finding
from ledgerd_client.core.body import AUTHORITY, NODE, read_body
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import ChainError, VerificationError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import verify
from ledgerd_client.core.merkle import leaf_hash, verify_inclusion
from ledgerd_client.core.ranges import cut_inclusion, verify_range
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.remains import facts_of_remains
from ledgerd_client.core.supervision import KIND_NUMBERS


@dataclass(frozen=True, slots=True)
class Erased:
    """
    Why a body is no longer there: the ERASURE entry's index and time (µs), and its reason.

    remains: what is left of it, and could be of it, as the node says.
    """

    index: int
    at: int
    reason: str
    remains: body_pb2.Body


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """
    An entry of the log that was asked.

    Proven: its author signed it, and the body is the one that was signed; with a receipt, that it
    stands at this index of the checkpoint's tree. The node's word is what is not recorded in the
    entry: state, that of the transfer that it is a half of ("": of none); closed_by, the index of
    the entry that closed a finding; and erased. body is None where it was erased, or not asked for.
    """

    index: int
    header: Header
    # Of an institution, "authority" or "node".
    author: str
    body: body_pb2.Body | None
    # Name of the record's field in the body; without one, of the header's kind.
    kind: str
    state: str = ""
    closed_by: int | None = None
    erased: Erased | None = None
    receipt: Receipt | None = None

    @property
    def stated(self) -> body_pb2.Body | None:
        """The body, or what remains of it."""
        return self.erased.remains if self.erased else self.body


@dataclass(frozen=True, slots=True)
class Page:
    """Entries of one answer; as_of is when the newest entry below its checkpoint was recorded."""

    entries: tuple[FoundEntry, ...]
    checkpoint: bytes
    as_of: int


@dataclass(frozen=True, slots=True)
class ProvenHalf:
    """
    One half of a transfer, with what proves that it stands in its log.

    body is None for the other side's, whose node alone has it, where it was erased, and where it
    was withheld: it is outside of the grant, as the node says.
    """

    origin: str
    institution: str
    header: Header
    receipt: Receipt
    body: body_pb2.Body | None
    erased: Erased | None
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class TransferFile:
    """
    A transfer as of a checkpoint: every half proven; state and findings are the node's word.

    The other side's log is known to it up to peer_size entries, as of peer_known_at (µs, UTC).
    """

    ref: bytes
    state: str
    halves: tuple[ProvenHalf, ...]
    findings: tuple[Finding, ...]
    peer_size: int
    peer_known_at: int
    checkpoint: bytes
    as_of: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts as of a checkpoint: the node's word, which a mirror of it can check."""

    groups: tuple[pb.Group, ...]
    checkpoint: bytes
    as_of: int


def read_entry(entry: pb.Entry, asked: pb.Query, history: KeyHistory) -> FoundEntry:
    """An entry that answers a query; raises unless its author signed it, for this place."""
    header = Header.parse(entry.header)
    if header.index != entry.index:
        raise ChainError(f"entry {header.index} is announced as {entry.index}")
    verify(history.signer(header), header.signed_bytes(history.origin), header.signature)
    body, kind = read_shown(entry.body, header)
    erased = read_erased(entry, header)
    if erased is not None:
        kind = erased.remains.WhichOneof("record") or kind
    _check_asked(header, kind if body or erased else "", asked)
    return FoundEntry(
        header.index, header, author_of(header, history), body, kind, entry.state,
        entry.closed_by or None, erased,
    )  # fmt: skip


def read_erased(shown: pb.Entry | pb.Half, header: Header) -> Erased | None:
    """Why the body is gone; raises for one that is here, and for what can't remain of it."""
    if not shown.HasField("erased"):
        return None
    why = shown.erased
    if shown.body:
        raise VerificationError(f"the body of entry {header.index} is said to be erased")
    facts_of_remains(header, why.remains)
    return Erased(why.index, why.at, why.reason, body_pb2.Body.FromString(why.remains))


def check_whole(entry: FoundEntry) -> None:
    """Refuse an entry without its body, unless that was erased."""
    if entry.body is None and entry.erased is None:
        raise VerificationError(
            f"entry {entry.index} came without its body", reason="BODY_MISMATCH"
        )


def author_of(header: Header, history: KeyHistory) -> str:
    """Whose key signed an entry, whose signature was verified."""
    if header.kind in {Kind.GENESIS, Kind.KEY, Kind.LOSS}:
        return AUTHORITY
    key = history.find(header.key_id)
    return key.subject if key else NODE


def check_order(indexes: Sequence[int], asked: pb.Query, size: int) -> None:
    """Refuse a page, or pages, whose entries are not in the order that was asked for."""
    ordered = sorted(set(indexes), reverse=asked.newest_first)
    if list(indexes) != ordered:
        raise ChainError("the entries are not in the order that was asked for")
    if indexes and max(indexes) >= size:
        raise ChainError(f"entry {max(indexes)} is beyond the checkpoint's {size}")


def prove(page: pb.ListEntriesResponse, checkpoint: Checkpoint) -> list[Receipt]:
    """A receipt for each entry of a page that came with proofs; raises ProofError."""
    entries = page.entries
    raw = [entry.header for entry in entries]
    leaves = [leaf_hash(header) for header in raw]
    if not raw:
        return []
    if page.range_proof or not any(entry.proof for entry in entries):
        first, proof = entries[0].index, list(page.range_proof)
        # Leaves that are not neighbours do not lead to the root.
        verify_range(leaves, first, checkpoint.size, proof, checkpoint.root)
        proofs = cut_inclusion(leaves, first, checkpoint.size, proof)
    else:
        proofs = [list(entry.proof) for entry in entries]
        for entry, leaf, proof in zip(entries, leaves, proofs, strict=True):
            verify_inclusion(leaf, entry.index, checkpoint.size, proof, checkpoint.root)
    return [
        Receipt(header, tuple(proof), page.checkpoint)
        for header, proof in zip(raw, proofs, strict=True)
    ]


def read_shown(data: bytes, header: Header) -> tuple[body_pb2.Body | None, str]:
    """A body and its record's name; raises VerificationError for one that is not the header's."""
    if not data:
        return None, header.kind.name.lower()
    if sha256(data).digest() != header.body_digest:
        raise VerificationError(
            f"the body of entry {header.index} is another one", reason="BODY_MISMATCH"
        )
    return read_body(data)


def _check_asked(header: Header, record: str, asked: pb.Query) -> None:
    end, until = asked.end or header.index + 1, asked.until or header.recorded_at + 1
    since = getattr(asked, "from")
    matches = asked.first <= header.index < end and since <= header.recorded_at < until
    if record and asked.kinds:
        matches &= KIND_NUMBERS[record] in asked.kinds
    if not matches:
        raise VerificationError(
            f"entry {header.index} is none that was asked for", reason="OTHER_RECORD"
        )
