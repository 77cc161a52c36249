"""
The inquest into an entry that the replay refused: did the log itself put it there?

Whoever sits on the wire can change an entry. That the headers, hashed once more with the wrong
one among them, come to the root that the log's key signed shows that the log did: then there is
evidence. Anything else stays a failure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from ledgerd.ledger.tree import Nodes, TileWriter
from ledgerd.peer.accusations import Accusations
from ledgerd.peer.notes import Known
from ledgerd.peer.replay import Page, Suspect
from ledgerd.peer.replica import Replica
from ledgerd.peer.store import PeerStore
from ledgerd.store.base import Snapshot
from ledgerd.store.overlay import Overlay
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.entry_evidence import EntryEvidence, find_wrong
from ledgerd_client.core.errors import MalformedError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import HISTORY_KINDS
from ledgerd_client.core.merkle import inclusion_proof, leaf_hash
from ledgerd_client.core.wrong_entries import Entry

# Entries beyond the verified ones that are hashed, 32 bytes of memory each.
_MOST: Final = 1 << 18


@dataclass(slots=True)
class Heard:
    """What a stream brings from `first` on: leaf hashes, and the entries that are asked about."""

    suspect: Suspect
    first: int
    leaves: list[bytes] = field(default_factory=list)
    entries: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return self.first + len(self.leaves)

    async def listen(self, pages: AsyncIterator[Page]) -> AsyncIterator[Page]:
        """Hand on what comes; what is beyond the limit is not remembered."""
        async for page in pages:
            if len(self.leaves) <= _MOST:
                self._take(page)
            yield page

    def _take(self, page: Page) -> None:
        for index, header in enumerate(page.headers, self.end):
            self.leaves.append(leaf_hash(header))
            if index == self.suspect.position or index in self.suspect.related:
                self.entries[index] = (header, page.bodies.get(index, b""))


class Inquest:
    """Belongs to the event loop; judges in the store's thread."""

    def __init__(self, store: PeerStore, replica: Replica, accusations: Accusations) -> None:
        self._store = store
        self._replica = replica
        self._accusations = accusations

    async def hold(self, heard: Heard, target: Known) -> bool:
        """
        Accuse if target, whose signature was checked, is over a wrong entry; whether that is so.

        The replica is back at where the stream began. Raises StoreError.
        """
        evidence = await self._store.run(self._judge, heard, target)
        if evidence is not None:
            await self._store.run(self._accusations.accuse_of_entry, evidence)
        return evidence is not None

    def _judge(self, heard: Heard, target: Known) -> EntryEvidence | None:
        suspect = heard.suspect
        if heard.end != target.size or suspect.position not in heard.entries:
            return None
        with self._store.snapshot() as snapshot:
            tree = Overlay(snapshot)
            TileWriter.load(snapshot, heard.first).append(tree, heard.leaves)
            nodes = Nodes(tree.get, {})
            related = (index for index in suspect.related if 0 <= index < suspect.position)
            *earlier, entry = (
                _entry(index, snapshot, heard, nodes)
                for index in (*sorted(related), suspect.position)
            )
        # It verifies what it finds: of another tree than was signed no entry is included.
        return find_wrong(self._replica.history, target.note, earlier, entry)


def _entry(index: int, snapshot: Snapshot, heard: Heard, nodes: Nodes) -> Entry:
    if index >= heard.first:
        header, body = heard.entries[index]
    else:
        header, body = (
            snapshot.get(table, u64(index)) or b"" for table in (Table.HEADERS, Table.BODIES)
        )
    proof = inclusion_proof(nodes, index, heard.end)
    return Entry(index, header, tuple(proof), body if _says_more(header, body) else b"")


def _says_more(header: bytes, body: bytes) -> bool:
    """Whether claims rest on this body, and it is the one that the header names."""
    try:
        parsed = Header.parse(header)
    except MalformedError:
        return False
    return parsed.kind in HISTORY_KINDS and sha256(body).digest() == parsed.body_digest
