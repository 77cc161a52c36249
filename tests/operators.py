"""What a side's operator and authority do to its node while it runs, by the programs alone."""

from __future__ import annotations

from pathlib import Path

from border import LEDGERCTL, LEDGERD, Border, run


def rotate(border: Border, name: str, *, side: str = "mainland") -> None:
    """Replace a key: log, entry or cosigner."""
    request, approval = _files(border, name)
    _request(border, name, request, side)
    _sign(border, "rotate-node", request, approval, side)
    operator = str(border.client(f"{side}-operator"))
    run(LEDGERCTL, "enrol", "submit", str(approval), "--config", operator)


def renew_certificate(border: Border) -> None:
    """Replace the TLS key and its certificate, asked for with the hosts of the configuration."""
    request, approval = _files(border, "tls")
    _request(border, "tls", request, "mainland")
    _sign(border, "certify-node", request, approval, "mainland")
    config = str(border.mainland.config)
    run(LEDGERD, "rotate", "--config", config, "--approval", str(approval))


def _files(border: Border, name: str) -> tuple[Path, Path]:
    request, approval = (border.directory / f"{name}-{what}.json" for what in ("ask", "answer"))
    for file in (request, approval):
        file.unlink(missing_ok=True)
    return request, approval


def _request(border: Border, name: str, request: Path, side: str) -> None:
    config = str(border.directory / side / "node" / "node.toml")
    run(LEDGERD, "rotate", "--config", config, "--key", name, "--request", str(request))


def _sign(border: Border, command: str, request: Path, approval: Path, side: str) -> None:
    authority = str(border.directory / side / "authority")
    signs = ("--dir", authority, "--out", str(approval), "--yes")
    run(LEDGERCTL, "authority", command, str(request), *signs)
