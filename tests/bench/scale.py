"""
`make bench-scale`: a node with ten million entries, over one with ten thousand.

Both are real ones of the same side, each with its peer away, that judge no contents. Their logs are
filled by the node's own writer with transfers whose signatures nobody looks at; then they are
loaded by turns as `make bench` loads its node. Takes 25 GB of disk and half an hour; another number
of entries may be given.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path

from bench.load import make_transfer
from bench.reading import told, unsigned
from bench.report import Row, show
from bench.run import EXPORTER, agree, load
from border import Border, Node
from rich.console import Console
from rich.progress import Progress

from ledgerd.config import Config
from ledgerd.ledger.call import Call
from ledgerd.ledger.reader import Reader
from ledgerd.node.opened import Opened
from ledgerd.store.lmdb import LmdbStore
from ledgerd.writing import WriterProcess
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import StoreError
from ledgerd_client.keyfile import read_key_file

SMALL, LARGE = 10_000, 10_000_000
ROUNDS = 3
# Small, so that the small log stays small.
LOAD = "batch", "500", "8", "10000"
# Of one commit while a log is filled: as many as the sequencer takes at most.
STRETCH = 4_000
SAMPLE = 1_000
MEMORY_GOAL = 256 << 20
DISK_GOAL = 2.5
RATE_GOAL = 0.9


async def fill(border: Border, entries: int, progress: Callable[[int], None]) -> None:
    """Append transfers to the log of a node that does not run, until it has so many entries."""
    settings = Settings.from_file(border.client(EXPORTER))
    assert settings.institution is not None
    assert settings.signing_key is not None
    key_id = read_key_file(settings.signing_key).key.key_id
    async with AsyncExitStack() as stack:
        opened = Opened.open(Config.load(border.mainland.config), stack, throwaway=True)
        admitted_at = opened.keyring.institution_keys(settings.institution)[key_id].admitted_at
        writer = WriterProcess(opened.writing())
        stack.push_async_callback(writer.close)
        size = (await writer.start(_ended)).size

        def make() -> Call:
            bodies = (make_transfer(settings) for _ in range(STRETCH))
            return Call.of([unsigned(body, key_id, admitted_at) for body in bodies])

        call = make()
        while size < entries:
            # The next ones are made while these are written.
            committed, call = await asyncio.gather(writer.commit([call]), asyncio.to_thread(make))
            size = committed.head.size
            progress(size)


def _ended(error: StoreError) -> None:
    raise error


def resident(node: Node) -> int:
    """Bytes of memory that a node's processes hold, without mapped files."""
    held = 0
    for process in node.processes:
        status = Path(f"/proc/{process}/status").read_text()
        held += int(status.partition("RssAnon:")[2].split()[0]) * 1024
    return held


def on_disk(config: Path) -> tuple[float, float]:
    """(bytes of the store's file, bytes of header and body) for each entry of a node's log."""
    store_path = Config.load(config).store
    with closing(LmdbStore.open(store_path, readonly=True)) as store:
        reader = Reader(store)
        size = reader.head().size
        sample = [sum(map(len, reader.entry(size - 1 - i))) for i in range(SAMPLE)]
    return (store_path / "data.mdb").stat().st_size / size, statistics.mean(sample)


def measure(small: Border, large: Border) -> dict[str, Row]:
    rates: dict[Border, list[float]] = {small: [], large: []}
    ready: dict[Border, float] = {}
    for border in rates:
        started = time.perf_counter()
        border.mainland.start()
        ready[border] = time.perf_counter() - started
    for border in [*rates] * ROUNDS:
        rates[border].append(load(border, *LOAD)["rate"])
    held = {border: resident(border.mainland) for border in rates}
    for border in rates:
        assert border.mainland.stop() == 0, border.mainland.tail()
    few, many = (statistics.median(each) for each in rates.values())
    used, content = on_disk(large.mainland.config)
    return {
        "scale_append": Row(many / few, many, few, "records/s", RATE_GOAL),
        "scale_start": Row(
            ready[large] / ready[small], ready[large], ready[small], "s until READY", None
        ),
        "scale_memory": Row(
            held[large] / MEMORY_GOAL, held[large], MEMORY_GOAL,
            f"bytes, all processes ({held[small] / MEMORY_GOAL:.2f} with the small log)",
            1, at_least=False,
        ),
        "scale_disk": Row(
            used / content, used, content, "bytes an entry over header and body", DISK_GOAL,
            at_least=False,
        ),
    }  # fmt: skip


def main() -> None:
    sizes = SMALL, int(sys.argv[1]) if len(sys.argv) > 1 else LARGE
    scratch = Path(tempfile.mkdtemp(prefix="ledgerd-scale-"))
    borders: list[Border] = []
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for size in sizes:
                border = Border(scratch / str(size))
                borders.append(border)
                border.mainland.start()
                agree(border)
                assert border.mainland.stop() == 0, border.mainland.tail()
                task = progress.add_task(f"{size:,} entries", total=size)
                asyncio.run(fill(border, size, partial(told, progress, task)))
        show(measure(*borders))
    finally:
        for border in borders:
            border.close()
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
