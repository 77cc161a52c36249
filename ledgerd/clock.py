"""The machine's clock, as the ledger counts time."""

from __future__ import annotations

import time


def now() -> int:
    """µs since the epoch, UTC."""
    return time.time_ns() // 1000
