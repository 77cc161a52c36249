"""`ledgerd peer export` and `import`: two nodes that no link connects, by files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from ledgerd.config import Config
from ledgerd.credentials import load_trust
from ledgerd.ledger.head import Head
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.peer.answer import QUESTION_SIZE
from ledgerd.peer.carried import PART_BYTES, Carried, Envelope
from ledgerd.peer.exchange import Asked, Exchange, Outcome
from ledgerd.peer.notes import parse_known
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import FieldError, RefusedError, StoreError, UnavailableError
from ledgerd_client.keyfile import check_free, read_file, write_new

_LOOK_EVERY_S: Final = 0.1


class Exported(NamedTuple):
    """Headers from start up to stop, of size, and how much of the peer's log is cosigned in it."""

    start: int
    stop: int
    size: int
    cosigned: int


def export_to_peer(
    config: Config,
    out: Path,
    *,
    clock: Callable[[], int],
    random: Callable[[int], bytes],
    start: int | None = None,
) -> Exported:
    """
    Write what this node says to its peer; it may serve. Headers come from where the peer is.

    Or from start on. A file holds some of them; the next one goes on from there. Raises InputError,
    StoreError.
    """
    check_free(out)
    exchange = _exchange(config)
    with closing(LmdbStore.open(config.store, readonly=True)) as store:
        carried = say(
            exchange,
            Reader(store),
            _peer_head(config),
            origin=config.origin,
            to=_peer_origin(config, store),
            question=random(QUESTION_SIZE),
            now=clock(),
            start=start,
        )
    write_new(out, carried.format(), mode=0o644)
    return Exported(carried.start, carried.stop, carried.size, _size(carried.cosigned))


def say(
    exchange: Exchange,
    reader: Reader,
    peer: Head | None,
    *,
    origin: str,
    to: str,
    question: bytes,
    now: int,
    start: int | None = None,
    part: int = PART_BYTES,
) -> Carried:
    """
    Make what goes to the peer now (µs), and remember the question in it.

    peer: how far the peer's log is replayed here. start: where its headers begin, by default where
    the peer's newest file says that it is; they end after as many bytes as a part has. Raises
    FieldError BEYOND_THE_END for a start beyond the log, StoreError.
    """
    # Before the head: the last part must hold all that the answer is about.
    answer, head = exchange.answer(), reader.head()
    if start is None:
        came = exchange.newest()
        start = min(came.carried.envelope.held, head.size) if came else 0
    elif start > head.size:
        raise FieldError(
            f"the log has {head.size} entries, and none from {start} on",
            reason="BEYOND_THE_END",
            action="go on where the file before this one ends: its export said it",
        )
    pages = list(_part(_pages(reader, start, head.size, head.checkpoint), part))
    exchange.ask(question, Asked(now, _size(peer.checkpoint) if peer else 0))
    held, stop = peer.size if peer else 0, pages[-1].first + len(pages[-1].headers)
    return Carried(Envelope(origin, to, held, stop, question), answer, pages)


def _size(note: bytes) -> int:
    return parse_known(note).size if note else 0


class Handed(NamedTuple):
    """A file of the peer's that lies there for the node, and its digest."""

    carried: Carried
    digest: bytes


def import_from_peer(config: Config, path: Path) -> Handed:
    """
    Hand the node a file of the peer's to replay; what was carried before it is replaced.

    Raises MalformedError, FieldError WRONG_ORIGIN for another log's or another's file.
    """
    carried = Carried.parse(read_file(path))
    with closing(LmdbStore.open(config.store, readonly=True)) as store:
        expected = (_peer_origin(config, store), config.origin)
    if (carried.envelope.origin, carried.envelope.to) != expected:
        raise FieldError(
            f"the file is from {carried.envelope.origin} to {carried.envelope.to}",
            reason="WRONG_ORIGIN",
            action=f"take what {expected[0]} has exported",
        )
    return Handed(carried, _exchange(config).put(carried))


def wait_taken(config: Config, handed: Handed, timeout_s: float, *, cosigned: bool) -> Outcome:
    """
    Return what came of a file, once the node has gone through it; cosigned: and has cosigned it.

    Raises RefusedError with the node's own reason when it refused it, UnavailableError NOT_TAKEN.
    """
    exchange, end = _exchange(config), time.monotonic() + timeout_s
    while True:
        outcome = exchange.outcome()
        if outcome is not None and outcome.file == handed.digest:
            if outcome.reason:
                raise RefusedError(outcome.message, reason=outcome.reason, action=outcome.action)
            # What is not whole yet is not cosigned, and it is answered all the same.
            if handed.carried.is_part or not cosigned or _is_answered(exchange, handed.carried):
                return outcome
        if time.monotonic() > end:
            raise UnavailableError(
                "the node has not gone through what was carried here, or not cosigned it",
                reason="NOT_TAKEN",
                action="see whether it serves, and `ledgerctl status`; the file lies there for it",
            )
        time.sleep(_LOOK_EVERY_S)


def _is_answered(exchange: Exchange, carried: Carried) -> bool:
    answer = exchange.answer()
    if answer is None or answer.question != carried.envelope.asks:
        return False
    return _size(answer.cosigned) >= carried.stop


def _exchange(config: Config) -> Exchange:
    if config.peer.exchange is None:
        raise FieldError(
            "this node reaches its peer over a link",
            reason="BAD_SETTING",
            action="give peer.exchange in place of peer.endpoint",
        )
    return Exchange(config.peer.exchange)


def _peer_head(config: Config) -> Head | None:
    """How far the peer's log is replayed here."""
    try:
        store = LmdbStore.open(config.peer_store, readonly=True)
    except StoreError as error:
        if error.reason != "NO_STORE":
            raise
        return None
    with closing(store), store.snapshot() as snapshot:
        return Head.find(snapshot)


def _peer_origin(config: Config, store: LmdbStore) -> str:
    authority = load_trust(config).authority(config.origin)
    return Keyring(store, config.origin, authority).history.need_genesis().peer_origin


def _part(pages: Iterator[pb.ListHeadersResponse], size: int) -> Iterator[pb.ListHeadersResponse]:
    """The first one, and more while they have fewer bytes."""
    taken = 0
    for page in pages:
        yield page
        taken += page.ByteSize()
        if taken >= size:
            return


def _pages(
    reader: Reader, start: int, size: int, checkpoint: bytes
) -> Iterator[pb.ListHeadersResponse]:
    """As PeerService.ListHeaders sends them."""
    while True:
        page = reader.shared_page(start, size)
        if not (checkpoint or page.headers):
            return
        yield pb.ListHeadersResponse(
            checkpoint=checkpoint,
            first=start,
            headers=page.headers,
            bodies=[pb.SharedBody(index=index, body=body) for index, body in page.bodies],
        )
        start, checkpoint = start + len(page.headers), b""
