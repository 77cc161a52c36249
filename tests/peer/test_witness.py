"""The witness: one history of the peer is cosigned, durably, and no other."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import Log, new_key, node_of
from peer.conftest import Watch
from peer.sides import CrashError, FaultyStore, fork_of
from structlog.testing import capture_logs

from ledgerd.peer.accusations import Accusations
from ledgerd.peer.notes import parse_known
from ledgerd.peer.store import PeerStore
from ledgerd.peer.witness import Witness
from ledgerd_client.core import merkle
from ledgerd_client.core.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledgerd_client.core.encoding import parse_base64
from ledgerd_client.core.errors import (
    ConflictError,
    LedgerError,
    MalformedError,
    NotFoundError,
    NotReadyError,
    ProofError,
    SignatureError,
    StoreError,
    TrustError,
    UnavailableError,
)
from ledgerd_client.core.evidence import Evidence
from ledgerd_client.core.header import Kind
from ledgerd_client.core.note import (
    COSIGNATURE_V1,
    ED25519,
    Signature,
    Signer,
    parse_note,
    parse_signature_lines,
    parse_vkey,
)
from ledgerd_client.core.record import Admitted

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "c2sp.json").read_text())
PUBLISHED = VECTORS["tlog_witness_add_checkpoint_sequence"]

# docs/protocol.md and C2SP tlog-witness: what each status is among our errors.
STATUS: dict[type[LedgerError], int] = {
    MalformedError: 400, SignatureError: 403, TrustError: 403, NotFoundError: 404,
    ConflictError: 409, ProofError: 422,
}  # fmt: skip


async def replayed(watch: Watch, entries: int) -> None:
    """The peer has so many entries; they are replayed, and what is replayed is cosigned."""
    grow(watch, watch.peer.log, entries)
    await watch.side.peer.monitor.step()


def grow(watch: Watch, log: Log, entries: int) -> Log:
    while len(log.entries) < entries:
        log.record(watch.border.recipient, ack=watch.border.ack(watch.border.transfer()))
    return log


def proof(log: Log, old: int, new: int) -> list[bytes]:
    return merkle.consistency_proof(node_of(log.leaves), old, new)


async def status(ask: Any) -> int:
    try:
        await ask
    except LedgerError as error:
        return STATUS[type(error)]
    return 200


class TestPublishedRequests:
    """
    The requests of another implementation's tests, byte for byte, in order.

    Their log is no ledger: its leaves are made up. So a stand-in holds it as if it were replayed.
    """

    LOG = parse_vkey(PUBLISHED["log_vkey"])
    LEAVES = tuple(bytes([0x2A, number]) + bytes(30) for number in range(5))

    @staticmethod
    def nothing(_body: bytes) -> Admitted:
        raise AssertionError("nothing is appended here")

    @pytest.fixture
    def witness(self, tmp_path: Path) -> Iterator[Witness]:
        store = PeerStore.open(tmp_path / "peer", quota=1 << 28, random=os.urandom)
        node = node_of(list(self.LEAVES))
        final = parse_known(self.request(8)[2])
        replica: Any = SimpleNamespace(
            origin=self.LOG.name,
            history=SimpleNamespace(
                genesis=True,
                log_keys=lambda _size: (self.LOG,),
                key_in_force=lambda _role: self.LOG,
            ),
            verified=final,
            verified_size=final.size,
            root=lambda size: merkle.root(node, size),
            consistency_proof=lambda old, new: merkle.consistency_proof(node, old, new),
        )
        accusations = Accusations(
            store, tmp_path / "evidence", accused=self.LOG.name, origin="example.com/witness",
            sign_body=self.nothing, clock=lambda: 1, random=os.urandom,
        )  # fmt: skip
        cosigner = Signer("example.com/witness", COSIGNATURE_V1, new_key())
        yield Witness(
            store, replica, accusations, cosigner, clock=lambda: 1, wake=lambda: None, spent=bytes
        )
        store.close()

    @staticmethod
    def request(number: int) -> tuple[int, list[bytes], bytes]:
        head, _, note = PUBLISHED["requests"][number - 1]["request_body"].partition("\n\n")
        first, *hashes = head.split("\n")
        return int(first.removeprefix("old ")), list(map(parse_base64, hashes)), note.encode()

    async def test_get_the_published_statuses(self, witness: Witness) -> None:
        got = [
            await status(witness.add_checkpoint(*self.request(number))) for number in range(1, 10)
        ]
        wanted = [request["expect_status_current_spec"] for request in PUBLISHED["requests"]]
        # The second one's base64 is not canonical: 403 to some witnesses, 400 to strict ones.
        wanted[1] = 400
        assert got == wanted

    async def test_the_sequence_ends_at_the_published_size(self, witness: Witness) -> None:
        for number in range(1, 10):
            await status(witness.add_checkpoint(*self.request(number)))
        assert witness.cosigned_size == PUBLISHED["final_size"]


class TestStatuses:
    """C2SP tlog-witness, "add-checkpoint": the order in which a request is looked at."""

    @pytest.fixture(autouse=True)
    async def cosigned(self, watch: Watch) -> None:
        await replayed(watch, 8)

    async def ask(
        self, watch: Watch, old: int, new: int, hashes: list[bytes] | None = None, **of: Any
    ) -> int:
        """The status of a request by a log that goes on from the peer's, changed by `of`."""
        log = grow(watch, fork_of(watch.peer.log, 8), new)
        note = replace(log, **of).checkpoint(new)
        hashes = proof(log, old, new) if hashes is None and old <= new else hashes or []
        return await status(watch.side.peer.witness.add_checkpoint(old, hashes, note))

    async def test_the_size_cosigned_last_again_is_a_refresh(self, watch: Watch) -> None:
        assert await self.ask(watch, 8, 8) == 200

    async def test_old_size_beyond_the_checkpoint_is_400(self, watch: Watch) -> None:
        assert await self.ask(watch, 9, 8) == 400

    async def test_more_than_63_hashes_are_400(self, watch: Watch) -> None:
        assert await self.ask(watch, 8, 8, [bytes(32)] * 64) == 400

    async def test_a_hash_of_another_length_is_400(self, watch: Watch) -> None:
        assert await self.ask(watch, 8, 8, [bytes(31)]) == 400

    async def test_what_is_no_note_is_400(self, watch: Watch) -> None:
        ask = watch.side.peer.witness.add_checkpoint(8, [], b"checkpoint")
        assert await status(ask) == 400

    async def test_malformed_comes_before_unknown_origin(self, watch: Watch) -> None:
        assert await self.ask(watch, 9, 8, origin="gba.example/macao") == 400

    async def test_an_unknown_origin_is_404(self, watch: Watch) -> None:
        assert await self.ask(watch, 8, 8, origin="gba.example/macao") == 404

    async def test_our_own_origin_is_404(self, watch: Watch) -> None:
        assert await self.ask(watch, 8, 8, origin=watch.side.log.origin) == 404

    async def test_an_unknown_origin_comes_before_its_signature(self, watch: Watch) -> None:
        of = {"origin": "gba.example/macao", "log_key": new_key()}
        assert await self.ask(watch, 8, 8, **of) == 404

    async def test_an_unknown_key_is_403(self, watch: Watch) -> None:
        assert await self.ask(watch, 8, 8, log_key=new_key()) == 403

    async def test_a_known_key_whose_signature_fails_is_403(self, watch: Watch) -> None:
        note = watch.peer.log.checkpoint()
        spoilt = note.replace(b"\n8\n", b"\n9\n")
        assert await status(watch.side.peer.witness.add_checkpoint(8, [], spoilt)) == 403

    async def test_a_bad_signature_comes_before_a_wrong_size(self, watch: Watch) -> None:
        assert await self.ask(watch, 5, 8, log_key=new_key()) == 403

    @pytest.mark.parametrize("old", [0, 7])
    async def test_another_old_size_is_409(self, watch: Watch, old: int) -> None:
        assert await self.ask(watch, old, 8) == 409

    async def test_an_older_checkpoint_is_409(self, watch: Watch) -> None:
        log = watch.peer.log
        ask = watch.side.peer.witness.add_checkpoint(5, proof(log, 5, 7), log.checkpoint(7))
        assert await status(ask) == 409

    async def test_the_answer_409_carries_the_size(self, watch: Watch) -> None:
        log = watch.peer.log
        with pytest.raises(ConflictError, match=r"\b8\b") as caught:
            await watch.side.peer.witness.add_checkpoint(0, [], log.checkpoint())
        assert caught.value.reason == "SIZE_CONFLICT"

    async def test_a_wrong_size_comes_before_a_wrong_proof(self, watch: Watch) -> None:
        assert await self.ask(watch, 7, 9, [bytes(32)]) == 409

    async def test_a_wrong_proof_is_422(self, watch: Watch) -> None:
        assert await self.ask(watch, 8, 12, [bytes(32)] * 2) == 422

    async def test_a_missing_proof_is_422(self, watch: Watch) -> None:
        assert await self.ask(watch, 8, 12, []) == 422

    async def test_a_proof_for_a_refresh_is_422(self, watch: Watch) -> None:
        assert await self.ask(watch, 8, 8, [bytes(32)]) == 422

    async def test_another_root_at_the_same_size_is_422(self, watch: Watch) -> None:
        other = grow(watch, fork_of(watch.peer.log, 7), 8)
        ask = watch.side.peer.witness.add_checkpoint(8, [], other.checkpoint())
        assert await status(ask) == 422

    async def test_an_empty_tree_with_a_root_is_409_for_its_size(self, watch: Watch) -> None:
        """Its old size can only be 0, and 8 is what was cosigned."""
        ask = watch.side.peer.witness.add_checkpoint(0, [], signed(watch.peer.log, 0, bytes(32)))
        assert await status(ask) == 409


