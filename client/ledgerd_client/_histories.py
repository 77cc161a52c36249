"""The key histories of both sides: kept in files, fetched anew when a key is not known yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ledgerd_client._kept import KeptFile
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import (
    ForkError,
    LedgerError,
    NotFoundError,
    NotReadyError,
    TrustError,
    VerificationError,
)
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.trust import Trust
from ledgerd_client.transport import Transport

T = TypeVar("T")


class Histories:
    """
    Key histories under the authorities of a trust file.

    What is kept was verified, and only ever grows. Methods raise TrustError for an origin that the
    trust file does not know, VerificationError for what the authority did not sign, ForkError for
    a history that does not extend the one kept, NotReadyError and UnavailableError.
    """

    def __init__(self, transport: Transport, trust: Trust, directory: Path, own: str) -> None:
        """own: the origin of the node that transport leads to."""
        self._transport = transport
        self._trust = trust
        self._directory = directory
        self.own = own
        self._known: dict[str, KeyHistory] = {}

    async def get(self, origin: str) -> KeyHistory:
        """The history as far as it is kept here; fetched if there is none."""
        if origin not in self._known:
            _, kept = await asyncio.to_thread(self._load, origin)
            # Of a file from before the authority's rotation to the key that is trusted now.
            if kept is None or not kept.names_authority(kept.authority):
                return await self.refresh(origin)
            self._known[origin] = kept
        return self._known[origin]

    async def refresh(self, origin: str) -> KeyHistory:
        """The history as far as the node has it; NotReadyError when it has none yet."""
        authority = self._trust.authority(origin)
        request = pb.GetKeyHistoryRequest(origin=origin)
        try:
            response = await self._transport.get_key_history(request)
        except NotFoundError:
            response = pb.GetKeyHistoryResponse()
        entries = [(entry.header, entry.body) for entry in response.entries]
        if not entries:
            raise NotReadyError(
                f"the node does not know the keys of {origin} yet",
                reason="NO_KEY_HISTORY",
                action="try again when it has reached the other side's node",
            )
        self._known[origin] = await asyncio.to_thread(self._keep, origin, authority, entries)
        return self._known[origin]

    async def peer(self, configured: str | None = None) -> str:
        """The other side's origin: as configured, else as GENESIS of one's own log says."""
        if configured is not None and self.own not in self._known:
            return configured
        genesis = (await self.get(self.own)).need_genesis()
        if configured not in {None, genesis.peer_origin}:
            raise TrustError(f"{self.own} names {genesis.peer_origin} as peer, not {configured}")
        named = genesis.peer_authority_key
        if named != self._trust.authority(genesis.peer_origin):
            # It may have been rotated to the one that is trusted.
            peer = await self.get(genesis.peer_origin)
            if not peer.names_authority(named):
                raise TrustError(f"{self.own} names another authority of {genesis.peer_origin}")
        return genesis.peer_origin

    async def judge(self, origin: str, check: Callable[[KeyHistory], T]) -> T:
        """
        Run check in a thread; once more on a fresh history if it fails for a key not known here.

        What check finds wrong is the fault of what it checks: every error is a VerificationError.
        """
        history = await self.get(origin)
        try:
            return await _run(check, history)
        except VerificationError as error:
            # Of an entry, or of a checkpoint.
            if error.reason not in {"KEY_UNKNOWN", "NOT_TRUSTED"}:
                raise
        return await _run(check, await self.refresh(origin))

    def _file(self, origin: str) -> KeptFile:
        return KeptFile.of_origin(self._directory, origin, "keys")

    def _load(self, origin: str) -> tuple[bytes, KeyHistory | None]:
        """The file's content and what it says."""
        file, authority = self._file(origin), self._trust.authority(origin)
        data = file.read()
        if not data:
            return data, None
        with file.whole():
            history = KeyHistory.parse(data, authority, partial=True)
            if history.origin != origin:
                raise TrustError(f"it is the key history of {history.origin}")
        return data, history

    def _keep(
        self, origin: str, authority: bytes, entries: list[tuple[bytes, bytes]]
    ) -> KeyHistory:
        try:
            fetched = KeyHistory.of(origin, authority, entries)
            fetched.need_genesis()
        except LedgerError as error:
            raise as_verification(error) from error
        file = self._file(origin)
        while True:
            data, kept = self._load(origin)
            if kept is not None:
                _check_extends(kept, fetched, file)
            if fetched.format() == data or file.replace(data, fetched.format()):
                return fetched


def _check_extends(kept: KeyHistory, fetched: KeyHistory, file: KeptFile) -> None:
    shown = fetched.entries[: len(kept.entries)]
    if shown == kept.entries:
        return
    if _goes_on_after_a_loss(kept, fetched):
        return
    if _signed(shown, kept.origin) == _signed(kept.entries, kept.origin):
        # Had the node moved an entry, its checkpoints would contradict the kept one, and tell.
        raise file.damaged("place or time of an entry, which nobody signs, is not as the node's")
    raise ForkError(
        f"the node's key history of {kept.origin} does not extend the one kept here",
        action=f"keep {file.path}, send nothing more and tell the authority",
    )


def _goes_on_after_a_loss(kept: KeyHistory, fetched: KeyHistory) -> bool:
    """Whether what is kept and not shown any more stood above where a LOSS ended the log."""
    for loss in fetched.losses():
        left, shown = (
            [entry for entry in history.entries if Header.parse(entry[0]).index < loss.size]
            for history in (kept, fetched)
        )
        if loss not in kept.losses() and left == shown:
            return True
    return False


def _signed(entries: list[tuple[bytes, bytes]], origin: str) -> list[tuple[bytes, bytes, bytes]]:
    """Of each entry what its author signed, and the signature."""
    headers = [(Header.parse(header), body) for header, body in entries]
    return [(header.signed_bytes(origin), header.signature, body) for header, body in headers]


async def _run(check: Callable[[KeyHistory], T], history: KeyHistory) -> T:
    try:
        return await asyncio.to_thread(check, history)
    except LedgerError as error:
        raise as_verification(error) from error


def as_verification(error: LedgerError) -> VerificationError:
    """What is wrong with something given to us, as an error about that and not about the call."""
    if isinstance(error, VerificationError):
        return error
    return VerificationError(error.message, reason=error.reason)
