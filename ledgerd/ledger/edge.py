"""The newest end of a stored log: what is looked at before anything of it is shown."""

from __future__ import annotations

from ledgerd.ledger.head import Head
from ledgerd.ledger.tree import Nodes
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client.core import merkle
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import LedgerError, StoreError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.opening import open_log_checkpoint


def check_edge(snapshot: Snapshot, history: KeyHistory) -> Head:
    """
    Return the head, once the newest entry, the tree's edge and the checkpoint are of one log.

    history: of the whole log. Costs O(log n). Raises StoreError BAD_EDGE, or as Head.load does.
    """
    head = Head.load(snapshot)
    try:
        checkpoint = open_log_checkpoint(head.checkpoint, history, strict=True).checkpoint
        found = _tree(snapshot, head)
    except LedgerError as error:
        raise _bad(error.message) from error
    if checkpoint != Checkpoint(history.origin, *found):
        raise _bad("the stored checkpoint is not of the tree")
    return head


def _tree(snapshot: Snapshot, head: Head) -> tuple[int, bytes]:
    """Size and root of the tree, the newest entry being under it."""
    raw = snapshot.get(Table.HEADERS, u64(head.size - 1)) or b""
    header, nodes = Header.parse(raw), Nodes(snapshot.get, {})
    leaf = merkle.leaf_hash(raw)
    if (header.index, header.recorded_at) != (head.size - 1, head.last_time):
        raise _bad("the newest entry is another than the stored head says")
    if not leaf == head.last_leaf == nodes(0, head.size - 1):
        raise _bad("the newest entry is not the one in the tree")
    if snapshot.count(Table.HEADERS) != head.size:
        raise _bad(f"there are not {head.size} headers")
    return head.size, merkle.root(nodes, head.size)


def _bad(message: str) -> StoreError:
    return StoreError(
        f"the newest end of the log is damaged: {message}",
        reason="BAD_EDGE",
        action="keep the store as it is, run `ledgerd audit`, and restore the newest backup",
    )
