"""The checks of `ledgerd doctor`, each after what it needs, so that one fault is named once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from ledgerd.config import Config
from ledgerd.credentials import NEXT, beside, key_path, key_setting, load_trust
from ledgerd.doctor import judging, looking
from ledgerd.doctor.judging import Listener
from ledgerd.doctor.result import Result, Verdict, unknown, well, wrong
from ledgerd.ledger.head import follows_another
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.standing import Standing
from ledgerd.named_files import LOST_KEY, naming, read_certificate, read_tls_key
from ledgerd.projections.registry import key_entries, load_history
from ledgerd.recovery.collecting import peer_of
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import served_by
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import LedgerError, UnavailableError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import is_credential, public_key, read_secret
from ledgerd_client.pki import Certificate

_ROLES: Final = (pb.ROLE_LOG, pb.ROLE_ENTRY, pb.ROLE_COSIGNER)


class Patient:
    """A node as it lies on the disk, read as far as it is asked for. Raises LedgerError."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def trust(self) -> Trust:
        return load_trust(self.config)

    @cached_property
    def certificate(self) -> Certificate:
        return read_certificate(self.config)

    @cached_property
    def is_standby(self) -> bool:
        """Whether the store follows another; what is wrong with the store is said elsewhere."""
        try:
            with self.open() as store, store.snapshot() as snapshot:
                return follows_another(snapshot)
        except (LedgerError, OSError):
            return False

    @cached_property
    def publics(self) -> dict[int, list[bytes]]:
        """Of each role: the public halves of the keys that are there."""
        publics: dict[int, list[bytes]] = {}
        for role in _ROLES:
            path = key_path(self.config, role)
            if self.is_standby and role != pb.ROLE_ENTRY and not path.exists():
                continue
            coming = beside(path, NEXT)
            held = [path, coming] if coming.exists() else [path]
            publics[role] = [self._public(role, each) for each in held]
        return publics

    def _public(self, role: int, path: Path) -> bytes:
        with naming(key_setting(role), path, LOST_KEY):
            return public_key(read_secret(path))

    @cached_property
    def listener(self) -> Listener:
        return looking.listener_at(self.config)

    def history(self, store: LmdbStore) -> KeyHistory:
        with store.snapshot() as snapshot:
            authority = self.trust.authority(self.config.origin)
            return load_history(snapshot, self.config.origin, authority)

    def open(self) -> closing[LmdbStore]:
        return closing(LmdbStore.open(self.config.store, readonly=True))


def _trust(patient: Patient) -> Result:
    return well(f"fingerprint {patient.trust.fingerprint}")


def _keys(patient: Patient) -> Result:
    return well(f"{sum(map(len, patient.publics.values()))} signing keys, for their owner alone")


def _certificate(patient: Patient) -> Result:
    tls = patient.config.tls
    if not patient.certificate.is_of(read_tls_key(patient.config)):
        return wrong(
            f"{tls.certificate} is not for the key in {tls.key}",
            "put the pair that belongs together in place, or `ledgerd rotate --key tls`",
        )
    return well(f"{tls.certificate} is for its key")


def _spiffe_id(patient: Patient) -> Result:
    named, ours = patient.certificate.holder.uri, patient.config.spiffe_id.uri
    if named != ours:
        return wrong(
            f"the certificate is of {named}, this node is {ours}",
            "correct id and trust_domain, or name the certificate of this node",
        )
    return well(named)


def _chain(patient: Patient) -> Result:
    patient.certificate.check_issuer(patient.trust[patient.config.origin].certificates)
    return well("issued by this side's TLS authority")


def _dates(patient: Patient) -> Result:
    # Of the authority's own too: it issues none that outlives it.
    return judging.dates(patient.certificate.validity, datetime.now(UTC))


def _permissions(patient: Patient) -> Result:
    config = patient.config
    keys = (*(key_path(config, role) for role in _ROLES), config.tls.key)
    # Credentials are the service manager's, which lets the node's user read them.
    own = [key for key in keys if key.exists() and not is_credential(key)]
    paths = (*own, *config.data.rglob("*"))
    return judging.ownership(looking.owned(config.data), map(looking.owned, paths))


def _store(patient: Patient) -> Result:
    with patient.open() as store:
        return well(f"{Reader(store).head().size} entries")


def _origin(patient: Patient) -> Result:
    with patient.open() as store, store.snapshot() as snapshot:
        body = next((body for _, body in key_entries(snapshot)), b"")
    return judging.origin(pb.Body.FromString(body).origin, patient.config.origin)


