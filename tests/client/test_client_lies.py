"""A node that lies: each of its lies is refused, and believed by nobody afterwards."""

from __future__ import annotations

import copy
import os
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from client.sdk import EXPORTER, PAYLOAD, RECIPIENT, STATEMENT, Detour, World

from ledgerd_client import (
    ChainError,
    Declared,
    ForkError,
    LedgerClient,
    NotFoundError,
    NotReadyError,
    ProofError,
    SignatureError,
    StoreError,
    Trust,
    TrustError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client._histories import Histories
from ledgerd_client._memory import MemoryLog
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Signer, parse_note
from ledgerd_client.core.record import Key
from ledgerd_client.testing import HONG_KONG, MAINLAND, MemoryNode

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


def rewritten(log: MemoryLog, change: Callable[[int, Header], Header]) -> Lie:
    """Say that log got the records, under headers that are changed, and prove it."""

    def lie(reply: pb.AppendResponse) -> None:
        for place, raw in enumerate(list(reply.headers)):
            header = change(place, Header.parse(raw))
            reply.headers[place] = header.encode()
            reply.outcomes[place].recorded = header.index
            log.add(header, b"")
        reply.range_proof[:] = log.range_proof(reply.first)
        reply.checkpoint = log.checkpoint()

    return lie


def header_with(reply: pb.AppendResponse, **changes: Any) -> None:
    reply.headers[0] = replace(Header.parse(reply.headers[0]), **changes).encode()


LIES: dict[str, tuple[Lie, type[Exception]]] = {
    "a header with a flipped bit": (
        lambda reply: reply.headers.__setitem__(0, flipped(reply.headers[0])), ProofError),
    "a header of another body": (
        lambda reply: header_with(reply, body_digest=bytes(32)), ProofError),
    "a header of another time": (lambda reply: header_with(reply, recorded_at=1), ProofError),
    "a wrong hash in the proof": (
        lambda reply: reply.range_proof.__setitem__(0, bytes(32)), ProofError),
    "a hash too few": (lambda reply: reply.range_proof.__delitem__(-1), ProofError),
    "a hash too many": (lambda reply: reply.range_proof.append(bytes(32)), ProofError),
    "another place": (lambda reply: setattr(reply, "first", reply.first - 1), ProofError),
    "another index": (lambda reply: setattr(reply.outcomes[0], "recorded", 0), ChainError),
    "no word on a record": (lambda reply: reply.outcomes[0].Clear(), VerificationError),
    "an outcome too few": (lambda reply: reply.outcomes.__delitem__(-1), VerificationError),
    "a header too few": (lambda reply: reply.headers.__delitem__(-1), VerificationError),
    "a header too many": (
        lambda reply: reply.headers.append(reply.headers[0]), VerificationError),
    "no checkpoint": (lambda reply: setattr(reply, "checkpoint", b""), VerificationError),
    "a broken checkpoint": (
        lambda reply: setattr(reply, "checkpoint", flipped(reply.checkpoint)), VerificationError),
    "nothing at all": (lambda _: pb.AppendResponse(), VerificationError),
}  # fmt: skip


class TestAnAppendThatIsAnsweredFalsely:
    @pytest.mark.parametrize(("lie", "error"), LIES.values(), ids=LIES.keys())
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

    async def test_a_header_that_names_another_admission_is_not_believed(self, liar: Liar) -> None:
        log = liar.world.mainland.log
        keys = {key_id: Key(0, key.public) for key_id, key in log.keys_of(EXPORTER).items()}
        log.keys_of = lambda _: keys
        log.history.institution_key = lambda *_: None
        error = await liar.hear(lambda _: None)
        assert error.reason == "KEY_UNKNOWN"

    async def test_a_header_that_claims_another_index_is_not_believed(self, liar: Liar) -> None:
        log = liar.world.copied_log()
        lie = rewritten(log, lambda _, header: replace(header, index=99))
        assert isinstance(await liar.hear(lie), ChainError)

    @pytest.mark.parametrize(
        "change", [{"previous_leaf_hash": bytes(32)}, {"recorded_at": 1}], ids=["link", "time"]
    )
    async def test_headers_that_do_not_follow_from_each_other_are_not_believed(
        self, liar: Liar, change: dict[str, Any]
    ) -> None:
        liar.world.mainland.go_down()
        for _ in range(2):
            await liar.ledger.declare(PAYLOAD, **STATEMENT, if_unreachable="queue")
        log = liar.world.copied_log()
        liar.way.lies["append"] = rewritten(
            log, lambda place, header: replace(header, **change) if place else header
        )
        liar.world.mainland.come_up()
        with pytest.raises(ChainError):
            await liar.ledger.flush()

    async def test_its_record_stays_queued_and_is_recorded_once(self, liar: Liar) -> None:
        await liar.hear(lambda reply: reply.headers.__delitem__(-1))
        size = liar.world.mainland.log.size
        await liar.world.time.finish(liar.ledger.flush())
        assert liar.world.mainland.log.size == size == 4

    async def test_the_trusted_head_stays_where_it_was(self, liar: Liar) -> None:
        before = liar.way.known_checkpoint
        await liar.hear(lambda reply: reply.range_proof.__delitem__(-1))
        assert liar.way.known_checkpoint == before


class TestTwoHistories:
    async def test_two_trees_of_one_size_are_a_fork(self, liar: Liar) -> None:
        other = liar.world.copied_log()
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        liar.way.inner = liar.world.elsewhere(other)
        with pytest.raises(ForkError):
            await liar.ledger.declare(PAYLOAD, **STATEMENT)

    async def test_a_record_appended_to_another_tree_of_the_known_size_is_a_fork(
        self, liar: Liar
    ) -> None:
        other = liar.world.copied_log()
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        other.admit_key("uscc.SOMEBODY", new_key(), 440300)
        liar.way.inner = liar.world.elsewhere(other)
        with pytest.raises(ForkError):
            await liar.ledger.declare(PAYLOAD, **STATEMENT)

    async def test_a_fork_carries_both_signed_notes(self, liar: Liar) -> None:
        other = liar.world.copied_log()
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        ours = liar.world.mainland.log.checkpoint()
        other.admit_key("uscc.SOMEBODY", SigningKey(bytes(range(32))), 440300)
        liar.way.inner = liar.world.elsewhere(other)
        with pytest.raises(ForkError) as told:
            await liar.ledger.checkpoint()
        assert told.value.__notes__ == [ours.decode(), other.checkpoint().decode()]

    async def test_a_larger_tree_that_is_no_continuation_is_not_proven(self, liar: Liar) -> None:
        other = liar.world.copied_log()
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        for name in "AB":
            other.admit_key(f"uscc.{name}", new_key(), 440300)
        liar.way.inner = liar.world.elsewhere(other)
        with pytest.raises(ProofError):
            await liar.ledger.checkpoint()

    async def test_a_checkpoint_older_than_known_is_a_rollback(self, liar: Liar) -> None:
        older = liar.world.copied_log()
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        liar.way.inner = liar.world.elsewhere(older)
        with pytest.raises(VerificationError) as told:
            await liar.ledger.checkpoint()
        assert told.value.reason == "ROLLBACK"

    async def test_a_restart_still_knows_what_was_shown(self, liar: Liar) -> None:
        older = liar.world.copied_log()
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        async with liar.world.client(transport=liar.world.elsewhere(older)) as restarted:
            with pytest.raises(VerificationError) as told:
                await restarted.checkpoint()
        assert told.value.reason == "ROLLBACK"

    async def test_so_does_another_process_that_runs_already(self, liar: Liar) -> None:
        other = liar.world.copied_log()
        async with liar.world.client(transport=liar.world.elsewhere(other)) as neighbour:
            await liar.ledger.declare(PAYLOAD, **STATEMENT)
            other.admit_key("uscc.SOMEBODY", new_key(), 440300)
            with pytest.raises(ForkError):
                await neighbour.checkpoint()

    async def test_it_is_told_again_at_every_call(self, liar: Liar) -> None:
        other = liar.world.copied_log()
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        other.admit_key("uscc.SOMEBODY", new_key(), 440300)
        liar.way.inner = liar.world.elsewhere(other)
        for _ in range(2):
            with pytest.raises(ForkError):
                await liar.ledger.checkpoint()

    async def test_an_older_cosigned_checkpoint_is_no_rollback(self, liar: Liar) -> None:
        liar.world.mainland.cosign()
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        opened = await liar.ledger.checkpoint(cosigned=True)
        assert opened.checkpoint.size == 3

    async def test_an_older_cosigned_checkpoint_of_a_fork_is_not_proven(self, liar: Liar) -> None:
        other = liar.world.copied_log()
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        await liar.ledger.declare(PAYLOAD, **STATEMENT)
        other.admit_key("uscc.SOMEBODY", new_key(), 440300)
        other.cosign(liar.world.hong_kong.log)
        liar.world.mainland.cosign()
        liar.way.lies["get_checkpoint"] = lambda _: pb.GetCheckpointResponse(
            checkpoint=other.cosigned
        )
        with pytest.raises(ProofError):
            await liar.ledger.checkpoint(cosigned=True)

    async def test_a_node_that_withholds_the_proof_is_not_believed(self, liar: Liar) -> None:
        liar.world.mainland.enrol("uscc.OTHER", liar.world.directory)
        liar.way.errors["get_consistency_proof"] = NotFoundError("what proof?")
        with pytest.raises(ProofError):
            await liar.ledger.declare(PAYLOAD, **STATEMENT)

    async def test_a_proof_that_cannot_be_had_now_leaves_the_fate_unknown(self, liar: Liar) -> None:
        liar.world.mainland.enrol("uscc.OTHER", liar.world.directory)
        liar.way.errors["get_consistency_proof"] = UnavailableError("later")
        with pytest.raises(UnavailableError) as told:
            await liar.world.time.finish(liar.ledger.declare(PAYLOAD, **STATEMENT))
        assert told.value.reason == "FATE_UNKNOWN"


class TestOtherAnswers:
    async def test_a_receipt_of_another_record_is_refused(self, liar: Liar) -> None:
        other = await liar.ledger.declare(PAYLOAD, **STATEMENT)
        found = await liar.way.get_receipt(pb.GetReceiptRequest(record_id=other.record_id))
        liar.way.lies["get_receipt"] = lambda _: found
        with pytest.raises(VerificationError) as told:
            await liar.ledger.receipt(liar.declared.record_id)
        assert told.value.reason == "OTHER_RECORD"

    async def test_also_for_a_record_that_the_outbox_does_not_know(self, liar: Liar) -> None:
        other = await liar.ledger.declare(PAYLOAD, **STATEMENT)
        found = await liar.way.get_receipt(pb.GetReceiptRequest(record_id=other.record_id))
        liar.way.lies["get_receipt"] = lambda _: found
        elsewhere = replace(liar.world.exporter, outbox=liar.world.directory / "another.sqlite")
        async with liar.world.client(elsewhere, liar.way) as ledger:
            with pytest.raises(VerificationError) as told:
                await ledger.receipt(liar.declared.record_id)
        assert told.value.reason == "OTHER_RECORD"

    async def test_a_receipt_of_another_index_is_refused(self, liar: Liar) -> None:
        other = await liar.ledger.declare(PAYLOAD, **STATEMENT)
        found = await liar.way.get_receipt(pb.GetReceiptRequest(index=other.index))
        liar.way.lies["get_receipt"] = lambda _: found
        with pytest.raises(VerificationError) as told:
            await liar.ledger.receipt(liar.declared.index or 0)
        assert told.value.reason == "OTHER_RECORD"

    async def test_a_receipt_without_the_cosignature_asked_for_is_refused(self, liar: Liar) -> None:
        plain = await liar.way.get_receipt(pb.GetReceiptRequest(index=liar.declared.index))
        liar.world.mainland.cosign()
        liar.way.lies["get_receipt"] = lambda _: plain
        with pytest.raises(TrustError) as told:
            await liar.ledger.wait_cosigned(liar.declared)
        assert told.value.reason == "NOT_COSIGNED"

    async def test_a_cosigned_checkpoint_without_cosignature_is_refused(self, liar: Liar) -> None:
        liar.world.mainland.cosign()
        plain = liar.world.mainland.log.checkpoint()
        liar.way.lies["get_checkpoint"] = lambda _: pb.GetCheckpointResponse(checkpoint=plain)
        with pytest.raises(TrustError):
            await liar.ledger.checkpoint(cosigned=True)

    async def test_a_view_of_another_transfer_is_refused(self, liar: Liar) -> None:
        other = await liar.ledger.declare(PAYLOAD, **STATEMENT)
        found = await liar.way.get_transfer(pb.GetTransferRequest(ref=other.ref))
        liar.way.lies["get_transfer"] = lambda _: found
        with pytest.raises(VerificationError):
            await liar.ledger.transfer(liar.declared.ref)

    async def test_a_half_of_another_transfer_is_refused(self, liar: Liar) -> None:
        other = await liar.ledger.declare(PAYLOAD, **STATEMENT)
        found = await liar.way.get_transfer(pb.GetTransferRequest(ref=other.ref))

        def lie(reply: pb.GetTransferResponse) -> None:
            reply.transfer.halves.extend(found.transfer.halves)

        liar.way.lies["get_transfer"] = lie
        with pytest.raises(VerificationError):
            await liar.ledger.transfer(liar.declared.ref)

    async def test_a_half_that_nobody_signed_is_refused(self, liar: Liar) -> None:
        def lie(reply: pb.GetTransferResponse) -> None:
            made_up = {"key_id": b"\1" + bytes(32), "signature": bytes(64)}
            add_ack(reply, liar.world.hong_kong.log, **made_up)
            reply.transfer.state = "matched"

        error = await hear_of_transfer(liar, lie)
        assert error.reason == "KEY_UNKNOWN"

    async def test_a_half_with_a_bad_signature_is_refused(self, liar: Liar) -> None:
        def lie(reply: pb.GetTransferResponse) -> None:
            log = liar.world.hong_kong.log
            [(key_id, key)] = log.keys_of(RECIPIENT).items()
            known = {"key_id": key_id, "key_index": key.admitted_at, "signature": bytes(64)}
            add_ack(reply, log, **known)

        assert isinstance(await hear_of_transfer(liar, lie), SignatureError)

    async def test_a_half_ascribed_to_another_institution_is_refused(self, liar: Liar) -> None:
        error = await hear_of_transfer(
            liar, lambda reply: setattr(reply.transfer.halves[0], "institution", "uscc.OTHER")
        )
        assert isinstance(error, TrustError)

    async def test_a_half_signed_for_the_other_log_is_refused(self, liar: Liar) -> None:
        error = await hear_of_transfer(
            liar, lambda reply: setattr(reply.transfer.halves[0], "origin", HONG_KONG)
        )
        assert error.reason == "KEY_UNKNOWN"

    async def test_a_half_in_a_log_of_neither_side_is_refused(self, liar: Liar) -> None:
        error = await hear_of_transfer(
            liar, lambda reply: setattr(reply.transfer.halves[0], "origin", "elsewhere.example/log")
        )
        assert isinstance(error, TrustError)

    async def test_the_node_of_another_log_is_told_from_ours(self, liar: Liar) -> None:
        liar.way.inner = liar.world.hong_kong.transport(RECIPIENT)
        with pytest.raises(TrustError) as told:
            await liar.ledger.info()
        assert told.value.reason == "WRONG_ORIGIN"


class TestKeyHistories:
    async def test_a_longer_one_is_taken_over(self, liar: Liar) -> None:
        histories = histories_of(liar)
        await histories.get(MAINLAND)
        liar.world.mainland.enrol("uscc.NEW", liar.world.directory)
        assert len((await histories.refresh(MAINLAND)).entries) == 3

    @pytest.mark.parametrize("origin", [MAINLAND, HONG_KONG])
    async def test_a_shorter_one_is_refused(self, liar: Liar, origin: str) -> None:
        histories = histories_of(liar)
        await histories.refresh(origin)
        liar.way.lies["get_key_history"] = lambda reply: reply.entries.__delitem__(-1)
        with pytest.raises(ForkError):
            await histories.refresh(origin)

    async def test_one_by_another_authority_is_refused(self, liar: Liar) -> None:
        forged, _ = MemoryNode.border(now=liar.world.time.now)
        liar.way.inner = forged.transport(EXPORTER)
        with pytest.raises(VerificationError):
            await histories_of(liar).refresh(MAINLAND)

    async def test_one_with_a_bad_signature_is_refused(self, liar: Liar) -> None:
        def lie(reply: pb.GetKeyHistoryResponse) -> None:
            header = Header.parse(reply.entries[1].header)
            reply.entries[1].header = replace(header, signature=flipped(header.signature)).encode()

        liar.way.lies["get_key_history"] = lie
        with pytest.raises(VerificationError):
            await histories_of(liar).refresh(MAINLAND)

    async def test_none_of_the_peers_is_known_before_it_was_replayed(self, liar: Liar) -> None:
        liar.way.lies["get_key_history"] = lambda _: pb.GetKeyHistoryResponse()
        with pytest.raises(NotReadyError):
            await histories_of(liar).refresh(HONG_KONG)

    async def test_a_kept_file_that_was_changed_is_refused(self, liar: Liar) -> None:
        await histories_of(liar).get(HONG_KONG)
        (directory,) = {path.parent for path in liar.world.directory.rglob("*.keys")}
        for path in directory.glob("*.keys"):
            path.write_bytes(path.read_bytes().replace(b"=", b"", 1))
        with pytest.raises(StoreError):
            await histories_of(liar).get(HONG_KONG)

    @pytest.mark.parametrize("at", [*range(1, 49), *range(82, 90)])
    async def test_a_byte_that_nobody_signed_is_the_kept_files_fault(
        self, liar: Liar, at: int
    ) -> None:
        """Version, index, time, the leaf before, and where the key was admitted."""
        await histories_of(liar).refresh(MAINLAND)
        (path,) = kept_keys(liar, MAINLAND)
        *head, last, end = path.read_bytes().split(b"\n")
        header, body = last.split(b" ")
        raw = bytearray(b64decode(header))
        raw[at] ^= 1
        path.write_bytes(b"\n".join([*head, b64encode(raw) + b" " + body, end]))
        with pytest.raises(StoreError) as told:
            await histories_of(liar).refresh(MAINLAND)
        assert told.value.reason == "KEPT_FILE"

    async def test_so_is_a_head_that_was_changed(self, liar: Liar) -> None:
        (path,) = liar.world.directory.rglob("*.checkpoint")
        path.write_bytes(path.read_bytes()[1:-9])
        with pytest.raises(StoreError):
            async with liar.world.client():
                pass


def add_ack(reply: pb.GetTransferResponse, log: MemoryLog, **signed: Any) -> None:
    """Say that the recipient acknowledged in log what the first half declares."""
    declared = Header.parse(reply.transfer.halves[0].header)
    assert declared.halves is not None
    halves = declared.halves._replace(outcome=1, counterparty_origin=MAINLAND)
    ack = replace(declared, index=log.size, kind=Kind.ACK, halves=halves, **signed)
    reply.transfer.halves.append(
        pb.Half(origin=log.origin, index=ack.index, institution=RECIPIENT, header=ack.encode())
    )


async def hear_of_transfer(liar: Liar, lie: Lie) -> VerificationError:
    """Ask for what was declared while the node lies; return what is raised."""
    liar.way.lies["get_transfer"] = lie
    with pytest.raises(VerificationError) as told:
        await liar.ledger.transfer(liar.declared.ref)
    return told.value


def kept_keys(liar: Liar, origin: str) -> list[Path]:
    """The file of the key history of a log."""
    kept = liar.world.directory.rglob("*.keys")
    return [path for path in kept if origin.encode() in path.read_bytes().split(b"\n")]


def histories_of(liar: Liar) -> Histories:
    """Those that the client keeps, opened anew."""
    settings = liar.world.exporter
    trust = Trust.parse(settings.trust.read_bytes())
    return Histories(liar.way, trust, settings.keys_directory, settings.origin)


def new_key() -> SigningKey:
    return SigningKey(os.urandom(32))
