"""
Lies that somebody else could have told: no cosignature, no evidence, and all is well afterwards.

One honest node is told one after the other. While each lasts it takes a record, and in the end
everything that it holds is audited.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from adversary.entries import tick
from adversary.headers import HEADERS
from adversary.liar import Script
from adversary.scene import Scene, scene
from adversary.streams import BEYOND, STREAMS
from builders import new_key

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client.core.checkpoint import Checkpoint, cosign
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signature, Signer, parse_note

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

# Where headers are changed: at the edges of the tiles that the tree is kept in.
VERIFIED = 200
EDGES = [255, 256, 257]
# Beyond them, so that the last entry is not an edge.
END = 262


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("failures"), entries=VERIFIED) as found:
        while len(found.log.entries) < END:
            tick(found.log)
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strangers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """The honest node has heard nothing of its peer yet."""
    async with scene(tmp_path_factory.mktemp("strangers")) as found:
        yield found


async def is_a_failure(told: Scene, reason: str) -> None:
    """Nothing of it is cosigned or evidence, and the truth is cosigned afterwards."""
    size = told.liar.shown
    assert await told.cosigned() == size
    assert told.honest.bundles == []
    if reason:
        assert told.honest.failures[-1] == reason
    await told.truth()


@pytest.mark.parametrize("place", [*EDGES, END - 1], ids=[*map(str, EDGES), "last"])
@pytest.mark.parametrize("name", HEADERS)
class TestHeadersThatWereChangedOnTheWay:
    async def test_are_a_failure(self, told: Scene, name: str, place: int) -> None:
        entries = HEADERS[name](told.log.entries[:END], place)
        log = told.copy(END)
        note, log.entries = log.checkpoint(), entries
        await told.tell(told.serving(log, note))
        await is_a_failure(told, "")


@pytest.mark.parametrize("name", STREAMS)
class TestAStream:
    async def test_is_a_failure(self, told: Scene, name: str) -> None:
        reason, make = STREAMS[name]
        log = told.copy()
        for _ in range(BEYOND):
            tick(log)
        await told.tell(make(told, log))
        await is_a_failure(told, reason)


@pytest.mark.parametrize("name", HEADERS)
class TestTheFirstHeaderOfALogThatNobodyKnows:
    async def test_is_a_failure(self, strangers: Scene, name: str) -> None:
        log = strangers.copy()
        note, log.entries = log.checkpoint(), HEADERS[name](log.entries, 0)
        await strangers.tell(strangers.serving(log, note))
        assert (strangers.honest.bundles, await strangers.cosigned()) == ([], 0)


# -- cosignatures ----------------------------------------------------------------------------------

Line = Callable[[Scene, pb.AddCheckpointRequest], str]


def tree_of(request: pb.AddCheckpointRequest) -> Checkpoint:
    return Checkpoint.parse(parse_note(request.checkpoint).text)


def signer(told: Scene) -> Signer:
    return Signer(told.log.origin, COSIGNATURE_V1, told.log.cosigner_key)


def by_a_wrong_key(told: Scene, request: pb.AddCheckpointRequest) -> str:
    stranger = Signer(told.log.origin, COSIGNATURE_V1, new_key())
    return cosign(tree_of(request), stranger, 1_790_000_000).format()


def by_the_log_key(told: Scene, request: pb.AddCheckpointRequest) -> str:
    of_the_log = Signer(told.log.origin, ED25519, told.log.log_key)
    return of_the_log.sign(parse_note(request.checkpoint).text).format()


def of_another_text(told: Scene, request: pb.AddCheckpointRequest) -> str:
    tree = tree_of(request)
    other = Checkpoint(tree.origin, tree.size, os.urandom(32))
    return cosign(other, signer(told), 1_790_000_000).format()


def of_an_older_size(told: Scene, request: pb.AddCheckpointRequest) -> str:
    return told.liar.cosigned.decode().rpartition("\n\n")[2].splitlines(keepends=True)[-1]


def of_a_time_in_the_wrong_order(told: Scene, request: pb.AddCheckpointRequest) -> str:
    line = cosign(tree_of(request), signer(told), 1_790_000_000)
    time, signature = line.signature[:8], line.signature[8:]
    return Signature(line.name, line.key_id, time[::-1] + signature).format()


def of_a_signature_that_fails(told: Scene, request: pb.AddCheckpointRequest) -> str:
    line = cosign(tree_of(request), signer(told), 1_790_000_000)
    return Signature(line.name, line.key_id, line.signature[:8] + bytes(64)).format()


def that_is_garbage(told: Scene, request: pb.AddCheckpointRequest) -> str:
    return "\N{EM DASH} no line\n"


def that_is_missing(told: Scene, request: pb.AddCheckpointRequest) -> str:
    return ""


COSIGNATURES: list[Line] = [
    by_a_wrong_key, by_the_log_key, of_another_text, of_an_older_size,
    of_a_time_in_the_wrong_order, of_a_signature_that_fails, that_is_garbage, that_is_missing,
]  # fmt: skip


async def own_cosigned(told: Scene) -> bytes:
    """What the honest node shows its institutions as cosigned by the liar."""
    async with told.honest.channel("hk-clinic") as channel:
        request = pb.GetCheckpointRequest(cosigned=True)
        return (await rpc.LedgerServiceStub(channel).GetCheckpoint(request)).checkpoint


def size_of(note: bytes) -> int:
    return Checkpoint.parse(parse_note(note).text).size


@pytest.mark.parametrize("line", COSIGNATURES, ids=lambda line: line.__name__)
class TestACosignature:
    async def test_is_not_taken(self, told: Scene, line: Line) -> None:
        await told.truth()
        before, asked = await own_cosigned(told), []

        def lie(request: pb.AddCheckpointRequest) -> str:
            asked.append(request)
            return line(told, request)

        async def times() -> int:
            return len(asked)

        told.liar.script = Script(cosignature=lie)
        await told.honest.append()
        await told.until(times, lambda count: count >= 3)
        assert await own_cosigned(told) == before
        told.liar.script = Script()
        await told.until(lambda: own_cosigned(told), lambda note: size_of(note) > size_of(before))
