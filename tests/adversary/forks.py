"""Two trees under the log's own key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

import grpc
from adversary.entries import tick
from adversary.liar import LyingLog, Script
from adversary.scene import Scene, reason_of

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client.transport import PEER_CHECKPOINT_METADATA

Fork = Callable[[Scene], Awaitable[None]]


def other_history(scene: Scene, size: int) -> LyingLog:
    """The log with other entries in the place of its last ones, up to a size."""
    log = scene.copy(scene.liar.shown - 4)
    while len(log.entries) < size:
        tick(log)
    return log


async def two_checkpoints_of_one_size(scene: Scene) -> None:
    await reason_of(scene.liar.ask(other_history(scene, scene.liar.shown)))


async def shorter_tree_of_another_history(scene: Scene) -> None:
    await reason_of(scene.liar.ask(other_history(scene, scene.liar.shown - 1)))


async def two_views_in_the_headers(scene: Scene) -> None:
    scene.liar.script = Script(headers=scene.serving(other_history(scene, scene.liar.shown)))


async def two_views_before_either_is_replayed(scene: Scene) -> None:
    """Both of a size that the replay has yet to reach; one is the truth."""
    scene.liar.script = Script(headers=scene.serving(scene.copy()))
    size = scene.liar.shown + 1
    other = scene.copy()
    for log in (scene.log, other):
        del log.entries[size - 1 :]
        tick(log)
        await reason_of(scene.liar.ask(log))


async def two_views_after_a_restart(scene: Scene) -> None:
    fork = other_history(scene, scene.liar.shown)
    await scene.honest.restart()
    await scene.until(lambda: reason_of(scene.liar.ask(fork)), lambda reason: reason == "BAD_PROOF")


async def refused_request_that_the_log_outgrew(scene: Scene) -> None:
    """Refused for its proof, and never asked for again."""
    size = scene.liar.shown + 2
    fork = other_history(scene, size)
    reason = await reason_of(
        scene.liar.client.add_checkpoint(scene.liar.shown, [bytes(32)], fork.checkpoint())
    )
    assert reason == "BAD_PROOF"
    while len(scene.log.entries) < size:
        tick(scene.log)
    scene.liar.shown = size


async def view_for_the_peer_and_another_for_a_client(scene: Scene) -> None:
    note = other_history(scene, scene.liar.shown - 1).checkpoint()
    async with scene.honest.channel("hk-clinic") as channel:
        call = rpc.LedgerServiceStub(channel).GetInfo
        metadata = grpc.aio.Metadata((PEER_CHECKPOINT_METADATA, note))
        await call(pb.GetInfoRequest(), metadata=metadata)


FORKS: Final[Mapping[str, Fork]] = MappingProxyType({
    "two_checkpoints_of_one_size": two_checkpoints_of_one_size,
    "shorter_tree_of_another_history": shorter_tree_of_another_history,
    "two_views_in_the_headers": two_views_in_the_headers,
    "two_views_before_either_is_replayed": two_views_before_either_is_replayed,
    "two_views_after_a_restart": two_views_after_a_restart,
    "view_for_the_peer_and_another_for_a_client": view_for_the_peer_and_another_for_a_client,
    "refused_request_that_the_log_outgrew": refused_request_that_the_log_outgrew,
})  # fmt: skip
