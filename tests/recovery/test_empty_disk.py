"""A node that has its keys and nothing else: what comes back, and what its authority gives up."""

from __future__ import annotations

import shutil

import pytest
from builders import EXPORTER, RECIPIENT
from recovery.scene import Scene

from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import FieldError, LedgerError, NotReadyError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.receipt import verify_receipt
from ledgerd_client.core.transfer import parse_terms, ref_of
from ledgerd_client.keyfile import read_key_file


class TestTheWayBack:
    @pytest.fixture
    async def back(self, scene: Scene) -> Scene:
        """The node has lost its disk, and what its peer had not cosigned; it is back."""
        await scene.declare()
        await scene.settle()
        await scene.declare()
        await scene.lose()
        await scene.come_back()
        return scene

    async def test_headers_come_from_the_peer_up_to_what_it_cosigned(self, scene: Scene) -> None:
        await scene.declare()
        await scene.settle()
        cosigned = scene.node.peer.own_cosigned.size
        await scene.declare()
        await scene.lose()
        assert (await scene.recover()).size == cosigned

    async def test_the_loss_stands_there(self, scene: Scene) -> None:
        await scene.settle()
        cosigned = scene.node.peer.own_cosigned.size
        await scene.lose()
        await scene.come_back()
        assert Header.parse(scene.node.reader.header(cosigned)).kind == Kind.LOSS

    async def test_the_node_appends_again(self, back: Scene) -> None:
        await back.declare()

    async def test_under_another_key(self, back: Scene) -> None:
        losses = back.node.keyring.history.losses()
        assert back.node.keys.log.public == losses[0].log_key

    async def test_its_peer_cosigns_again(self, back: Scene) -> None:
        await back.declare()
        await back.settle()
        assert back.node.peer.own_cosigned.size == back.size

    async def test_it_cosigns_its_peer_again(self, back: Scene) -> None:
        await back.settle()
        assert back.peer.peer.own_cosigned.size == back.peer.reader.head().size

    async def test_the_peer_accuses_nobody(self, back: Scene) -> None:
        await back.declare()
        await back.settle()
        assert not back.peer.accusations

    async def test_the_audit_finds_nothing(self, back: Scene) -> None:
        await back.declare()
        await back.settle()
        for node in back.nodes:
            node.audit()

    async def test_it_restarts_as_any_node(self, back: Scene) -> None:
        await back.node.reopen()
        assert back.refusal == ""

    async def test_a_receipt_of_before_verifies(self, scene: Scene) -> None:
        index = (await scene.declare()).index
        await scene.settle()
        receipt = scene.node.reader.receipt(index, scene.node.peer.own_cosigned.newest())
        await scene.lose()
        await scene.come_back()
        own, peer = scene.node.keyring.history, scene.peer.keyring.history
        assert verify_receipt(receipt, own, peer).cosigned_at

    async def test_a_checkpoint_of_the_lost_end_is_void(self, scene: Scene) -> None:
        await scene.settle()
        await scene.declare()
        lost = scene.node.reader.head().checkpoint
        await scene.lose()
        await scene.come_back()
        scene.node.standing.mentioned(lost)
        assert scene.refusal == ""

    async def test_with_nothing_cosigned_there_is_no_way(self, scene: Scene) -> None:
        class Nothing:
            async def list_replica(self, _start: int) -> None:
                for nothing in ():
                    yield nothing

        await scene.lose()
        scene.node.wire = Nothing()
        with pytest.raises(NotReadyError) as refused:
            await scene.recover()
        assert refused.value.reason == "NOTHING_COSIGNED"

    async def test_a_loss_is_asked_for_after_it_only(self, scene: Scene) -> None:
        await scene.lose()
        with pytest.raises(NotReadyError) as refused:
            await scene.request()
        assert refused.value.reason == "NOT_RECOVERED"


