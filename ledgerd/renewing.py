"""A TLS certificate that is replaced, or ends, in use: of a node, a standby or a mirror."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from ledgerd.config import Tls
from ledgerd.credentials import NodeTls, check_dates
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.pki import Certificate


class Renewal:
    """
    Goes over to what lies in the files of a certificate and its key now. Belongs to the event loop.

    shown is in use. load reads the files, and raises LedgerError for what is not to be used; use
    takes what was read. say is told of files that are not taken, once for each time that they are
    replaced, and of a certificate in use that nobody takes by now, once.
    """

    def __init__(
        self,
        files: Tls,
        shown: NodeTls,
        *,
        load: Callable[[Tls], NodeTls],
        use: Callable[[NodeTls], Awaitable[None]],
        say: Callable[[LedgerError], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._files = files
        # Whatever was replaced since they were read is taken by the first look.
        self._made_at: tuple[int, ...] = ()
        self._load = load
        self._use = use
        self._say = say
        self._clock = clock
        self._is_said = False
        self._show(shown)

    async def look(self) -> None:
        """Take a certificate that was put in the place of the one in use, and say what is wrong."""
        if NodeTls.made_at(self._files) not in {(), self._made_at}:
            try:
                await self.take(self._files)
            except LedgerError as error:
                self._say(error)
        if self._is_said:
            return
        try:
            check_dates(self._certificate, self._clock())
        except LedgerError as error:
            self._is_said = True
            self._say(error)

    async def take(self, files: Tls) -> None:
        """
        Use the certificate in these files from now on, and look there.

        Raises as load does, and FieldError CERTIFICATE_DATES, and changes nothing.
        """
        self._made_at = NodeTls.made_at(files)
        tls = self._load(files)
        if tls != self._shown:
            tls.check_dates(self._clock())
        self._files = files
        if tls != self._shown:
            self._show(tls)
            await self._use(tls)

    def _show(self, tls: NodeTls) -> None:
        self._shown = tls
        self._certificate = Certificate.parse(tls.certificate)
        self._is_said = False
