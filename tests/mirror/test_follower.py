"""A mirror comes to what the node has, byte for byte, and shows nothing that does not verify."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from builders import new_key
from ledger.law_world import LawWorld
from mirror.served import Mirror, Served, differing, erase, note_at, note_of, rows_of, with_note

from ledgerd.ledger.verifying import AuditError
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.checkpoint import (
    Checkpoint,
    add_signatures,
    cosign,
    sign_checkpoint,
)
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    BusyError,
    ForbiddenError,
    ForkError,
    InputError,
    LedgerError,
    SignatureError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.header import Kind
from ledgerd_client.core.merkle import Frontier, leaf_hash
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signer
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.remains import remains_of


class TestFollowing:
    async def test_from_nothing_comes_to_the_nodes_tables(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        assert await mirror.step() == law.mainland.size
        assert differing(await mirror.rows(), law.mainland) == []

    async def test_goes_on_from_the_middle(self, law: LawWorld, mirror: Mirror) -> None:
        before = await mirror.step()
        law.mainland.append(law.transfer(), law.transfer())
        law.anchor()
        await mirror.step()
        assert mirror.served.starts == [0, before]
        assert differing(await mirror.rows(), law.mainland) == []

    async def test_goes_on_without_being_opened_anew(self, law: LawWorld, mirror: Mirror) -> None:
        async with mirror.open() as (store, follower):
            await follower.step()
            law.clock.advance(1)
            law.mainland.place(law.transfer())
            law.anchor()
            await follower.step()
            assert differing(rows_of(store.log), law.mainland) == []

    @pytest.mark.parametrize("page", [1, 2, 3, 7, 100])
    async def test_is_one_whatever_the_messages_hold(
        self, law: LawWorld, mirror: Mirror, page: int
    ) -> None:
        mirror.served.page = page
        await mirror.step()
        assert differing(await mirror.rows(), law.mainland) == []

    async def test_cut_anywhere_it_is_taken_up_again(self, law: LawWorld, tmp_path: Path) -> None:
        for messages in range(1, law.mainland.size + 1):
            served = Served(law, page=1, cut_after=messages)
            mirror = Mirror(tmp_path / str(messages), law, served)
            assert isinstance(await error_of(mirror), UnavailableError)
            served.cut_after = None
            await mirror.step()
            assert differing(await mirror.rows(), law.mainland) == []

    async def test_what_is_held_is_not_asked_for_again(self, law: LawWorld, mirror: Mirror) -> None:
        mirror.served.cut_after = 3
        await error_of(mirror)
        mirror.served.cut_after = None
        await mirror.step()
        assert 0 < mirror.served.starts[1] < law.mainland.size

    async def test_nothing_new_is_nothing_to_do(self, law: LawWorld, mirror: Mirror) -> None:
        size = await mirror.step()
        assert await mirror.step() == size

    async def test_it_says_how_far_it_has_come(self, law: LawWorld, mirror: Mirror) -> None:
        await mirror.step()
        total = law.mainland.size + law.hong_kong.size
        assert mirror.told[-1] == (total, total)

    async def test_the_checkpoint_is_the_nodes(self, law: LawWorld, mirror: Mirror) -> None:
        async with mirror.open() as (_, follower):
            await follower.step()
            assert follower.checkpoint == note_at(law.mainland, law.mainland.size)


def change_entry(index: int, **fields: bytes | int) -> Callable[[pb.FollowResponse], None]:
    def change(message: pb.FollowResponse) -> None:
        for number, entry in enumerate(message.entries, message.first):
            if number == index:
                for name, value in fields.items():
                    setattr(entry, name, value)

    return change


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


async def error_of(mirror: Mirror) -> LedgerError:
    """What a step ends with; nothing may be shown after it."""
    before = await mirror.shown()
    with pytest.raises(LedgerError) as caught:
        await mirror.step()
    assert await mirror.shown() == before
    return caught.value


class TestANodeThatLies:
    async def test_a_body_that_is_not_the_headers(self, law: LawWorld, mirror: Mirror) -> None:
        index = 3
        body = law.mainland.body(index)
        # It says the same, and nobody signed it.
        body.salt = flipped(body.salt)
        mirror.served.change = change_entry(index, body=encode_message(body))
        error = await error_of(mirror)
        assert isinstance(error, AuditError)
        assert f"entry {index}" in error.message

    async def test_a_body_left_out(self, law: LawWorld, mirror: Mirror) -> None:
        mirror.served.change = change_entry(3, body=b"")
        assert isinstance(await error_of(mirror), AuditError)

    async def test_a_changed_header(self, law: LawWorld, mirror: Mirror) -> None:
        header = flipped(law.mainland.reader.entry(4)[0], 60)
        mirror.served.change = change_entry(4, header=header)
        assert isinstance(await error_of(mirror), AuditError)

    async def test_a_header_that_nobody_signed_in_a_tree_that_the_node_did(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        node = law.mainland
        *headers, last = (node.header(index) for index in range(node.size))
        forged = replace(last, signature=flipped(last.signature)).encode()
        tree = Frontier()
        for header in (*(each.encode() for each in headers), forged):
            tree.append(leaf_hash(header))
        note = note_of(node, node.size, tree.root())

        def change(message: pb.FollowResponse) -> None:
            with_note(note)(message)
            change_entry(node.size - 1, header=forged)(message)

        mirror.served.change = change
        assert isinstance(await error_of(mirror), SignatureError)

    async def test_what_is_no_header(self, law: LawWorld, mirror: Mirror) -> None:
        mirror.served.change = change_entry(3, header=b"")
        assert isinstance(await error_of(mirror), AuditError)

    async def test_an_entry_left_out(self, law: LawWorld, mirror: Mirror) -> None:
        def leave_out(message: pb.FollowResponse) -> None:
            if message.entries and message.first == 0:
                del message.entries[2]

        mirror.served.change = leave_out
        assert isinstance(await error_of(mirror), VerificationError)

    async def test_a_finding_left_out_of_the_log(self, law: LawWorld, mirror: Mirror) -> None:
        node = law.mainland
        node.writer.machine.apply = lambda _transaction, _entry: []  # type: ignore[method-assign]
        # A transfer without consent: what is found of it is not recorded.
        node.place(law.transfer(law.terms(contract_id="GBA-2026-9999")))
        error = await error_of(mirror)
        assert "which is missing" in error.message

    async def test_a_finding_put_in(self, law: LawWorld, mirror: Mirror) -> None:
        node = law.mainland
        finding = next(iter(node.findings()))
        node.place(node.by_node(finding=finding))
        assert isinstance(await error_of(mirror), AuditError)

    async def test_a_checkpoint_of_another_root(self, law: LawWorld, mirror: Mirror) -> None:
        node, forged = law.mainland, bytes(32)
        mirror.served.change = with_note(note_of(node, node.size, forged))
        assert (await error_of(mirror)).reason == "BAD_ROOT"

    async def test_a_checkpoint_that_the_log_key_did_not_sign(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        node = law.mainland
        note = note_at(node, node.size)
        mirror.served.change = with_note(note.replace(note[-8:-4], b"AAAA"))
        assert isinstance(await error_of(mirror), VerificationError)

    async def test_a_checkpoint_of_another_origin(self, law: LawWorld, mirror: Mirror) -> None:
        mirror.served.change = with_note(note_at(law.hong_kong, law.hong_kong.size))
        assert isinstance(await error_of(mirror), VerificationError)

    async def test_fewer_entries_than_it_showed_before(self, law: LawWorld, mirror: Mirror) -> None:
        await mirror.step()
        size = law.mainland.size
        mirror.served.change = with_note(note_at(law.mainland, size - 1))
        assert (await error_of(mirror)).reason == "ROLLED_BACK"

    async def test_a_start_beyond_its_end(self, law: LawWorld, mirror: Mirror) -> None:
        await mirror.step()
        mirror.served.shown = law.mainland.size - 1
        assert (await error_of(mirror)).reason == "ROLLED_BACK"

    async def test_entries_beyond_its_checkpoint(self, law: LawWorld, mirror: Mirror) -> None:
        mirror.served.change = with_note(note_at(law.mainland, 2))
        assert isinstance(await error_of(mirror), VerificationError)

    async def test_an_end_before_its_checkpoint(self, law: LawWorld, mirror: Mirror) -> None:
        mirror.served.shown = law.mainland.size - 1
        mirror.served.change = with_note(note_at(law.mainland, law.mainland.size))
        assert isinstance(await error_of(mirror), UnavailableError)

    async def test_less_of_its_peers_log_than_it_anchored(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        mirror.served.peer_shown = 2
        assert (await error_of(mirror)).reason == "REPLAY_BEHIND"

    async def test_the_peers_log_again_when_more_is_shown(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        mirror.served.peer_shown = 2
        await error_of(mirror)
        mirror.served.peer_shown = None
        assert await mirror.step() == law.mainland.size

    async def test_nothing_that_is_held_is_lost_by_it(self, law: LawWorld, mirror: Mirror) -> None:
        size = await mirror.step()
        law.clock.advance(1)
        law.mainland.place(law.transfer())
        mirror.served.change = change_entry(size, body=b"nothing")
        await error_of(mirror)
        mirror.served.change = None
        await mirror.step()
        assert differing(await mirror.rows(), law.mainland) == []


class TestANodeThatLiesOfItsPeer:
    async def test_a_changed_header(self, law: LawWorld, mirror: Mirror) -> None:
        header = flipped(law.hong_kong.reader.entry(3)[0], 60)
        mirror.served.peer_change = change_entry(3, header=header)
        assert isinstance(await error_of(mirror), VerificationError)

    async def test_what_is_no_header(self, law: LawWorld, mirror: Mirror) -> None:
        mirror.served.peer_change = change_entry(3, header=b"nothing")
        assert isinstance(await error_of(mirror), VerificationError)

    async def test_a_shared_body_left_out(self, law: LawWorld, mirror: Mirror) -> None:
        mirror.served.peer_change = change_entry(0, body=b"")
        assert isinstance(await error_of(mirror), VerificationError)

    async def test_a_checkpoint_that_its_log_key_did_not_sign(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        peer = law.hong_kong
        forger = Signer(peer.log.origin, ED25519, new_key())
        checkpoint = Checkpoint(peer.log.origin, peer.size, peer.reader.root(peer.size))
        note = sign_checkpoint(checkpoint, forger)
        mirror.served.peer_change = with_note(note)
        assert isinstance(await error_of(mirror), VerificationError)

    async def test_a_checkpoint_of_another_root(self, law: LawWorld, mirror: Mirror) -> None:
        peer = law.hong_kong
        note = note_of(peer, peer.size, bytes(32))
        mirror.served.peer_change = with_note(note)
        assert isinstance(await error_of(mirror), VerificationError)

    async def test_another_log_than_it_showed_before(self, law: LawWorld, mirror: Mirror) -> None:
        await mirror.step()
        law.clock.advance(1)
        law.mainland.place(law.transfer())
        peer = law.hong_kong
        note = note_of(peer, peer.size - 1, bytes(32))
        mirror.served.peer_change = with_note(note)
        assert "another log of its peer" in (await error_of(mirror)).message

    async def test_a_grant_that_ends_in_the_middle_costs_nothing_that_came(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        def end(message: pb.FollowResponse) -> None:
            if message.first > 5:
                raise ForbiddenError("the grant has ended", reason="GRANT_EXPIRED")

        mirror.served.peer_change = end
        error = await error_of(mirror)
        assert (type(error), error.reason) == (UnavailableError, "GRANT_EXPIRED")
        async with mirror.open() as (store, _):
            with store.peer.snapshot() as snapshot:
                assert snapshot.count(Table.HEADERS) >= 5

    async def test_it_keeps_no_body_by_an_institution_of_the_other_side(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        by_institution = next(
            index
            for index in range(law.hong_kong.size)
            if law.hong_kong.header(index).kind is Kind.ACK
        )
        body = law.hong_kong.reader.entry(by_institution)[1]
        mirror.served.peer_change = change_entry(by_institution, body=body)
        await mirror.step()
        async with mirror.open() as (store, _):
            with store.peer.snapshot() as snapshot:
                assert snapshot.get(Table.BODIES, u64(by_institution)) is None


def anchored(law: LawWorld, note: bytes) -> None:
    """Have the peer's log anchor a checkpoint of the Mainland's, whatever it says."""
    peer = law.hong_kong
    law.clock.advance(1)
    anchor = body_pb2.Anchor(
        peer_origin=law.mainland.log.origin, checkpoint=note, fetched_at=law.clock()
    )
    # Not by way of its node, which anchors what it has replayed.
    peer.place(peer.by_node(anchor=anchor))
    law.mainland.place(law.mainland.anchor(peer.size))


class TestWhatThePeerAnchored:
    """Of the log that is mirrored: a node may have shown its peer another one."""

    def forked(self, law: LawWorld, size: int) -> bytes:
        """What the node signed for its peer, and the peer cosigned."""
        checkpoint = Checkpoint(law.mainland.log.origin, size, bytes(32))
        note = sign_checkpoint(checkpoint, law.mainland.log_key)
        peer = law.hong_kong.log
        cosigner = Signer(peer.origin, COSIGNATURE_V1, peer.cosigner_key)
        return add_signatures(note, [cosign(checkpoint, cosigner, law.clock() // 1_000_000)])

    async def test_is_another_history(self, law: LawWorld, mirror: Mirror) -> None:
        await mirror.step()
        size = await mirror.shown()
        anchored(law, self.forked(law, 5))
        error = await error_of(mirror)
        assert (type(error), await mirror.shown()) == (ForkError, size)

    async def test_is_shown_with_both_checkpoints(self, law: LawWorld, mirror: Mirror) -> None:
        forked = self.forked(law, 5)
        anchored(law, forked)
        notes = (await error_of(mirror)).__notes__
        assert notes == [forked.decode(), note_at(law.mainland, law.mainland.size).decode()]

    async def test_is_compared_once_the_mirror_has_come_so_far(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        size = law.mainland.size + 3
        anchored(law, self.forked(law, size))
        await mirror.step()
        law.mainland.append(law.transfer(), law.transfer(), law.transfer())
        assert isinstance(await error_of(mirror), ForkError)

    async def test_proves_nothing_that_the_node_did_not_sign(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        checkpoint = Checkpoint(law.mainland.log.origin, 5, bytes(32))
        forger = Signer(law.mainland.log.origin, ED25519, new_key())
        anchored(law, sign_checkpoint(checkpoint, forger))
        assert await mirror.step() == law.mainland.size

    async def test_waits_for_nothing_that_the_node_did_not_sign(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        checkpoint = Checkpoint(law.mainland.log.origin, 10**9, bytes(32))
        forger = Signer(law.mainland.log.origin, ED25519, new_key())
        anchored(law, sign_checkpoint(checkpoint, forger))
        anchored(law, self.forked(law, 5))
        assert isinstance(await error_of(mirror), ForkError)

    async def test_is_its_newest_cosigned_checkpoint(self, law: LawWorld, mirror: Mirror) -> None:
        law.anchor(law.hong_kong)
        size = law.mainland.size
        law.anchor(law.mainland)
        await mirror.step()
        async with mirror.open() as (_, follower):
            opened = open_log_checkpoint(
                follower.cosigned, law.mainland.history(), law.hong_kong.history(), strict=True
            )
        assert (opened.checkpoint.size, len(opened.cosigned)) == (size, 1)

    async def test_is_none_where_it_has_anchored_nothing(self, tmp_path: Path) -> None:
        law = LawWorld()
        law.anchor(law.mainland)
        mirror = Mirror(tmp_path / "mirror", law, Served(law))
        await mirror.step()
        async with mirror.open() as (_, follower):
            assert follower.cosigned == b""


class TestErasure:
    """A transfer under a contract that ended, past its retention, and the order to erase it."""

    @pytest.fixture
    def erased(self, law: LawWorld) -> int:
        """Its index; the mirror may have followed before this or not."""
        return next(
            index
            for index in range(law.mainland.size)
            if law.mainland.body(index).HasField("transfer")
        )

    async def test_the_mirror_that_has_the_body_obeys(
        self, law: LawWorld, mirror: Mirror, erased: int
    ) -> None:
        await mirror.step()
        erase(law, erased)
        await mirror.step()
        assert differing(await mirror.rows(), law.mainland) == []

    async def test_the_mirror_that_comes_later_gets_what_remains(
        self, law: LawWorld, mirror: Mirror, erased: int
    ) -> None:
        erase(law, erased)
        await mirror.step()
        assert differing(await mirror.rows(), law.mainland) == []

    async def test_the_erasure_may_lie_beyond_the_checkpoint(
        self, law: LawWorld, mirror: Mirror, erased: int
    ) -> None:
        mirror.served.meanwhile = lambda: erase(law, erased)
        assert await mirror.step() == law.mainland.size
        assert differing(await mirror.rows(), law.mainland) == []

    async def test_nothing_is_shown_before_it_has_come(
        self, law: LawWorld, mirror: Mirror, erased: int
    ) -> None:
        mirror.served.meanwhile = lambda: erase(law, erased)
        mirror.served.shown = law.mainland.size
        await error_of(mirror)
        assert await mirror.shown() == 0

    async def test_what_a_crash_left_awaiting_it_comes_right(
        self, law: LawWorld, mirror: Mirror, erased: int
    ) -> None:
        mirror.served.meanwhile = lambda: erase(law, erased)
        mirror.served.shown = law.mainland.size
        await error_of(mirror)
        mirror.served.shown = None
        assert await mirror.step() == law.mainland.size
        assert differing(await mirror.rows(), law.mainland) == []

    @pytest.mark.parametrize("erasure", ["the next entry", "one that never comes"])
    async def test_a_body_that_no_log_erased_is_not_done_without(
        self, law: LawWorld, mirror: Mirror, erased: int, erasure: str
    ) -> None:
        by = law.mainland.size if erasure == "the next entry" else 1 << 60
        remains = remains_of(law.mainland.reader.entry(erased)[1])
        mirror.served.change = change_entry(erased, remains=remains, erased_by=by, body=b"")
        for _ in ("at first", "opened again"):
            message = (await error_of(mirror)).message
            assert (f"erased by entry {by}" in message, await mirror.shown()) == (True, 0)

    async def test_a_body_that_the_next_entry_did_not_erase_is_not_done_without(
        self, law: LawWorld, mirror: Mirror, erased: int
    ) -> None:
        remains = remains_of(law.mainland.reader.entry(erased)[1])
        size = law.mainland.size
        mirror.served.change = change_entry(erased, remains=remains, erased_by=size, body=b"")
        mirror.served.meanwhile = lambda: law.mainland.append(law.transfer())
        assert f"the body of entry {erased} is gone" in (await error_of(mirror)).message

    async def test_nor_one_that_came_after_the_mirror_was_opened_again(
        self, law: LawWorld, mirror: Mirror, erased: int
    ) -> None:
        remains = remains_of(law.mainland.reader.entry(erased)[1])
        size = law.mainland.size
        mirror.served.change = change_entry(erased, remains=remains, erased_by=size, body=b"")
        await error_of(mirror)
        law.mainland.append(law.transfer())
        assert f"the body of entry {erased} is gone" in (await error_of(mirror)).message

    async def test_remains_that_are_not_the_bodys(
        self, law: LawWorld, mirror: Mirror, erased: int
    ) -> None:
        remains = remains_of(law.mainland.reader.entry(erased)[1])
        erase(law, erased)
        other = body_pb2.Body.FromString(remains)
        other.occurred_at += 1
        mirror.served.change = change_entry(erased, remains=encode_message(other))
        assert isinstance(await error_of(mirror), AuditError)

    async def test_an_erasure_before_what_it_erases(
        self, law: LawWorld, mirror: Mirror, erased: int
    ) -> None:
        body = law.mainland.reader.entry(erased)[1]
        mirror.served.change = change_entry(erased, remains=remains_of(body), erased_by=1, body=b"")
        assert isinstance(await error_of(mirror), AuditError)


class TestAFullDisk:
    """It is noticed before a commit: in one it is the end of the process."""

    async def test_is_told_before_anything_is_asked_for(self, mirror: Mirror) -> None:
        """The node then knows that this one does not follow."""
        async with mirror.open() as (store, follower):
            store._reserve = 1 << 62
            with pytest.raises(BusyError) as caught:
                await follower.step()
        assert (caught.value.reason, mirror.served.starts) == ("DISK_FULL", [])

    async def test_is_told_when_it_fills_while_entries_come(
        self, law: LawWorld, mirror: Mirror
    ) -> None:
        async with mirror.open() as (store, follower):
            before = store._reserve
            mirror.served.meanwhile = lambda: setattr(store, "_reserve", 1 << 62)
            with pytest.raises(BusyError):
                await follower.step()
            assert follower.size == 0
            store._reserve = before
            await follower.step()
            assert differing(rows_of(store.log), law.mainland) == []

    async def test_has_room_for_what_is_committed_at_once_beside_the_reserve(
        self, mirror: Mirror
    ) -> None:
        async with mirror.open() as (store, _):
            store._reserve = store.log.free_bytes() - (1 << 30)
            with store.write(), pytest.raises(BusyError):
                store.check_room(2 << 30)


class TestTheGrant:
    async def test_a_body_that_is_withheld_ends_it(self, law: LawWorld, mirror: Mirror) -> None:
        def withhold(message: pb.FollowResponse) -> None:
            for entry in message.entries:
                entry.withheld, entry.body = True, b""

        mirror.served.change = withhold
        error = await error_of(mirror)
        assert isinstance(error, InputError)
        assert error.reason == "GRANT_TOO_NARROW"


class TestTheDirectory:
    async def test_it_holds_one_log(self, law: LawWorld, mirror: Mirror) -> None:
        await mirror.step()
        other = Mirror(mirror.directory, LawWorld(), mirror.served)
        other.law.mainland, other.law.hong_kong = other.law.hong_kong, other.law.mainland
        with pytest.raises(InputError) as caught:
            await other.shown()
        assert caught.value.reason == "WRONG_ORIGIN"

    async def test_it_belongs_to_one_mirror_at_a_time(self, law: LawWorld, mirror: Mirror) -> None:
        async with mirror.open():
            with pytest.raises(LedgerError) as caught:
                await mirror.shown()
        assert caught.value.reason == "ALREADY_SERVED"
