"""`ledgerctl status`: how the node on one's own side stands, on one screen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import typer

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.catalogue import Catalogue
from ledgerd_client.cli.admin import get_status
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config
from ledgerd_client.cli.output import Json, emit, to_iso, words
from ledgerd_client.cli.terminal import print_pairs
from ledgerd_client.config import Settings

# Of this command alone: what does not verify, nothing here can show.
NEEDS_SOMEBODY = 1

_SEVERITIES = {3: "high", 2: "medium", 1: "information"}
_GIB = 1 << 30


def status(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """
    As an operator: say how the node stands, and what to do if something is wrong.

    Exit code 0: all is well; 1: something needs a person, and is named with its section in
    docs/runbook.md; 3: the node could not be asked.
    """
    settings = Settings.from_file(config)
    found = asyncio.run(get_status(settings, settings.read_trust()))
    show(found, as_json=as_json)
    if found.troubles:
        raise typer.Exit(NEEDS_SOMEBODY)


def show(found: pb.GetStatusResponse, *, as_json: bool) -> None:
    """Print it: for programs whole; for people on one screen of 80 columns, troubles at its top."""
    if as_json:
        emit(_fields(found), as_json=True)
        return
    told = words()
    for one in found.troubles:
        print_pairs(_of_trouble(one, told))
        typer.echo()
    print_pairs((told.label(name), text) for name, text in _rows(found, told))


def _rows(found: pb.GetStatusResponse, told: Catalogue) -> Iterator[tuple[str, str]]:
    """Name and value of each line, in words."""
    never = told.word("never")
    yield "node", f"{found.origin}, ledgerd {found.version}"
    yield "state", ": ".join(filter(None, (found.state, found.why_not)))
    at = _time(found.recorded_at)
    yield "log", told.word("status_log").format(size=found.size, at=at)
    lag = "status_cosigned_lag" if found.cosign_lag else "status_cosigned"
    seconds = round(found.cosign_lag / 1_000_000)
    yield "cosigned", told.word(lag).format(size=found.cosigned_size, seconds=seconds)
    heard = "status_peer" if found.fetched_at else "status_peer_unheard"
    at = _time(found.fetched_at)
    yield "peer", told.word(heard).format(origin=found.peer_origin, at=at)
    yield (
        "peer_log",
        told.word("status_peer_log").format(
            shown=found.shown_size,
            replayed=found.replayed_size,
            witnessed=found.witnessed_size,
            anchored=found.anchored_size,
        ),
    )
    if found.failing:
        yield "failing", found.failing
    if found.evidence:
        waits = "status_evidence_waits" if found.evidence_waits else "status_evidence"
        yield "evidence", told.word(waits).format(count=found.evidence)
    yield (
        "open_findings",
        ", ".join(
            f"{told.word(f'severity_{severity}')} {count}"
            for severity, count in _findings(found).items()
        ),
    )
    for end in found.certificates:
        until = told.word("status_certificate").format(at=_time(end.at))
        yield "certificate", f"{told.word(f'of_{end.name}')} {until} ({end.fingerprint})"
    yield "disk", told.word("status_disk").format(gib=f"{found.disk_free_bytes / _GIB:.1f}")
    yield "backed_up_at", _time(found.backed_up_at) or never
    yield "audited_at", _time(found.audited_at) or never


def _of_trouble(one: pb.Trouble, told: Catalogue) -> Iterator[tuple[str, str]]:
    """What is wrong, what to do first, and where the rest stands; details are the node's words."""
    known = told.trouble(one.code)
    yield one.code, f"{known[0]} ({one.says})" if known else one.says
    yield "", f"→ {known[1] if known else one.do}"
    yield "", f"docs/runbook.md: {one.alert}"


def _fields(found: pb.GetStatusResponse) -> dict[str, object]:
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
            _SEVERITIES[severity]: count for severity, count in _findings(found).items()
        },
        "certificates": [
            {"name": end.name, "fingerprint": end.fingerprint, "ends_at": _time(end.at)}
            for end in found.certificates
        ],
        "disk_free_bytes": found.disk_free_bytes,
        "backed_up_at": _time(found.backed_up_at),
        "audited_at": _time(found.audited_at),
        "troubles": [
            {"trouble": one.code, "says": one.says, "do": one.do, "runbook": one.alert}
            for one in found.troubles
        ],
    }


def _findings(found: pb.GetStatusResponse) -> dict[int, int]:
    """How many stand, by severity, the worst first."""
    return {
        severity: sum(each.count for each in found.findings if each.severity == severity)
        for severity in _SEVERITIES
    }


def _time(micros: int) -> str | None:
    return to_iso(micros) if micros else None
