"""
Receipts: header, inclusion proof and checkpoint, verifiable offline and for good.

As a file a receipt is a C2SP tlog-proof with the header in `extra` (docs/format.md, "Receipt").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from ledgerd_client.core.checkpoint import Checkpoint, OpenedCheckpoint, open_checkpoint
from ledgerd_client.core.encoding import encode_base64, parse_base64, parse_decimal
from ledgerd_client.core.errors import MalformedError, TrustError, VerificationError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import verify as verify_signature
from ledgerd_client.core.merkle import leaf_hash, verify_inclusion
from ledgerd_client.core.note import parse_note

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
    # POSIX seconds of the peer's cosignature; None when there is none.
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

    peer's cosigner key, if given, must fit a cosignature that is present. strict refuses signature
    lines by unknown keys, as a file is read; a note from the network keeps C2SP's rule.
    Raises VerificationError, MalformedError or ForbiddenError (a key that may not sign).
    """
    header = Header.parse(receipt.header)
    opened = open_log_checkpoint(receipt.checkpoint, history, peer, strict=strict)
    if require_cosignature and not opened.cosigned:
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
        max(opened.cosigned.values(), default=None),
    )


def open_log_checkpoint(
    note: bytes, history: KeyHistory, peer: KeyHistory | None = None, *, strict: bool = False
) -> OpenedCheckpoint:
    """
    Open a checkpoint of history's log, cosigned or not by peer's node.

    Raises as open_checkpoint, and TrustError when peer is not the peer that GENESIS names.
    """
    if peer is not None and peer.origin != history.need_genesis().peer_origin:
        raise TrustError(f"{peer.origin} is not the peer of {history.origin}")
    return open_checkpoint(
        note,
        log=history.log_verifiers(),
        cosigners=peer.cosigner_verifiers() if peer else (),
        strict=strict,
    )


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
