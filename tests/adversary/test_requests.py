"""What the liar asks to have cosigned: the answers of C2SP's matrix, and what is kept of them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
import pytest_asyncio
from adversary.entries import tick
from adversary.liar import LyingLog
from adversary.scene import Scene, reason_of, scene
from builders import new_key

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

SIZE = 120
KEPT = 64


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("requests"), entries=SIZE) as found:
        yield found


def grown(told: Scene) -> LyingLog:
    """With an entry that the honest node has not been shown yet, and will be."""
    if len(told.log.entries) == told.liar.shown:
        tick(told.log)
    return told.copy(told.liar.shown + 1)


Request = Callable[[Scene], Awaitable[str]]


async def replay_of_an_old_request(told: Scene) -> str:
    log = told.log
    return await told.liar.client.add_checkpoint(10, log.consistency(10, 60), log.checkpoint(60))


async def garbage_for_a_proof(told: Scene) -> str:
    log, proof = grown(told), [os.urandom(32) for _ in range(7)]
    return await told.liar.client.add_checkpoint(told.liar.shown, proof, log.checkpoint())


async def proof_of_64_hashes(told: Scene) -> str:
    log, proof = grown(told), [bytes(32)] * 64
    return await told.liar.client.add_checkpoint(told.liar.shown, proof, log.checkpoint())


async def proof_of_short_hashes(told: Scene) -> str:
    log = grown(told)
    return await told.liar.client.add_checkpoint(told.liar.shown, [b"short"], log.checkpoint())


async def old_size_beyond_the_new(told: Scene) -> str:
    return await told.liar.client.add_checkpoint(SIZE * 9, [], told.log.checkpoint(SIZE))


async def checkpoint_of_another_log(told: Scene) -> str:
    note = replace(told.copy(), origin="a.example/log").checkpoint()
    return await told.liar.client.add_checkpoint(told.liar.shown, [], note)


async def checkpoint_by_another_key(told: Scene) -> str:
    note = replace(told.copy(), log_key=new_key()).checkpoint()
    return await told.liar.client.add_checkpoint(told.liar.shown, [], note)


async def checkpoint_with_a_signature_that_fails(told: Scene) -> str:
    note = told.copy(SIZE - 1).checkpoint().replace(b"\n119\n", b"\n118\n")
    return await told.liar.client.add_checkpoint(0, [], note)


async def garbage_to_cosign(told: Scene) -> str:
    return await told.liar.client.add_checkpoint(0, [], os.urandom(500))


async def enormous_to_cosign(told: Scene) -> str:
    return await told.liar.client.add_checkpoint(0, [], bytes(3 << 20))


REQUESTS: dict[str, tuple[str, Request]] = {
    "replay_of_an_old_request": ("SIZE_CONFLICT", replay_of_an_old_request),
    "garbage_for_a_proof": ("BAD_PROOF", garbage_for_a_proof),
    "proof_of_64_hashes": ("MALFORMED", proof_of_64_hashes),
    "proof_of_short_hashes": ("MALFORMED", proof_of_short_hashes),
    "old_size_beyond_the_new": ("MALFORMED", old_size_beyond_the_new),
    "checkpoint_of_another_log": ("UNKNOWN_ORIGIN", checkpoint_of_another_log),
    "request_by_another_key": ("NOT_TRUSTED", checkpoint_by_another_key),
    "signature_that_fails": ("BAD_SIGNATURE", checkpoint_with_a_signature_that_fails),
    "garbage_to_cosign": ("MALFORMED", garbage_to_cosign),
    "enormous_to_cosign": ("TOO_LARGE", enormous_to_cosign),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
class TestARequest:
    async def test_is_answered_by_the_matrix(self, told: Scene, name: str) -> None:
        reason, ask = REQUESTS[name]
        assert await reason_of(ask(told)) == reason
        assert (await told.cosigned(), told.honest.bundles) == (told.liar.shown, [])
        await told.truth()


class TestARefusedRequest:
    async def test_is_kept_for_the_operator(self, told: Scene) -> None:
        log = grown(told)
        await refused(told, log)
        (newest,) = (await told.listed()).refused[-1:]
        assert (newest.reason, newest.checkpoint) == ("BAD_PROOF", log.checkpoint())

    async def test_is_none_where_more_was_cosigned_meanwhile(self, told: Scene) -> None:
        await reason_of(replay_of_an_old_request(told))
        assert "SIZE_CONFLICT" not in {each.reason for each in (await told.listed()).refused}

    async def test_is_one_of_64_for_its_reason(self, told: Scene) -> None:
        log = grown(told)
        for _ in range(KEPT + 6):
            tick(log)
            await refused(told, log)
        listed = (await told.listed()).refused
        kept = [refused.checkpoint for refused in listed if refused.reason == "BAD_PROOF"]
        assert len(kept) == KEPT
        assert kept[-1] == log.checkpoint()

    async def test_is_still_known_after_a_restart(self, told: Scene) -> None:
        before = (await told.listed()).refused
        await told.honest.restart()
        assert (await told.listed()).refused == before


async def refused(told: Scene, log: LyingLog) -> None:
    call = told.liar.client.add_checkpoint(told.liar.shown, [bytes(32)], log.checkpoint())
    assert await reason_of(call) == "BAD_PROOF"


class TestAShorterTreeOfTheSameHistory:
    async def test_is_no_lie(self, told: Scene) -> None:
        log = told.copy(SIZE // 2)
        await told.tell_older(log)
        assert (told.honest.bundles, await told.cosigned()) == ([], told.liar.shown)
