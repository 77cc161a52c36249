"""What a log must say of bodies that are missing: all of them, directly behind the next LOSS."""

from __future__ import annotations

import pytest
from builders import Log, new_border, new_key

from ledgerd.ledger.losses import Losses, lost_bodies
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ChainError
from ledgerd_client.core.header import Header
from ledgerd_client.core.key_events import MAX_RANGES


@pytest.fixture
def log() -> Log:
    return new_border().mainland


@pytest.fixture
def losses() -> Losses:
    """Of a log in which the bodies of entries 3 and 4 are missing."""
    losses = Losses()
    losses.miss(3)
    losses.miss(4)
    return losses


def take(losses: Losses, log: Log, index: int) -> None:
    header, body = log.entries[index]
    losses.take(Header.parse(header), body)


class TestTheWords:
    def test_neighbours_are_one_range(self) -> None:
        assert lost_bodies([3, 4, 5, 9]) == [
            pb.LostBodies(ranges=[pb.Range(first=3, end=6), pb.Range(first=9, end=10)])
        ]

    def test_of_none_there_are_none(self) -> None:
        assert lost_bodies([]) == []

    def test_more_than_one_entry_holds_go_into_the_next(self) -> None:
        said = lost_bodies(range(0, 2 * MAX_RANGES + 2, 2))
        assert [len(each.ranges) for each in said] == [MAX_RANGES, 1]


class TestALogThatSaysSo:
    def test_is_as_it_should_be(self, losses: Losses, log: Log) -> None:
        take(losses, log, log.lose())
        take(losses, log, log.by_node(lost_bodies=lost_bodies([3, 4])[0]))
        losses.check_all_named()

    def test_may_say_it_of_a_body_that_said_so_and_is_lost_itself(
        self, losses: Losses, log: Log
    ) -> None:
        take(losses, log, log.lose())
        losses.miss(6)
        take(losses, log, log.lose())
        take(losses, log, log.by_node(lost_bodies=lost_bodies([3, 4, 6])[0]))
        losses.check_all_named()


class TestALogThatDoesNot:
    def test_without_a_loss_a_body_is_missing(self, losses: Losses) -> None:
        with pytest.raises(ChainError, match="entry 3 is missing"):
            losses.check_all_named()

    def test_nor_is_it_named_anywhere_but_behind_one(self, losses: Losses, log: Log) -> None:
        take(losses, log, log.lose())
        take(losses, log, log.by_authority(key_event=log.admission("hkbr.1", new_key())))
        with pytest.raises(ChainError):
            take(losses, log, log.by_node(lost_bodies=lost_bodies([3, 4])[0]))

    @pytest.mark.parametrize("named", [[3, 4, 5], [2, 3, 4], [9]])
    def test_no_others_are_named(self, losses: Losses, log: Log, named: list[int]) -> None:
        take(losses, log, log.lose())
        with pytest.raises(ChainError):
            take(losses, log, log.by_node(lost_bodies=lost_bodies(named)[0]))

    def test_what_one_loss_did_not_name_the_next_must(self, losses: Losses, log: Log) -> None:
        """It was there at the first, and is gone since."""
        take(losses, log, log.lose())
        take(losses, log, log.by_node(lost_bodies=lost_bodies([3])[0]))
        with pytest.raises(ChainError, match="entry 4 is missing"):
            losses.check_all_named()
        take(losses, log, log.lose())
        take(losses, log, log.by_node(lost_bodies=lost_bodies([4])[0]))
        losses.check_all_named()

    def test_what_is_there_is_not_said_to_be_lost(self, log: Log) -> None:
        with pytest.raises(ChainError):
            take(Losses(), log, log.by_node(lost_bodies=lost_bodies([0])[0]))
