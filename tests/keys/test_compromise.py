"""Records by a key that was in other hands: one finding, when the authority says since when."""

from __future__ import annotations

from typing import Any

import pytest
from builders import EXPORTER, MINUTE, new_key
from ledger.world import World

from ledgerd_client._proto import body_pb2 as pb

RULE = "S1.key_compromised"


@pytest.fixture
def world() -> World:
    """Three records, an hour after each other."""
    world = World()
    for _ in range(3):
        world.clock.advance(1)
        world.mainland.place(world.transfer())
    return world


def revoke(world: World, since: int, **changes: Any) -> int:
    event = world.mainland.log.revocation(world.exporter, compromised_since=since, **changes)
    return world.mainland.place(world.mainland.by_authority(key_event=event))


def found(world: World) -> list[pb.Finding]:
    return [one for one in world.mainland.findings() if one.rule == RULE]


def times(world: World) -> list[int]:
    """When each of the three was recorded."""
    headers = (world.mainland.header(index) for index in range(world.mainland.size))
    return [header.recorded_at for header in headers if header.halves]


class TestARevocationOfAStolenKey:
    def test_finds_what_it_signed_since(self, world: World) -> None:
        recorded = times(world)
        index = revoke(world, recorded[1])
        (finding,) = found(world)
        assert (
            finding.institution,
            [record.index for record in finding.records],
            list(finding.numbers),
        ) == (EXPORTER, [index, index - 2], [2, recorded[1], recorded[2]])

    def test_finds_nothing_when_it_signed_nothing_since(self, world: World) -> None:
        revoke(world, times(world)[-1] + 1)
        assert found(world) == []

    def test_finds_nothing_of_a_key_that_was_not_stolen(self, world: World) -> None:
        revoke(world, 0)
        assert found(world) == []

    def test_finds_what_was_recorded_in_its_own_commit(self, world: World) -> None:
        since = world.clock() + MINUTE
        world.clock.advance(1)
        event = world.mainland.log.revocation(world.exporter, compromised_since=since)
        world.mainland.append(world.transfer(), world.mainland.by_authority(key_event=event))
        assert [finding.numbers[0] for finding in found(world)] == [1]

    def test_leaves_out_what_another_key_signed(self, world: World) -> None:
        since = times(world)[0]
        first, world.exporter = world.exporter, world.mainland.enrol(EXPORTER)
        world.mainland.place(world.transfer())
        event = world.mainland.log.revocation(first, compromised_since=since)
        world.mainland.place(world.mainland.by_authority(key_event=event))
        assert [finding.numbers[0] for finding in found(world)] == [3]

    def test_is_what_an_audit_expects(self, world: World) -> None:
        revoke(world, times(world)[1])
        assert world.mainland.audit().findings == 1


class TestARotationOfAStolenKey:
    def test_finds_what_the_old_one_signed(self, world: World) -> None:
        since = times(world)[1]
        event = world.mainland.log.rotation(world.exporter, new_key(), compromised_since=since)
        world.mainland.place(world.mainland.by_authority(key_event=event))
        assert [finding.numbers[0] for finding in found(world)] == [2]
