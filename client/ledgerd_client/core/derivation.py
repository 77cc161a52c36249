"""
What the halves of one transfer come to once both logs are known, for whoever has only the halves.

The same table as the nodes' (docs/protocol.md, "Reconciliation"), without their clocks: how long
the other half was awaited, a file that is read years later can't say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.header import Kind

MATCHED: Final = "matched"
MISMATCHED: Final = "mismatched"
REFUSED: Final = "refused"
PARTIAL: Final = "partial"
CANCELLED: Final = "cancelled"
ONE_SIDED: Final = "one_sided"

# Of one log: further ones no node counts.
MAX_HALVES: Final = 100

_BY_EXPORTER: Final = frozenset((Kind.TRANSFER, Kind.CANCEL, Kind.CORRECTION))
_BY_RECIPIENT: Final = frozenset((Kind.ACK, Kind.CORRECTION))
_RECEIVED: Final = frozenset((pb.OUTCOME_ACCEPTED, pb.OUTCOME_PARTIAL))


class HalfFacts(NamedTuple):
    """One half. counterparty: the institution across the border, if its terms are known."""

    kind: int
    position: int
    # µs.
    recorded_at: int
    terms_digest: bytes
    outcome: int
    institution: str
    counterparty: str = ""


def derive(own: Sequence[HalfFacts], peer: Sequence[HalfFacts]) -> str:
    """What the halves of two logs come to, each log's in its order; one of them may be empty."""
    exporter, recipient = _parties(own[:MAX_HALVES], peer[:MAX_HALVES])
    transfers = [half for half in exporter if half.kind == Kind.TRANSFER]
    cancels = [half for half in exporter if half.kind == Kind.CANCEL]
    acks = [half for half in recipient if half.kind == Kind.ACK]
    if not transfers or not acks:
        return CANCELLED if cancels and not acks else ONE_SIDED
    # The first accepted one, for good; without one the latest.
    ack = next((half for half in acks if half.outcome == pb.OUTCOME_ACCEPTED), acks[-1])
    received = ack.outcome in _RECEIVED
    if cancels and (not received or cancels[0].recorded_at < ack.recorded_at):
        return CANCELLED
    if ack.outcome != pb.OUTCOME_ACCEPTED:
        return PARTIAL if received else REFUSED
    stated = _newest(exporter, transfers[0]), _newest(recipient, ack)
    return MATCHED if stated[0] == stated[1] else MISMATCHED


def _parties(
    own: Sequence[HalfFacts], peer: Sequence[HalfFacts]
) -> tuple[list[HalfFacts], list[HalfFacts]]:
    """The exporter's halves and the recipient's; what strangers state of the ref is left out."""
    exports = _exports(own, peer)
    log, other = (own, peer) if exports else (peer, own)
    exporter = [half for half in log if half.kind in _BY_EXPORTER]
    recipient = [half for half in other if half.kind in _BY_RECIPIENT]
    exporter = _by(next((half.counterparty for half in recipient), ""), exporter)
    transfers = [half for half in exporter if half.kind == Kind.TRANSFER]
    named = next((half.counterparty for half in (*transfers, *exporter)), "")
    return exporter, _by(named or _meant(exporter, recipient), recipient)


def _exports(own: Sequence[HalfFacts], peer: Sequence[HalfFacts]) -> bool:
    """Whether the first log is the exporter's: by its own halves, else by the other's."""
    for halves, is_own in ((own, True), (peer, False)):
        for half in halves:
            if half.kind != Kind.CORRECTION:
                return is_own == (half.kind in _BY_EXPORTER)
    return True


def _meant(exporter: Sequence[HalfFacts], recipient: Sequence[HalfFacts]) -> str:
    """Whoever states the exporter's terms: the terms themselves may not be here."""
    stated = {half.terms_digest: half.institution for half in reversed(recipient)}
    met = (stated[half.terms_digest] for half in exporter if half.terms_digest in stated)
    return next(met, "")


def _by(institution: str, halves: list[HalfFacts]) -> list[HalfFacts]:
    return [half for half in halves if half.institution == institution] if institution else halves


def _newest(halves: Sequence[HalfFacts], base: HalfFacts) -> bytes:
    """The terms of a half, or of the last CORRECTION after it by the same institution."""
    after = [
        half.terms_digest
        for half in halves
        if half.kind == Kind.CORRECTION
        and half.position > base.position
        and half.institution == base.institution
    ]
    return (after or [base.terms_digest])[-1]
