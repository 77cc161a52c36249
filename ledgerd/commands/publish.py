"""`ledgerd publish`: the log as files for a web server, once or for as long as it runs."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from ledgerd.commands.options import NODE_TOML, ConfigFile
from ledgerd.commands.saying import say


def publish(
    out: Annotated[Path, typer.Option(help="The directory to serve; made if it is not there.")],
    config: ConfigFile = NODE_TOML,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until SIGTERM or SIGINT.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, max=86_400, help="With --follow: how often, in seconds.")
    ] = 10,
    uncosigned: Annotated[
        bool, typer.Option("--uncosigned", help="Also what the peer has not cosigned yet.")
    ] = False,
) -> None:
    """
    Write the log as C2SP tiles: headers, hashes and a checkpoint, for any web server to serve.

    Bodies stay where they are, but headers tell everybody what they tell the peer: who records how
    much, when, and with whom. So it is for both authorities to decide (docs/threat-model.md). The
    node may run. It goes on where it stopped.
    """
    from ledgerd.config import Config
    from ledgerd.publishing import publish as publish_log
    from ledgerd_client.core.errors import NotReadyError, UnavailableError

    loaded, stop = Config.load(config), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    said = ""
    while not stop.is_set():
        try:
            done = publish_log(loaded, out, uncosigned=uncosigned, stopped=stop.is_set)
            news = f"{loaded.origin}: {done.size} entries are published in {out}."
        except (NotReadyError, UnavailableError) as error:
            if not follow:
                raise
            news = f"ledgerd: {error.message} ({error.reason}). Trying again."
        if news != said:
            say(news)
            said = news
        if not follow:
            return
        stop.wait(every)