class TestStatusesAtFirst:
    """Nothing is cosigned yet: the old size is 0."""

    @pytest.fixture(autouse=True)
    async def replayed_only(self, watch: Watch) -> None:
        grow(watch, watch.peer.log, 8)
        await watch.side.peer.monitor._fetch()

    async def test_old_0_without_a_proof_is_200(self, watch: Watch) -> None:
        ask = watch.side.peer.witness.add_checkpoint(0, [], watch.peer.log.checkpoint())
        assert await status(ask) == 200

    async def test_old_0_with_a_proof_is_422(self, watch: Watch) -> None:
        note = watch.peer.log.checkpoint()
        assert await status(watch.side.peer.witness.add_checkpoint(0, [bytes(32)], note)) == 422

    async def test_a_size_below_the_replayed_one_is_200(self, watch: Watch) -> None:
        ask = watch.side.peer.witness.add_checkpoint(0, [], watch.peer.log.checkpoint(5))
        assert await status(ask) == 200

    async def test_an_empty_tree_is_200(self, watch: Watch) -> None:
        note = signed(watch.peer.log, 0, merkle.EMPTY_ROOT)
        assert await status(watch.side.peer.witness.add_checkpoint(0, [], note)) == 200

    async def test_an_empty_tree_with_another_root_is_422(self, watch: Watch) -> None:
        note = signed(watch.peer.log, 0, bytes(32))
        assert await status(watch.side.peer.witness.add_checkpoint(0, [], note)) == 422


