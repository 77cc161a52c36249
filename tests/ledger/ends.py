from __future__ import annotations

import os
import select

PATIENCE_MS = 60_000


def ended(pid: int) -> bool:
    """Wait for a process that need not be a child of this one."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(PATIENCE_MS))
    finally:
        os.close(descriptor)
