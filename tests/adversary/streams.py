"""What anybody on the wire could have made, and what is too much, too long or too slow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from adversary.entries import change, tick
from adversary.liar import Headers, LyingLog, Message, page
from adversary.scene import Scene
from builders import new_body, new_key

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.note import ED25519, Signer

# Entries that a log has grown by before its stream is spoiled. What is signed for it is another tree
# than the truth's: evidence, once the truth has come so far, and it never does.
BEYOND: Final = 200

# What is served in the place of a log that has grown by some entries.
Stream = Callable[[Scene, LyingLog], Headers]


def wrong_root(scene: Scene, log: LyingLog) -> Headers:
    signer = Signer(log.origin, ED25519, log.log_key)
    tree = Checkpoint(log.origin, len(log.entries), os.urandom(32))
    return scene.serving(log, sign_checkpoint(tree, signer))


def checkpoint_by_a_wrong_key(scene: Scene, log: LyingLog) -> Headers:
    return scene.serving(log, replace(log, log_key=new_key()).checkpoint())


def checkpoint_of_another_origin(scene: Scene, log: LyingLog) -> Headers:
    return scene.serving(log, replace(log, origin="a.example/log").checkpoint())


def rotation_with_one_signature(scene: Scene, log: LyingLog) -> Headers:
    log.rotate(body_pb2.ROLE_LOG)
    tick(log)
    return scene.serving(log)


def loss_below_what_was_cosigned(scene: Scene, log: LyingLog) -> Headers:
    del log.entries[scene.liar.shown - 3 :]
    log.lose()
    for _ in range(6):
        tick(log)
    return scene.serving(log)


def loss_with_another_root(scene: Scene, log: LyingLog) -> Headers:
    keys = new_key(), new_key()
    log.by_authority(loss=log.loss(root=bytes(32), keys=keys))
    log.log_key, log.cosigner_key = keys
    return scene.serving(log)


def time_ahead(scene: Scene, log: LyingLog) -> Headers:
    change(log, recorded_at=log.now + 3_600_000_000)
    return scene.serving(log)


def cut_stream(scene: Scene, log: LyingLog) -> Headers:
    async def headers(start: int) -> AsyncIterator[Message]:
        yield replaced(page(start, log.entries[start:-1]), log.checkpoint())

    return headers


def body_of_another_entry(scene: Scene, log: LyingLog) -> Headers:
    index = log.admit("uscc.91440300MA5EXMPLXX").admitted_at
    other = new_body(
        log.origin, "authority", log.now, key_event=log.admission("uscc.OTHER", new_key())
    )

    async def headers(start: int) -> AsyncIterator[Message]:
        message = replaced(page(start, log.entries[start:]), log.checkpoint())
        for shared in message.bodies:
            shared.body = other if shared.index == index else shared.body
        yield message

    return headers


def body_missing(scene: Scene, log: LyingLog) -> Headers:
    log.admit("uscc.91440300MA5EXMPLXX")

    async def headers(start: int) -> AsyncIterator[Message]:
        message = replaced(page(start, log.entries[start:]), log.checkpoint())
        del message.bodies[:]
        yield message

    return headers


def nothing_at_all(scene: Scene, log: LyingLog) -> Headers:
    async def headers(start: int) -> AsyncIterator[Message]:
        for message in ():
            yield message

    return headers


def garbage(scene: Scene, log: LyingLog) -> Headers:
    async def headers(start: int) -> AsyncIterator[Message | bytes]:
        yield os.urandom(4096)

    return headers


def garbage_for_a_checkpoint(scene: Scene, log: LyingLog) -> Headers:
    return scene.serving(log, b"\xff" * 300)


def enormous_message(scene: Scene, log: LyingLog) -> Headers:
    async def headers(start: int) -> AsyncIterator[Message]:
        yield Message(checkpoint=log.checkpoint(), first=start, headers=[bytes(48 << 20)])

    return headers


def very_many_headers_in_one_message(scene: Scene, log: LyingLog) -> Headers:
    """Two bytes each on the wire, and much more in memory."""

    async def headers(start: int) -> AsyncIterator[Message]:
        yield Message(checkpoint=log.checkpoint(), first=start, headers=[b""] * 1_000_000)

    return headers


def very_many_bodies_in_one_message(scene: Scene, log: LyingLog) -> Headers:
    async def headers(start: int) -> AsyncIterator[Message]:
        message = replaced(page(start, log.entries[start:]), log.checkpoint())
        message.bodies.extend([pb.SharedBody(index=start, body=log.entries[0][1])] * 3000)
        yield message

    return headers


def more_headers_than_the_checkpoint(scene: Scene, log: LyingLog) -> Headers:
    note = log.checkpoint()
    for _ in range(3):
        tick(log)
    return scene.serving(log, note)


def pages_out_of_order(scene: Scene, log: LyingLog) -> Headers:
    async def headers(start: int) -> AsyncIterator[Message]:
        yield replaced(page(start + 1, log.entries[start + 1 :]), log.checkpoint())

    return headers


def empty_messages_without_end(scene: Scene, log: LyingLog) -> Headers:
    async def headers(start: int) -> AsyncIterator[Message]:
        yield Message(checkpoint=log.checkpoint())
        while True:
            yield Message()

    return headers


def stream_without_end(scene: Scene, log: LyingLog) -> Headers:
    """Under a checkpoint of more entries than there will ever be."""
    signer = Signer(log.origin, ED25519, log.log_key)
    note = sign_checkpoint(Checkpoint(log.origin, 2**62, bytes(32)), signer)

    endless = scene.copy()

    async def headers(start: int) -> AsyncIterator[Message]:
        said = note
        while True:
            while len(endless.entries) < start + 32:
                tick(endless)
            yield replaced(page(start, endless.entries[start : start + 32]), said)
            start, said = start + 32, b""

    return headers


def stalled_stream(scene: Scene, log: LyingLog) -> Headers:
    async def headers(start: int) -> AsyncIterator[Message]:
        yield Message(checkpoint=log.checkpoint())
        await asyncio.Event().wait()

    return headers


def replaced(message: Message, note: bytes) -> Message:
    message.checkpoint = note
    return message


STREAMS: Final[Mapping[str, tuple[str, Stream]]] = MappingProxyType({
    "wrong_root_over_right_links": ("BAD_ROOT", wrong_root),
    "checkpoint_by_a_wrong_key": ("NOT_TRUSTED", checkpoint_by_a_wrong_key),
    "checkpoint_of_another_origin": ("NOT_TRUSTED", checkpoint_of_another_origin),
    "rotation_with_one_signature": ("ONE_SIGNATURE", rotation_with_one_signature),
    "loss_below_what_was_cosigned": ("BAD_CHAIN", loss_below_what_was_cosigned),
    "loss_with_another_root": ("BAD_CHAIN", loss_with_another_root),
    "time_ahead_of_our_clock": ("PEER_CLOCK_AHEAD", time_ahead),
    "cut_stream": ("HEADERS_CUT", cut_stream),
    "body_of_another_entry": ("BAD_CHAIN", body_of_another_entry),
    "body_missing": ("BAD_CHAIN", body_missing),
    "nothing_at_all": ("UNAVAILABLE", nothing_at_all),
    "garbage": ("MALFORMED", garbage),
    "garbage_for_a_checkpoint": ("MALFORMED", garbage_for_a_checkpoint),
    "enormous_message": ("", enormous_message),
    "very_many_headers_in_one_message": ("MALFORMED", very_many_headers_in_one_message),
    "very_many_bodies_in_one_message": ("MALFORMED", very_many_bodies_in_one_message),
    "more_headers_than_the_checkpoint": ("BAD_CHAIN", more_headers_than_the_checkpoint),
    "pages_out_of_order": ("BAD_CHAIN", pages_out_of_order),
    "empty_messages_without_end": ("BAD_CHAIN", empty_messages_without_end),
    "stream_without_end": ("UNAVAILABLE", stream_without_end),
    "stalled_stream": ("UNAVAILABLE", stalled_stream),
})  # fmt: skip
