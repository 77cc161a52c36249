"""A bundle verified with nothing but the keys of the two authorities; asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from ledgerd_client._histories import as_verification
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.bundle.model import Bundle, BundledDecision, BundledEntry, BundledSide
from ledgerd_client.core.body import kind_of, parse_body
from ledgerd_client.core.derivation import HalfFacts, derive
from ledgerd_client.core.errors import (
    ChainError,
    LedgerError,
    NotReadyError,
    TrustError,
    VerificationError,
)
from ledgerd_client.core.header import Header, Kind, genesis_previous
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import key_id
from ledgerd_client.core.receipt import VerifiedReceipt, check_body, verify_receipt
from ledgerd_client.core.record import read_facts
from ledgerd_client.core.trust import Trust

_HALVES = frozenset((Kind.TRANSFER, Kind.ACK, Kind.CANCEL, Kind.CORRECTION))


@dataclass(frozen=True, slots=True)
class VerifiedHalf:
    """A half that stands in its log; body is None where the bundle does not carry it."""

    proven: VerifiedReceipt
    institution: str
    terms_digest: bytes
    body: pb.Body | None


@dataclass(frozen=True, slots=True)
class VerifiedFinding:
    """What a side's node found, by which rule set (the index of its entry)."""

    proven: VerifiedReceipt
    finding: pb.Finding


@dataclass(frozen=True, slots=True)
class VerifiedSide:
    """
    What a bundle proves of one log; rule_sets: by the index of their entries.

    entries: the proofs of all that it carries, keys, halves, findings and rule sets.
    """

    origin: str
    peer_origin: str
    halves: tuple[VerifiedHalf, ...]
    findings: tuple[VerifiedFinding, ...]
    rule_sets: dict[int, pb.RuleSet]
    entries: tuple[VerifiedReceipt, ...]


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """
    What a bundle proves: these halves stand in these logs, and they come to this state.

    It can't prove that there are no others, nor no further findings and key events: that is what a
    mirror of each log is for.
    """

    ref: bytes
    state: str
    sides: tuple[VerifiedSide, ...]

    def declared(self, terms: bytes) -> VerifiedReceipt | None:
        """What is proven of the first TRANSFER that states these terms; None if there is none."""
        digest = sha256(terms).digest()
        halves = (half for side in self.sides for half in side.halves)
        transfers = (half for half in halves if half.proven.header.kind == Kind.TRANSFER)
        return next((half.proven for half in transfers if half.terms_digest == digest), None)


def verify_bundle(bundle: Bundle, trust: Trust, *, uncosigned: bool = False) -> VerifiedBundle:
    """
    Verify every part of a bundle under a trust file.

    Raises VerificationError for whatever does not prove what it claims, and NotReadyError
    NOT_COSIGNED for entries that no checkpoint with the other side's cosignature covers, unless
    uncosigned allows them.
    """
    sides = _verify_sides(bundle, trust)
    state = _derive(sides)
    if state != bundle.state:
        raise VerificationError(
            f"the bundle says {bundle.state[:20]!r}, and its halves come to {state!r}",
            reason="OTHER_STATE",
        )
    if not uncosigned:
        for side in sides:
            _check_cosigned(side)
    return VerifiedBundle(bundle.ref, state, sides)


def with_state(bundle: Bundle, trust: Trust) -> Bundle:
    """A bundle that says what its halves come to; raises as verify_bundle does."""
    return replace(bundle, state=_derive(_verify_sides(bundle, trust)))


def _verify_sides(bundle: Bundle, trust: Trust) -> tuple[VerifiedSide, ...]:
    sides = tuple(_verify_side(side, bundle.ref, trust) for side in bundle.sides)
    if len(sides) > 1 and sides[0].peer_origin != sides[1].origin:
        raise TrustError("the two sides of the bundle are not each other's peers")
    return sides


def _derive(sides: Sequence[VerifiedSide]) -> str:
    first, second = (*(facts_of(side.halves) for side in sides), [])[:2]
    return derive(first, second)


def facts_of(halves: Sequence[VerifiedHalf]) -> list[HalfFacts]:
    """What derive() looks at."""
    return [_facts(half) for half in halves]


def _facts(half: VerifiedHalf) -> HalfFacts:
    header, halves = half.proven.header, half.proven.header.halves
    assert halves is not None  # noqa: S101 -- _check_half let it pass
    counterparty = ""
    if half.body is not None:
        counterparty = read_facts(half.body.SerializeToString(deterministic=True))[1].counterparty
    return HalfFacts(
        header.kind, header.index, header.recorded_at,
        halves.terms_digest, halves.outcome, half.institution, counterparty,
    )  # fmt: skip


def _verify_side(side: BundledSide, ref: bytes, trust: Trust) -> VerifiedSide:
    try:
        return _side(side, ref, trust)
    except LedgerError as error:
        raise as_verification(error) from error


