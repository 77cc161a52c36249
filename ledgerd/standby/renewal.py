"""A standby's certificate that is replaced while it follows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from ledgerd.api.standby_client import StandbyClient
from ledgerd.config import Config
from ledgerd.credentials import NodeTls
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.trust import Trust


class Renewal:
    """
    Has the client call with what the certificate's files hold now. Belongs to the event loop.

    made_at: as NodeTls.made_at, from before the files were read that it calls with. say is told of
    a certificate that is not taken, once for each time that its files are replaced.
    """

    def __init__(
        self,
        config: Config,
        trust: Trust,
        client: StandbyClient,
        *,
        made_at: tuple[int, ...],
        say: Callable[[LedgerError], None],
    ) -> None:
        self._config = config
        self._trust = trust
        self._client = client
        self._made_at = made_at
        self._say = say

    async def look(self) -> None:
        """Go over to a certificate that was put in the place of the one before, if it is good."""
        made_at = NodeTls.made_at(self._config.tls)
        if made_at in {(), self._made_at}:
            return
        self._made_at = made_at
        try:
            tls = NodeTls.load(self._config, self._trust)
            tls.check_dates(datetime.now(UTC))
        except LedgerError as error:
            self._say(error)
        else:
            await self._client.renew(certificate=tls.certificate, key=tls.key)
