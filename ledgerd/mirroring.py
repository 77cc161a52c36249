"""`ledgerd mirror`: puts a mirror together from a regulator's settings, and runs it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ledgerd.mirror.node import MirrorNode
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import InputError, LedgerError
from ledgerd_client.core.trust import Trust
from ledgerd_client.identity import REGULATOR
from ledgerd_client.keyfile import read_file
from ledgerd_client.pki import Certificate
from ledgerd_client.regulator_transport import GrpcRegulatorTransport
from ledgerd_client.transport import connect


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

    progress(done, total) is in entries; say is told what keeps it from following. Raises as
    MirrorNode.run does, and InputError NOT_A_REGULATOR.
    """
    trust = Trust.parse(read_file(settings.trust))
    regulator = _regulator(settings)
    channel = connect(settings, trust)
    try:
        node = MirrorNode(
            data,
            settings.origin,
            trust,
            regulator,
            workers=os.cpu_count() or 1,
            progress=progress,
            say=say,
        )
        way = GrpcRegulatorTransport(channel, settings.timeout_s, node.checkpoint)
        running = asyncio.create_task(node.run(way, listen))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        with suppress(asyncio.CancelledError):
            await running
    finally:
        await channel.close()


def _regulator(settings: Settings) -> str:
    holder = Certificate.parse(read_file(settings.tls_certificate)).holder
    if holder.role != REGULATOR:
        raise InputError(
            f"{settings.tls_certificate} is of the {holder.role} {holder.id}, not of a regulator",
            reason="NOT_A_REGULATOR",
            action="name the client.toml of a regulator",
        )
    return holder.id
