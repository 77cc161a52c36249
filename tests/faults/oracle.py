"""
What a fault must not do, counted: the oracle that stands behind every row of docs/reliability.md.

An acknowledged record stands in the log once, at the index that was acknowledged; every checkpoint
that was shown, to an institution or to the peer, is a prefix of the log; a witness remembers what
it cosigned; and the store audits.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ledgerd.auditing import audit
from ledgerd.config import Config
from ledgerd.ledger.head import Head
from ledgerd.ledger.reader import Reader
from ledgerd.peer.submit import newest_cosigned
from ledgerd.peer.witness import _COSIGNED_KEY
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.record import read_facts


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One answer to an append: indexes by record id, the checkpoint shown, when (monotonic, ns)."""

    records: dict[str, int]
    note: str
    at: int

    @classmethod
    def parse(cls, line: str) -> Self:
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a store; all zero and "" when nothing is."""

    lost: int
    doubled: int
    inconsistent: int
    audit: str


@dataclass(slots=True)
class Tally:
    """One row of the table; the counts are of all that was judged so far."""

    fault: str
    runs: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    inconsistent: int = 0
    audits: int = 0
    passed: int = 0
    failures: list[str] = field(default_factory=list)

    def judge(
        self,
        config: Config,
        said: Iterable[Acknowledged],
        about: str,
        *,
        peer: Config | None = None,
    ) -> None:
        """
        Judge a store that nobody serves; fails, naming what it is about, unless all is well.

        peer: as examine() takes it.
        """
        verdict = examine(config, said, peer)
        self.lost += verdict.lost
        self.doubled += verdict.doubled
        self.inconsistent += verdict.inconsistent
        self.audits += 1
        self.passed += not verdict.audit
        assert verdict == Verdict(0, 0, 0, ""), f"{about}: {verdict}"


def examine(config: Config, said: Iterable[Acknowledged], peer: Config | None = None) -> Verdict:
    """
    Compare a store with what was said of it.

    peer: whose store, of the same moment, keeps what it was shown and has replayed and cosigned.
    """
    said = list(said)
    own, its = witnessed(config), witnessed(peer) if peer else Witnessed()
    shown = [*(one.note for one in said), *filter(None, (its.replayed, its.cosigned))]
    with closing(LmdbStore.open(config.store, readonly=True)) as store:
        reader = Reader(store)
        entries = reader.page(0, count=2**62).entries
        places = [read_facts(body)[1].record_id.hex() for _, body in entries]
        lost = inconsistent = 0
        for one in said:
            lost += sum(places[index : index + 1] != [id_] for id_, index in one.records.items())
        for seen in map(checkpoint_of, shown):
            held = seen.size <= len(entries) and reader.root(seen.size) == seen.root
            inconsistent += not held
    # What was cosigned stood on the witness's disk before the cosignature left.
    inconsistent += size_of(its.own) > size_of(own.cosigned)
    doubled = sum(count - 1 for count in Counter(places).values())
    return Verdict(lost, doubled, inconsistent, audited(config))


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Notes in a node's store: its peer's, that it replayed and cosigned; its own, cosigned; ""."""

    replayed: str = ""
    cosigned: str = ""
    own: str = ""


def witnessed(node: Config) -> Witnessed:
    """Nothing, before it ever met its peer."""
    if not node.peer_store.exists():
        return Witnessed()
    with closing(LmdbStore.open(node.peer_store, readonly=True)) as store, store.snapshot() as read:
        head = Head.find(read)
        replayed, cosigned = head.checkpoint if head else b"", read.get(Table.META, _COSIGNED_KEY)
        own = newest_cosigned(read)
    return Witnessed(*(note.decode() for note in (replayed, cosigned or b"", own)))


def checkpoint_of(note: str) -> Checkpoint:
    return Checkpoint.parse(parse_note(note.encode()).text)


def size_of(note: str) -> int:
    return checkpoint_of(note).size if note else 0


def audited(config: Config) -> str:
    """What a whole audit has to object to; "" for nothing."""
    try:
        audit(config, lambda _done, _total: None, clock=lambda: time.time_ns() // 1000)
    except LedgerError as error:
        return str(error)
    return ""


def config_of(file: Path, data: Path | None = None) -> Config:
    """A node's configuration, with its data elsewhere if data is named."""
    config = Config.load(file)
    return config if data is None else config.model_copy(update={"data": data})
