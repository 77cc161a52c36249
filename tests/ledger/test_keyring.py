"""Whose keys the log admits, as the daemon sees it between commits."""

from __future__ import annotations

import pytest
from builders import EXPORTER, new_key
from ledger.world import World

from ledgerd.ledger.keyring import Keyring
from ledgerd_client._proto import body_pb2 as pb


@pytest.fixture
def keyring(world: World) -> Keyring:
    node = world.mainland
    return Keyring(node.store, node.log.origin, node.log.authority.public)


class TestInstitutions:
    def test_keys_of_the_log_are_known_from_the_start(self, world: World, keyring: Keyring) -> None:
        (key,) = keyring.institution_keys(EXPORTER).values()
        assert (key.public, key.admitted_at) == (
            world.exporter.key.public, world.exporter.admitted_at,
        )  # fmt: skip

    def test_a_stranger_has_none(self, keyring: Keyring) -> None:
        assert not keyring.institution_keys("uscc.STRANGER")

    def test_a_key_is_known_once_the_commit_was_taken_up(
        self, world: World, keyring: Keyring
    ) -> None:
        world.mainland.enrol("uscc.NEW")
        keyring.refresh()
        assert keyring.institution_keys("uscc.NEW")

    def test_every_key_ever_admitted_is_kept(self, world: World, keyring: Keyring) -> None:
        node, key = world.mainland, new_key()
        rotation = node.log.rotation(world.exporter, key)
        node.place(node.by_authority(key_event=rotation))
        keyring.refresh()
        assert set(keyring.institution_keys(EXPORTER)) == {
            world.exporter.key.key_id, key.key_id,
        }  # fmt: skip

    def test_a_revoked_key_is_kept_too(self, world: World, keyring: Keyring) -> None:
        node = world.mainland
        node.place(node.by_authority(key_event=node.log.revocation(world.exporter)))
        keyring.refresh()
        assert keyring.institution_keys(EXPORTER)

    def test_keys_that_were_handed_out_do_not_change(self, world: World, keyring: Keyring) -> None:
        """They may be on their way to a worker."""
        before = keyring.institution_keys(EXPORTER)
        rotation = world.mainland.log.rotation(world.exporter, new_key())
        world.mainland.place(world.mainland.by_authority(key_event=rotation))
        keyring.refresh()
        assert len(before) == 1


class TestHistory:
    def test_that_was_handed_out_does_not_change(self, world: World, keyring: Keyring) -> None:
        """Another thread may be reading it."""
        before = keyring.history
        rotation = world.mainland.log.rotation(world.exporter, new_key())
        world.mainland.place(world.mainland.by_authority(key_event=rotation))
        keyring.refresh()
        assert (len(keyring.history.entries), len(before.entries)) == (3, 2)


class TestRegulators:
    def test_one_that_was_admitted_may_read(self, world: World, keyring: Keyring) -> None:
        world.mainland.enrol("cac.shenzhen", role=pb.ROLE_REGULATOR)
        keyring.refresh()
        assert keyring.grant_of("cac.shenzhen")

    def test_one_whose_key_is_revoked_may_not(self, world: World, keyring: Keyring) -> None:
        node = world.mainland
        regulator = node.enrol("cac.shenzhen", role=pb.ROLE_REGULATOR)
        event = node.log.revocation(regulator, role=pb.ROLE_REGULATOR, place=0, sector=0)
        node.place(node.by_authority(key_event=event))
        keyring.refresh()
        assert not keyring.grant_of("cac.shenzhen")

    def test_an_institution_is_none(self, keyring: Keyring) -> None:
        assert not keyring.grant_of(EXPORTER)


class TestTheHistory:
    def test_is_the_one_that_the_writer_keeps(self, world: World, keyring: Keyring) -> None:
        world.mainland.enrol("uscc.NEW")
        keyring.refresh()
        assert keyring.history.entries == world.mainland.history().entries
