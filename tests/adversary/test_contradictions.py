"""
Lies that the log's own key proves: evidence, and no cosignature until an operator acknowledges it.

One honest node is told one after the other. What it keeps is verified by `ledgerctl` with a trust
file and a key history, and in the end everything that it holds is audited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from adversary.entries import WRONG_ENTRIES, tick
from adversary.forks import FORKS
from adversary.headers import HEADERS, chained
from adversary.liar import Script
from adversary.scene import Scene, reason_of, scene
from border import LEDGERCTL, run

from ledgerd_client.core.entry_evidence import EntryEvidence
from ledgerd_client.core.evidence import Evidence

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

SIZE = 260
PLACES = [1, 255, 256, 257]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("contradictions"), entries=SIZE) as found:
        yield found


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory, told: Scene) -> Path:
    """The key history that a verifier has: of the log as everybody knows it."""
    path = tmp_path_factory.mktemp("keys") / "mainland.keys"
    path.write_bytes(told.copy().history().format())
    return path


async def verified(told: Scene, keys: Path) -> str:
    """What `ledgerctl evidence verify` says of the newest evidence; it exits 0."""
    bundle = told.honest.config.parent / "data" / "evidence" / f"{(await told.waiting()).hex()}"
    trust = told.border.directory / "trust.txt"
    command = (
        *(LEDGERCTL, "evidence", "verify", f"{bundle}.evidence"),
        *("--trust", str(trust), "--keys", str(keys)),
    )
    return (await asyncio.to_thread(run, *command)).stdout


async def is_over(told: Scene) -> None:
    """Nothing is cosigned until it is acknowledged; our log names the evidence; then all is well."""
    assert await reason_of(told.liar.ask(told.copy())) == "EVIDENCE"
    digest, size = await told.waiting(), await told.cosigned()
    await told.until(told.accused, lambda digests: digest in digests)
    assert await told.cosigned() == size
    await told.honest.append()
    await told.acknowledge()
    await told.truth()


@pytest.mark.parametrize("name", WRONG_ENTRIES)
class TestAWrongEntryUnderItsRoot:
    async def test_is_evidence(self, told: Scene, keys: Path, name: str) -> None:
        claim, make = WRONG_ENTRIES[name]
        log, known = told.copy(), len(told.honest.bundles)
        tick(log)
        make(log, log.institution(told.border, "sz-hospital"))
        tick(log)
        told.liar.script = Script(headers=told.serving(log))
        found = await told.caught(known)
        assert isinstance(found, EntryEvidence)
        assert found.wrong == claim
        assert "mainland.dev.invalid/log: entry" in await verified(told, keys)
        await is_over(told)


@pytest.mark.parametrize("name", FORKS)
class TestTwoTrees:
    async def test_are_evidence(self, told: Scene, keys: Path, name: str) -> None:
        await told.truth(4)
        known = len(told.honest.bundles)
        await FORKS[name](told)
        assert isinstance(await told.caught(known), Evidence)
        assert "contradict each other" in await verified(told, keys)
        await is_over(told)


@pytest.mark.parametrize("place", [*PLACES, -1], ids=[*map(str, PLACES), "last"])
@pytest.mark.parametrize("name", HEADERS)
class TestHeadersThatWereChangedAndSignedAnew:
    async def test_are_evidence(self, told: Scene, name: str, place: int) -> None:
        known, log = len(told.honest.bundles), told.copy()
        size = len(log.entries)
        changed = HEADERS[name](log.entries, range(size)[place])
        # As large as what was cosigned.
        if len(changed) < size:
            changed.append(log.entries[1])
        log.entries = chained(log, changed)[:size]
        await reason_of(told.liar.ask(log))
        found = await told.caught(known)
        assert isinstance(found, Evidence)
        found.verify(told.copy().history())
        await is_over(told)


@pytest.mark.parametrize("name", ["two_checkpoints_of_one_size", "signature_wrong"])
class TestEvidenceThatWaits:
    async def tell(self, told: Scene, name: str) -> None:
        if name in FORKS:
            await FORKS[name](told)
        else:
            log = told.copy()
            WRONG_ENTRIES[name][1](log, log.institution(told.border, "sz-hospital"))
            told.liar.script = Script(headers=told.serving(log))

    async def test_outlives_restarts(self, told: Scene, name: str) -> None:
        await told.truth(4)
        known = len(told.honest.bundles)
        await self.tell(told, name)
        await told.caught(known)
        digest, size = await told.waiting(), await told.cosigned()
        told.liar.script = Script()
        await told.honest.restart()
        assert await told.waiting() == digest
        assert await reason_of(told.liar.ask(told.copy())) == "EVIDENCE"
        assert await told.cosigned() == size
        await told.acknowledge()
        await told.honest.restart()
        await told.truth()
        assert len(told.honest.bundles) == known + 1

    async def test_holds_back_cosignatures_and_not_what_is_known(
        self, told: Scene, name: str
    ) -> None:
        """Should the other node be restored meanwhile, it is told how far its log had come."""
        await told.truth(4)
        known = len(told.honest.bundles)
        await self.tell(told, name)
        await told.caught(known)
        told.liar.script = Script()
        tick(told.log)
        told.liar.shown += 1
        await told.until(told.seen, lambda size: size == told.liar.shown)
        assert await told.cosigned() < told.liar.shown
        await is_over(told)


class TestAnOperator:
    async def test_sees_fetches_and_acknowledges_it_by_commands(self, told: Scene) -> None:
        await told.truth(4)
        known = len(told.honest.bundles)
        await FORKS["two_checkpoints_of_one_size"](told)
        await told.caught(known)
        digest = (await told.waiting()).hex()
        config = ("--config", str(told.border.client("hongkong-operator")))
        copy = told.honest.config.parent / "a.evidence"

        async def ledgerctl(*words: str) -> str:
            command = (LEDGERCTL, "evidence", *words, *config)
            return (await asyncio.to_thread(run, *command)).stdout

        listed = await ledgerctl("list")
        assert f"{digest}" in listed
        assert "waits: nothing is cosigned" in listed
        await ledgerctl("get", digest, "--out", str(copy))
        assert copy.read_bytes() in [path.read_bytes() for path in told.honest.bundles]
        await told.until(told.accused, lambda digests: bytes.fromhex(digest) in digests)
        await ledgerctl("acknowledge", digest, "--yes")
        await told.truth()