class TestBodies:
    async def test_what_is_missing_is_counted_by_its_author(self, scene: Scene) -> None:
        await scene.declare()
        await scene.declare()
        await scene.settle()
        await scene.lose()
        missing = (await scene.recover()).missing
        assert missing[EXPORTER] == 2

    async def test_a_copy_however_old_gives_what_it_has(self, scene: Scene) -> None:
        await scene.declare()
        copy = await scene.copy_store()
        await scene.declare()
        await scene.settle()
        await scene.lose()
        assert (await scene.recover(copy)).missing[EXPORTER] == 1

    async def test_a_store_that_is_still_there_is_such_a_copy(self, scene: Scene) -> None:
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        assert not (await scene.recover()).missing

    async def test_an_institution_gives_back_its_own(self, scene: Scene) -> None:
        item = scene.declared()
        await scene.node.append(item)
        await scene.settle()
        await scene.lose()
        await scene.recover()
        await scene.give_back(EXPORTER, [item.body])
        assert EXPORTER not in (await scene.recover()).missing

    async def test_and_nobody_elses(self, scene: Scene) -> None:
        item = scene.declared()
        await scene.node.append(item)
        await scene.settle()
        await scene.lose()
        await scene.recover()
        with pytest.raises(LedgerError) as refused:
            await scene.give_back(RECIPIENT, [item.body])
        assert refused.value.reason == "OTHERS_RECORD"

    async def test_what_is_in_no_entry_is_not_taken(self, scene: Scene) -> None:
        await scene.settle()
        item = scene.declared()
        await scene.node.append(item)
        await scene.lose()
        await scene.recover()
        with pytest.raises(LedgerError) as refused:
            await scene.give_back(EXPORTER, [item.body])
        assert refused.value.reason == "NOT_IN_LOG"

    async def test_what_was_given_back_is_there_again(self, scene: Scene) -> None:
        item = scene.declared()
        placed = await scene.node.append(item)
        await scene.settle()
        await scene.lose()
        await scene.recover()
        await scene.give_back(EXPORTER, [item.body])
        await scene.come_back()
        assert scene.node.reader.entry(placed.index)[1] == item.body


class TestWhatIsLost:
    """Nobody returned it."""

    @pytest.fixture
    async def transfer(self, scene: Scene) -> pb.Transfer:
        """Of it the header alone is left."""
        transfer = scene.border.transfer()
        await scene.declare(transfer)
        await scene.settle()
        await scene.lose()
        await scene.come_back()
        return transfer

    def state(self, scene: Scene, transfer: pb.Transfer) -> str:
        ref = ref_of(parse_terms(transfer.terms))
        return scene.node.reader.transfer(ref).state.name

    async def test_is_named_behind_the_loss(self, scene: Scene, transfer: pb.Transfer) -> None:
        (loss,) = scene.node.keyring.history.losses()
        assert scene.kinds(loss.size)[:2] == ["loss", "lost_bodies"]

    async def test_the_rules_are_said_anew(self, scene: Scene, transfer: pb.Transfer) -> None:
        (loss,) = scene.node.keyring.history.losses()
        assert "rule_set" in scene.kinds(loss.size)

    async def test_its_body_is_said_to_be_lost(self, scene: Scene, transfer: pb.Transfer) -> None:
        assert scene.kinds(0).count("lost") >= 1

    async def test_sent_again_it_is_the_same_record(self, scene: Scene) -> None:
        item = scene.declared()
        placed = await scene.node.append(item)
        await scene.settle()
        await scene.lose()
        await scene.come_back()
        size = scene.size
        again = await scene.node.append(item)
        assert (again, scene.size) == (placed, size)

    async def test_its_halves_match_by_their_headers(
        self, scene: Scene, transfer: pb.Transfer
    ) -> None:
        await scene.acknowledge(transfer)
        await scene.settle()
        assert self.state(scene, transfer) == "MATCHED"

    async def test_nobody_is_a_stranger_by_it(self, scene: Scene, transfer: pb.Transfer) -> None:
        await scene.acknowledge(transfer)
        await scene.settle()
        assert "finding" not in scene.kinds(0)

    async def test_the_audit_takes_no_other_for_lost(
        self, scene: Scene, transfer: pb.Transfer
    ) -> None:
        await scene.settle()
        scene.node.audit()

    async def test_a_finding_that_is_lost_is_said_again(self, scene: Scene) -> None:
        await scene.declare()
        await scene.settle()
        copy = await scene.copy_store()
        scene.clock.advance(hours=25)
        await scene.settle()
        assert "finding" in scene.kinds(0)
        await scene.settle()
        await scene.lose()
        await scene.come_back(copy)
        (loss,) = scene.node.keyring.history.losses()
        assert scene.kinds(loss.size)[:3] == ["loss", "lost_bodies", "finding"]

    async def test_then_it_is_not_found_anew(self, scene: Scene) -> None:
        await scene.declare()
        copy = await scene.copy_store()
        scene.clock.advance(hours=25)
        await scene.settle()
        await scene.settle()
        await scene.lose()
        await scene.come_back(copy)
        await scene.settle()
        assert scene.kinds(0).count("finding") == 1
        scene.node.audit()


