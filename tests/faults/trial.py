"""A border under load while something fails, and what must be true of it afterwards."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from border import PATIENCE, Border, Node, audit
from faults.load import Loader
from faults.oracle import Tally, config_of

from ledgerd.config import Config


class Trial:
    """Two nodes, and load on the Mainland's; whatever it started is gone when the block ends."""

    def __init__(
        self, directory: Path, *options: str, tally: Tally | None = None, batch: int = 3
    ) -> None:
        """tally: a row of the table, if this is one; options are for `ledgerd dev`; batch: records of a call."""
        self.directory = directory
        self.tally = tally or Tally("")
        self.border = Border(directory / "border", *options)
        self.node, self.peer = self.border.mainland, self.border.hongkong
        for node in (self.node, self.peer):  # one process less to start each time
            node.config.write_text(node.config.read_text() + "\n[limits]\nworkers = 1\n")
        self.loader = Loader(self.border.client("sz-hospital"), directory / "journal", batch=batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loader.close()
        self.border.close()

    def load(self, batches: int = 1) -> None:
        """Have so many batches acknowledged."""
        self.loader.send(batches)
        self.loader.finish()

    def is_batch_lost(self) -> bool:
        """Send one more; whether its answer did not come."""
        self.loader.send(1)
        return self.loader.wait_for("done", "lost") == "lost"

    def judge(self, about: str) -> None:
        """Judge both stores; of a node that runs, what a kill at this moment would leave."""
        said, copies = self.loader.said(), self.directory / "copies"
        with ExitStack() as frozen:
            for one in filter(runs, (self.node, self.peer)):
                frozen.enter_context(one.frozen())
            node, peer = (left(one, copies) for one in (self.node, self.peer))
        self.tally.judge(node, said, about, peer=peer)
        self.tally.judge(peer, (), about, peer=node)
        shutil.rmtree(copies, ignore_errors=True)

    def stop(self) -> None:
        """Both together; a node that ended is left alone."""
        running = [node for node in (self.node, self.peer) if runs(node)]
        for node in running:
            node.process.terminate()  # type: ignore[union-attr] # runs() looked
        for node in running:
            assert node.process is not None
            assert node.process.wait(PATIENCE) == 0, node.tail()

    def again(self, about: str) -> None:
        """After a fault: judge, start what ended by it, have what was in flight acknowledged."""
        self.tally.runs += 1
        self.judge(about)
        for node in (self.node, self.peer):
            if not runs(node):
                node.start()
        self.loader.finish()

    def finish(self) -> None:
        """Judge when all is acknowledged; the installed `ledgerd audit` has the last word."""
        self.loader.finish()
        self.stop()
        self.judge("at the end")
        self.tally.acknowledged += sum(len(one.records) for one in self.loader.said())
        for node in (self.node, self.peer):
            audit(node.config)


def left(node: Node, copies: Path) -> Config:
    """The store of a node that ended, or a copy of a frozen one's."""
    if not runs(node):
        return config_of(node.config)
    copy = copies / node.config.parent.parent.name
    shutil.copytree(node.config.parent / "data", copy)
    return config_of(node.config, copy)


def runs(node: Node) -> bool:
    return node.process is not None and node.process.poll() is None
