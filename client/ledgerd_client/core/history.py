"""
A log's key history: who may sign what, decided in log order (protocol, "Keys and trust").

One class serves the node that writes the log, the peer that replays it and the verifier who holds
a key-history file: all of them apply the same entries in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import BY_AUTHORITY, BY_INSTITUTIONS, kind_of, parse_body
from ledgerd_client.core.encoding import encode_base64, lp8, parse_base64
from ledgerd_client.core.errors import (
    ChainError,
    ConflictError,
    ForbiddenError,
    LedgerError,
    MalformedError,
    NotFoundError,
    SignatureError,
    TrustError,
)
from ledgerd_client.core.header import Header, Kind, check_origin
from ledgerd_client.core.keys import check_public_key, key_id, verify
from ledgerd_client.core.note import Verifier

FILE_HEAD = "ledgerd-keys/v1"
_ADMISSION_TAG = b"ledgerd/admission/v1\n"


@dataclass(frozen=True, slots=True)
class AdmittedKey:
    """A key that the authority admitted; indexes are of KEY entries in this log."""

    public: bytes
    # A number of pb.Role.
    role: int
    subject: str
    place: int
    sector: int
    name: str
    group: str
    admitted_at: int
    revoked_at: int | None = None
    # µs since the epoch from which the key was in other hands; 0: never.
    compromised_since: int = 0
    # What a regulator may read.
    grant: pb.Grant | None = None

    def good_at(self, index: int) -> bool:
        """Whether an entry at index may be signed with it."""
        return self.admitted_at < index and (self.revoked_at is None or index < self.revoked_at)


def admission_digest(origin: str, subject: str, role: int, public: bytes) -> bytes:
    """What a new key signs to show that whoever asks for it holds it."""
    named = lp8(origin.encode()) + lp8(subject.encode())
    return sha256(_ADMISSION_TAG + named + bytes([role]) + public).digest()


class KeyHistory:
    """GENESIS and key events of one log, applied in order. Not thread-safe for writing."""

    def __init__(self, origin: str, authority: bytes) -> None:
        """Start empty; authority is the raw public key that the trust file pins for origin."""
        self.origin = origin
        self.authority = authority
        self.genesis: pb.Genesis | None = None
        self.entries: list[tuple[bytes, bytes]] = []
        self._keys: dict[bytes, AdmittedKey] = {}

    # -- growing --------------------------------------------------------------------------

    def check(self, header: Header, body: pb.Body) -> None:
        """
        Refuse a GENESIS or KEY entry that may not stand at header.index.

        Changes nothing. Raises ChainError, TrustError, SignatureError, NotFoundError, ConflictError
        or MalformedError. Whose signature the entry must carry, signer() tells.
        """
        if (kind_of(body), body.origin) != (header.kind, self.origin):
            raise ChainError(f"entry {header.index}: the body is of another kind or log")
        if header.kind == Kind.GENESIS:
            self._check_genesis(header, body)
        else:
            self._check_key_event(body.key_event)

    def apply(self, header: Header, body: pb.Body, *, raw: tuple[bytes, bytes]) -> None:
        """Take over an entry that check() let pass; raw is (header, body) as stored."""
        self.entries.append(raw)
        if header.kind == Kind.GENESIS:
            self.genesis = body.genesis
        else:
            self._apply_key_event(header.index, body.key_event)

    def _check_genesis(self, header: Header, body: pb.Body) -> None:
        if header.index != 0 or self.genesis is not None:
            raise ChainError("GENESIS stands at index 0 and nowhere else")
        if body.genesis.authority_key != self.authority:
            raise TrustError(f"GENESIS of {self.origin} names an authority that is not trusted")

    def _check_key_event(self, event: pb.KeyEvent) -> None:
        wanted = key_id(event.public_key)
        if event.action == pb.KEY_ACTION_REVOKE:
            self._check_revocable(wanted, event)
            return
        if event.action == pb.KEY_ACTION_ROTATE:
            self._check_revocable(event.previous_key_id, event)
        self._check_admissible(wanted, event)

    def _check_revocable(self, wanted: bytes, event: pb.KeyEvent) -> None:
        key = self._keys.get(wanted)
        if key is None or (key.role, key.subject) != (event.role, event.subject):
            raise NotFoundError(f"{event.subject} has no such key", reason="KEY_UNKNOWN")
        if key.revoked_at is not None:
            raise ConflictError("the key is revoked already", reason="KEY_REVOKED")

    def _check_admissible(self, wanted: bytes, event: pb.KeyEvent) -> None:
        check_public_key(event.public_key)
        known = self._keys.get(wanted)
        if known is not None or event.public_key in self._node_keys():
            # One subject per key for ever, and a revoked key never comes back.
            raise ConflictError("this key was admitted before", reason="KEY_KNOWN")
        digest = admission_digest(self.origin, event.subject, event.role, event.public_key)
        try:
            verify(event.public_key, digest, event.possession)
        except SignatureError:
            raise SignatureError(
                "the proof of possession does not verify", reason="NO_POSSESSION"
            ) from None

    def _node_keys(self) -> tuple[bytes, ...]:
        genesis = self.need_genesis()
        return (genesis.log_key, genesis.entry_key, genesis.cosigner_key, genesis.authority_key)

    def _apply_key_event(self, index: int, event: pb.KeyEvent) -> None:
        wanted = key_id(event.public_key)
        if event.action == pb.KEY_ACTION_REVOKE:
            self._revoke(wanted, index, event.compromised_since)
            return
        new = AdmittedKey(
            event.public_key, event.role, event.subject,
            event.place, event.sector, event.name, event.group, index,
            grant=event.grant if event.HasField("grant") else None,
        )  # fmt: skip
        if event.action == pb.KEY_ACTION_ROTATE:
            old = self._keys[event.previous_key_id]
            self._revoke(event.previous_key_id, index, event.compromised_since)
            # What a rotation does not say anew stays as it was.
            new = replace(
                new,
                place=new.place or old.place,
                sector=new.sector or old.sector,
                name=new.name or old.name,
                group=new.group or old.group,
            )
        self._keys[wanted] = new

    def _revoke(self, wanted: bytes, index: int, compromised_since: int) -> None:
        self._keys[wanted] = replace(
            self._keys[wanted], revoked_at=index, compromised_since=compromised_since
        )

    # -- asking ---------------------------------------------------------------------------

    def signer(self, header: Header) -> bytes:
        """
        Return the public key that must have signed an entry.

        Raises ForbiddenError when the named key may not sign this kind at this index.
        """
        if (header.kind == Kind.GENESIS) != (header.index == 0):
            raise ForbiddenError("GENESIS stands at index 0 and nowhere else")
        if header.kind in BY_INSTITUTIONS:
            return self.institution_key(header.key_id, header.key_index, header.index).public
        by_authority = header.kind in BY_AUTHORITY
        public = self.authority if by_authority else self.need_genesis().entry_key
        if header.key_id != key_id(public) or header.key_index != 0:
            raise ForbiddenError(
                f"entry {header.index} ({header.kind.name}) is signed by a key that may not",
                reason="KEY_UNKNOWN",
            )
        return public

    def institution_key(self, wanted: bytes, admitted_at: int, index: int) -> AdmittedKey:
        """
        The institution's key of the entry at index, which names it by id and place of admission.

        Raises ForbiddenError KEY_UNKNOWN or KEY_REVOKED.
        """
        key = self._keys.get(wanted)
        named = (pb.ROLE_INSTITUTION, admitted_at)
        if key is None or (key.role, key.admitted_at) != named or index <= admitted_at:
            raise ForbiddenError(
                f"entry {index} is signed by a key that was not admitted", reason="KEY_UNKNOWN"
            )
        if not key.good_at(index):
            raise ForbiddenError(
                f"the key was revoked by entry {key.revoked_at}",
                reason="KEY_REVOKED",
                action="sign with a key that is not revoked",
            )
        return key

    def find(self, wanted: bytes) -> AdmittedKey | None:
        return self._keys.get(wanted)

    def of_subject(self, role: int, subject: str) -> Iterator[tuple[bytes, AdmittedKey]]:
        """Every key ever admitted for subject, as (key id, key)."""
        for wanted, key in self._keys.items():
            if key.role == role and key.subject == subject:
                yield wanted, key

    def need_genesis(self) -> pb.Genesis:
        if self.genesis is None:
            raise TrustError(f"the key history of {self.origin} has no GENESIS")
        return self.genesis

    def log_verifiers(self) -> tuple[Verifier, ...]:
        """The keys that may sign this log's checkpoints."""
        return (Verifier(self.origin, 1, self.need_genesis().log_key),)

    def cosigner_verifiers(self) -> tuple[Verifier, ...]:
        """The keys by which this log's node cosigns its peer."""
        return (Verifier(self.origin, 4, self.need_genesis().cosigner_key),)

    # -- as a file ------------------------------------------------------------------------

    def format(self) -> bytes:
        lines = [FILE_HEAD, self.origin]
        lines += [f"{encode_base64(h)} {encode_base64(b)}" for h, b in self.entries]
        return "".join(f"{line}\n" for line in lines).encode()

    @classmethod
    def parse(cls, data: bytes, authority: bytes) -> Self:
        """Read a key-history file and verify every entry; raises as of()."""
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
        return cls.of(lines[1], authority, entries)

    @classmethod
    def of(cls, origin: str, authority: bytes, entries: Iterable[tuple[bytes, bytes]]) -> Self:
        """
        Build a history of (header, body) pairs, verifying each; empty for none.

        Raises VerificationError or InputError: what an authority signed can only be whole.
        """
        history = cls(origin, authority)
        last = -1
        for raw in entries:
            header, body = Header.parse(raw[0]), parse_body(raw[1])
            if header.index <= last or header.kind not in {Kind.GENESIS, Kind.KEY}:
                raise ChainError("a key history holds GENESIS and KEY entries in log order")
            if sha256(raw[1]).digest() != header.body_digest:
                raise ChainError(f"entry {header.index} of the key history has another body")
            try:
                history.check(header, body)
                verify(history.signer(header), header.signed_bytes(origin), header.signature)
            except LedgerError as error:
                raise TrustError(f"key history of {origin}: {error.message}") from None
            history.apply(header, body, raw=raw)
            last = header.index
        return history
