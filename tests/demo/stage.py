"""What the demo's scenes share: what they print, and when they fail."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from border import Border
from rich.console import Console

from ledgerd_client import TransferView
from ledgerd_client.sync import LedgerClient

console = Console(width=118, highlight=False)
# What the SDK logs, the scenes tell.
logging.getLogger("ledgerd_client").addHandler(logging.NullHandler())
# Longer than anything takes here: anchors and ticks come each second.
PATIENCE_S = 30.0

T = TypeVar("T")


class StepFailedError(Exception):
    """A step of the demo did not hold."""


def client(border: Border, name: str) -> LedgerClient:
    return LedgerClient.from_file(border.client(name))


def check(held: bool, message: str) -> None:
    if not held:
        raise StepFailedError(message)


def settled(ask: Callable[[], T], wanted: Callable[[T], bool], what: str) -> T:
    """The first answer that is wanted; the step fails if none comes."""
    end = time.monotonic() + PATIENCE_S
    while not wanted(answer := ask()):
        check(time.monotonic() < end, f"{what}: still {answer}")
        time.sleep(0.2)
    return answer


def at_once(call: Callable[..., T], *inputs: Iterable[Any]) -> list[T]:
    """As map does, some of them beside each other: for calls that each run a program."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(call, *inputs))


def view_of(border: Border, name: str, ref: bytes, state: str, what: str) -> TransferView:
    """A transfer as somebody's node sees it, once the next anchor has brought it to a state."""
    with client(border, name) as ledger:
        return settled(lambda: ledger.transfer(ref), lambda view: view.state == state, what)


def heading(text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def say(text: str) -> None:
    console.print(f"   {text}", markup=False)
