"""A lying node against an honest one: what is done before and after each lie."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from adversary.honest import Honest
from adversary.liar import Headers, LyingLog, LyingNode, Script, lying_node, served
from border import PATIENCE, Border

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.entry_evidence import EntryEvidence, parse_evidence
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.evidence import Evidence
from ledgerd_client.core.note import parse_note

T = TypeVar("T")

# So that a stream that stalls is over soon.
TIMING: Final = "fetch_timeout_s = 1"


@dataclass
class Scene:
    """The honest node has cosigned what the liar has shown so far."""

    border: Border
    liar: LyingNode
    honest: Honest

    @property
    def log(self) -> LyingLog:
        return self.liar.log

    def copy(self, size: int | None = None) -> LyingLog:
        """The liar's log up to a size, by default all that it has shown, to go on differently."""
        end = self.liar.shown if size is None else size
        return replace(self.log, entries=self.log.entries[:end], admitted=dict(self.log.admitted))

    # -- the truth --------------------------------------------------------------------------

    async def truth(self, more: int = 1) -> None:
        """Stop lying, and show so many entries more; they are cosigned."""
        self.liar.script = Script()
        while len(self.log.entries) < self.liar.shown + more:
            self.log.by_node(tick=body_pb2.Tick())
        self.liar.shown += more
        await self.until(self.cosigned, lambda size: size == self.liar.shown)

    async def cosigned(self) -> int:
        """How much of the liar's log the honest node has cosigned."""
        note, _ = await self.liar.client.get_cosigned()
        return Checkpoint.parse(parse_note(note).text).size if note else 0

    async def seen(self) -> int:
        """How much of it the honest node knows of."""
        _, note = await self.liar.client.get_cosigned()
        return Checkpoint.parse(parse_note(note).text).size if note else 0

    # -- a lie ------------------------------------------------------------------------------

    async def tell(self, headers: Headers) -> str:
        """
        Serve these headers until the honest node has come back for them twice.

        Returns why it failed. Meanwhile it takes a record.
        """
        logged, asked = len(self.honest.failures), len(self.liar.asked)
        self.liar.script = Script(headers=headers)
        await self.honest.append()
        await self.until(self.times_asked, lambda times: times >= asked + 3)
        return self.honest.failures[logged]

    async def tell_older(self, log: LyingLog) -> None:
        """Serve a log that is shorter than the one that is known, until it was read twice."""
        asked = len(self.liar.asked)
        self.liar.script = Script(headers=self.serving(log))
        await self.until(self.times_asked, lambda times: times >= asked + 3)
        self.liar.script = Script()

    async def times_asked(self) -> int:
        return len(self.liar.asked)

    def serving(self, log: LyingLog, note: bytes | None = None) -> Headers:
        """All of a log, as an honest node would serve it."""
        entries = list(log.entries)
        signed = log.checkpoint() if note is None else note

        def headers(start: int) -> AsyncIterator[pb.ListHeadersResponse]:
            return served(entries, signed, start)

        return headers

    # -- evidence ---------------------------------------------------------------------------

    async def caught(self, known: int) -> Evidence | EntryEvidence:
        """The evidence that the honest node keeps beyond those that were known."""
        bundles = await self.until(self.bundles, lambda found: len(found) > known)
        (newest,) = [path for path in bundles if path.stem == (await self.waiting()).hex()]
        return parse_evidence(newest.read_bytes())

    async def bundles(self) -> list[Path]:
        return self.honest.bundles

    async def waiting(self) -> bytes:
        """The digest of the evidence that waits for an operator."""

        async def latched() -> list[bytes]:
            listed = await self.listed()
            return [kept.digest for kept in listed.evidence if kept.latched]

        (digest,) = await self.until(latched, bool)
        return digest

    async def listed(self) -> pb.ListEvidenceResponse:
        """What an operator is told."""
        async with self.honest.channel("hongkong-operator") as channel:
            return await rpc.AdminServiceStub(channel).ListEvidence(pb.ListEvidenceRequest())

    async def acknowledge(self) -> None:
        """As an operator, once the EVIDENCE entry is in the honest log."""
        request = pb.AcknowledgeEvidenceRequest(digest=await self.waiting())

        async def told() -> bool:
            async with self.honest.channel("hongkong-operator") as channel:
                try:
                    await rpc.AdminServiceStub(channel).AcknowledgeEvidence(request)
                except Exception:  # noqa: BLE001 - it is not in the log yet
                    return False
            return True

        await self.until(told, bool)

    async def accused(self) -> set[bytes]:
        """Digests of bundles in the EVIDENCE entries of the honest log."""
        found = set()
        async for message in self.liar.client.list_headers(0):
            for shared in message.bodies:
                body = body_pb2.Body.FromString(shared.body)
                if body.HasField("evidence"):
                    found.add(body.evidence.bundle_digest)
        return found

    @staticmethod
    async def until(ask: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> T:
        """Ask until the answer is wanted; fail when it never is."""
        end = time.monotonic() + PATIENCE
        while not wanted(answer := await ask()):
            assert time.monotonic() < end, f"still {answer}"
            await asyncio.sleep(0.02)
        return answer


async def _silence(start: int) -> AsyncIterator[pb.ListHeadersResponse]:
    for message in ():
        yield message


@asynccontextmanager
async def scene(directory: Path, *, entries: int = 0) -> AsyncIterator[Scene]:
    """
    A new border, whose honest node has cosigned at least so many entries of the liar's.

    With 0 it has heard nothing of the liar, who is silent until it tells a lie.
    """
    border = await asyncio.to_thread(Border, directory / "border")
    honest = Honest(border, border.hongkong, timing=TIMING)
    log = LyingLog.of(border)
    while len(log.entries) < entries:
        log.by_node(tick=body_pb2.Tick())
    try:
        async with lying_node(border, log) as liar:
            if not entries:
                liar.script = Script(headers=_silence)
            await honest.start()
            found = Scene(border, liar, honest)
            if entries:
                await found.truth(0)
            yield found
            await honest.end()
    finally:
        border.close()


async def reason_of(call: Awaitable[object]) -> str:
    """Why a call by the liar is refused; "" when it is answered."""
    try:
        await call
    except LedgerError as error:
        return error.reason
    return ""
