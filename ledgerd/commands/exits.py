"""Exit codes of the commands, beside 0: done, or stopped by a signal."""

from __future__ import annotations

from typing import Final

# Refused or failed.
FAILED: Final = 1
# Wrong usage, configuration or input.
BAD_INPUT: Final = 2
# EX_SOFTWARE of sysexits.h: the store failed under a running node.
STORE_FAILED: Final = 70
