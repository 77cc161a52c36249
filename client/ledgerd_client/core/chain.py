"""
Replay: everything that can be checked of a log's headers, one after the other.

The monitor, the auditor and the tests run this very code. Signatures are returned to the caller
unchecked, because they are worth checking in bulk and elsewhere (`check_signatures`); an entry
counts as replayed only when its signature has been checked too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import parse_body
from ledgerd_client.core.errors import ChainError, LedgerError
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header, Kind, genesis_previous
from ledgerd_client.core.history import HISTORY_KINDS, KeyHistory
from ledgerd_client.core.keys import verify
from ledgerd_client.core.merkle import Frontier, leaf_hash


class SignatureCheck(NamedTuple):
    """The signature of the entry at position `entry`, still to be checked."""

    entry: int
    public: bytes
    message: bytes
    signature: bytes


def check_signatures(checks: Iterable[SignatureCheck]) -> None:
    """Check each; raises SignatureError at the first that fails."""
    for check in checks:
        try:
            verify(check.public, check.message, check.signature)
        except LedgerError as error:
            raise type(error)(f"entry {check.entry}: {error.message}") from None


@dataclass(slots=True)
class Replay:
    """
    The state of a replay: where the log stands and whose keys are good.

    claim_digest(digest, index) records a body digest and says whether it is new.
    """

    history: KeyHistory
    claim_digest: Callable[[bytes, int], bool]
    tree: Frontier
    last_leaf: bytes
    last_time: int = 0

    @classmethod
    def start(cls, history: KeyHistory, claim_digest: Callable[[bytes, int], bool]) -> Replay:
        return cls(history, claim_digest, Frontier(), genesis_previous(history.origin))

    @property
    def size(self) -> int:
        return self.tree.size

    def step(self, raw: bytes, body: bytes | None) -> tuple[Header, SignatureCheck]:
        """
        Take the next header; body is given for kinds shared with the peer (others may give it).

        Raises MalformedError, ChainError, ForbiddenError, …; the state is then as it was, but for
        a claimed digest.
        """
        header = Header.parse(raw)
        check_place(header, self.size, self.last_leaf, self.last_time)
        if body is not None and sha256(body).digest() != header.body_digest:
            raise ChainError(f"entry {header.index}: the body is not the one in the header")
        if body is None and header.kind in KINDS_SHARED_WITH_PEER:
            raise ChainError(f"entry {header.index}: the body of {header.kind.name} is missing")
        parsed = None
        if body is not None and header.kind in HISTORY_KINDS:
            parsed = parse_body(body)
            self._check_key_entry(header, parsed)
        public = self.history.signer(header, parsed)
        if not self.claim_digest(header.body_digest, header.index):
            raise ChainError(f"entry {header.index} repeats the body of an earlier one")
        if parsed is not None and body is not None:
            self.history.apply(header, parsed, raw=(raw, body))
        self.last_leaf = leaf_hash(raw)
        self.last_time = header.recorded_at
        self.tree.append(self.last_leaf)
        message = header.signed_bytes(self.history.origin)
        return header, SignatureCheck(header.index, public, message, header.signature)

    def _check_key_entry(self, header: Header, body: pb.Body) -> None:
        self.history.check(header, body)
        if header.kind == Kind.LOSS and body.loss.root != self.tree.root():
            raise ChainError(f"entry {header.index}: the LOSS is of another tree than this")


def check_place(header: Header, index: int, last_leaf: bytes, last_time: int) -> None:
    """Refuse what can't be the entry at index, after one of that leaf hash and time (µs)."""
    if header.index != index:
        raise ChainError(f"entry {index} is missing: found {header.index}")
    if header.previous_leaf_hash != last_leaf:
        raise ChainError(f"entry {header.index} does not follow from the one before")
    if header.recorded_at < last_time:
        raise ChainError(f"entry {header.index} is older than the one before")
    if (header.kind == Kind.GENESIS) != (header.index == 0):
        raise ChainError("GENESIS stands at index 0 and nowhere else")
