"""Whoever watches a node must not stop it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import border
import pytest
from nodes import found_one

from ledgerd.peer.spent import SPENT_FILE


@pytest.fixture
def node(tmp_path: Path) -> Iterator[border.Node]:
    side, _ = found_one(tmp_path)
    node = border.Node(side.toml, options=())
    node.start()
    yield node
    node.close()


class TestAFileBesideTheStoreThatCannotBeRead:
    def test_is_told_and_the_node_goes_on(self, node: border.Node) -> None:
        (node.config.parent / "data" / SPENT_FILE).write_bytes(b"garbage\n")
        while "standing_unknown" not in node.log.read_text():
            assert node.process is not None
            assert node.process.poll() is None, node.tail()
        assert node.stop() == 0
