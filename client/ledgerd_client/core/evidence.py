"""
Evidence: two checkpoints that one log's key signed and that no honest log has both signed.

Whoever holds the log's key history verifies it offline (docs/format.md, "Evidence"). As a file:

    ledgerd-evidence/v1
    root <base64>      only when the sizes differ: the root that the larger tree had at the smaller
    hash <base64>      size, and a line for each hash of the consistency proof between the two
    note <bytes>       the smaller checkpoint's length in bytes; after it the whole signed note
    note <bytes>       the larger one in the same way
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ledgerd_client.core.checkpoint import Checkpoint, open_checkpoint
from ledgerd_client.core.encoding import encode_base64, parse_base64, parse_decimal
from ledgerd_client.core.errors import MalformedError, VerificationError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.merkle import verify_consistency
from ledgerd_client.core.note import parse_note

FILE_HEAD = "ledgerd-evidence/v1"


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    Two whole signed notes, the smaller checkpoint first (of equal sizes, in the order of bytes).

    When the sizes differ, root is what the tree under the larger checkpoint had as its root at the
    smaller size, and proof the consistency proof that shows it; otherwise both are empty.
    """

    smaller: bytes
    larger: bytes
    root: bytes = b""
    proof: tuple[bytes, ...] = ()

    def format(self) -> bytes:
        lines = [FILE_HEAD]
        lines += [f"root {encode_base64(self.root)}"] if self.root else []
        lines += [f"hash {encode_base64(node)}" for node in self.proof]
        head = "".join(f"{line}\n" for line in lines).encode()
        return head + b"".join(
            f"note {len(note)}\n".encode() + note for note in (self.smaller, self.larger)
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """
        Read a bundle, believed by nobody yet.

        Raises MalformedError unless data is its one spelling, TooLargeError for a note beyond its
        limits.
        """
        head, mark, rest = data.partition(b"\nnote ")
        fields = [line.partition(b" ")[2] for line in head.split(b"\n")[1:]]
        hashes = [parse_base64(field.decode("ascii", "replace")) for field in fields]
        smaller, rest = take_note(mark[1:] + rest)
        larger, _ = take_note(rest)
        evidence = cls(smaller, larger, b"".join(hashes[:1]), tuple(hashes[1:]))
        if evidence.format() != data or [smaller, larger] != sorted((smaller, larger), key=_order):
            raise MalformedError(f"not a {FILE_HEAD} file, or not in its one spelling")
        return evidence

    def verify(self, history: KeyHistory) -> tuple[Checkpoint, Checkpoint]:
        """
        Check that this proves a contradiction of history's log; return the two checkpoints.

        Raises VerificationError when it proves nothing, MalformedError for notes that are none.
        """
        smaller, larger = (open_accountable(note, history) for note in (self.smaller, self.larger))
        root = self.root
        if smaller.size == larger.size:
            if self.root or self.proof:
                raise MalformedError("two checkpoints of one size need no proof")
            root = larger.root
        else:
            verify_consistency(smaller.size, root, larger.size, larger.root, self.proof)
        if root == smaller.root:
            raise VerificationError("the two checkpoints agree with each other")
        return smaller, larger


def open_accountable(note: bytes, history: KeyHistory) -> Checkpoint:
    """
    Open a checkpoint that counts against history's log: by the key in force at its size.

    Raises as open_checkpoint, also for a key that the authority has said was not only the log's.
    """
    size = Checkpoint.parse(parse_note(note).text).size
    return open_checkpoint(note, log=history.accountable(size)).checkpoint


def fork_evidence(
    one: bytes, other: bytes, *, root: bytes = b"", proof: Sequence[bytes] = ()
) -> Evidence:
    """
    Put two signed notes together, in either order; nothing is verified.

    root and proof as in Evidence, when the sizes differ. Raises MalformedError for what is no
    checkpoint.
    """
    smaller, larger = sorted((one, other), key=_order)
    return Evidence(smaller, larger, root, tuple(proof))


def _order(note: bytes) -> tuple[int, bytes]:
    return Checkpoint.parse(parse_note(note).text).size, note


def take_note(data: bytes) -> tuple[bytes, bytes]:
    """Split off a note after the line with its length; raises MalformedError."""
    line, _, rest = data.partition(b"\n")
    word, _, digits = line.partition(b" ")
    size = parse_decimal(digits.decode("ascii", "replace"))
    if word != b"note":
        raise MalformedError("a note in a bundle follows a line with its length in bytes")
    return rest[:size], rest[size:]
