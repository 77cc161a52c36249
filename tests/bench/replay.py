"""How fast a node replays its peer's log: real nodes, over mTLS, every signature checked."""

from __future__ import annotations

import time
from urllib.request import urlopen

from bench.report import Row
from border import PATIENCE, Border
from nodes import free_port

from ledgerd_client.sync import LedgerClient

GOAL = 0.8
# Between two looks, in seconds: a look costs the node some milliseconds.
_PAUSE_S = 0.1


def measure(border: Border, client: str, verify: float) -> dict[str, Row]:
    """
    Start the other side's node, which has seen nothing yet, beside one that has appended much.

    client: an institution of the Mainland's. verify: signatures a second in two threads.
    """
    with LedgerClient.from_file(border.client(client)) as ledger:
        entries = ledger.checkpoint().checkpoint.size
    node = border.hongkong
    port = free_port()
    node.config.write_text(f'metrics_listen = "localhost:{port}"\n' + node.config.read_text())
    node.start()
    started = time.perf_counter()
    _wait(port, entries)
    rate = entries / (time.perf_counter() - started)
    assert node.stop() == 0, node.tail()
    return {"replay": Row(rate / verify, rate, verify, "headers/s over Ed25519 verify/s", GOAL)}


def _wait(port: int, entries: int) -> None:
    """Return when so many are replayed."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with urlopen(f"http://localhost:{port}/metrics") as answer:
            found = answer.read().decode().partition("\nledgerd_replayed_entries ")[2]
        if float(found.split("\n")[0]) >= entries:
            return
        time.sleep(_PAUSE_S)
    raise AssertionError("the peer replays nothing")
