from __future__ import annotations

import pytest
from ledger.world import World


@pytest.fixture
def world() -> World:
    return World()
