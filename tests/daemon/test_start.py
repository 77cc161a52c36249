"""Starting a node: what it takes up, what it refuses, and what it then may do."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from nodes import Client, Node, Side, found_one, make_sides, refused, serve

from ledgerd.ledger.head import FOLLOWS_KEY
from ledgerd.ledger.high_water import MARK_FILE, HighWater
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    FieldError,
    InputError,
    NotReadyError,
    StoreError,
    TrustError,
    UnavailableError,
)
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.identity import INSTITUTION, PEER
from ledgerd_client.keyfile import KeyFile

INFO = pb.GetInfoRequest()


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    return found_one(tmp_path)


async def start(sides: tuple[Side, Side]) -> None:
    """Start a node that must not start."""
    async with serve(*sides):
        raise AssertionError("it has started")


class TestAnOrdinaryRestart:
    async def test_finds_what_was_recorded_before(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            exporter = await node.institution()
            record = exporter.transfer()
            index = await exporter.place(record)
        async with serve(*sides) as node:
            again = node.client(exporter.credentials, exporter.id)
            reply = await again.ledger.GetEntry(pb.GetEntryRequest(index=index))
        assert reply.body == record.body

    async def test_takes_appends_while_the_peer_is_silent(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides):
            pass
        async with serve(*sides) as node:
            info = await node.operator.ledger.GetInfo(INFO)
        assert info.appends


class TestARolledBackStore:
    @pytest.fixture
    async def rolled_back(self, sides: tuple[Side, Side]) -> AsyncIterator[tuple[Node, Client]]:
        """A node on an older copy of its store, and an institution that it knows."""
        side = sides[0]
        async with serve(*sides) as node:
            exporter = await node.institution()
        copy = side.directory / "copy"
        shutil.copytree(side.config.store, copy)
        async with serve(*sides) as node:
            again = node.client(exporter.credentials, exporter.id)
            await again.place(again.transfer())
        shutil.rmtree(side.config.store)
        copy.rename(side.config.store)
        async with serve(*sides) as node:
            yield node, node.client(exporter.credentials, exporter.id)

    async def test_takes_no_appends(self, rolled_back: tuple[Node, Client]) -> None:
        _, exporter = rolled_back
        error = await refused(exporter.append(exporter.transfer()))
        assert (type(error), error.reason) == (NotReadyError, "ROLLED_BACK")

    async def test_says_what_it_found_and_what_to_do(
        self, rolled_back: tuple[Node, Client]
    ) -> None:
        _, exporter = rolled_back
        error = await refused(exporter.append(exporter.transfer()))
        assert "holds 3 entries, it held 4" in error.message
        assert "newest copy" in error.action

    async def test_takes_no_key_events(self, rolled_back: tuple[Node, Client]) -> None:
        node, _ = rolled_back
        credentials = node.side.issue(INSTITUTION, "uscc.NEW")
        record = node.side.admission(INSTITUTION, "uscc.NEW", credentials)
        assert (await refused(node.submit(record))).reason == "ROLLED_BACK"

    async def test_is_still_read(self, rolled_back: tuple[Node, Client]) -> None:
        _, exporter = rolled_back
        reply = await exporter.ledger.GetEntry(pb.GetEntryRequest(index=0))
        assert reply.body

    async def test_tells_everybody_who_asks(self, rolled_back: tuple[Node, Client]) -> None:
        _, exporter = rolled_back
        info = await exporter.ledger.GetInfo(INFO)
        assert (info.appends, "rolled back" in info.why_not) == (False, True)


class TestACallerWhoKnowsBetter:
    async def test_stops_appends_with_the_checkpoint_that_it_was_given(
        self, sides: tuple[Side, Side]
    ) -> None:
        side = sides[0]
        async with serve(*sides) as node:
            exporter = await node.institution()
        copy = side.directory / "copy"
        shutil.copytree(side.config.data, copy)
        async with serve(*sides) as node:
            again = node.client(exporter.credentials, exporter.id)
            known = (await again.append(again.transfer())).checkpoint
        # The whole directory was put back: nothing on this disk knows of the record.
        shutil.rmtree(side.config.data)
        copy.rename(side.config.data)
        async with serve(*sides) as node:
            again = node.client(exporter.credentials, exporter.id)
            error = await refused(again.append(again.transfer(), known=known))
        assert error.reason == "ROLLED_BACK"


class TestAnotherStore:
    async def test_takes_no_appends_until_the_peer_has_spoken(
        self, sides: tuple[Side, Side]
    ) -> None:
        mark = HighWater(os.urandom(16), 2)
        (sides[0].config.data / MARK_FILE).write_bytes(mark.format())
        async with serve(*sides) as node:
            credentials = node.side.issue(INSTITUTION, "uscc.NEW")
            record = node.side.admission(INSTITUTION, "uscc.NEW", credentials)
            error = await refused(node.submit(record))
        assert (type(error), error.reason) == (NotReadyError, "UNCONFIRMED")


class TestWhatDoesNotFit:
    async def test_a_second_node_on_one_store_is_told_which_process_serves_it(
        self, sides: tuple[Side, Side]
    ) -> None:
        async with serve(*sides):
            with pytest.raises(NotReadyError, match=f"process {os.getpid()}") as caught:
                await start(sides)
        assert caught.value.reason == "ALREADY_SERVED"

    async def test_a_port_that_is_taken(self, sides: tuple[Side, Side], tmp_path: Path) -> None:
        others = make_sides(tmp_path / "others")
        others[0].found(others[1])
        async with serve(*sides) as node:
            text = others[0].toml.read_text().replace("localhost:0", f"localhost:{node.port}")
            others[0].toml.write_text(text)
            with pytest.raises(UnavailableError) as caught:
                await start(others)
        assert caught.value.reason == "CANNOT_LISTEN"

    async def test_a_directory_without_a_ledger(self, tmp_path: Path) -> None:
        side, peer = sides = make_sides(tmp_path)
        side.found(peer)
        shutil.rmtree(side.config.store)
        with pytest.raises(StoreError) as caught:
            await start(sides)
        assert caught.value.reason == "NO_STORE"

    async def test_a_store_whose_newest_end_is_damaged(self, sides: tuple[Side, Side]) -> None:
        with closing(LmdbStore.open(sides[0].config.store)) as store, store.write() as transaction:
            transaction.delete(Table.HEADERS, u64(1))
        with pytest.raises(StoreError) as caught:
            await start(sides)
        assert caught.value.reason == "BAD_EDGE"

    async def test_keys_that_genesis_does_not_name(self, sides: tuple[Side, Side]) -> None:
        path = sides[0].config.keys.log
        path.write_bytes(KeyFile(SigningKey(os.urandom(32))).format())
        with pytest.raises(FieldError) as caught:
            await start(sides)
        assert caught.value.reason == "WRONG_KEYS"

    async def test_a_standbys_store_before_it_misses_a_key(self, sides: tuple[Side, Side]) -> None:
        """Its operator must not be sent for the log key of the node that it follows."""
        with closing(LmdbStore.open(sides[0].config.store)) as store, store.write() as transaction:
            transaction.put(Table.META, FOLLOWS_KEY, bytes(48))
        sides[0].config.keys.log.unlink()
        with pytest.raises(NotReadyError) as caught:
            await start(sides)
        assert caught.value.reason == "STANDBY"

    async def test_a_certificate_of_another_node(self, sides: tuple[Side, Side]) -> None:
        side = sides[0]
        other = side.issue(PEER, "another")
        side.config.tls.certificate.write_bytes(other.certificate)
        side.config.tls.key.write_bytes(other.tls_key)
        with pytest.raises(FieldError) as caught:
            await start(sides)
        assert caught.value.reason == "WRONG_CERTIFICATE"

    async def test_a_trust_file_with_another_authority(
        self, sides: tuple[Side, Side], tmp_path: Path
    ) -> None:
        side, peer = sides
        stranger = Side(tmp_path / "stranger", side.origin, side.name)
        stranger.configure(peer)
        side.config.trust.write_bytes((stranger.directory / "trust.txt").read_bytes())
        with pytest.raises(TrustError):
            await start(sides)

    async def test_a_key_file_that_others_may_read(self, sides: tuple[Side, Side]) -> None:
        sides[0].config.keys.entry.chmod(0o644)
        with pytest.raises(InputError) as caught:
            await start(sides)
        assert caught.value.reason == "KEY_EXPOSED"


class TestThrowawayKeys:
    @pytest.fixture
    def of_a_trial(self, sides: tuple[Side, Side]) -> tuple[Side, Side]:
        path = sides[0].config.keys.log
        key = KeyFile.parse(path.read_bytes()).key
        path.write_bytes(KeyFile(key, throwaway=True).format())
        return sides

    async def test_are_refused(self, of_a_trial: tuple[Side, Side]) -> None:
        with pytest.raises(InputError) as caught:
            await start(of_a_trial)
        assert caught.value.reason == "THROWAWAY_KEY"

    async def test_are_taken_for_a_trial(self, of_a_trial: tuple[Side, Side]) -> None:
        async with serve(*of_a_trial, throwaway=True) as node:
            info = await node.operator.ledger.GetInfo(INFO)
        assert info.appends

    async def test_are_refused_where_others_could_call(self, of_a_trial: tuple[Side, Side]) -> None:
        toml = of_a_trial[0].toml
        toml.write_text(toml.read_text().replace("localhost:0", "0.0.0.0:0"))
        with pytest.raises(InputError, match="this machine only"):
            async with serve(*of_a_trial, throwaway=True):
                pass
