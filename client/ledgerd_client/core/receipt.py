"""
Receipts: header, inclusion proof and checkpoint, verifiable offline and for good.

As a file a receipt is a C2SP tlog-proof with the header in `extra` (docs/format.md, "Receipt").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, OpenedCheckpoint
from ledgerd_client.core.encoding import encode_base64, parse_base64, parse_decimal
from ledgerd_client.core.errors import MalformedError, TrustError, VerificationError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import verify as verify_signature
from ledgerd_client.core.merkle import leaf_hash, verify_inclusion
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.opening import open_log_checkpoint

FILE_HEAD = "c2sp.org/tlog-proof@v1"
MAX_PROOF = 64


@dataclass(frozen=True, slots=True)
class Receipt:
    """header (bytes as stored), proof (leaf's sibling first), checkpoint (a signed note)."""

    header: bytes
    proof: tuple[bytes, ...]
    checkpoint: bytes

    @property
    def index(self) -> int:
        return Header.parse(self.header).index

    def format(self) -> bytes:
        lines = [
            FILE_HEAD,
            f"extra {encode_base64(self.header)}",
            f"index {self.index}",
            *map(encode_base64, self.proof),
            "",
        ]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """
        Read a receipt file, believed by nobody yet.

        Raises MalformedError unless data is its one spelling, TooLargeError for a note beyond its
        limits.
        """
        proof_text, separator, checkpoint = data.partition(b"\n\n")
        try:
            head, extra, index, *hashes = proof_text.decode("ascii").split("\n")
        except ValueError:  # UnicodeDecodeError is one
            raise MalformedError("not a receipt file") from None
        if head != FILE_HEAD or not separator or len(hashes) > MAX_PROOF:
            raise MalformedError("not a c2sp.org/tlog-proof@v1 file")
        if not extra.startswith("extra ") or not index.startswith("index "):
            raise MalformedError("a receipt file has an extra line, then an index line")
        header = parse_base64(extra.removeprefix("extra "))
        proof = tuple(map(parse_base64, hashes))
        if any(len(node) != 32 for node in proof):
            raise MalformedError("a hash is 32 bytes")
        Checkpoint.parse(parse_note(checkpoint).text)
        receipt = cls(header, proof, checkpoint)
        if parse_decimal(index.removeprefix("index ")) != receipt.index:
            raise MalformedError("the file's index is not its header's")
        return receipt


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What a receipt proves."""

    header: Header
    checkpoint: Checkpoint
    # The institution that signed the entry; None when the node or the authority did.
    institution: str | None
    # POSIX seconds of the cosignature by the peer's present key; None when there is none.
    cosigned_at: int | None


def verify_receipt(
    receipt: Receipt,
    history: KeyHistory,
    peer: KeyHistory | None = None,
    *,
    require_cosignature: bool = False,
    strict: bool = True,
) -> VerifiedReceipt:
    """
    Verify a receipt of history's log with nothing but the two key histories.

    peer's cosigner keys, if given, must fit cosignatures that are present; only one by the key in
    force now counts. Where the log's own key of that checkpoint was replaced since, it is needed:
    whoever has stolen the old key could make "old" receipts. strict refuses signature
    lines by unknown keys, as a file is read; a note from the network keeps C2SP's rule.
    Raises VerificationError, MalformedError or ForbiddenError (a key that may not sign).
    """
    header = Header.parse(receipt.header)
    opened = open_log_checkpoint(receipt.checkpoint, history, peer, strict=strict)
    cosigned_at = _cosigned_at(opened, peer)
    if opened.retired and cosigned_at is None:
        raise TrustError(
            "the log's key on this receipt was replaced, and no good cosignature bears it out",
            reason="RETIRED_KEY",
            action="fetch the receipt again with `ledgerctl receipt get --cosigned`",
        )
    if require_cosignature and cosigned_at is None:
        raise TrustError(
            "the receipt carries no cosignature by the other side's node",
            reason="NOT_COSIGNED",
            action="fetch the receipt again with wait_cosigned, or without requiring it",
        )
    checkpoint = opened.checkpoint
    leaf = leaf_hash(receipt.header)
    verify_inclusion(leaf, header.index, checkpoint.size, receipt.proof, checkpoint.root)
    signer = history.signer(header)
    verify_signature(signer, header.signed_bytes(history.origin), header.signature)
    key = history.find(header.key_id)
    return VerifiedReceipt(
        header,
        checkpoint,
        key.subject if key else None,
        cosigned_at,
    )


def _cosigned_at(opened: OpenedCheckpoint, peer: KeyHistory | None) -> int | None:
    """When the peer's node cosigned, by the key that is in force now."""
    if peer is None:
        return None
    present = peer.key_in_force(pb.ROLE_COSIGNER).public
    times = (second for key, second in opened.cosigned.items() if key.public == present)
    return max(times, default=None)


def check_body(receipt: Receipt, body: bytes) -> None:
    """Refuse a body that is not the one the header stands for; raises VerificationError."""
    if sha256(body).digest() != Header.parse(receipt.header).body_digest:
        raise VerificationError("the body is not the one that was recorded", reason="BODY_MISMATCH")


def receipts_of(
    headers: Sequence[bytes], proofs: Sequence[Sequence[bytes]], checkpoint: bytes
) -> list[Receipt]:
    """Single receipts of a call's new records, cut from its range proof."""
    pairs = zip(headers, proofs, strict=True)
    return [Receipt(header, tuple(proof), checkpoint) for header, proof in pairs]
