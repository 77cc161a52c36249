"""
A log's key history: who may sign what, decided in log order (protocol, "Keys and trust").

One class serves the node that writes the log, the peer that replays it and the verifier who holds
a key-history file: all of them apply the same entries in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.admission import AdmittedKey
from ledgerd_client.core.admitted_keys import AdmittedKeys
from ledgerd_client.core.body import BY_AUTHORITY, BY_INSTITUTIONS, kind_of, parse_body
from ledgerd_client.core.encoding import encode_base64, parse_base64, u64
from ledgerd_client.core.errors import (
    ChainError,
    ConflictError,
    ForbiddenError,
    LedgerError,
    MalformedError,
    TrustError,
)
from ledgerd_client.core.header import Header, Kind, check_origin
from ledgerd_client.core.keys import check_public_key, key_id, verify
from ledgerd_client.core.node_keys import ROTATING_ROLES, NodeKey, NodeKeys
from ledgerd_client.core.note import Verifier

FILE_HEAD = "ledgerd-keys/v1"
# What a key history is made of.
HISTORY_KINDS = frozenset((Kind.GENESIS, Kind.KEY, Kind.LOSS))
_HISTORY_TAG = b"ledgerd/history/v1\n"


class KeyHistory:
    """
    GENESIS, key events and losses of one log, applied in order. Not thread-safe for writing.

    No note is opened under it before it holds the authority's key that is pinned.
    """

    def __init__(self, origin: str, authority: bytes) -> None:
        """
        Start empty.

        authority is the raw public key that the trust file pins for origin: the first that signs
        this log, or one that it was rotated to.
        """
        self.origin = origin
        self.authority = authority
        self.genesis: pb.Genesis | None = None
        self.entries: list[tuple[bytes, bytes]] = []
        self._admitted = AdmittedKeys(origin)
        self._node_keys = NodeKeys(origin)
        self._losses: list[pb.Loss] = []
        self._revoked_certificates: set[bytes] = set()

    # -- growing --------------------------------------------------------------------------

    def check(self, header: Header, body: pb.Body) -> None:
        """
        Refuse a GENESIS, KEY or LOSS entry that may not stand at header.index.

        Changes nothing. Raises ChainError, TrustError, SignatureError, NotFoundError, ConflictError
        or MalformedError. Whose signature the entry must carry, signer() tells; that the root of a
        LOSS is the tree's, whoever has the tree must check.
        """
        if (kind_of(body), body.origin) != (header.kind, self.origin):
            raise ChainError(f"entry {header.index}: the body is of another kind or log")
        if header.kind == Kind.GENESIS:
            self._check_genesis(header)
        elif header.kind == Kind.LOSS:
            self._check_loss(header, body.loss)
        else:
            self._check_key_event(body.key_event)

    def apply(self, header: Header, body: pb.Body, *, raw: tuple[bytes, bytes]) -> None:
        """Take over an entry that check() let pass; raw is (header, body) as stored."""
        self.entries.append(raw)
        if header.kind == Kind.GENESIS:
            self.genesis = body.genesis
            self._node_keys.begin(body.genesis)
        elif header.kind == Kind.LOSS:
            self._losses.append(body.loss)
            self._node_keys.apply_loss(header.index, body.loss)
        else:
            self._apply_key_event(header.index, body.key_event)

    def _check_genesis(self, header: Header) -> None:
        if header.index != 0 or self.genesis is not None:
            raise ChainError("GENESIS stands at index 0 and nowhere else")

    def _check_loss(self, header: Header, loss: pb.Loss) -> None:
        self.need_genesis()
        for public in (loss.log_key, loss.cosigner_key):
            self._check_new(public)
        self._node_keys.check_loss(header.index, loss)

    def _check_key_event(self, event: pb.KeyEvent) -> None:
        if event.role == pb.ROLE_TLS:
            if event.public_key in self._revoked_certificates:
                raise ConflictError("the certificate is revoked already", reason="KEY_REVOKED")
        elif event.role in ROTATING_ROLES:
            self._check_of_node(event)
        else:
            if event.action != pb.KEY_ACTION_REVOKE:
                self._check_new(event.public_key)
            self._admitted.check(event)

    def _check_of_node(self, event: pb.KeyEvent) -> None:
        self.need_genesis()
        if event.action == pb.KEY_ACTION_ROTATE:
            self._check_new(event.public_key)
        self._node_keys.check(event, lambda: self.history_digest)

    def _check_new(self, public: bytes) -> None:
        check_public_key(public)
        if self._admitted.find(key_id(public)) is not None or self._node_keys.named(public):
            # One subject per key for ever, and a revoked key never comes back.
            raise ConflictError("this key was admitted before", reason="KEY_KNOWN")

    def _apply_key_event(self, index: int, event: pb.KeyEvent) -> None:
        if event.role == pb.ROLE_TLS:
            self._revoked_certificates.add(event.public_key)
        elif event.role in ROTATING_ROLES:
            self._node_keys.apply(index, event)
        else:
            self._admitted.apply(index, event)

    # -- asking ---------------------------------------------------------------------------

    def signer(self, header: Header, body: pb.Body | None = None) -> bytes:
        """
        Return the public key that must have signed an entry; body: of a GENESIS to be applied yet.

        Raises ForbiddenError when the named key may not sign this kind at this index.
        """
        if (header.kind == Kind.GENESIS) != (header.index == 0):
            raise ForbiddenError("GENESIS stands at index 0 and nowhere else")
        if header.kind in BY_INSTITUTIONS:
            return self.institution_key(header.key_id, header.key_index, header.index).public
        if header.kind == Kind.GENESIS and self.genesis is None and body is not None:
            key = NodeKey(body.genesis.authority_key, 0)
        else:
            role = pb.ROLE_AUTHORITY if header.kind in BY_AUTHORITY else pb.ROLE_ENTRY
            key = self.key_in_force(role, header.index)
        if (header.key_id, header.key_index) != (key_id(key.public), key.admitted_at):
            raise ForbiddenError(
                f"entry {header.index} ({header.kind.name}) is signed by a key that may not",
                reason="KEY_UNKNOWN",
            )
        return key.public

    def institution_key(self, wanted: bytes, admitted_at: int, index: int) -> AdmittedKey:
        """As AdmittedKeys.of_institution."""
        return self._admitted.of_institution(wanted, admitted_at, index)

    def find(self, wanted: bytes) -> AdmittedKey | None:
        return self._admitted.find(wanted)

    def of_subject(self, role: int, subject: str) -> Iterator[tuple[bytes, AdmittedKey]]:
        """As AdmittedKeys.of_subject."""
        return self._admitted.of_subject(role, subject)

    def need_genesis(self) -> pb.Genesis:
        if self.genesis is None:
            raise TrustError(f"the key history of {self.origin} has no GENESIS")
        return self.genesis

    # -- the node's keys and the authority's ------------------------------------------------

    def key_in_force(self, role: int, index: int | None = None) -> NodeKey:
        """
        The key of the node or authority that signs the entry at index; None: the next one.

        role: ROLE_LOG, ROLE_ENTRY, ROLE_COSIGNER or ROLE_AUTHORITY. Raises TrustError before
        GENESIS.
        """
        self.need_genesis()
        return self._node_keys.in_force(role, index)

    def node_keys(self, role: int) -> tuple[NodeKey, ...]:
        """All of such a role, in log order."""
        return self._node_keys.of(role)

    def names_authority(self, public: bytes) -> bool:
        """Whether public is the authority's key, or was."""
        return any(key.public == public for key in self.node_keys(pb.ROLE_AUTHORITY))

    def need_trusted(self) -> None:
        """Raise TrustError unless the authority's key that is pinned is among its keys."""
        self.need_genesis()
        if not self.names_authority(self.authority):
            raise TrustError(f"GENESIS of {self.origin} names an authority that is not trusted")

    def log_keys(self, size: int) -> tuple[Verifier, ...]:
        """
        The keys of this log's checkpoints of a size: the one in force there, then earlier ones.

        The first must have signed; the rest may have too, at a rotation. Raises TrustError as
        need_trusted does.
        """
        self.need_trusted()
        return self._node_keys.log_keys(size)

    def accountable(self, size: int) -> tuple[Verifier, ...]:
        """
        The keys whose signature on a checkpoint of a size counts against this log: one or none.

        Not one that the authority has said was in other hands too, when it replaced it or since. A
        lost key counts below the entry that replaced it: what a LOSS gives up is above.
        """
        self.need_trusted()
        return self._node_keys.accountable(size)

    def is_young(self, role: int, known: int) -> bool:
        """
        Whether the log or entry key was rotated at or after `known` entries, the old not lost.

        While the peer has cosigned no more than that, the old one is still needed. False of all
        other roles.
        """
        return self._node_keys.young(role, known)

    def needs_both(self, known: int, size: int) -> tuple[Verifier, ...]:
        """
        Keys that must have signed a checkpoint of a size too, of which `known` is the one before.

        Each that was rotated away between the two, unless it was lost.
        """
        return self._node_keys.needs_both(known, size)

    def cosigner_keys(self) -> tuple[Verifier, ...]:
        """The keys by which this log's node cosigns its peer or did, the newest first."""
        self.need_trusted()
        return self._node_keys.cosigner_keys()

    def losses(self) -> tuple[pb.Loss, ...]:
        """In log order."""
        return tuple(self._losses)

    def is_revoked(self, certificate: bytes) -> bool:
        """Whether a certificate, named by the SHA-256 of its key, is revoked by this side."""
        return certificate in self._revoked_certificates

    @property
    def history_digest(self) -> bytes:
        """What stands for all entries of this history, each in its place."""
        headers = (Header.parse(header) for header, _ in self.entries)
        placed = (u64(header.index) + header.body_digest for header in headers)
        return sha256(_HISTORY_TAG + b"".join(placed)).digest()

    # -- as a file ------------------------------------------------------------------------

    def format(self) -> bytes:
        lines = [FILE_HEAD, self.origin]
        lines += [f"{encode_base64(h)} {encode_base64(b)}" for h, b in self.entries]
        return "".join(f"{line}\n" for line in lines).encode()

    @classmethod
    def parse(cls, data: bytes, authority: bytes, *, partial: bool = False) -> Self:
        """Read a key-history file and verify every entry; partial, and what it raises, as of()."""
        try:
            lines = data.decode().split("\n")
        except UnicodeDecodeError:
            raise MalformedError("key history is not text") from None
        if lines[0] != FILE_HEAD or len(lines) < 4 or lines[-1]:
            raise MalformedError("not a ledgerd-keys/v1 file")
        pairs = [line.split(" ") for line in lines[2:-1]]
        if any(len(pair) != 2 for pair in pairs):
            raise MalformedError("a line of a key history is a header and a body")
        check_origin(lines[1])
        entries = ((parse_base64(h), parse_base64(b)) for h, b in pairs)
        return cls.of(lines[1], authority, entries, partial=partial)

    @classmethod
    def of(
        cls,
        origin: str,
        authority: bytes,
        entries: Iterable[tuple[bytes, bytes]],
        *,
        partial: bool = False,
    ) -> Self:
        """
        Build a history of (header, body) pairs, verifying each; empty for none.

        partial: the pinned authority's key may still be to come, as in a log that is replayed.
        Raises VerificationError or InputError: what an authority signed can only be whole.
        """
        history = cls(origin, authority)
        last = -1
        for raw in entries:
            header, body = Header.parse(raw[0]), parse_body(raw[1])
            if header.index <= last or header.kind not in HISTORY_KINDS:
                raise ChainError("a key history holds GENESIS, KEY and LOSS entries in log order")
            if sha256(raw[1]).digest() != header.body_digest:
                raise ChainError(f"entry {header.index} of the key history has another body")
            try:
                history.check(header, body)
                signer = history.signer(header, body)
                verify(signer, header.signed_bytes(origin), header.signature)
            except LedgerError as error:
                raise TrustError(f"key history of {origin}: {error.message}") from None
            history.apply(header, body, raw=raw)
            last = header.index
        if history.entries and not partial:
            history.need_trusted()
        return history
