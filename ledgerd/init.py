"""
`ledgerd init`: how a ledger comes to be, in two steps with the authority's decision between them.

First the node makes its keys and asks; then it takes what the authority signed and founds its
store. Nothing else ever makes one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from ledgerd.config import NEWEST, Config, Rules
from ledgerd.credentials import NodeKeys, load_trust
from ledgerd.ledger.founding import found_ledger
from ledgerd.ledger.high_water import MARK_FILE, HighWater, write_mark
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.standing import SHOWN_FILE
from ledgerd.named_files import read_tls_key
from ledgerd.rules.law import newest_law
from ledgerd.rules.ruleset import make_rule_set
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock, make_directory
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.errors import FieldError, StoreError, TrustError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.trust import Trust
from ledgerd_client.enrolment import GenesisRequest
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import (
    KeyFile,
    read_file,
    write_key_file,
    write_new,
)
from ledgerd_client.pki import Certificate, CertificateRequest, TlsKey

SECOND: Final = 1_000_000

# What a served ledger leaves in its directory beside the store.
_REMAINS: Final = (MARK_FILE, SHOWN_FILE, "peer", "evidence")

Random = Callable[[int], bytes]


def request_genesis(config: Config, out: Path, random: Random) -> str:
    """
    Step 1: make the keys that are not there, and write the request for the authority.

    Returns the request's fingerprint, to be read to the authority. Raises InputError; keys that
    are there stay as they are.
    """
    _refuse_existing(config)
    for path in (config.keys.log, config.keys.entry, config.keys.cosigner):
        if not path.exists():
            make_directory(path.parent)
            write_key_file(path, KeyFile(SigningKey(random(32))))
    if not config.tls.key.exists():
        make_directory(config.tls.key.parent)
        write_new(config.tls.key, TlsKey.generate().pem, mode=0o600)
    keys, tls = NodeKeys.load(config), read_tls_key(config)
    request = GenesisRequest.make(
        origin=config.origin,
        log=keys.log,
        entry=keys.entry,
        cosigner=keys.cosigner,
        csr=CertificateRequest.make(tls, config.spiffe_id, config.tls.hosts),
    )
    data = request.format()
    write_new(out, data, mode=0o644)
    return fingerprint(data)


def describe_to_peer(config: Config) -> list[str]:
    """This node as the table [peer] of the other side's configuration."""
    port = config.listen.rpartition(":")[2]
    return [
        "[peer]",
        f'endpoint = "{config.tls.hosts[0]}:{port}"',
        f'id = "{config.id}"',
        f'trust_domain = "{config.trust_domain}"',
    ]


def found(config: Config, approval: Approval, *, clock: Callable[[], int], random: Random) -> None:
    """
    Step 2: check what the authority signed, keep the certificate, and make the ledger.

    When this returns the ledger is on the disk; a crash before that leaves none. Raises StoreError
    STORE_EXISTS or STORE_LOST, and whatever is wrong with keys, trust file or approval.
    """
    trust, keys = load_trust(config), NodeKeys.load(config)
    approval.verify(trust[config.origin])
    genesis = approval.read_body().genesis
    keys.check_named(genesis)
    _check_peer(trust, genesis)
    _check_certificate(config, approval.tls_certificate)
    make_directory(config.data)
    with DirectoryLock(config.data):
        _refuse_existing(config)
        _keep_certificate(config, approval.tls_certificate)
        _found_store(config, approval, keys, trust, clock=clock, random=random)


def _found_store(
    config: Config,
    approval: Approval,
    keys: NodeKeys,
    trust: Trust,
    *,
    clock: Callable[[], int],
    random: Random,
) -> None:
    """Make the store under another name, and rename it once it is whole."""
    unfinished = config.data / "founding"
    shutil.rmtree(unfinished, ignore_errors=True)  # of an attempt that was cut short
    instance = random(16)
    with closing(
        LmdbStore.create(unfinished, instance=instance, map_size=config.limits.map_size)
    ) as store:
        found_ledger(
            store,
            approval.record,
            rule_set_of(config.rules),
            log_key=keys.log_signer,
            entry_key=keys.entry,
            cosigner=keys.cosigner.public,
            authority=trust.authority(config.origin),
            clock=clock,
            random=random,
        )
        size = Reader(store).head().size
    unfinished.rename(config.store)
    # Syncs the directory, and with it the new name.
    write_mark(config.data, HighWater(instance, size))


def _refuse_existing(config: Config) -> None:
    if config.store.exists():
        raise StoreError(
            f"there is a ledger in {config.store}",
            reason="STORE_EXISTS",
            action="start it with `ledgerd serve`; a ledger is made once and never anew",
        )
    remains = [name for name in _REMAINS if (config.data / name).exists()]
    if remains:
        raise StoreError(
            f"there was a ledger in {config.data}: its store is gone, not its {', '.join(remains)}",
            reason="STORE_LOST",
            action="put a copy of its store back and start that with `ledgerd serve`; without one,"
            " tell the authority: a log founded twice is a fork",
        )


def _check_certificate(config: Config, certificate: Certificate) -> None:
    if certificate.holder != config.spiffe_id:
        raise FieldError(
            f"the certificate is of {certificate.holder.uri}, this node is {config.spiffe_id.uri}",
            reason="WRONG_CERTIFICATE",
        )
    if not certificate.is_of(read_tls_key(config)):
        raise FieldError(
            f"the certificate is not for the key in {config.tls.key}",
            reason="WRONG_CERTIFICATE",
            action="take the approval of the request that was made with this key",
        )


def _check_peer(trust: Trust, genesis: pb.Genesis) -> None:
    if trust.authority(genesis.peer_origin) != genesis.peer_authority_key:
        raise TrustError(
            f"GENESIS names another authority of {genesis.peer_origin} than the trust file",
            action="compare fingerprints with both authorities before you go on",
        )


def _keep_certificate(config: Config, certificate: Certificate) -> None:
    path = config.tls.certificate
    if not (path.exists() and read_file(path) == certificate.pem):
        make_directory(path.parent)
        write_new(path, certificate.pem, mode=0o644)


def rule_set_of(rules: Rules) -> pb.RuleSet:
    """The rule set of a configuration; raises NotReadyError NO_SUCH_LAW."""
    return make_rule_set(
        acknowledge_within=rules.acknowledge_within_s * SECOND,
        correct_within=rules.correct_within_s * SECOND,
        record_within=rules.record_within_s * SECOND,
        agree_within=rules.agree_within_s * SECOND,
        law=newest_law() if rules.law == NEWEST else rules.law,
    )