def signed(log: Log, size: int, root: bytes) -> bytes:
    signer = Signer(log.origin, ED25519, log.log_key)
    return sign_checkpoint(Checkpoint(log.origin, size, root), signer)


def opened(watch: Watch, note: bytes) -> int:
    """The second of our cosignature on a note of the peer's."""
    cosigner = Signer(watch.side.log.origin, COSIGNATURE_V1, watch.side.log.cosigner_key).verifier
    log = watch.peer.log.history().log_keys(1)
    return open_checkpoint(note, log=log, cosigners=[cosigner], strict=True).cosigned[cosigner]


class TestCosignature:
    async def test_it_verifies_on_the_note_that_is_kept(self, watch: Watch) -> None:
        await replayed(watch, 8)
        cosigned = watch.side.peer.witness.cosigned()
        assert opened(watch, cosigned) == watch.clock() // 1_000_000

    async def test_the_answer_is_its_line_alone(self, watch: Watch) -> None:
        await replayed(watch, 8)
        note = watch.peer.log.checkpoint()
        lines = parse_signature_lines(await watch.side.peer.witness.add_checkpoint(8, [], note))
        assert [line.name for line in lines] == [watch.side.log.origin]

    async def test_a_refresh_states_a_new_time(self, watch: Watch) -> None:
        await replayed(watch, 8)
        watch.clock.advance(hours=1)
        await watch.side.peer.witness.add_checkpoint(8, [], watch.peer.log.checkpoint())
        cosigned = watch.side.peer.witness.cosigned()
        assert opened(watch, cosigned) == watch.clock() // 1_000_000

    async def test_lines_that_the_peer_added_are_not_kept(self, watch: Watch) -> None:
        await replayed(watch, 8)
        other = Signature("gba.example/other", b"1234", bytes(64)).format().encode()
        note = watch.peer.log.checkpoint() + other * 50
        await watch.side.peer.witness.add_checkpoint(8, [], note)
        assert len(parse_note(watch.side.peer.witness.cosigned()).signatures) == 2

    async def test_what_was_cosigned_is_known_after_a_restart(self, watch: Watch) -> None:
        await replayed(watch, 8)
        before = watch.side.peer.witness.cosigned()
        await watch.side.reopen()
        assert watch.side.peer.witness.cosigned() == before

    async def test_the_monitor_cosigns_the_largest_only(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await replayed(watch, 20)
        assert watch.side.peer.witness.cosigned_size == 20

    async def test_an_idle_peer_is_not_cosigned_again(self, watch: Watch) -> None:
        await replayed(watch, 8)
        before = watch.side.peer.witness.cosigned()
        watch.clock.advance(hours=1)
        await watch.side.peer.monitor.step()
        assert watch.side.peer.witness.cosigned() == before


class TestReplayBehind:
    async def ask(self, watch: Watch, old: int) -> None:
        log = watch.peer.log
        size = len(log.entries)
        await watch.side.peer.witness.add_checkpoint(old, proof(log, old, size), log.checkpoint())

    async def test_what_is_not_replayed_is_not_cosigned(self, watch: Watch) -> None:
        await replayed(watch, 8)
        grow(watch, watch.peer.log, 12)
        with pytest.raises(UnavailableError) as caught:
            await self.ask(watch, 8)
        assert caught.value.reason == "REPLAY_BEHIND"

    async def test_nor_is_anything_before_genesis_is_known(self, watch: Watch) -> None:
        with pytest.raises(UnavailableError) as caught:
            await self.ask(watch, 0)
        assert caught.value.reason == "REPLAY_BEHIND"

    async def test_being_asked_wakes_the_monitor(self, watch: Watch) -> None:
        with pytest.raises(UnavailableError):
            await self.ask(watch, 0)
        assert watch.side.peer._following._woken.is_set()

    async def test_so_does_being_asked_for_more_than_is_replayed(self, watch: Watch) -> None:
        await replayed(watch, 8)
        grow(watch, watch.peer.log, 12)
        watch.side.peer._following._woken.clear()
        with pytest.raises(UnavailableError):
            await self.ask(watch, 8)
        assert watch.side.peer._following._woken.is_set()

    async def test_so_does_a_key_that_may_be_new(self, watch: Watch) -> None:
        await replayed(watch, 8)
        watch.side.peer._following._woken.clear()
        note = replace(watch.peer.log, log_key=new_key()).checkpoint()
        with pytest.raises(TrustError):
            await watch.side.peer.witness.add_checkpoint(8, [], note)
        assert watch.side.peer._following._woken.is_set()

    async def test_after_the_replay_it_is_cosigned(self, watch: Watch) -> None:
        with pytest.raises(UnavailableError):
            await self.ask(watch, 0)
        await watch.side.peer.monitor.step()
        await self.ask(watch, len(watch.peer.log.entries))


class TestCrash:
    """The cosignature leaves after the commit: whoever has it, the disk has it too."""

    @pytest.fixture
    def store(self, watch: Watch) -> FaultyStore:
        return FaultyStore.under(watch.side)

    @pytest.mark.parametrize("fault", ["lost", "landed"])
    async def test_no_cosignature_leaves(
        self, watch: Watch, store: FaultyStore, fault: str
    ) -> None:
        await replayed(watch, 8)
        store.fault = fault
        with pytest.raises(CrashError):
            await watch.side.peer.witness.add_checkpoint(8, [], watch.peer.log.checkpoint())

    @pytest.mark.parametrize(("fault", "kept"), [("lost", 8), ("landed", 12)])
    async def test_the_next_start_knows_what_may_have_been_cosigned(
        self, watch: Watch, store: FaultyStore, fault: str, kept: int
    ) -> None:
        await replayed(watch, 8)
        grow(watch, watch.peer.log, 12)
        monitor, witness = watch.side.peer.monitor, watch.side.peer.witness
        await monitor._fetch()
        store.fault = fault
        with pytest.raises(CrashError):
            await witness.cosign_largest()
        store.fault = None
        await watch.side.reopen()
        assert watch.side.peer.witness.cosigned_size == kept

    @pytest.mark.parametrize("fault", ["lost", "landed"])
    async def test_it_goes_on_from_there(
        self, watch: Watch, store: FaultyStore, fault: str
    ) -> None:
        await replayed(watch, 8)
        grow(watch, watch.peer.log, 12)
        store.fault = fault
        with pytest.raises(CrashError):
            await watch.side.peer.monitor.step()
        store.fault = None
        await watch.side.reopen()
        await watch.side.peer.monitor.step()
        assert watch.side.peer.witness.cosigned_size == 12

    async def test_a_state_that_changed_underneath_stops_the_witness(self, watch: Watch) -> None:
        await replayed(watch, 8)
        state = watch.side.peer.witness._cosigned
        watch.side.peer.witness._cosigned = state._replace(note=watch.peer.log.checkpoint(8))
        with pytest.raises(StoreError):
            await watch.side.peer.witness.add_checkpoint(8, [], watch.peer.log.checkpoint())


# -- contradictions ------------------------------------------------------------------------------


async def add(watch: Watch, log: Log, size: int | None = None) -> None:
    """The peer asks for a cosignature on a checkpoint of a log; whatever comes of it."""
    old = watch.side.peer.witness.cosigned_size
    size = size or len(log.entries)
    hashes = proof(log, old, size) if old <= size else []
    await status(
        watch.side.peer.witness.add_checkpoint(min(old, size), hashes, log.checkpoint(size))
    )


async def same_size(watch: Watch) -> None:
    """Shown for cosigning: another tree of the size that was cosigned."""
    await add(watch, grow(watch, fork_of(watch.peer.log, 5), 8))


async def smaller_size(watch: Watch) -> None:
    """Shown for cosigning: another tree at a size that was passed long ago."""
    await add(watch, grow(watch, fork_of(watch.peer.log, 5), 7))


async def fetched(watch: Watch) -> None:
    """Served with the headers: another tree of the size that was cosigned."""
    log, watch.peer.log = watch.peer.log, grow(watch, fork_of(watch.peer.log, 5), 8)
    with pytest.raises(LedgerError):
        await watch.side.peer.monitor.step()
    watch.peer.log = log


async def two_that_are_not_replayed(watch: Watch) -> None:
    """Shown for cosigning, both of them, before either is replayed."""
    fork = fork_of(watch.peer.log, 8)
    for log in (grow(watch, fork, 12), grow(watch, watch.peer.log, 12)):
        with pytest.raises(LedgerError):
            await watch.side.peer.witness.add_checkpoint(8, proof(log, 8, 12), log.checkpoint())


async def one_that_is_replayed_later(watch: Watch) -> None:
    """Shown for cosigning; then the headers lead past it, to another tree."""
    fork = grow(watch, fork_of(watch.peer.log, 8), 12)
    with pytest.raises(UnavailableError):
        await watch.side.peer.witness.add_checkpoint(8, proof(fork, 8, 12), fork.checkpoint())
    await watch.side.reopen()
    await replayed(watch, 15)


async def acknowledge(watch: Watch) -> None:
    accusations = watch.side.peer.accusations
    await accusations.record(watch.side.sequencer)
    (waiting,) = (kept.digest for kept in accusations.kept() if kept.latched)
    await accusations.acknowledge(waiting)


async def acknowledge_all(watch: Watch) -> None:
    accusations = watch.side.peer.accusations
    while accusations.latched:
        await accusations.record(watch.side.sequencer)
        for kept in accusations.kept():
            if kept.latched:
                await accusations.acknowledge(kept.digest)


Contradict = Callable[[Watch], Any]
CONTRADICTIONS: list[Contradict] = [
    same_size, smaller_size, fetched, two_that_are_not_replayed, one_that_is_replayed_later,
]  # fmt: skip


@pytest.mark.parametrize("contradict", CONTRADICTIONS)
class TestContradiction:
    @pytest.fixture(autouse=True)
    async def contradicted(self, watch: Watch, contradict: Contradict) -> None:
        await replayed(watch, 8)
        await contradict(watch)

    async def test_the_bundle_proves_it_offline(self, watch: Watch) -> None:
        (bundle,) = watch.side.bundles
        one, other = Evidence.parse(bundle).verify(watch.peer.log.history())
        assert one.origin == other.origin == watch.peer.log.origin

    async def test_our_log_names_the_bundle(self, watch: Watch) -> None:
        await watch.side.peer.monitor.step()
        (entry,) = watch.side.entries(Kind.EVIDENCE)
        (path,) = watch.side.directory.glob("evidence/*")
        assert entry.evidence.accused_origin == watch.peer.log.origin
        assert entry.evidence.bundle_digest.hex() == path.stem

    async def test_nothing_is_cosigned_any_more(self, watch: Watch) -> None:
        size = watch.side.peer.witness.cosigned_size
        await replayed(watch, 20)
        assert watch.side.peer.witness.cosigned_size == size

    async def test_nor_when_asked(self, watch: Watch) -> None:
        await replayed(watch, 20)
        old, log = watch.side.peer.witness.cosigned_size, watch.peer.log
        with pytest.raises(NotReadyError) as caught:
            await watch.side.peer.witness.add_checkpoint(old, proof(log, old, 20), log.checkpoint())
        assert caught.value.reason == "EVIDENCE"

    async def test_nor_after_a_restart(self, watch: Watch) -> None:
        size = watch.side.peer.witness.cosigned_size
        await watch.side.reopen()
        await replayed(watch, 20)
        assert watch.side.peer.witness.cosigned_size == size

    async def test_the_replay_goes_on(self, watch: Watch) -> None:
        await replayed(watch, 20)
        assert watch.side.peer.replica.verified_size == 20

    async def test_once_acknowledged_it_goes_on(self, watch: Watch) -> None:
        await acknowledge(watch)
        await replayed(watch, 20)
        assert watch.side.peer.witness.cosigned_size == 20

    async def test_the_acknowledgement_outlives_a_restart(self, watch: Watch) -> None:
        await acknowledge(watch)
        await watch.side.reopen()
        assert not watch.side.peer.status().latched

    async def test_one_entry_is_made_of_it(self, watch: Watch) -> None:
        await watch.side.peer.monitor.step()
        await watch.side.reopen()
        await watch.side.peer.monitor.step()
        assert len(watch.side.entries(Kind.EVIDENCE)) == 1

    async def test_appends_go_on(self, watch: Watch) -> None:
        before = watch.side.size
        await watch.side.enrol("uscc.91440300MA5EXMPLXX", place=440300, sector=1)
        assert watch.side.size == before + 1


class TestEvidenceEntry:
    async def test_a_crash_after_it_was_appended_does_not_double_it(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await same_size(watch)
        accusations = watch.side.peer.accusations
        entry = accusations._entry
        await accusations.record(watch.side.sequencer)
        accusations._entry = entry
        await accusations.record(watch.side.sequencer)
        assert len(watch.side.entries(Kind.EVIDENCE)) == 1

    async def test_it_waits_while_appends_are_refused(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await same_size(watch)
        watch.side.sequencer.refuse = NotReadyError("rolled back", reason="ROLLED_BACK")
        await watch.side.peer.monitor.step()
        watch.side.sequencer.refuse = None
        await watch.side.peer.monitor.step()
        assert len(watch.side.entries(Kind.EVIDENCE)) == 1

    async def test_what_was_acknowledged_is_not_evidence_again(self, watch: Watch) -> None:
        await replayed(watch, 8)
        fork = grow(watch, fork_of(watch.peer.log, 5), 8)
        await add(watch, fork)
        await acknowledge(watch)
        await add(watch, fork)
        assert not watch.side.peer.status().latched

    async def test_yet_it_is_not_cosigned(self, watch: Watch) -> None:
        await replayed(watch, 8)
        fork = grow(watch, fork_of(watch.peer.log, 5), 8)
        await add(watch, fork)
        await acknowledge(watch)
        await add(watch, fork)
        assert (
            parse_known(watch.side.peer.witness.cosigned()).checkpoint
            == parse_known(watch.peer.log.checkpoint()).checkpoint
        )

    async def test_before_it_is_in_the_log_nobody_can_acknowledge_it(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await same_size(watch)
        (kept,) = watch.side.peer.accusations.kept()
        with pytest.raises(NotReadyError):
            await watch.side.peer.accusations.acknowledge(kept.digest)

    async def test_more_of_the_same_while_latched_fills_no_disk(self, watch: Watch) -> None:
        await replayed(watch, 8)
        for _ in range(5):
            await same_size(watch)
        assert len(watch.side.bundles) == 1


class TestReplayedFurtherThanCosigned:
    """So it is after a contradiction: the replay goes on, and nothing is cosigned."""

    @pytest.fixture
    async def fork(self, watch: Watch) -> Log:
        """Eight entries are cosigned and twelve replayed; another ten begin with the eight."""
        await replayed(watch, 8)
        await same_size(watch)
        await replayed(watch, 12)
        return grow(watch, fork_of(watch.peer.log, 8), 10)

    async def ask(self, watch: Watch, log: Log) -> int:
        size = len(log.entries)
        ask = watch.side.peer.witness.add_checkpoint(8, proof(log, 8, size), log.checkpoint())
        return await status(ask)

    async def test_what_contradicts_the_replay_is_422(self, watch: Watch, fork: Log) -> None:
        assert await self.ask(watch, fork) == 422

    async def seen(self, watch: Watch, fork: Log) -> None:
        """Shown twice, since what is shown while other evidence waits is met only after that."""
        for _ in range(2):
            await self.ask(watch, fork)
            await acknowledge_all(watch)

    async def test_it_is_so_when_all_is_acknowledged(self, watch: Watch, fork: Log) -> None:
        await self.seen(watch, fork)
        assert await self.ask(watch, fork) == 422

    async def test_what_was_replayed_is_cosigned_then(self, watch: Watch, fork: Log) -> None:
        await self.seen(watch, fork)
        assert await self.ask(watch, watch.peer.log) == 200


class TestShownBeforeItWasReplayed:
    async def test_it_is_compared_before_the_next_cosignature(self, watch: Watch) -> None:
        await replayed(watch, 8)
        fork = grow(watch, fork_of(watch.peer.log, 8), 11)
        with pytest.raises(UnavailableError):
            await watch.side.peer.witness.add_checkpoint(8, proof(fork, 8, 11), fork.checkpoint())
        log = grow(watch, watch.peer.log, 12)
        # Fetched and replayed; the round has not come to its end.
        await watch.side.peer.monitor._fetch()
        with pytest.raises(NotReadyError) as refused:
            await watch.side.peer.witness.add_checkpoint(8, proof(log, 8, 12), log.checkpoint())
        assert refused.value.reason == "EVIDENCE"


class TestLostState:
    """The peer's directory is gone; what our own log anchored is not."""

    async def lose(self, watch: Watch) -> None:
        await watch.side.close()
        for path in (watch.side.directory / "peer").iterdir():
            path.unlink()
        await watch.side.open()

    async def test_the_same_history_is_cosigned_again(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await self.lose(watch)
        await replayed(watch, 8)
        assert watch.side.peer.witness.cosigned_size == 8

    async def test_what_was_anchored_is_told_again_with_our_cosignature(self, watch: Watch) -> None:
        await replayed(watch, 8)
        before = watch.side.peer.witness.cosigned()
        await self.lose(watch)
        assert watch.side.peer.witness.cosigned() == before

    async def test_also_after_a_restart(self, watch: Watch) -> None:
        await replayed(watch, 8)
        before = watch.side.peer.witness.cosigned()
        await self.lose(watch)
        await watch.side.reopen()
        assert watch.side.peer.witness.cosigned() == before

    async def test_it_is_said_that_the_state_is_new(self, watch: Watch) -> None:
        with capture_logs() as lines:
            await self.lose(watch)
        assert [line["event"] for line in lines] == ["peer_store_made", "cosigner_spent"]

    async def test_the_key_that_was_used_cosigns_nothing_more(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await self.lose(watch)
        await replayed(watch, 9)
        log = watch.peer.log
        with pytest.raises(NotReadyError) as refused:
            await watch.side.peer.witness.add_checkpoint(8, proof(log, 8, 9), log.checkpoint())
        assert refused.value.reason == "COSIGNER_SPENT"

    async def test_nor_after_a_restart(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await self.lose(watch)
        await watch.side.reopen()
        await replayed(watch, 9)
        assert watch.side.peer.witness.cosigned_size == 8

    async def test_nor_when_an_older_copy_of_the_state_is_put_back(self, watch: Watch) -> None:
        await watch.side.reopen()
        copy = shutil.copytree(watch.side.directory / "peer", watch.side.directory / "copy")
        await replayed(watch, 8)
        await watch.side.close()
        shutil.rmtree(watch.side.directory / "peer")
        copy.rename(watch.side.directory / "peer")
        await watch.side.open()
        await replayed(watch, 9)
        assert watch.side.peer.witness.cosigned_size == 8

    async def test_another_key_does(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await self.lose(watch)
        cosigner = Signer(watch.side.log.origin, COSIGNATURE_V1, new_key())
        watch.side.peer.cosign_by(cosigner)
        await replayed(watch, 9)
        assert watch.side.peer.witness.cosigned_size == 9

    async def test_nothing_below_the_anchor_is_cosigned(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await self.lose(watch)
        before = watch.side.peer.witness.cosigned()
        watch.peer.log = fork_of(watch.peer.log, 6)
        await watch.side.peer.monitor.step()
        assert watch.side.peer.witness.cosigned() == before

    async def test_nothing_is_cosigned_before_it_is_replayed(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await self.lose(watch)
        log = grow(watch, watch.peer.log, 9)
        with pytest.raises(UnavailableError):
            await watch.side.peer.witness.add_checkpoint(8, proof(log, 8, 9), log.checkpoint())

    async def test_another_history_is_evidence(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await self.lose(watch)
        log = watch.peer.log
        watch.peer.log = grow(watch, fork_of(log, 5), 12)
        await watch.side.peer.monitor.step()
        (bundle,) = watch.side.bundles
        assert Evidence.parse(bundle).verify(log.history())[0].size == 8

    async def test_and_is_not_cosigned(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await self.lose(watch)
        before = watch.side.peer.witness.cosigned()
        watch.peer.log = grow(watch, fork_of(watch.peer.log, 5), 12)
        await watch.side.peer.monitor.step()
        assert watch.side.peer.witness.cosigned() == before

    async def test_nor_by_another_key_once_that_is_acknowledged(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await self.lose(watch)
        before = watch.side.peer.witness.cosigned()
        watch.peer.log = grow(watch, fork_of(watch.peer.log, 5), 12)
        await watch.side.peer.monitor.step()
        await acknowledge_all(watch)
        watch.side.peer.cosign_by(Signer(watch.side.log.origin, COSIGNATURE_V1, new_key()))
        with pytest.raises(StoreError):
            await watch.side.peer.monitor.step()
        assert watch.side.peer.witness.cosigned() == before

    async def test_no_anchor_goes_back(self, watch: Watch) -> None:
        await replayed(watch, 8)
        await self.lose(watch)
        await replayed(watch, 9)
        assert [anchor.fetched_at for anchor in watch.side.anchors] == sorted(
            {anchor.fetched_at for anchor in watch.side.anchors}
        )


class TestWhatItVouchesFor:
    """docs/protocol.md, "Start, restore, recover": who forgot says so, for it can confirm nobody."""

    async def forget(self, watch: Watch) -> None:
        await watch.side.close()
        shutil.rmtree(watch.side.directory / "peer")
        await watch.side.open()

    def signers(self, watch: Watch) -> list[str]:
        return [line.name for line in parse_note(watch.side.peer.witness.vouched()).signatures]

    async def test_is_what_it_cosigned(self, watch: Watch) -> None:
        await replayed(watch, 8)
        witness = watch.side.peer.witness
        assert (witness.vouched(), witness.remembered_size) == (witness.cosigned(), 8)

    async def test_is_nothing_before_that(self, watch: Watch) -> None:
        witness = watch.side.peer.witness
        assert (witness.vouched(), witness.remembered_size) == (b"", None)

    async def test_is_nothing_before_anything_is_replayed(self, watch: Watch) -> None:
        assert await watch.side.peer.monitor.settled() == b""

    async def test_is_nothing_when_nothing_was_anchored_of_what_it_forgot(
        self, watch: Watch
    ) -> None:
        await self.forget(watch)
        witness = watch.side.peer.witness
        assert (witness.vouched(), witness.remembered_size) == (b"", None)

    @pytest.mark.parametrize("restarts", [0, 1])
    async def test_is_without_its_cosignature_when_it_has_forgotten(
        self, watch: Watch, restarts: int
    ) -> None:
        await replayed(watch, 8)
        await self.forget(watch)
        for _ in range(restarts):
            await watch.side.reopen()
        assert self.signers(watch) == [watch.peer.log.origin]

    @pytest.mark.parametrize("restarts", [0, 1])
    async def test_is_no_size_that_it_remembers(self, watch: Watch, restarts: int) -> None:
        await replayed(watch, 8)
        await self.forget(watch)
        for _ in range(restarts):
            await watch.side.reopen()
        assert watch.side.peer.witness.remembered_size is None

    async def test_so_it_is_when_the_disk_was_put_back_with_all_on_it(self, watch: Watch) -> None:
        await replayed(watch, 8)
        own = Checkpoint(watch.side.log.origin, watch.side.size + 1, bytes(32))
        watch.side.standing.shown(sign_checkpoint(own, watch.side.log_signer))
        assert self.signers(watch) == [watch.peer.log.origin]

    @pytest.mark.parametrize("restarts", [0, 1])
    async def test_so_it_is_when_it_has_forgotten_twice(self, watch: Watch, restarts: int) -> None:
        """By the key that was spent first it cosigned what was anchored; the second is spent."""
        await replayed(watch, 8)
        await self.forget(watch)
        watch.side.log.cosigner_key = new_key()
        await self.forget(watch)
        for _ in range(restarts):
            await watch.side.reopen()
        assert self.signers(watch) == [watch.peer.log.origin]

    @pytest.mark.parametrize("restarts", [0, 1])
    async def test_is_with_it_again_once_another_key_has_cosigned(
        self, watch: Watch, restarts: int
    ) -> None:
        await replayed(watch, 8)
        await self.forget(watch)
        watch.side.log.cosigner_key = new_key()
        await watch.side.reopen()
        await replayed(watch, 9)
        for _ in range(restarts):
            await watch.side.reopen()
        assert self.signers(watch) == [watch.peer.log.origin, watch.side.log.origin]
