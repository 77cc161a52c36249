"""The node's keys, rotated while it runs: nothing stops, and both keys sign the first checkpoint."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from nodes import Node, Side, found_one, now, refused, serve

from ledgerd.credentials import NEXT, RETIRED, key_path
from ledgerd.rotating import request_rotation, rotate_offline
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.errors import FieldError, NotReadyError
from ledgerd_client.core.header import Header
from ledgerd_client.core.keys import key_id
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.keyfile import read_file, read_key_file
from ledgerd_client.node_key_request import NODE_KEY_ROLES, NodeKeyRequest

NAMES: Final = list(NODE_KEY_ROLES)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    """A founded side, and its peer, of whose node nothing is ever heard."""
    return found_one(tmp_path)


def approved(side: Side, name: str, *, lost: bool = False) -> Approval:
    """The next key is made, asked for and approved."""
    out = side.directory / f"{name}-request.json"
    # In a process of its own, as an operator does it beside the node.
    asked = ["--config", str(side.toml), "--key", name, "--request", str(out)]
    command = [sys.executable, "-m", "ledgerd", "rotate", *asked, *(["--lost"] if lost else [])]
    subprocess.run(command, check=True, capture_output=True)
    request = NodeKeyRequest.parse(read_file(out))
    return side.authority.rotate_node_key(request, now=datetime.now(UTC))


def path_of(side: Side, name: str) -> Path:
    return key_path(side.config, NODE_KEY_ROLES[name])


def beside(side: Side, name: str, suffix: str) -> Path:
    path = path_of(side, name)
    return path.with_name(path.name + suffix)


async def signers(node: Node) -> set[bytes]:
    """Key ids of the lines on the newest checkpoint."""
    reply = await node.operator.ledger.GetCheckpoint(pb.GetCheckpointRequest())
    return {line.key_id for line in parse_note(reply.checkpoint).signatures}


class TestARotation:
    @pytest.mark.parametrize("name", NAMES)
    async def test_puts_the_next_key_in_force(self, sides: tuple[Side, Side], name: str) -> None:
        async with serve(*sides) as node:
            approval = approved(node.side, name)
            public = read_key_file(beside(node.side, name, NEXT)).key.public
            await node.submit(approval.record)
            history = await node.history()
        assert history.key_in_force(NODE_KEY_ROLES[name]).public == public

    @pytest.mark.parametrize("name", NAMES)
    async def test_leaves_the_old_key_beside_the_new(
        self, sides: tuple[Side, Side], name: str
    ) -> None:
        side = sides[0]
        old = read_key_file(path_of(side, name)).key.public
        async with serve(*sides) as node:
            await node.submit(approved(side, name).record)
        assert (
            read_key_file(beside(side, name, RETIRED)).key.public,
            read_key_file(path_of(side, name)).key.public != old,
            beside(side, name, NEXT).exists(),
        ) == (old, True, False)

    @pytest.mark.parametrize("name", NAMES)
    async def test_stops_nothing(self, sides: tuple[Side, Side], name: str) -> None:
        async with serve(*sides) as node:
            client = await node.institution()
            before = await client.place(client.transfer())
            await node.submit(approved(node.side, name).record)
            assert await client.place(client.transfer()) > before

    @pytest.mark.parametrize("name", NAMES)
    async def test_outlasts_a_restart(self, sides: tuple[Side, Side], name: str) -> None:
        async with serve(*sides) as node:
            await node.submit(approved(node.side, name).record)
        async with serve(*sides) as node:
            client = await node.institution()
            assert await client.place(client.transfer()) > 0

    @pytest.mark.parametrize("name", NAMES)
    async def test_that_crashed_before_its_files_were_moved_is_taken_up(
        self, sides: tuple[Side, Side], name: str
    ) -> None:
        side = sides[0]
        approval, path = approved(side, name), path_of(side, name)
        lay = {each: each.read_bytes() for each in (path, beside(side, name, NEXT))}
        async with serve(*sides) as node:
            await node.submit(approval.record)
        for each, data in lay.items():
            each.write_bytes(data)
            each.chmod(0o600)
        async with serve(*sides) as node:
            client = await node.institution()
            assert await client.place(client.transfer()) > 0
        assert path.read_bytes() == lay[beside(side, name, NEXT)]

    async def test_again_follows_from_a_first_by_which_the_old_key_was_lost(
        self, sides: tuple[Side, Side]
    ) -> None:
        async with serve(*sides) as node:
            await node.submit(approved(node.side, "log", lost=True).record)
            (node.side.directory / "log-request.json").unlink()
            await node.submit(approved(node.side, "log").record)
            assert len((await node.history()).node_keys(body_pb2.ROLE_LOG)) == 3

    async def test_of_the_cosigner_key_waits_for_none(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            await node.submit(approved(node.side, "cosigner").record)
            (node.side.directory / "cosigner-request.json").unlink()
            await node.submit(approved(node.side, "cosigner").record)
            assert len((await node.history()).node_keys(body_pb2.ROLE_COSIGNER)) == 3

    async def test_handed_in_again_gets_the_receipt_again(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            approval = approved(node.side, "log")
            receipts = [await node.submit(approval.record) for _ in range(2)]
        assert receipts[0].header == receipts[1].header

    @pytest.mark.parametrize("name", NAMES)
    async def test_to_a_key_that_is_not_here_is_refused(
        self, sides: tuple[Side, Side], name: str
    ) -> None:
        async with serve(*sides) as node:
            approval = approved(node.side, name)
            beside(node.side, name, NEXT).unlink()
            error = await refused(node.submit(approval.record))
        assert error.reason == "NEXT_KEY_MISSING"


@pytest.mark.parametrize("name", ["log", "entry"])
class TestASecondRotationBeforeThePeerHasCosignedTheFirst:
    """It would put the key away that the first one's checkpoint, or a LOSS, still needs."""

    async def test_is_not_asked_for(self, sides: tuple[Side, Side], name: str) -> None:
        out = sides[0].directory / "second.json"
        async with serve(*sides) as node:
            await node.submit(approved(node.side, name).record)
        with pytest.raises(NotReadyError) as early:
            request_rotation(sides[0].config, name, out, lost=False, random=os.urandom)
        assert (early.value.reason, out.exists()) == ("KEY_ROTATED", False)

    async def test_is_refused_by_a_node_that_runs(
        self, sides: tuple[Side, Side], name: str
    ) -> None:
        async with serve(*sides) as node:
            await node.submit(approved(node.side, name).record)
            (node.side.directory / f"{name}-request.json").unlink()
            error = await refused(node.submit(approved(node.side, name, lost=True).record))
        assert error.reason == "KEY_ROTATED"

    async def test_is_refused_on_a_node_that_does_not_run(
        self, sides: tuple[Side, Side], name: str
    ) -> None:
        side = sides[0]
        rotate_offline(side.config, approved(side, name), clock=now, random=os.urandom)
        (side.directory / f"{name}-request.json").unlink()
        second = approved(side, name, lost=True)
        with pytest.raises(NotReadyError) as early:
            rotate_offline(side.config, second, clock=now, random=os.urandom)
        assert early.value.reason == "KEY_ROTATED"

    async def test_is_made_when_the_present_key_is_gone(
        self, sides: tuple[Side, Side], name: str
    ) -> None:
        side = sides[0]
        rotate_offline(side.config, approved(side, name), clock=now, random=os.urandom)
        (side.directory / f"{name}-request.json").unlink()
        retired = beside(side, name, RETIRED).read_bytes()
        path_of(side, name).unlink()
        second = approved(side, name, lost=True)
        rotate_offline(side.config, second, clock=now, random=os.urandom)
        assert beside(side, name, RETIRED).read_bytes() == retired


