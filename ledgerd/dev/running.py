"""Serving a border: both nodes as processes of their own, until the one that started them ends."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ledgerd.config import Config
from ledgerd.dev.parties import INSTITUTIONS, REGULATORS, SIDES, node_settings

_PRCTL: Final = getattr(ctypes.CDLL(None), "prctl", None)
_PR_SET_PDEATHSIG: Final = 1


def describe(directory: Path) -> list[str]:
    """How to talk to a border, line by line, for whoever has just started it."""
    loaded = {side.name: Config.load(node_settings(directory, side.name)) for side in SIDES}
    home = directory / INSTITUTIONS[0].name
    everybody = (*INSTITUTIONS, *REGULATORS)
    return [
        f"A border in {directory}. Its keys are throw-away: nothing here proves anything.",
        *(f"  {name:12} {node.origin:26} {node.listen}" for name, node in loaded.items()),
        *(f"  {who.name:12} {who.id:26} {directory / who.name}" for who in everybody),
        "Try, in another terminal:",
        f"  ledgerctl checkpoint --config {home / 'client.toml'}",
    ]


def run_border(directory: Path, say: Callable[[str], None]) -> int:
    """
    Serve both nodes until SIGINT or SIGTERM, or until one of them ends; returns an exit code.

    Each is a process of its own, started again as it is when the border is started again. say is
    told of one that ends by itself.
    """
    started = {side.name: _start_node(node_settings(directory, side.name)) for side in SIDES}
    nodes = list(started.values())
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(0.2) and all(node.poll() is None for node in nodes):
        pass
    for name, node in started.items():
        if node.returncode is not None:
            say(
                f"The node {name} has ended ({_how(node.returncode)}), and so the border does. What"
                f" it said last stands above. Start it again with `ledgerd dev --dir {directory}`."
            )
    for node in nodes:
        node.terminate()
    codes = [node.wait() for node in nodes]
    return 0 if stop.is_set() and not any(codes) else 1


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _start_node(config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ledgerd", "serve", "--config", str(config), "--throwaway"]
    # A session of its own: Ctrl-C is for us, who end both in order.
    return subprocess.Popen(  # noqa: S603 - our own program
        command,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread runs here, and it calls C alone
    )


def _end_with_parent() -> None:
    """Have the kernel end this process in order should its parent be killed; of Linux alone."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)
