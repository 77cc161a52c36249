"""What is left in memory by what is over, without a collection: cycles keep what they hold."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def memory_kept() -> Iterator[list[int]]:
    """A list that holds, after the block, how many bytes of it are still in use."""
    kept: list[int] = []
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield kept
        kept.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
        gc.enable()
