"""A node that lies: each of its lies is refused, and believed by nobody afterwards."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from client.sdk import PAYLOAD, START, STATEMENT, Detour, World

from ledgerd_client import (
    ChainError,
    Declared,
    ForkError,
    LedgerClient,
    NotFoundError,
    ProofError,
    SignatureError,
    TrustError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client._memory import MemoryLog
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.header import Header
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Signer, parse_note
from ledgerd_client.outbox import Outbox

Lie = Callable[[Any], Any]


@dataclass(slots=True)
class Liar:
    """An open client, what it declared while its node was honest, and the way in between."""

    ledger: LedgerClient
    declared: Declared
    way: Detour
    world: World

    async def hear(self, lie: Lie, method: str = "append") -> VerificationError:
        """Declare once more while the node lies; return what is raised."""
        self.way.lies[method] = lie
        with pytest.raises(VerificationError) as told:
            await self.world.time.finish(self.ledger.declare(PAYLOAD, **STATEMENT))
        del self.way.lies[method]
        return told.value


@pytest.fixture
async def liar(world: World) -> AsyncIterator[Liar]:
    way = world.detour()
    async with world.client(transport=way) as ledger:
        declared = await ledger.declare(PAYLOAD, **STATEMENT)
        yield Liar(ledger, declared, way, world)


def flipped(data: bytes, place: int = -1) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def header_with(reply: pb.AppendResponse, **changes: Any) -> None:
    reply.headers[0] = replace(Header.parse(reply.headers[0]), **changes).encode()


class TestAnAppendThatIsAnsweredFalsely:
    @pytest.mark.parametrize(
        ("lie", "error"),
        [
            (lambda reply: reply.headers.__setitem__(0, flipped(reply.headers[0])), ProofError),
            (lambda reply: header_with(reply, body_digest=bytes(32)), ProofError),
            (lambda reply: header_with(reply, recorded_at=1), ProofError),
            (lambda reply: reply.range_proof.__setitem__(0, bytes(32)), ProofError),
            (lambda reply: reply.range_proof.pop(), ProofError),
            (lambda reply: reply.range_proof.append(bytes(32)), ProofError),
            (lambda reply: setattr(reply, "first", reply.first - 1), ProofError),
            (lambda reply: setattr(reply.outcomes[0], "recorded", 0), ChainError),
            (lambda reply: reply.outcomes[0].Clear(), VerificationError),
            (lambda reply: reply.outcomes.pop(), VerificationError),
            (lambda reply: reply.headers.pop(), VerificationError),
            (lambda reply: reply.headers.append(reply.headers[0]), VerificationError),
            (lambda reply: setattr(reply, "checkpoint", b""), VerificationError),
            (lambda reply: setattr(reply, "checkpoint", flipped(reply.checkpoint)), VerificationError),
            (lambda reply: pb.AppendResponse(), VerificationError),
        ],
    )  # fmt: skip
    async def test_it_is_refused(self, liar: Liar, lie: Lie, error: type[Exception]) -> None:
        assert isinstance(await liar.hear(lie), error)

    async def test_a_checkpoint_by_another_key_is_not_trusted(self, liar: Liar) -> None:
        def lie(reply: pb.AppendResponse) -> None:
            checkpoint = Checkpoint.parse(parse_note(reply.checkpoint).text)
            forger = Signer(checkpoint.origin, ED25519, SigningKey(bytes(range(32))))
            reply.checkpoint = sign_checkpoint(checkpoint, forger)

        assert isinstance(await liar.hear(lie), TrustError)

    async def test_a_checkpoint_of_another_log_is_not_trusted(self, liar: Liar) -> None:
        def lie(reply: pb.AppendResponse) -> None:
            reply.checkpoint = liar.world.hong_kong.log.checkpoint()

        assert isinstance(await liar.hear(lie), TrustError)

    async def test_a_bad_signature_on_a_checkpoint_is_one(self, liar: Liar) -> None:
        def lie(reply: pb.AppendResponse) -> None:
            text = parse_note(reply.checkpoint).text.encode()
            reply.checkpoint = reply.checkpoint.replace(text, text.replace(b"\n4\n", b"\n5\n"))

        assert isinstance(await liar.hear(lie), SignatureError)

    async def test_the_answer_to_an_earlier_append_is_another_record(self, liar: Liar) -> None:
        heard: list[pb.AppendResponse] = []
        liar.way.lies["append"] = lambda reply: heard.append(copy.deepcopy(reply))
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        error = await liar.hear(lambda _: heard[0])
        assert error.reason == "OTHER_RECORD"

    async def test_the_receipt_of_another_record_is_no_repetition(self, liar: Liar) -> None:
        receipt = liar.world.mainland.log.receipt(liar.declared.index or 0)

        def lie(reply: pb.AppendResponse) -> pb.AppendResponse:
            repeated = pb.Receipt(
                header=receipt.header, proof=receipt.proof, checkpoint=receipt.checkpoint
            )
            return pb.AppendResponse(outcomes=[pb.AppendOutcome(repeated=repeated)])

        error = await liar.hear(lie)
        assert error.reason == "OTHER_RECORD"

    async def test_a_key_that_was_not_admitted_there_is_not_believed(self, liar: Liar) -> None:
        index = liar.declared.index or 0
        log = liar.world.mainland.log
        honest = Header.parse(log.headers[index])
        assert honest.key_index == 1
        forged = fork_with_header(liar, key_index=0)
        error = await liar.hear(lambda _: forged)
        assert error.reason == "KEY_UNKNOWN"

    async def test_its_record_stays_queued_and_is_recorded_once(self, liar: Liar) -> None:
        await liar.hear(lambda reply: reply.headers.pop())
        size = liar.world.mainland.log.size
        await liar.world.time.finish(liar.ledger.flush())
        assert liar.world.mainland.log.size == size == 4

    async def test_the_trusted_head_stays_where_it_was(self, liar: Liar) -> None:
        before = liar.way.known_checkpoint
        await liar.hear(lambda reply: reply.range_proof.pop())
        assert liar.way.known_checkpoint == before
