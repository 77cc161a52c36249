"""`ledgerctl status`: how the node on one's own side stands, on one screen."""

from __future__ import annotations

import asyncio

import typer

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.cli.admin import get_status
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config
from ledgerd_client.cli.output import Json, emit, to_iso
from ledgerd_client.config import Settings

# Of this command alone: what does not verify, nothing here can show.
NEEDS_SOMEBODY = 1

_SEVERITIES = {1: "information", 2: "medium", 3: "high"}


def status(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """
    As an operator: say how the node stands, and what to do if something is wrong.

    Exit code 0: all is well; 1: something needs a person, and is named with its section in
    docs/runbook.md; 3: the node could not be asked.
    """
    settings = Settings.from_file(config)
    found = asyncio.run(get_status(settings, settings.read_trust()))
    emit(_fields(found, never=None if as_json else "never"), as_json=as_json)
    if found.troubles:
        raise typer.Exit(NEEDS_SOMEBODY)


def _fields(found: pb.GetStatusResponse, never: str | None) -> dict[str, object]:
    return {
        "node": found.origin,
        "version": found.version,
        "state": found.state,
        "why_not": found.why_not,
        "size": found.size,
        "recorded_at": _time(found.recorded_at),
        "cosigned_size": found.cosigned_size,
        "cosign_lag_s": round(found.cosign_lag / 1_000_000, 1),
        "peer": found.peer_origin,
        "peer_size": found.shown_size,
        "replayed_size": found.replayed_size,
        "witnessed_size": found.witnessed_size,
        "anchored_size": found.anchored_size,
        "fetched_at": _time(found.fetched_at),
        "failing": found.failing,
        "evidence": found.evidence,
        "evidence_waits": found.evidence_waits,
        "open_findings": {
            _SEVERITIES[severity]: sum(f.count for f in found.findings if f.severity == severity)
            for severity in sorted(_SEVERITIES, reverse=True)
        },
        "certificates": [
            {"name": end.name, "fingerprint": end.fingerprint, "ends_at": _time(end.at)}
            for end in found.certificates
        ],
        "disk_free_bytes": found.disk_free_bytes,
        "backed_up_at": _time(found.backed_up_at) or never,
        "audited_at": _time(found.audited_at) or never,
        "troubles": [
            {"trouble": one.code, "says": one.says, "do": one.do, "runbook": one.alert}
            for one in found.troubles
        ],
    }


def _time(micros: int) -> str | None:
    return to_iso(micros) if micros else None
