"""The first commit of a ledger, or none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from builders import HONG_KONG, MAINLAND, Log, new_body, new_key
from ledger.world import RULES, Clock, Node

from ledgerd.ledger.founding import found_ledger
from ledgerd.ledger.head import Head
from ledgerd.store.base import Store
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.errors import LedgerError, StoreError
from ledgerd_client.core.header import Kind
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Signer
from ledgerd_client.core.record import SignedRecord, sign_record


@pytest.fixture
def log() -> Log:
    return Log(MAINLAND)


def genesis(
    log: Log,
    *,
    origin: str = MAINLAND,
    key: SigningKey | None = None,
    named: Mapping[str, bytes] = MappingProxyType({}),
) -> SignedRecord:
    """GENESIS of a log, naming other keys, by another key, or of another log."""
    message = log.genesis(Log(HONG_KONG))
    for field, public in named.items():
        setattr(message, field, public)
    return sign_record(new_body(origin, AUTHORITY, genesis=message), key or log.authority)


def found(store: Store, log: Log, record: SignedRecord) -> None:
    found_ledger(
        store,
        record,
        RULES,
        log_key=Signer(log.origin, ED25519, log.log_key),
        entry_key=log.entry_key,
        cosigner=log.cosigner_key.public,
        authority=log.authority.public,
        clock=Clock(),
        random=os.urandom,
    )


def head(store: Store) -> Head | None:
    with store.snapshot() as snapshot:
        return Head.find(snapshot)


class TestFounding:
    def test_a_ledger_begins_with_genesis_and_the_rules(self, store: Store, log: Log) -> None:
        node = Node(log, Log(HONG_KONG), Clock(), store=store)
        assert [node.header(index).kind for index in range(node.size)] == [Kind.GENESIS, Kind.NODE]

    def test_it_passes_the_audit(self, store: Store, log: Log) -> None:
        assert Node(log, Log(HONG_KONG), Clock(), store=store).audit().entries == 2

    @pytest.mark.parametrize("field", ["log_key", "entry_key", "cosigner_key", "authority_key"])
    def test_genesis_with_another_key_leaves_the_store_empty(
        self, store: Store, log: Log, field: str
    ) -> None:
        with pytest.raises(LedgerError):
            found(store, log, genesis(log, named={field: new_key().public}))
        assert head(store) is None

    def test_so_does_genesis_by_another_authority(self, store: Store, log: Log) -> None:
        with pytest.raises(LedgerError):
            found(store, log, genesis(log, key=new_key()))
        assert head(store) is None

    def test_so_does_genesis_of_another_log(self, store: Store, log: Log) -> None:
        with pytest.raises(LedgerError):
            found(store, log, genesis(log, origin="gba.example/other"))
        assert head(store) is None

    def test_so_does_a_signature_that_fails(self, store: Store, log: Log) -> None:
        with pytest.raises(LedgerError):
            found(store, log, genesis(log)._replace(signature=bytes(64)))
        assert head(store) is None

    def test_so_does_another_record_of_the_authority(self, store: Store, log: Log) -> None:
        event = pb.Body(key_event=log.admission("uscc.A", new_key()))
        record = sign_record(
            new_body(log.origin, AUTHORITY, key_event=event.key_event), log.authority
        )
        with pytest.raises(LedgerError):
            found(store, log, record)
        assert head(store) is None

    def test_an_existing_ledger_is_left_alone(self, store: Store, log: Log) -> None:
        node = Node(log, Log(HONG_KONG), Clock(), store=store)
        before = head(store)
        with pytest.raises(StoreError) as caught:
            found(store, log, genesis(node.log))
        assert (caught.value.reason, head(store)) == ("STORE_EXISTS", before)
