"""Exit codes of the commands, beside 0: done, or stopped by a signal."""

from __future__ import annotations

from typing import Final

from ledgerd_client.core.errors import InputError, LedgerError

# Refused or failed.
FAILED: Final = 1
# Wrong usage, configuration or input.
BAD_INPUT: Final = 2
# EX_SOFTWARE of sysexits.h: the store failed under a node, or is none that it may serve; what a
# standby was sent does not verify.
STORE_FAILED: Final = 70

# The process that has the store ends, as does the other standby, and the one that was killed is not
# there any more.
_PASSES: Final = frozenset(("ALREADY_SERVED", "SECOND_STANDBY", "WRITER_KILLED"))


def node_exit(error: LedgerError) -> int:
    """
    With what a node ends that cannot begin, or go on, and a standby.

    FAILED alone says that the next start may go well, and the service manager tries it.
    """
    if isinstance(error, InputError):
        return BAD_INPUT
    return FAILED if error.retryable or error.reason in _PASSES else STORE_FAILED
