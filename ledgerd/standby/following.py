"""`ledgerd standby`: a whole copy of this side's ledger, in step with the node that writes it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from typing import Final

from ledgerd.api.standby_client import StandbyClient
from ledgerd.background import Background
from ledgerd.config import Config
from ledgerd.credentials import NodeTls, key_path, load_trust
from ledgerd.ledger.sequencer import MAX_GROUP
from ledgerd.ledger.workers import Workers
from ledgerd.mirror.follower import Follower
from ledgerd.mirror.store import MirrorStore
from ledgerd.observe.notify import Notifier
from ledgerd.peer.rounds import backoff
from ledgerd.projections.registry import load_history
from ledgerd.renewing import Renewal
from ledgerd.standby.stopped import check_entry_key
from ledgerd.standby.telling import Course
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.chain import SignatureCheck, check_signatures
from ledgerd_client.core.errors import (
    FieldError,
    InputError,
    LedgerError,
    RefusedError,
    UnavailableError,
)
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_key_file

# More than any commit of the node has, with the findings in it.
_AT_ONCE: Final = 2 * MAX_GROUP
_LONGEST_PAUSE_S: Final = 5.0
_WORTH_A_WORKER: Final = 64


async def stand_by(
    config: Config,
    *,
    once: bool,
    progress: Callable[[int, int], None],
    say: Callable[[LedgerError], None],
) -> None:
    """
    Follow the node at standby.primary until cancelled, or until in step with it, `once`.

    What it says that it holds is on the disk, verified, under the node's signed checkpoint. say is
    told what keeps it from following, a full disk among it, once for each reason; the service
    manager, how it gets on. A certificate that is replaced is taken within seconds.

    Raises InputError for files and settings, LOG_KEY_HERE among them; VerificationError for what
    does not verify; StoreError; NotReadyError ALREADY_SERVED or PROMOTION_BEGUN.
    """
    trust, notifier = load_trust(config), Notifier.from_environment()
    tls = NodeTls.load(config, trust)
    if config.standby.primary is None:
        raise FieldError(
            "the configuration does not say which node to follow",
            reason="MISSING_SETTING",
            action="give its host:port as standby.primary",
        )
    async with AsyncExitStack() as stack:
        reserve = config.limits.reserve_bytes
        store = stack.enter_context(
            closing(MirrorStore(config.data, config.origin, os.urandom, reserve_bytes=reserve))
        )
        store.check_not_promoted()
        check_log_key_elsewhere(config, store, trust)
        workers = Workers(config.limits.workers)
        stack.push_async_callback(workers.close)
        await workers.start()
        client = StandbyClient.connect(
            config.standby.primary,
            authorities=trust[config.origin].certificates,
            certificate=tls.certificate,
            key=tls.key,
            held=lambda: follower.checkpoint,
        )
        stack.push_async_callback(client.close)

        async def check(checks: list[SignatureCheck]) -> None:
            # A usual commit is checked sooner here than it is sent.
            if len(checks) < _WORTH_A_WORKER:
                await asyncio.to_thread(check_signatures, checks)
                return
            share = -(-len(checks) // workers.count)
            parts = [checks[i : i + share] for i in range(0, len(checks), share)]
            await asyncio.gather(*(workers.run(check_signatures, part) for part in parts))

        follower = Follower(store, client, trust, check=check, progress=progress, at_once=_AT_ONCE)
        stack.push_async_callback(follower.close)
        stack.callback(notifier.stopping)
        course, background = Course(follower, notifier), Background(asyncio.Event())
        stack.push_async_callback(background.stop)
        background.start(course.keep_alive())
        background.start(course.tell())
        renewal = Renewal(
            config.tls,
            tls,
            load=lambda _files: NodeTls.load(config, trust),
            use=lambda tls: client.renew(certificate=tls.certificate, key=tls.key),
            say=say,
        )
        await follow(
            follower,
            course,
            before=renewal.look,
            check_keys=lambda: check_keys(config, store, trust, say),
            once=once,
            say=say,
        )


async def follow(
    follower: Follower,
    course: Course,
    *,
    before: Callable[[], Awaitable[None]],
    check_keys: Callable[[], None],
    once: bool,
    say: Callable[[LedgerError], None],
) -> None:
    """
    Follow as stand_by does; before is done before each step.

    check_keys is asked when in step for the first time.

    Which keys must not be here, a directory that was empty tells only then.
    """
    failures, told = 0, ""
    while True:
        await before()
        try:
            await follower.step()
        except (UnavailableError, RefusedError) as error:
            if once:
                raise
            failures += 1
            course.failed(error)
            if error.reason != told:
                say(error)
            told = error.reason
            await asyncio.sleep(backoff(failures, _LONGEST_PAUSE_S, os.urandom(1)))
        else:
            if not course.is_ready:
                check_keys()
            course.stepped()
            failures, told = 0, ""
            if once:
                return


def check_keys(
    config: Config, store: MirrorStore, trust: Trust, say: Callable[[LedgerError], None]
) -> None:
    """
    Judge by the log's history which keys are here; raises as check_log_key_elsewhere.

    That the entry key is not is said: a copy that can't be promoted is better than none.
    """
    check_log_key_elsewhere(config, store, trust)
    with store.log.snapshot() as snapshot:
        history = load_history(snapshot, config.origin, trust.authority(config.origin))
    try:
        check_entry_key(config, history)
    except InputError as error:
        say(error)


def check_log_key_elsewhere(config: Config, store: MirrorStore, trust: Trust) -> None:
    """
    Refuse a machine that holds the key by which the node signs: a copy must not be able to.

    Raises FieldError LOG_KEY_HERE.
    """
    path = key_path(config, pb.ROLE_LOG)
    with store.log.snapshot() as snapshot:
        history = load_history(snapshot, config.origin, trust.authority(config.origin))
    if history.genesis is None or not path.exists():
        return
    held = read_key_file(path, config.keys.passphrase).key.public
    if held in {key.public for key in history.node_keys(pb.ROLE_LOG)}:
        raise FieldError(
            f"{path} is the log key of the node that this standby follows",
            reason="LOG_KEY_HERE",
            action="remove it from this machine: a promoted standby gets a key of its own",
        )
