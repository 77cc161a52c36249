"""One systemd with a node in it for all tests of this directory; each begins with the node as installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from deploy.installed import boot, tidy
from deploy.systemd import Systemd


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    system = boot(tmp_path_factory.mktemp("systemd"))
    yield system
    system.close()


@pytest.fixture
def service(system: Systemd) -> Systemd:
    """The installed system with the node running."""
    tidy(system)
    return system
