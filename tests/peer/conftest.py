from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders import Border, new_border
from peer.sides import Clock, FakePeer, Side


@dataclass
class Watch:
    """A real mainland node, and a Hong Kong log that can be made to be anything."""

    side: Side
    peer: FakePeer
    border: Border
    clock: Clock


@pytest.fixture
async def watch(tmp_path: Path) -> AsyncIterator[Watch]:
    border, clock = new_border(), Clock()
    peer = FakePeer(border.hong_kong)
    side = Side(tmp_path, border.mainland, border.hong_kong, clock, peer)
    await side.open()
    yield Watch(side, peer, border, clock)
    await side.close()
