"""How the node stands, for its operators: AdminService's part of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version

from ledgerd.api.threads import InThread
from ledgerd.observe.troubles import alert, troubles
from ledgerd.observe.vitals import Watched
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.rulebook import RULES


class StatusDesk:
    """Answers operators; belongs to the event loop."""

    def __init__(
        self, origin: str, peer_origin: str, watched: Watched, in_thread: InThread
    ) -> None:
        self._names = {"version": version("ledgerd"), "origin": origin, "peer_origin": peer_origin}
        self._watched = watched
        self._in_thread = in_thread

    async def get(self) -> pb.GetStatusResponse:
        # To count takes a while in a long log.
        return await self._in_thread(self._get)

    def _get(self) -> pb.GetStatusResponse:
        vitals, inventory = self._watched.vitals(), self._watched.inventory()
        return pb.GetStatusResponse(
            **self._names,
            at=vitals.at,
            state=vitals.state,
            why_not=vitals.why_not,
            size=vitals.size,
            recorded_at=vitals.recorded_at,
            cosigned_size=vitals.cosigned_size,
            cosign_lag=round(vitals.cosign_lag_s * 1_000_000),
            shown_size=vitals.shown_size,
            replayed_size=vitals.replayed_size,
            witnessed_size=vitals.witnessed_size,
            anchored_size=vitals.anchored_size,
            fetched_at=vitals.fetched_at,
            failing=vitals.failing,
            evidence=inventory.evidence,
            evidence_waits=vitals.latched,
            findings=_standing(inventory.findings),
            certificates=[
                pb.CertificateEnd(name=end.name, fingerprint=end.fingerprint, at=end.at)
                for end in vitals.certificates
            ],
            disk_free_bytes=vitals.disk_free,
            backed_up_at=vitals.backed_up_at,
            audited_at=vitals.audited_at,
            troubles=[
                pb.Trouble(code=one.code, says=one.says, do=one.do, alert=alert(one.code))
                for one in troubles(vitals)
            ],
        )


def _standing(findings: Mapping[str, int]) -> list[pb.StandingFindings]:
    """By severity, the gravest first."""
    counts: Counter[int] = Counter()
    for rule, count in findings.items():
        counts[RULES[rule].severity] += count
    return [
        pb.StandingFindings(severity=severity, count=count)
        for severity, count in sorted(counts.items(), reverse=True)
    ]