def _side(side: BundledSide, ref: bytes, trust: Trust) -> VerifiedSide:
    own, peer = _histories(side, trust)
    keys = [_proven(entry, own, peer) for entry in side.keys]
    halves = [_half(entry, ref, own, peer) for entry in side.halves]
    if not halves:
        raise ChainError(f"{side.origin} shows no half of this transfer")
    findings = [_finding(entry, ref, own, peer) for entry in side.findings]
    rule_sets = [_rule_set(entry, own, peer) for entry in side.rule_sets]
    for proven in ([half.proven for half in halves], [found.proven for found in findings]):
        indexes = [one.header.index for one in proven]
        if indexes != sorted(set(indexes)):
            raise ChainError("its entries are not in log order, or one stands twice")
    sets = {proven.header.index: rule_set for proven, rule_set in rule_sets}
    if missing := {found.finding.rule_set for found in findings} - sets.keys():
        raise ChainError(f"the rule set of entry {min(missing)} is missing")
    entries = (
        *keys,
        *(half.proven for half in halves),
        *(found.proven for found in findings),
        *(proven for proven, _ in rule_sets),
    )
    return VerifiedSide(own.origin, peer.origin, tuple(halves), tuple(findings), sets, entries)


def _histories(side: BundledSide, trust: Trust) -> tuple[KeyHistory, KeyHistory]:
    entries = [(entry.receipt.header, entry.body) for entry in side.keys]
    own = KeyHistory.of(side.origin, trust.authority(side.origin), entries)
    genesis = own.need_genesis()
    origin = genesis.peer_origin
    peer = KeyHistory.of(origin, trust.authority(origin), _entries(side.peer_keys, origin))
    peer.need_genesis()
    if not peer.names_authority(genesis.peer_authority_key):
        raise TrustError(f"{own.origin} names another authority of {origin}")
    return own, peer


def _entries(decisions: Iterable[BundledDecision], origin: str) -> Iterator[tuple[bytes, bytes]]:
    """
    The entries of a key history of which only what its authority signed is known.

    Not when they were recorded.
    """
    authority, admitted_at = b"", 0
    for decision in decisions:
        body = parse_body(decision.body)
        if body.HasField("genesis"):
            authority = body.genesis.authority_key
        digest = sha256(decision.body).digest()
        header = Header(
            decision.index, 0, genesis_previous(origin), kind_of(body), digest,
            admitted_at, key_id(authority), decision.signature, None,
        )  # fmt: skip
        yield header.encode(), decision.body
        if body.key_event.role == pb.ROLE_AUTHORITY:
            authority, admitted_at = body.key_event.public_key, decision.index


def _proven(entry: BundledEntry, own: KeyHistory, peer: KeyHistory) -> VerifiedReceipt:
    proven = verify_receipt(entry.receipt, own, peer)
    if entry.body:
        check_body(entry.receipt, entry.body)
    return proven


def _half(entry: BundledEntry, ref: bytes, own: KeyHistory, peer: KeyHistory) -> VerifiedHalf:
    proven = _proven(entry, own, peer)
    header, halves = proven.header, proven.header.halves
    if header.kind not in _HALVES or halves is None or halves.ref != ref:
        raise ChainError(f"entry {header.index} is no half of this transfer")
    if proven.institution is None or halves.counterparty_origin != peer.origin:
        raise ChainError(f"entry {header.index} is not of an institution on this border")
    body = None
    if entry.body:
        origin, facts = read_facts(entry.body)
        wanted = (own.origin, proven.institution, header.kind, halves)
        if (origin, facts.author, facts.kind, facts.halves) != wanted:
            raise ChainError(f"entry {header.index} does not say what its body says")
        body = parse_body(entry.body)
    return VerifiedHalf(proven, proven.institution, halves.terms_digest, body)


def _finding(entry: BundledEntry, ref: bytes, own: KeyHistory, peer: KeyHistory) -> VerifiedFinding:
    proven, body = _by_node(entry, own, peer)
    if not body.HasField("finding") or body.finding.ref != ref:
        raise ChainError(f"entry {proven.header.index} is no finding about this transfer")
    return VerifiedFinding(proven, body.finding)


def _rule_set(
    entry: BundledEntry, own: KeyHistory, peer: KeyHistory
) -> tuple[VerifiedReceipt, pb.RuleSet]:
    proven, body = _by_node(entry, own, peer)
    if not body.HasField("rule_set"):
        raise ChainError(f"entry {proven.header.index} is no rule set")
    return proven, body.rule_set


def _by_node(
    entry: BundledEntry, own: KeyHistory, peer: KeyHistory
) -> tuple[VerifiedReceipt, pb.Body]:
    proven = _proven(entry, own, peer)
    body, kind = parse_body(entry.body), proven.header.kind
    if (body.origin, kind_of(body), kind) != (own.origin, Kind.NODE, Kind.NODE):
        raise ChainError(f"entry {proven.header.index} is not the node's own")
    return proven, body


def _check_cosigned(side: VerifiedSide) -> None:
    for entry in side.entries:
        if entry.cosigned_at is None:
            raise NotReadyError(
                f"entry {entry.header.index} of {side.origin} verifies, but the other side's node"
                " has not cosigned it",
                reason="NOT_COSIGNED",
                action="have that side add it again once it is cosigned, or allow it with"
                " --allow-uncosigned",
            )
