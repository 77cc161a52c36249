"""How a node stands, in one line: what `systemctl status` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ledgerd.observe.vitals import Vitals

_MINUTE_S: Final = 60


def describe(origin: str, vitals: Vitals, findings: int, not_taken: Sequence[str]) -> str:
    """Return the line; findings: how many stand. not_taken: what the last reload left as it was."""
    parts = [
        vitals.why_not or ("takes no appends: DISK_FULL" if vitals.is_full else "takes appends"),
        *(
            f"the certificate {each.name} has ended"
            for each in vitals.certificates
            if each.at <= vitals.at
        ),
        f"{vitals.size} entries, {_cosigned(vitals)}",
        f"open findings: {findings}",
        *(f"not reloaded: {each}" for each in not_taken),
    ]
    # One line, whatever a message says.
    return f"{origin}: {'; '.join(parts)}".replace("\n", " ")


def _cosigned(vitals: Vitals) -> str:
    """How much is not, and since when; no finer than needed: the line is sent when it changes."""
    waiting, lag_s = vitals.size - vitals.cosigned_size, vitals.cosign_lag_s
    if waiting <= 0:
        return "all cosigned"
    lag = "less than a minute" if lag_s < _MINUTE_S else f"{lag_s // _MINUTE_S:.0f} min"
    return f"{waiting} of them not cosigned for {lag}"
