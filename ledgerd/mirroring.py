"""`ledgerd mirror`: puts a mirror together from a regulator's settings, and runs it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ledgerd.api.mirror_client import MirrorClient
from ledgerd.config import Tls
from ledgerd.credentials import NodeTls
from ledgerd.mirror.node import MirrorNode
from ledgerd.renewing import Renewal
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import InputError, LedgerError
from ledgerd_client.core.trust import Trust
from ledgerd_client.identity import REGULATOR
from ledgerd_client.keyfile import read_file
from ledgerd_client.pki import Certificate
from ledgerd_client.transport import connect, read_tls_pair


async def mirror(
    settings: Settings,
    data: Path,
    listen: Path | None,
    *,
    progress: Callable[[int, int], None],
    say: Callable[[LedgerError], None],
) -> None:
    """
    Mirror the node of some settings until SIGTERM or SIGINT; without a socket, once.

    progress(done, total) is in entries; say is told what keeps it from following. A certificate
    that is replaced is taken before it follows on. Raises as
    MirrorNode.run does, and InputError NOT_A_REGULATOR.
    """
    trust = Trust.parse(read_file(settings.trust))
    files = Tls.model_construct(certificate=settings.tls_certificate, key=settings.tls_key)
    regulator, tls = _read(files)
    node = MirrorNode(
        data,
        settings.origin,
        trust,
        regulator,
        workers=os.cpu_count() or 1,
        progress=progress,
        say=say,
    )
    way = MirrorClient(lambda: connect(settings, trust), settings.timeout_s, node.checkpoint)
    try:
        renewal = Renewal(
            files,
            tls,
            load=lambda files: _read_of(files, regulator),
            use=lambda _tls: way.renew(),
            say=say,
        )
        running = asyncio.create_task(node.run(way, listen, before=renewal.look))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        with suppress(asyncio.CancelledError):
            await running
    finally:
        await way.close()


def _read(files: Tls) -> tuple[str, NodeTls]:
    """Certificate and key, and the regulator whose they are."""
    holder = Certificate.parse(read_file(files.certificate)).holder
    if holder.role != REGULATOR:
        raise InputError(
            f"{files.certificate} is of the {holder.role} {holder.id}, not of a regulator",
            reason="NOT_A_REGULATOR",
            action="name the client.toml of a regulator",
        )
    return holder.id, NodeTls(*read_tls_pair(files.certificate, files.key))


def _read_of(files: Tls, regulator: str) -> NodeTls:
    """As _read, of the same regulator: the mirror answers in its name."""
    found, tls = _read(files)
    if found != regulator:
        raise InputError(
            f"{files.certificate} is of {found} now, and this is the mirror of {regulator}",
            reason="WRONG_CERTIFICATE",
            action="put a certificate of the same regulator there, or start another mirror",
        )
    return tls
