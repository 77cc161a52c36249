"""
`ledgerd recover`, its first step: what the peer has cosigned of a lost log, and bodies for it.

They come from the peer, from copies of the store, and from the institutions that wrote them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Final, NamedTuple

from ledgerd.api.guard import Guard
from ledgerd.api.identity import Identities
from ledgerd.api.peer_client import PeerClient as GrpcPeerClient
from ledgerd.api.recovery import RecoveryHandlers
from ledgerd.api.roles import Access
from ledgerd.api.server import RecoveryServer
from ledgerd.config import Config
from ledgerd.credentials import NodeTls, load_trust
from ledgerd.ledger.keyring import Keyring
from ledgerd.observe.metrics import Metrics
from ledgerd.peer.notes import parse_known
from ledgerd.peer.ports import PeerClient
from ledgerd.peer.recovery import Progress, Recovery, unwatched
from ledgerd.peer.submit import newest_cosigned
from ledgerd.recovery.lost_tail import lost_decisions
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock, make_directory
from ledgerd_client.core.chain import SignatureCheck, check_signatures
from ledgerd_client.core.errors import FieldError, NotReadyError

# In the data directory, while it lasts.
RECOVERING: Final = "recovering"

Clock = Callable[[], int]
Random = Callable[[int], bytes]


class Found(NamedTuple):
    """
    What is back: entries of the own log, and by institution the bodies that are missing.

    Under "" those that the node wrote itself. lost: what the authority had decided behind that, as
    far as a copy shows it: a line for each.
    """

    size: int
    missing: Mapping[str, int]
    lost: tuple[str, ...] = ()


async def recover(
    config: Config,
    client: PeerClient,
    copies: Iterable[Path] = (),
    *,
    clock: Clock,
    random: Random,
    progress: Progress = unwatched,
) -> Found:
    """
    Fetch what the peer has cosigned of this log, and bodies out of copies of the store.

    It may be called again, and goes on. The store itself, if there is one, stays as it is and is
    one more copy. Raises NotReadyError while the node runs, NOTHING_COSIGNED, or PEER_BEHIND when
    the peer shows less than it is known to have cosigned; StoreError, InputError for the copies.
    """
    async with opened(config, clock=clock, random=random) as recovery:
        await recovery.fetch(client, progress)
        check_base(config, recovery)
        size = recovery.own.verified_size
        places = [*copies, *([config.store] if config.store.exists() else [])]
        lost: dict[str, None] = {}
        passes = [(by_node, place) for by_node in (True, False) for place in places]
        for done, (by_node, place) in enumerate(passes, 1):
            with closing(LmdbStore.open(place, readonly=True)) as store:
                await recovery.bodies.take_bodies(store, by_node=by_node)
                lost |= dict.fromkeys(lost_decisions(store, size))
            progress(done * size, len(passes) * size)
        await recovery.bodies.forget_erased()
        return Found(size, recovery.bodies.missing_by_author(), tuple(lost))


async def take_back(
    config: Config,
    stop: asyncio.Event,
    ready: Callable[[int], None],
    *,
    clock: Clock,
    random: Random,
) -> Found:
    """
    Let institutions return bodies until none of theirs is missing, or stop is set.

    ready is told the port once calls are answered. Raises as recover(), and UnavailableError.
    """
    trust = load_trust(config)
    tls = NodeTls.load(config, trust)
    async with opened(config, clock=clock, random=random) as recovery:

        def look() -> None:
            if not set(recovery.bodies.missing_by_author()) - {""}:
                stop.set()

        own = trust[config.origin].certificates
        keyring = Keyring(recovery.own_store.store, config.origin, trust.authority(config.origin))
        guard = Guard(
            Identities(config.spiffe_id, own, config.peer_spiffe_id, ()),
            Access(
                keyring,
                operators=(),
                peer=config.peer.id,
                clock=clock,
                last_time=lambda: 0,
                peer_keys=lambda: keyring.history,
            ),
            _Deaf(),
            Metrics(),
        )
        server = RecoveryServer(
            guard,
            RecoveryHandlers(recovery.bodies, look),
            connection_age_s=config.timing.connection_age_s,
        )
        look()
        ready(
            await server.start(
                config.listen, certificate=tls.certificate, key=tls.key, authorities=own
            )
        )
        await stop.wait()
        await server.stop(config.timing.drain_s)
        return Found(recovery.own.verified_size, recovery.bodies.missing_by_author())


class _Deaf:
    """Of a log that is not whole, whatever callers have seen of it shows nothing new."""

    def mentioned(self, note: bytes) -> None:
        pass


def check_base(config: Config, recovery: Recovery) -> None:
    """A size that was cosigned is never given up, whatever the peer still knows of it."""
    base = recovery.own.verified_size
    for directory in config.data.glob(f"{config.peer_store.name}*"):
        with closing(LmdbStore.open(directory, readonly=True)) as store, store.snapshot() as kept:
            note = newest_cosigned(kept)
        if note and parse_known(note).size > base:
            raise NotReadyError(
                f"the peer shows {base} entries, and has cosigned {parse_known(note).size}:"
                f" {directory} holds its cosignature",
                reason="PEER_BEHIND",
                action="have the peer recover first; without it, a new log under a new origin is"
                " the only way",
            )


# -- in common with the steps that follow ------------------------------------------------------


@asynccontextmanager
async def opened(config: Config, *, clock: Clock, random: Random) -> AsyncIterator[Recovery]:
    """Have what is recovered at hand, of a node that does not run; raises NotReadyError."""
    trust = load_trust(config)
    # On a new disk there is none.
    make_directory(config.data)
    with ExitStack() as stack:
        stack.enter_context(DirectoryLock(config.data))
        recovery = Recovery(
            config.data / RECOVERING,
            origin=config.origin,
            trust=trust,
            check=_check_signatures,
            clock=clock,
            random=random,
            quota=config.limits.replica_quota_bytes,
        )
        stack.callback(recovery.close)
        yield recovery


@asynccontextmanager
async def peer_of(config: Config) -> AsyncIterator[GrpcPeerClient]:
    """The way to the peer's node; raises InputError, TrustError."""
    trust = load_trust(config)
    tls = NodeTls.load(config, trust)
    if not config.peer.endpoint:
        raise FieldError(
            "the peer is reached by files alone, and this asks it",
            reason="NO_LINK",
            action="allow a link for as long as this takes: give its host:port as peer.endpoint in"
            " place of peer.exchange",
        )
    others = (each for each in trust.origins if each.origin != config.origin)
    client = GrpcPeerClient.connect(
        config.peer.endpoint,
        authorities=[der for each in others for der in each.certificates],
        certificate=tls.certificate,
        key=tls.key,
        timeout_s=config.timing.call_timeout_s,
    )
    try:
        yield client
    finally:
        await client.close()


async def _check_signatures(checks: list[SignatureCheck]) -> None:
    await asyncio.to_thread(check_signatures, checks)


def put_aside(path: Path, clock: Clock) -> None:
    """Move what is there out of the way; nothing is deleted."""
    if path.exists():
        path.rename(path.with_name(f"{path.name}.before-{clock()}"))
