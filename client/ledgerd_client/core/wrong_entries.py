"""
What no honest log holds: claims that an entry is wrong, alone or after an earlier one.

Each rests on the two entries and nothing else, so that no history that is old or incomplete makes
it true. Where a later version may mean something by what we can't read, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.admission import admission_digest
from ledgerd_client.core.body import BY_AUTHORITY, BY_INSTITUTIONS, kind_of, parse_body
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.errors import (
    InputError,
    MalformedError,
    SignatureError,
    VerificationError,
)
from ledgerd_client.core.header import VERSION, Header, Kind, genesis_previous
from ledgerd_client.core.keys import check_public_key, key_id, verify
from ledgerd_client.core.merkle import leaf_hash, verify_inclusion

_ADMITTING = frozenset((pb.KEY_ACTION_ADMIT, pb.KEY_ACTION_ROTATE))
# Roles whose keys end by being revoked.
_REVOKED = frozenset((pb.ROLE_INSTITUTION, pb.ROLE_REGULATOR))


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the tree: header as it stands there, inclusion proof, body or b""."""

    position: int
    header: bytes
    proof: tuple[bytes, ...] = ()
    body: bytes = b""

    @property
    def parsed(self) -> Header:
        """Raises MalformedError."""
        return Header.parse(self.header)

    def lines(self) -> list[str]:
        lines = [f"entry {self.position} {encode_base64(self.header)}"]
        lines += [f"hash {encode_base64(node)}" for node in self.proof]
        return lines + ([f"body {encode_base64(self.body)}"] if self.body else [])

    def check_included(self, tree: Checkpoint) -> None:
        """Raises VerificationError, and MalformedError for a body without a header to name it."""
        leaf = leaf_hash(self.header)
        verify_inclusion(leaf, self.position, tree.size, self.proof, tree.root)
        if self.body and sha256(self.body).digest() != self.parsed.body_digest:
            raise VerificationError("the body is not the one in the header")


# What is wrong with an entry of a log of this origin, alone (None) or after an earlier one. A claim
# is true only where no honest log could have both, whatever else the log holds.
Claim = Callable[[str, Entry | None, Entry], bool]


# -- the claims ------------------------------------------------------------------------------------


def _form(_origin: str, earlier: Entry | None, entry: Entry) -> bool:
    # Of another version we know nothing.
    if earlier is not None or entry.header[:1] != bytes((VERSION,)):
        return False
    try:
        Header.parse(entry.header)
    except MalformedError:
        return True
    return False


def _place(_origin: str, _earlier: Entry | None, entry: Entry) -> bool:
    header = entry.parsed
    is_first = entry.position == 0
    return header.index != entry.position or (header.kind == Kind.GENESIS) != is_first


def _chain(origin: str, earlier: Entry | None, entry: Entry) -> bool:
    previous = entry.parsed.previous_leaf_hash
    if earlier is None:
        return entry.position == 0 and previous != genesis_previous(origin)
    return _adjacent(earlier, entry) and previous != leaf_hash(earlier.header)


def _time(_origin: str, earlier: Entry | None, entry: Entry) -> bool:
    if earlier is None or not _adjacent(earlier, entry):
        return False
    return entry.parsed.recorded_at < earlier.parsed.recorded_at


def _repeat(_origin: str, earlier: Entry | None, entry: Entry) -> bool:
    return earlier is not None and earlier.parsed.body_digest == entry.parsed.body_digest


def _signature(origin: str, earlier: Entry | None, entry: Entry) -> bool:
    """The earlier entry is the one that admitted the key: the header names it."""
    header = entry.parsed
    if earlier is None or earlier.position != header.key_index:
        return False
    for public in _named(earlier).values():
        if key_id(public) == header.key_id:
            return not _verifies(public, header.signed_bytes(origin), header.signature)
    return False


