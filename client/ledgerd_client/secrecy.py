"""What a program that holds keys does about its own process. A library leaves that to its host."""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

# Of <linux/prctl.h>.
_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)


def keep_to_ourselves() -> None:
    """
    Leave nothing of this process behind, and make nothing that others may write.

    No core dump, whoever asks for one (core(5)); no debugger and no look into /proc/PID by another
    process of the same user (prctl(2), PR_SET_DUMPABLE; of Linux alone); no file or directory that
    group or others may write, whatever the umask was. The first does not outlive an exec.
    """
    forbid_dumps()
    os.umask(os.umask(0o077) | 0o022)


def forbid_dumps() -> None:
    """The part of keep_to_ourselves that a process which is spawned has to do again."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _PRCTL is not None:
        _PRCTL(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def may_be_dumped() -> bool:
    """Whether this process has not forbidden it."""
    return _PRCTL is None or bool(_PRCTL(_PR_GET_DUMPABLE, 0, 0, 0, 0))
