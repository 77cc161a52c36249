"""The same where a tile of the tree's second level is full, in a log of 65,540 entries."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from adversary.entries import tick
from adversary.headers import HEADERS, chained
from adversary.scene import Scene, reason_of, scene

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow, pytest.mark.timeout(300),
]  # fmt: skip

VERIFIED = 65_510
PLACES = [65_535, 65_536]
END = 65_540


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("large"), entries=VERIFIED) as found:
        while len(found.log.entries) < END:
            tick(found.log)
        yield found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", HEADERS)
class TestHeadersThatWereChangedOnTheWay:
    async def test_are_a_failure(self, told: Scene, name: str, place: int) -> None:
        log = told.copy(END)
        note, log.entries = log.checkpoint(), HEADERS[name](log.entries, place)
        await told.tell(told.serving(log, note))
        assert (await told.cosigned(), told.honest.bundles) == (told.liar.shown, [])
        await told.truth()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", HEADERS)
class TestHeadersThatWereChangedAndSignedAnew:
    async def test_are_evidence(self, told: Scene, name: str, place: int) -> None:
        await told.truth(max(0, END - told.liar.shown))
        known, log = len(told.honest.bundles), told.copy()
        changed = HEADERS[name](log.entries, place)
        if len(changed) < len(log.entries):
            changed.append(log.entries[1])
        log.entries = chained(log, changed, place - 1)[: len(log.entries)]
        await reason_of(told.liar.ask(log))
        found = await told.caught(known)
        found.verify(told.copy().history())
        await told.acknowledge()