def _key(_origin: str, earlier: Entry | None, entry: Entry) -> bool:
    """The key is not admitted by the entry that the header names, or an earlier one ended it."""
    header = entry.parsed
    if entry.position == 0:
        return False
    if earlier is None:
        return header.key_index >= entry.position
    if _ended(earlier) == header.key_id:
        return True
    if earlier.position != header.key_index:
        return False
    if earlier.parsed.kind in BY_AUTHORITY and _about_keys(earlier) is None:
        return False
    public = _named(earlier).get(_signing_role(header.kind))
    return public is None or key_id(public) != header.key_id


def _body(origin: str, earlier: Entry | None, entry: Entry) -> bool:
    """
    A body about keys that breaks a rule by itself, or names or ends a key as an earlier one did.

    One that we can't read proves nothing: a later version may say more than ours knows.
    """
    body = _about_keys(entry)
    if body is None:
        return False
    if earlier is not None:
        named = set(_named(earlier).values()) & set(_named(entry).values())
        return bool(named or ({_ended(earlier)} & {_ended(entry)}) - {None})
    if (kind_of(body), body.origin) != (entry.parsed.kind, origin):
        return True
    return body.loss.size != entry.position if body.HasField("loss") else not _is_held(body)


CLAIMS: Mapping[str, Claim] = MappingProxyType({
    "form": _form, "place": _place, "chain": _chain, "time": _time, "repeat": _repeat,
    "body": _body, "key": _key, "signature": _signature,
})  # fmt: skip


# -- what they rest on -----------------------------------------------------------------------------


def _adjacent(earlier: Entry, entry: Entry) -> bool:
    return earlier.position + 1 == entry.position


def _signing_role(kind: Kind) -> int:
    if kind in BY_INSTITUTIONS:
        return pb.ROLE_INSTITUTION
    return pb.ROLE_AUTHORITY if kind in BY_AUTHORITY else pb.ROLE_ENTRY


def _about_keys(entry: Entry) -> pb.Body | None:
    """The body of a GENESIS, KEY or LOSS, if it is here and one that we can read."""
    if not entry.body or entry.parsed.kind not in BY_AUTHORITY:
        return None
    try:
        return parse_body(entry.body)
    except InputError:
        return None


def _named(entry: Entry) -> dict[int, bytes]:
    """The public keys that an entry puts in force, by role."""
    body = _about_keys(entry) or pb.Body()
    if body.HasField("genesis"):
        genesis = body.genesis
        return {
            pb.ROLE_LOG: genesis.log_key, pb.ROLE_ENTRY: genesis.entry_key,
            pb.ROLE_COSIGNER: genesis.cosigner_key, pb.ROLE_AUTHORITY: genesis.authority_key,
        }  # fmt: skip
    if body.HasField("loss"):
        return {pb.ROLE_LOG: body.loss.log_key, pb.ROLE_COSIGNER: body.loss.cosigner_key}
    event = body.key_event
    return {event.role: event.public_key} if event.action in _ADMITTING else {}


def _ended(entry: Entry) -> bytes | None:
    """The id of the key that an entry revokes or replaces; a log key is revoked after its end."""
    event = (_about_keys(entry) or pb.Body()).key_event
    if event.action == pb.KEY_ACTION_ROTATE:
        return event.previous_key_id
    ends = event.action == pb.KEY_ACTION_REVOKE and event.role in _REVOKED
    return key_id(event.public_key) if ends else None


def _is_held(body: pb.Body) -> bool:
    """Whether a key that is admitted is a good one, and whoever asked for it has it."""
    event = body.key_event
    # An authority's new key signs the whole history before it, which is not here.
    if event.action not in _ADMITTING or event.role == pb.ROLE_AUTHORITY:
        return True
    try:
        check_public_key(event.public_key)
    except MalformedError:
        return False
    digest = admission_digest(body.origin, event.subject, event.role, event.public_key)
    return _verifies(event.public_key, digest, event.possession)


def _verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        verify(public, message, signature)
    except SignatureError:
        return False
    return True
