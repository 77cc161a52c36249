"""Which of the keys at hand sign: the log says it, commit by commit."""

from __future__ import annotations

import os

import pytest
from builders import MAINLAND, Log, new_border, new_key
from ledger.world import World

from ledgerd.ledger.held_keys import HeldKeys
from ledgerd.signing import OwnEntries
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ChainError, NotReadyError, StoreError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Signer

LOG, ENTRY = pb.ROLE_LOG, pb.ROLE_ENTRY


@pytest.fixture
def log() -> Log:
    return new_border().mainland


def held(log: Log, log_key: SigningKey) -> HeldKeys:
    return HeldKeys(Signer(log.origin, ED25519, log_key), log.entry_key)


def signers(keys: HeldKeys, log: Log, size: int, cosigned: int = 0) -> list[bytes]:
    found = keys.log_signers(log.history(), size, cosigned)
    return [signer.verifier.public for signer in found]


class TestACheckpoint:
    def test_is_signed_by_the_key_in_force_at_its_size(self, log: Log) -> None:
        old, index = log.log_key, log.rotate(LOG)
        keys = held(log, old)
        keys.hold(LOG, [log.log_key])
        assert signers(keys, log, index) == [old.public]

    def test_is_signed_by_both_until_the_peer_has_cosigned_a_larger_one(self, log: Log) -> None:
        old, index = log.log_key, log.rotate(LOG)
        keys = held(log, log.log_key)
        keys.hold_retired([old])
        signed = [len(signers(keys, log, index + 5, known)) for known in (index, index + 1)]
        assert signed == [2, 1]

    def test_is_signed_by_the_new_key_alone_when_the_old_one_is_gone(self, log: Log) -> None:
        index = log.rotate(LOG)
        assert signers(held(log, log.log_key), log, index + 1) == [log.log_key.public]

    def test_is_never_signed_by_a_retired_key_alone(self, log: Log) -> None:
        """As on a store from before the rotation."""
        keys = held(log, new_key())
        keys.hold_retired([log.log_key])
        with pytest.raises(StoreError) as refused:
            signers(keys, log, 2)
        assert refused.value.reason == "WRONG_KEYS"


class TestAnEntryOfTheNode:
    def test_is_signed_by_the_key_in_force(self, log: Log) -> None:
        keys = held(log, log.log_key)
        index = log.rotate(ENTRY)
        keys.hold(ENTRY, [log.entry_key])
        key, present = keys.entry_key(log.history())
        assert (key.public, present.admitted_at) == (log.entry_key.public, index)

    def test_without_that_key_there_is_none(self, log: Log) -> None:
        keys = held(log, log.log_key)
        log.rotate(ENTRY)
        with pytest.raises(StoreError):
            keys.entry_key(log.history())


class TestARotation:
    @pytest.mark.parametrize("role", [LOG, ENTRY])
    def test_to_a_key_that_is_not_held_is_refused(self, role: int) -> None:
        node = World().mainland
        event = node.log.node_rotation(role, new_key())
        (outcome,) = node.append(node.by_authority(key_event=event))
        assert isinstance(outcome, NotReadyError)
        assert outcome.reason == "NEXT_KEY_MISSING"

    def test_leaves_what_the_old_key_signed_meanwhile_to_be_signed_again(self) -> None:
        node = World().mainland
        early = node.by_node(tick=pb.Tick())
        node.writer.hold(ENTRY, [key := new_key()])
        node.place(node.by_authority(key_event=node.log.node_rotation(ENTRY, key)))
        (outcome,) = node.append(early)
        assert isinstance(outcome, NotReadyError)
        assert outcome.reason == "KEY_ROTATED"


class TestALoss:
    def test_of_another_tree_is_refused(self) -> None:
        node = World().mainland
        log = Log(node.log.origin)
        log.entries = [node.reader.entry(index) for index in range(node.size)]
        loss = log.loss(root=bytes(32))
        (outcome,) = node.append(node.by_authority(loss=loss))
        assert isinstance(outcome, ChainError)
        assert outcome.reason == "OTHER_TREE"

    def test_stands_first_in_its_commit(self) -> None:
        world = World()
        node = world.mainland
        log = Log(node.log.origin)
        log.entries = [node.reader.entry(index) for index in range(node.size)]
        *_, outcome = node.append(world.transfer(), node.by_authority(loss=log.loss()))
        assert isinstance(outcome, ChainError)


class ElsewhereKey:
    """A key that is not in this process: it is asked for each signature."""

    def __init__(self) -> None:
        self._key = new_key()
        self.asked = 0

    @property
    def public(self) -> bytes:
        return self._key.public

    @property
    def key_id(self) -> bytes:
        return self._key.key_id

    def sign(self, message: bytes) -> bytes:
        self.asked += 1
        return self._key.sign(message)


class TestAKeyThatLiesElsewhere:
    def test_signs_checkpoints(self) -> None:
        node, key = World().mainland, ElsewhereKey()
        node.writer.hold(LOG, [key])
        # Asked once for the proof that it is held.
        node.place(node.by_authority(key_event=node.log.node_rotation(LOG, key)))
        node.place(node.by_node(tick=pb.Tick()))
        assert key.asked == 3

    def test_signs_entries(self) -> None:
        node, key = World().mainland, ElsewhereKey()
        node.writer.hold(ENTRY, [key])
        index = node.place(node.by_authority(key_event=node.log.node_rotation(ENTRY, key)))
        own = OwnEntries(MAINLAND, key, index, clock=node.clock, random=os.urandom)
        assert node.place(own.sign(tick=pb.Tick())) == index + 1
