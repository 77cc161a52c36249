"""
The server of a mirror: what regulators ask, over a Unix socket, for whoever owns the socket.

The kernel says who may call: there are no certificates, and nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path
from typing import Any, Final

import grpc

from ledgerd.api.desk import Desk
from ledgerd.api.guard import Guard, Registrar
from ledgerd.api.health import Health
from ledgerd.api.identity import AuthContext, Caller, Identified
from ledgerd.api.public import Public, PublicHandlers
from ledgerd.api.regulator import RegulatorHandlers
from ledgerd.api.roles import ALLOWED
from ledgerd.observe.metrics import Metrics
from ledgerd_client._proto import service_pb2_grpc
from ledgerd_client.core.errors import ForbiddenError, InputError, NotReadyError, UnavailableError
from ledgerd_client.transport import MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)
_OTHERS: Final = 0o077


class LocalServer:
    """Answers one caller, its owner. Belongs to the event loop that it was made on."""

    def __init__(self, desk: Desk, public: Public, caller: Caller) -> None:
        door = _Door(caller)
        self._server = grpc.aio.server(options=_OPTIONS)
        server: Any = Registrar(self._server, Guard(door, door, door, Metrics()))
        self._regulator = RegulatorHandlers(desk)
        service_pb2_grpc.add_RegulatorServiceServicer_to_server(self._regulator, server)
        for_all = PublicHandlers(public)  # type: ignore[abstract] # the door is shut to the others
        service_pb2_grpc.add_LedgerServiceServicer_to_server(for_all, server)
        services = ("ledger.v1.LedgerService", "ledger.v1.RegulatorService")
        self._health = Health(server, services, parts=())
        self._path: Path | None = None

    async def start(self, path: Path) -> None:
        """
        Serve at a socket, made there for its owner alone.

        Raises as check_place does, and UnavailableError CANNOT_LISTEN.
        """
        await asyncio.to_thread(check_place, path)
        try:
            self._server.add_insecure_port(f"unix:{path}")
        except RuntimeError:
            raise UnavailableError(
                f"cannot listen at {path}",
                reason="CANNOT_LISTEN",
                action="name a path of at most 100 characters, in a directory of your own",
            ) from None
        await asyncio.to_thread(path.chmod, 0o600)
        self._path = path
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, let those in flight end, and remove the socket."""
        self._health.stop()
        self._regulator.end_tails()
        await self._server.stop(grace_s)
        if self._path is not None:
            await asyncio.to_thread(self._path.unlink, missing_ok=True)


class _Door:
    """Whoever comes through it is the owner, and a regulator's methods are all there is."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def identify(self, context: AuthContext) -> Identified:
        return Identified(self._caller, b"")

    def is_revoked(self, caller: Caller, certificate: bytes) -> bool:
        return False

    def check(self, method: str, caller: Caller) -> None:
        if caller.role not in ALLOWED.get(method, ()):
            raise ForbiddenError(
                f"{method} is not for {caller.role}s", reason="WRONG_ROLE", action="ask the node"
            )

    def mentioned(self, note: bytes) -> None:
        """A mirror appends nothing that a larger checkpoint could contradict."""


def check_place(path: Path) -> None:
    """
    See whether a socket may be made there; one that nobody serves any more is removed.

    Raises InputError SOCKET_EXPOSED or SOCKET_TAKEN, NotReadyError ALREADY_SERVED.
    """
    _check_directory(path.parent)
    _clear(path)


def _check_directory(directory: Path) -> None:
    try:
        found = directory.stat()
    except OSError as error:
        raise InputError(f"cannot look at {directory}: {error.strerror}") from None
    if found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
        raise InputError(
            f"{directory} is open to others: who reaches the socket reads everything",
            reason="SOCKET_EXPOSED",
            action="make a directory of your own for it: mkdir -m 700",
        )


def _clear(path: Path) -> None:
    """Remove a socket that nobody serves any more; whatever else stands there stays."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InputError(
            f"{path} is there and is no socket",
            reason="SOCKET_TAKEN",
            action="name a path that is free",
        )
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise NotReadyError(
        f"somebody serves at {path} already",
        reason="ALREADY_SERVED",
        action="stop that mirror first, or name another socket",
    )