def _owner(patient: Patient) -> Result:
    with patient.open() as store:
        history = patient.history(store)
    publics = dict(patient.publics)
    if patient.is_standby:
        nodes = {key.public for key in history.node_keys(pb.ROLE_LOG)}
        if nodes & set(publics.get(pb.ROLE_LOG, ())):
            return wrong(
                f"{key_path(patient.config, pb.ROLE_LOG)} is the log key of the node that this"
                " standby follows",
                "remove it from this machine: a promoted standby gets a key of its own",
            )
        publics = {pb.ROLE_ENTRY: publics[pb.ROLE_ENTRY]}
    for role, held in publics.items():
        if history.key_in_force(role).public not in held:
            return wrong(
                f"the log has another key in force than is in {key_path(patient.config, role)}",
                "name the key files of this ledger: is it another node's store?",
            )
    return well("the keys in force are here")


def _standing(patient: Patient) -> Result:
    if patient.is_standby:
        return well("a standby appends nothing")
    with patient.open() as store:
        history = patient.history(store)
        standing = Standing.found(patient.config.data, store, history)
    if standing.refusal is not None:
        raise standing.refusal
    return well("it holds all that it is known to have held")


def _lock(patient: Patient) -> Result:
    data = patient.config.data
    if patient.is_standby:
        holder = served_by(data)
        return well(f"process {holder} follows the node" if holder else "the standby does not run")
    return judging.lock(served_by(data), patient.listener, data)


def _port(patient: Patient) -> Result:
    if patient.is_standby:
        return well("nobody calls a standby")
    return judging.port(patient.listener, patient.config.listen, "listen")


def _metrics_port(patient: Patient) -> Result:
    endpoint = patient.config.metrics_listen
    if endpoint is None:
        return well("no metrics are served")
    return judging.port(looking.metrics_listener_at(endpoint), endpoint, "metrics_listen")


def _descriptors(patient: Patient) -> Result:
    process = served_by(patient.config.data)
    if process is None:
        return unknown("the node does not run", "look again when it does")
    return judging.descriptors(*looking.descriptors_of(process))


def _room(patient: Patient) -> Result:
    disk = os.statvfs(patient.config.data)
    free = disk.f_bavail * disk.f_frsize
    return judging.room(free, patient.config.limits.reserve_bytes, disk.f_favail, disk.f_files)


def _fsync(patient: Patient) -> Result:
    return judging.fsync(looking.time_fsyncs(patient.config.data))


def _peer_clock(patient: Patient) -> Result:
    if not patient.config.peer.endpoint:
        return unknown("there is no link to the peer", "its time is in the files that it sends")
    sent = time.time()
    theirs = asyncio.run(_ask_time(patient.config))
    came = time.time()
    if not theirs:
        return unknown("the peer does not say its time", "it is of an older version")
    return judging.clock(theirs - (sent + came) / 2, came - sent)


async def _ask_time(config: Config) -> float:
    async with peer_of(config) as client:
        return await client.get_time() / 1_000_000


class Check(NamedTuple):
    """needs: what must be well before; without it nothing can be told."""

    name: str
    look: Callable[[Patient], Result]
    needs: tuple[str, ...] = ()


CHECKS: Final = (
    Check("trust file", _trust),
    Check("keys", _keys),
    Check("certificate", _certificate),
    Check("SPIFFE id", _spiffe_id, ("certificate",)),
    Check("certificate chain", _chain, ("certificate", "trust file")),
    Check("certificate dates", _dates, ("certificate",)),
    Check("permissions", _permissions),
    Check("store", _store, ("permissions",)),
    Check("origin", _origin, ("store",)),
    Check("owner", _owner, ("store", "origin", "keys", "trust file")),
    Check("standing", _standing, ("owner",)),
    Check("port", _port),
    Check("metrics port", _metrics_port),
    Check("lock", _lock, ("permissions", "port")),
    Check("descriptors", _descriptors, ("lock",)),
    Check("free space", _room, ("permissions",)),
    Check("fsync", _fsync, ("free space",)),
    Check(
        "clock",
        _peer_clock,
        ("SPIFFE id", "certificate chain", "certificate dates"),
    ),
)


def examine(config: Config) -> dict[str, Result]:
    """The result of each check, in their order. Raises nothing of ours."""
    patient, results = Patient(config), dict[str, Result]()
    for check in CHECKS:
        lacking = [name for name in check.needs if results[name].verdict is not Verdict.OK]
        results[check.name] = judging.not_before(lacking[0]) if lacking else _looked(check, patient)
    return results


def _looked(check: Check, patient: Patient) -> Result:
    try:
        return check.look(patient)
    except UnavailableError as error:
        return unknown(error.message, error.action)
    except (LedgerError, OSError) as error:
        denied = error if isinstance(error, OSError) else error.__cause__
        if isinstance(denied, PermissionError):
            return unknown(_words(denied), "run it as root, or as the node's user")
        if isinstance(error, FileNotFoundError):
            return wrong(
                f"{error.filename} is not there",
                "correct the path in the configuration, or bring back what it names",
            )
        if isinstance(error, OSError):
            return wrong(_words(error), "see whether it is there, and on a sound disk")
        return wrong(f"{error.message} ({error.reason})", error.action)


def _words(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
