"""A certificate that is replaced, or ends, while it is in use: by a node, a standby or a mirror."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from institutions import until
from nodes import LIFE, Credentials, Node, Side, found_one, serve
from structlog.testing import capture_logs

from ledgerd.config import Tls
from ledgerd.credentials import NodeTls
from ledgerd.mirroring import mirror
from ledgerd.renewing import Renewal
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import FieldError
from ledgerd_client.identity import PEER, REGULATOR
from ledgerd_client.pki import Validity
from ledgerd_client.transport import read_tls_pair


class Scene:
    """A Renewal over two files, what it used and what it said."""

    def __init__(self, directory: Path) -> None:
        self.now = datetime.now(UTC)
        self.side = Side(directory / "side", "mainland.example/ledger", "mainland")
        self.files = Tls.model_construct(certificate=directory / "crt", key=directory / "key")
        self.used: list[NodeTls] = []
        self.said: list[str] = []
        self.replaced = 0
        self.put()
        self.renewal = Renewal(
            self.files,
            self.load(self.files),
            load=self.load,
            use=self.use,
            say=lambda error: self.said.append(error.reason),
            clock=lambda: self.now,
        )

    def load(self, files: Tls) -> NodeTls:
        return NodeTls(*read_tls_pair(files.certificate, files.key))

    async def use(self, tls: NodeTls) -> None:
        self.used.append(tls)

    def put(self, start: timedelta = timedelta()) -> None:
        """Another certificate in the place of the one before."""
        validity = Validity.starting(self.now + start, LIFE)
        made = self.side.issue(PEER, "mainland", validity=validity)
        self.replaced += 1
        for path, data in (
            (self.files.certificate, made.certificate),
            (self.files.key, made.tls_key),
        ):
            path.touch(mode=0o600)
            path.write_bytes(data)
            # However coarse the file system's clock is.
            os.utime(path, ns=(self.replaced, self.replaced))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


class TestReplaced:
    async def test_it_is_used(self, scene: Scene) -> None:
        scene.put()
        await scene.renewal.look()
        assert scene.used == [scene.load(scene.files)]

    async def test_it_is_used_once(self, scene: Scene) -> None:
        scene.put()
        await scene.renewal.look()
        await scene.renewal.look()
        assert len(scene.used) == 1

    async def test_before_the_first_look_it_is_used_too(self, scene: Scene) -> None:
        """Files that are replaced between their being read and that."""
        scene.put()
        await scene.renewal.look()
        assert scene.used

    async def test_by_itself_it_is_not(self, scene: Scene) -> None:
        await scene.renewal.look()
        assert (scene.used, scene.said) == ([], [])

    @pytest.mark.parametrize("start", [-2 * LIFE, LIFE / 2])
    async def test_by_one_that_is_not_valid_now_it_stays_in_use(
        self, scene: Scene, start: timedelta
    ) -> None:
        scene.put(start)
        await scene.renewal.look()
        await scene.renewal.look()
        assert (scene.used, scene.said) == ([], ["CERTIFICATE_DATES"])

    async def test_by_what_is_no_certificate_it_stays_in_use(self, scene: Scene) -> None:
        scene.files.certificate.write_bytes(b"rubbish")
        await scene.renewal.look()
        await scene.renewal.look()
        assert (scene.used, len(scene.said)) == ([], 1)

    async def test_as_asked_for_what_is_wrong_is_raised(self, scene: Scene) -> None:
        scene.put(-2 * LIFE)
        with pytest.raises(FieldError):
            await scene.renewal.take(scene.files)


class TestEnded:
    async def test_is_said_once(self, scene: Scene) -> None:
        scene.now += 2 * LIFE
        await scene.renewal.look()
        await scene.renewal.look()
        assert scene.said == ["CERTIFICATE_DATES"]

    async def test_one_in_its_place_is_used(self, scene: Scene) -> None:
        scene.now += 2 * LIFE
        await scene.renewal.look()
        # The authority's own has not ended.
        scene.now -= LIFE
        scene.put()
        await scene.renewal.look()
        assert len(scene.used) == 1

    async def test_the_next_end_is_said_again(self, scene: Scene) -> None:
        scene.now += LIFE * 1.1
        await scene.renewal.look()
        scene.put()
        await scene.renewal.look()
        scene.now += LIFE * 1.1
        await scene.renewal.look()
        assert scene.said == ["CERTIFICATE_DATES"] * 2


class TestANode:
    """That starts with one that has ended: nobody it serves can be told by it."""

    @pytest.fixture
    def side(self, tmp_path: Path) -> tuple[Side, Side]:
        side, peer = found_one(tmp_path)
        ended = side.issue(
            PEER, side.name, validity=Validity.starting(datetime.now(UTC) - LIFE, LIFE / 2)
        )
        side.config.tls.certificate.write_bytes(ended.certificate)
        side.config.tls.key.write_bytes(ended.tls_key)
        return side, peer

    async def test_serves_and_says_so_loudly(self, side: tuple[Side, Side]) -> None:
        with capture_logs() as logs:
            async with serve(*side):
                said = await asyncio.to_thread(until, lambda: the_said(logs), bool)
        assert said == [("error", "CERTIFICATE_DATES")]


def the_said(logs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Of certificates: at what level, and why."""
    events = [each for each in logs if each["event"] == "certificate_not_good"]
    return [(each["log_level"], each["reason"]) for each in events]


class TestAMirror:
    async def test_follows_again_with_one_that_is_put_in_its_place(self, tmp_path: Path) -> None:
        """It was started with one that had ended."""
        side, peer = found_one(tmp_path)
        said: asyncio.Queue[str] = asyncio.Queue()
        async with serve(side, peer) as node:
            regulator = await node.regulator("cac.shenzhen")
            ended = side.issue(
                REGULATOR, "cac.shenzhen",
                validity=Validity.starting(datetime.now(UTC) - LIFE, LIFE / 2),
            )  # fmt: skip
            settings = settings_of(node, tmp_path / "regulator", ended)
            socket = tmp_path / "mirror.sock"
            mirroring = asyncio.create_task(
                mirror(
                    settings,
                    tmp_path / "mirror",
                    socket,
                    progress=lambda _done, _total: None,
                    say=lambda error: said.put_nowait(error.reason),
                )
            )
            try:
                assert await said.get() == "CERTIFICATE_DATES"
                await said.get()  # what it could not follow for
                settings.tls_key.write_bytes(regulator.credentials.tls_key)
                settings.tls_certificate.write_bytes(regulator.credentials.certificate)
                await asyncio.to_thread(until, socket.exists, bool)
            finally:
                mirroring.cancel()
                with suppress(asyncio.CancelledError):
                    await mirroring


def settings_of(node: Node, directory: Path, credentials: Credentials) -> Settings:
    """A regulator's, of a node."""
    directory.mkdir()
    names = {"tls.crt": credentials.certificate, "tls.key": credentials.tls_key}
    for name, data in names.items():
        (directory / name).touch(mode=0o600)
        (directory / name).write_bytes(data)
    return Settings(
        endpoint=f"localhost:{node.port}",
        origin=node.side.origin,
        trust=node.side.config.trust,
        tls_certificate=directory / "tls.crt",
        tls_key=directory / "tls.key",
        keys=directory / "keys",
    )