class TestARotationOfTheEntryKeyThatThePeerHasNotCosigned:
    @pytest.fixture
    async def given_up(self, scene: Scene) -> tuple[Scene, list[bytes]]:
        """The node is back; and the public keys that it had for entries, in their order."""
        await scene.settle()
        keys = [scene.node.keys.entry.public]
        await scene.node.rotate("entry")
        keys.append(scene.node.keyring.history.key_in_force(pb.ROLE_ENTRY).public)
        await scene.lose()
        await scene.come_back()
        return scene, keys

    async def test_is_given_up_with_its_entry(self, given_up: tuple[Scene, list[bytes]]) -> None:
        scene, keys = given_up
        assert scene.node.keyring.history.key_in_force(pb.ROLE_ENTRY).public == keys[0] != keys[1]

    async def test_has_its_files_taken_back(self, given_up: tuple[Scene, list[bytes]]) -> None:
        path = given_up[0].node.config.keys.entry
        files = (path, path.with_name("entry.key.next"))
        assert [read_key_file(each).key.public for each in files] == given_up[1]
        assert not path.with_name("entry.key.retired").exists()

    async def test_leaves_a_node_that_its_peer_cosigns(
        self, given_up: tuple[Scene, list[bytes]]
    ) -> None:
        scene, _ = given_up
        await scene.declare()
        await scene.settle()
        assert scene.node.peer.own_cosigned.size == scene.size

    async def test_may_be_made_again(self, given_up: tuple[Scene, list[bytes]]) -> None:
        scene, keys = given_up
        await scene.node.rotate("entry")
        assert scene.node.keyring.history.key_in_force(pb.ROLE_ENTRY).public == keys[1]


class TestTwice:
    async def test_what_a_second_disk_took_along_the_second_loss_names(self, scene: Scene) -> None:
        """An operator insisted on a LOSS of which nothing was missing; then the disk went."""
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        await scene.come_back()
        await scene.settle()
        await scene.lose()
        await scene.come_back()
        await scene.settle()
        scene.node.audit()

    async def test_nothing_is_lost_that_was_named_before(self, scene: Scene) -> None:
        await scene.declare()
        await scene.settle()
        for _ in range(2):
            await scene.lose()
            await scene.come_back()
            await scene.settle()
        scene.node.audit()


class TestTheLoss:
    async def test_is_of_the_tree_that_was_recovered(self, scene: Scene) -> None:
        await scene.declare()
        await scene.settle()
        await scene.lose()
        await scene.recover()
        request = await scene.request()
        opened = open_log_checkpoint(
            request.checkpoint,
            scene.peer.peer.replica.history,
            scene.peer.keyring.history,
        )
        assert opened.cosigned

    async def test_with_other_keys_it_is_not_taken(self, scene: Scene) -> None:
        await scene.settle()
        await scene.lose()
        await scene.recover()
        approval = scene.approve(await scene.request())
        for name in ("log.key", "cosigner.key"):
            (scene.data / "recovering" / name).unlink()
        await scene.request()
        with pytest.raises(FieldError) as refused:
            await scene.declare_loss(approval)
        assert refused.value.reason == "WRONG_KEYS"

    async def test_is_not_taken_when_the_peer_has_cosigned_more_since(self, scene: Scene) -> None:
        """The node was started again in between, on a store that was there after all."""
        await scene.settle()
        await scene.node.close()
        await scene.recover()
        approval = scene.approve(await scene.request())
        await scene.node.open()
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        with pytest.raises(NotReadyError) as refused:
            await scene.declare_loss(approval)
        assert refused.value.reason == "PEER_AHEAD"
        await scene.node.open()

    async def test_taken_twice_it_is_one(self, scene: Scene) -> None:
        await scene.settle()
        await scene.lose()
        await scene.recover()
        approval = scene.approve(await scene.request())
        kept = scene.data.parent / "recovering"
        shutil.copytree(scene.data / "recovering", kept)
        await scene.declare_loss(approval)
        scene.clock.advance(seconds=1)
        before = LmdbStore.open(scene.node.config.store, readonly=True)
        instance = before.instance
        before.close()
        shutil.copytree(kept, scene.data / "recovering")
        await scene.declare_loss(approval)
        await scene.node.open()
        assert scene.node.dying.instance == instance

    async def test_is_not_taken_again_for_a_store_that_is_gone(self, scene: Scene) -> None:
        """The node has served with the keys that it puts in force."""
        await scene.settle()
        await scene.lose()
        await scene.recover()
        approval = scene.approve(await scene.request())
        kept = shutil.copytree(scene.data / "recovering", scene.data.parent / "recovering")
        await scene.declare_loss(approval)
        await scene.node.open()
        await scene.lose("store", "peer")
        shutil.copytree(kept, scene.data / "recovering")
        with pytest.raises(FieldError) as refused:
            await scene.declare_loss(approval)
        assert refused.value.reason == "WRONG_KEYS"
        scene.clock.advance(seconds=1)
        await scene.come_back()
        assert scene.node.keys.log.public != approval.read_body().loss.log_key
