"""What the contract's tests need of a node, be it in memory or a daemon."""

from __future__ import annotations

from typing import Protocol

from ledgerd_client import Settings
from ledgerd_client.transport import Transport


class NodeUnderTest(Protocol):
    """A running node of one side; institutions are enrolled as tests need them."""

    @property
    def peer(self) -> NodeUnderTest:
        """The other side's node."""

    def enrol(self, institution: str) -> Settings:
        """Admit an institution; the files that the settings name are there."""

    def transport(self, settings: Settings) -> Transport:
        """A new way to this node in the name of an enrolled institution."""

    async def settle(self) -> None:
        """Return when the peer has replayed and cosigned all that is in the log now."""

    async def go_down(self) -> None:
        """Be unreachable; what is in the log stays there."""

    async def come_up(self) -> None: ...

    async def lose_next_reply(self) -> None:
        """Carry out the next append, and let the connection break before its reply."""
