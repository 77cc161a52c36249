"""An honest node: a real `ledgerd serve` of the Hong Kong side, and what can be seen of it."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import builders
import grpc
from bench.load import connect
from border import PATIENCE, Border, Node, audit
from builders import Log
from e2e.raw import institution, now, settings, sign
from nodes import free_port

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc

Wanted = Callable[[float], bool]


class Honest:
    """One process, started from a directory of its own. Belongs to the event loop."""

    def __init__(self, border: Border, node: Node, *, timing: str = "") -> None:
        """timing: more lines of that table."""
        self.config = node.config
        self.node = node
        self._border = border
        self._metrics = free_port()
        text = self.config.read_text().replace("[timing]", f"[timing]\n{timing}")
        self.config.write_text(f'metrics_listen = "127.0.0.1:{self._metrics}"\n{text}')

    async def start(self) -> None:
        await asyncio.to_thread(self.node.start)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        assert await asyncio.to_thread(self.node.stop) == 0, self.node.tail()

    async def end(self) -> None:
        """Stop it, unless it has stopped, and look whether all it holds is right."""
        process = self.node.process
        assert process is not None
        if process.poll() is None:
            await self.stop()
        self.node.close()
        await asyncio.to_thread(audit, self.config)

    # -- looking ----------------------------------------------------------------------------

    async def gauge(self, name: str) -> float:
        """A metric without labels, as it is now or was a second ago."""
        text = await asyncio.to_thread(self._scrape)
        (value,) = re.findall(rf"^ledgerd_{name} (\S+)$", text, re.MULTILINE)
        return float(value)

    async def until(self, name: str, wanted: Wanted) -> float:
        """Ask for a metric until it is wanted; fail when it never is."""
        end = time.monotonic() + PATIENCE
        while not wanted(value := await self.gauge(name)):
            assert time.monotonic() < end, f"{name} is still {value}:\n{self.node.tail()}"
            await asyncio.sleep(0.05)
        return value

    @property
    def failures(self) -> list[str]:
        """Why rounds with the peer failed, each time that the reason was another one."""
        return re.findall(r'"?reason"?[=:] ?"?([A-Z_]+)', self.node.log.read_text())

    @property
    def bundles(self) -> list[Path]:
        return sorted((self.config.parent / "data" / "evidence").glob("*.evidence"))

    @property
    def memory(self) -> int:
        """Bytes that the daemon's own process has in memory."""
        assert self.node.process is not None
        status = Path(f"/proc/{self.node.process.pid}/status").read_text()
        (kibibytes,) = re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kibibytes) * 1024

    def _scrape(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics") as reply:
            text: str = reply.read().decode()
        return text

    # -- asking -----------------------------------------------------------------------------

    def channel(self, name: str) -> grpc.aio.Channel:
        """To the node, in the name of somebody of its side."""
        return connect(settings(self._border, name))

    async def append(self) -> float:
        """Append a record as an institution does; returns how many seconds that took."""
        author, recipient = (
            institution(settings(self._border, name)) for name in ("hk-clinic", "sz-hospital")
        )
        logs = Log(author.origin), Log(recipient.origin)
        transfer = builders.Border(*logs, author, recipient).transfer()
        record = sign(author.body(now(), transfer=transfer), author.key)
        async with self.channel("hk-clinic") as channel:
            started = time.monotonic()
            call = rpc.LedgerServiceStub(channel).Append(pb.AppendRequest(records=[record]))
            (outcome,) = (await call).outcomes
        assert outcome.WhichOneof("result") == "recorded", outcome
        return time.monotonic() - started
