"""A LOSS: where it may stand, and the checkpoints that it makes void."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import Log, new_border, new_key

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.chain import check_signatures
from ledgerd_client.core.errors import ChainError, LedgerError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.opening import loss_below


@pytest.fixture
def log() -> Log:
    return new_border().mainland


def replayed(log: Log) -> None:
    replay = log.replay()
    for header, body in log.entries:
        check_signatures([replay.step(header, body)[1]])


class TestWhereItStands:
    def test_it_is_replayed_as_any_entry(self, log: Log) -> None:
        log.lose()
        log.by_node(tick=pb.Tick())
        replayed(log)

    def test_of_another_tree_it_stands_nowhere(self, log: Log) -> None:
        log.by_authority(loss=log.loss(root=bytes(32)))
        with pytest.raises(ChainError):
            replayed(log)

    @pytest.mark.parametrize("size", [1, 3])
    def test_at_another_size_it_stands_nowhere(self, log: Log, size: int) -> None:
        """The authority's signature does not say where: the size and the root do."""
        log.by_authority(loss=log.loss(size=size))
        with pytest.raises(ChainError):
            replayed(log)

    def test_an_old_one_is_not_put_in_again(self, log: Log) -> None:
        loss = log.loss()
        log.by_node(tick=pb.Tick())
        log.by_authority(loss=loss)
        with pytest.raises(ChainError):
            replayed(log)

    @pytest.mark.parametrize("key", ["log_key", "cosigner_key", "entry_key", "authority"])
    def test_its_keys_are_new(self, log: Log, key: str) -> None:
        known = getattr(log, key)
        log.by_authority(loss=log.loss(keys=(known, new_key())))
        with pytest.raises(LedgerError):
            replayed(log)

    @pytest.mark.parametrize("possession", ["log_possession", "cosigner_possession"])
    def test_whoever_asks_for_them_holds_them(self, log: Log, possession: str) -> None:
        log.by_authority(loss=log.loss(**{possession: bytes(64)}))
        with pytest.raises(LedgerError):
            replayed(log)


def void(log: Log, note: bytes) -> pb.Loss | None:
    return loss_below(note, KeyHistory.of(log.origin, log.authority.public, log.key_entries))


def lost_end(log: Log) -> bytes:
    """A checkpoint of entries that the log then loses."""
    end = replace(log, entries=list(log.entries))
    end.by_node(tick=pb.Tick())
    return end.checkpoint()


class TestACheckpoint:
    def test_of_the_lost_end_is_void(self, log: Log) -> None:
        note = lost_end(log)
        log.lose()
        found = void(log, note)
        assert found is not None
        assert found.size == 2

    def test_of_where_the_log_ended_stands(self, log: Log) -> None:
        note = log.checkpoint()
        log.lose()
        assert void(log, note) is None

    def test_of_what_follows_the_loss_stands(self, log: Log) -> None:
        log.lose()
        assert void(log, log.checkpoint()) is None

    def test_by_a_stranger_is_nothing(self, log: Log) -> None:
        note = lost_end(replace(log, log_key=new_key()))
        log.lose()
        assert void(log, note) is None

    def test_between_two_losses_is_void_by_the_second(self, log: Log) -> None:
        log.lose()
        note = lost_end(log)
        log.lose()
        found = void(log, note)
        assert found is not None
        assert found.size == 3
