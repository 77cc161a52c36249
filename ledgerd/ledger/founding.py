"""The first commit of a ledger: GENESIS, signed by the authority, and the rules in force."""

from __future__ import annotations

from collections.abc import Callable

from ledgerd.ledger.head import Head
from ledgerd.ledger.own_entry import sign_own
from ledgerd.ledger.peer_log import NoPeerLog
from ledgerd.ledger.writer import Writer
from ledgerd.store.base import Store
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import (
    FieldError,
    LedgerError,
    StoreError,
    TrustError,
)
from ledgerd_client.core.header import Kind
from ledgerd_client.core.keys import SigningKey, key_id
from ledgerd_client.core.note import Signer
from ledgerd_client.core.record import Admitted, Key, SignedRecord, read_facts, verified


def found_ledger(
    store: Store,
    genesis: SignedRecord,
    rules: pb.RuleSet,
    *,
    log_key: Signer,
    entry_key: SigningKey,
    cosigner: bytes,
    authority: bytes,
    clock: Callable[[], int],
    random: Callable[[int], bytes],
) -> None:
    """
    Write entries 0 (GENESIS) and 1 (the rule set) into an empty store, in one commit.

    Raises TrustError or FieldError when GENESIS is not for these keys or not by this authority,
    StoreError when there is a ledger in the store already; nothing is then written.
    """
    item = check_genesis(genesis, log_key.verifier.name, authority)
    body = pb.Body.FromString(genesis.body).genesis
    named = (body.log_key, body.entry_key, body.cosigner_key)
    if named != (log_key.verifier.public, entry_key.public, cosigner):
        raise FieldError("GENESIS names other keys than this node's", reason="WRONG_KEYS")
    with store.snapshot() as snapshot:
        if Head.find(snapshot) is not None:
            raise StoreError("the store holds a ledger already", reason="STORE_EXISTS")
    writer = Writer(
        store,
        log_key=log_key,
        entry_key=entry_key,
        authority=authority,
        peer_log=NoPeerLog(),
        clock=clock,
        random=random,
    )
    first = sign_own(entry_key, log_key.verifier.name, clock(), random, rule_set=rules)
    for outcome in writer.commit([[item, first]])[0].outcomes:
        if isinstance(outcome, LedgerError):
            raise outcome


def check_genesis(genesis: SignedRecord, origin: str, authority: bytes) -> Admitted:
    """Check a GENESIS record's form and signature; raises TrustError, FieldError, …"""
    named, facts = read_facts(genesis.body)
    if facts.kind != Kind.GENESIS or named != origin:
        raise FieldError(f"this is not the GENESIS of {origin}")
    if genesis.key_id != key_id(authority):
        raise TrustError("GENESIS is not signed by the authority of the trust file")
    return verified(genesis, facts, origin, {genesis.key_id: Key(0, authority)})