class TestTheLogKey:
    async def test_signs_with_the_one_it_replaces(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            before = await signers(node)
            await node.submit(approved(node.side, "log").record)
            client = await node.institution()
            await client.place(client.transfer())
            after = await signers(node)
        assert (len(before), len(after), before < after) == (1, 2, True)

    async def test_that_is_lost_signs_no_more(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            before = await signers(node)
            await node.submit(approved(node.side, "log", lost=True).record)
            after = await signers(node)
        assert (len(after), before & after) == (1, set())

    async def test_is_what_the_checkpoint_opens_under(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            await node.submit(approved(node.side, "log").record)
            history = await node.history()
            reply = await node.operator.ledger.GetCheckpoint(pb.GetCheckpointRequest())
        opened = open_log_checkpoint(reply.checkpoint, history, strict=True)
        present = history.key_in_force(body_pb2.ROLE_LOG).public
        assert opened.signed[0].public == present or opened.signed[1].public == present


class TestTheEntryKey:
    async def test_signs_what_the_node_records_from_then_on(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            await node.submit(approved(node.side, "entry").record)
            regulator = await node.regulator()
            await regulator.regulator.ListEntries(pb.ListEntriesRequest())
            history = await node.history()
            reply = await regulator.regulator.ListEntries(pb.ListEntriesRequest())
            query_log = Header.parse(reply.entries[-1].header)
        present = history.key_in_force(body_pb2.ROLE_ENTRY)
        assert (query_log.key_id, query_log.key_index) == (
            key_id(present.public),
            present.admitted_at,
        )


class TestAStoreFromBeforeARotation:
    @pytest.mark.parametrize("name", NAMES)
    async def test_is_not_served(self, sides: tuple[Side, Side], name: str) -> None:
        """A retired key signs beside the present one, or not at all."""
        store = sides[0].config.store
        shutil.copytree(store, before := store.with_name("before"))
        async with serve(*sides) as node:
            await node.submit(approved(node.side, name).record)
        shutil.rmtree(store)
        before.rename(store)
        with pytest.raises(FieldError) as refused:
            async with serve(*sides):
                pass
        assert refused.value.reason == "WRONG_KEYS"


class TestANodeThatDoesNotRun:
    @pytest.mark.parametrize("name", NAMES)
    async def test_takes_a_rotation_too(self, sides: tuple[Side, Side], name: str) -> None:
        approval = approved(sides[0], name)
        index = rotate_offline(sides[0].config, approval, clock=now, random=os.urandom)
        async with serve(*sides) as node:
            history = await node.history()
        assert history.key_in_force(NODE_KEY_ROLES[name]).admitted_at == index

    @pytest.mark.parametrize("name", ["log", "entry"])
    async def test_goes_on_without_the_key_that_is_lost(
        self, sides: tuple[Side, Side], name: str
    ) -> None:
        path_of(sides[0], name).unlink()
        approval = approved(sides[0], name, lost=True)
        rotate_offline(sides[0].config, approval, clock=now, random=os.urandom)
        async with serve(*sides) as node:
            client = await node.institution()
            assert await client.place(client.transfer()) > 0
