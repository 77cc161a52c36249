"""`ledgerd rotate`: another key for a node, asked for of its authority; and a rotation by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from ledgerd.config import Config
from ledgerd.credentials import NEXT, NodeKeys, beside, check_dates, key_path, load_trust
from ledgerd.ledger.held_keys import rotated_lately
from ledgerd.ledger.keyring import Keyring
from ledgerd.offline import append_offline, cosigned_entries
from ledgerd.signing import put_in_place
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey, key_id
from ledgerd_client.core.record import Admitted, Key, admit
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import (
    THROWAWAY_HEAD,
    KeyFile,
    find_passphrase,
    is_sealed,
    read_key_file,
    read_secret,
    write_key_file,
    write_new,
)
from ledgerd_client.node_key_request import NODE_KEY_ROLES, NodeKeyRequest
from ledgerd_client.pki import CertificateRequest, TlsKey
from ledgerd_client.sealing import SealedKey


def request_rotation(
    config: Config, name: str, out: Path, *, lost: bool, random: Callable[[int], bytes]
) -> str:
    """
    Make the next key, unless it is there, and a request to put it in force; return its fingerprint.

    name: `log`, `entry` or `cosigner`; lost: the present one can't sign any more. The node may run.
    Raises InputError, StoreError, and NotReadyError KEY_ROTATED before the peer has cosigned the
    rotation before.
    """
    role = NODE_KEY_ROLES[name]
    path = key_path(config, role)
    following = beside(path, NEXT)
    if not following.exists():
        make_next(config, following, SigningKey(random(32)))
    with closing(LmdbStore.open(config.store, readonly=True)) as store:
        keyring = Keyring(store, config.origin, load_trust(config).authority(config.origin))
    if not lost and keyring.history.is_young(role, cosigned_entries(config)):
        raise rotated_lately()
    request = NodeKeyRequest.make(
        origin=config.origin,
        name=name,
        key=read_key_file(following, config.keys.passphrase).key,
        previous_key_id=key_id(keyring.history.key_in_force(role).public),
        lost=lost,
    )
    data = request.format()
    write_new(out, data, mode=0o644)
    return fingerprint(data)


def make_next(config: Config, path: Path, key: SigningKey) -> None:
    """Write a key that is to replace one: sealed, or made for a trial, as the others are."""
    paths = [key_path(config, each) for each in NODE_KEY_ROLES.values()]
    files = [read_secret(each) for each in paths if each.exists()]
    if any(map(is_sealed, files)):
        sealed = SealedKey.seal(key, find_passphrase(path, config.keys.passphrase))
        write_new(path, sealed.format(), mode=0o600)
        return
    throwaway = any(file.startswith(THROWAWAY_HEAD.encode()) for file in files)
    write_key_file(path, KeyFile(key, throwaway))


def request_certificate(config: Config, out: Path) -> str:
    """
    Make the next TLS key, unless it is there, and a request for its certificate (PEM).

    Returns the request's fingerprint. The node may run. Raises InputError.
    """
    following = beside(config.tls.key, NEXT)
    if not following.exists():
        write_new(following, TlsKey.generate().pem, mode=0o600)
    key = TlsKey.parse(read_secret(following))
    data = CertificateRequest.make(key, config.spiffe_id, config.tls.hosts).pem
    write_new(out, data, mode=0o644)
    return fingerprint(data)


def install_certificate(config: Config, approval: Approval) -> None:
    """
    Put a certificate and its key in the place of the node's; if it runs, it goes over to them.

    Cut short, it is called again. Raises FieldError for a certificate of another node or key, or
    that is not valid now, and TrustError for one that this side's authority did not issue.
    """
    approval.verify(load_trust(config)[config.origin])
    certificate = approval.tls_certificate
    following = beside(config.tls.key, NEXT)
    key = TlsKey.parse(read_secret(following if following.exists() else config.tls.key))
    if certificate.holder != config.spiffe_id or not certificate.is_of(key):
        raise FieldError(
            "the certificate is not for this node and its next key",
            reason="WRONG_CERTIFICATE",
            action="take the approval of the request that was made on this node",
        )
    check_dates(certificate, datetime.now(UTC))
    new = beside(config.tls.certificate, ".new")
    new.unlink(missing_ok=True)
    write_new(new, certificate.pem, mode=0o644)
    if following.exists():
        following.replace(config.tls.key)
    new.replace(config.tls.certificate)


def rotate_offline(
    config: Config,
    approval: Approval,
    *,
    clock: Callable[[], int],
    random: Callable[[int], bytes],
) -> int:
    """
    Append the authority's rotation to the log of a node that does not run; return its index.

    For a node that can't run: its log or entry key is lost. Raises as append_offline does.
    """
    keys = NodeKeys.load(config)
    event = approval.read_body().key_event
    if event.role not in NODE_KEY_ROLES.values():
        raise FieldError("the approval rotates no key of the node")

    def make(history: KeyHistory) -> Admitted:
        authority = history.key_in_force(pb.ROLE_AUTHORITY)
        return admit(
            approval.record,
            origin=config.origin,
            author=AUTHORITY,
            keys={key_id(authority.public): Key(authority.admitted_at, authority.public)},
        )

    index, history = append_offline(config, keys, make, clock=clock, random=random)
    put_in_place(config, keys.in_force(history))
    return index
