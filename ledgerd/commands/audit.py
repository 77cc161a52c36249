"""`ledgerd audit`: the whole store of a node that is stopped, or a part of one that runs."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from ledgerd.clock import now
from ledgerd.commands.options import NODE_TOML, ConfigFile
from ledgerd.commands.saying import progress_bar

if TYPE_CHECKING:
    from ledgerd.config import Config


def audit(
    config: ConfigFile = NODE_TOML,
    nights: Annotated[
        int | None,
        typer.Option(min=2, max=3_650, help="Beside a node that runs: verify one part of so many."),
    ] = None,
) -> None:
    """
    Verify the whole store of a node that does not run, from entry 0.

    Layout, chain, tree, signatures and digests are checked, indexes and findings built anew and
    compared. Exit 1, and the name of the first entry or table that is wrong, if anything is.

    With --nights N the node may run, and an N-th of the entries is verified, another in each run,
    so that N runs see them all; indexes and findings are not built anew. What came of it stands in
    audit-result.json, and the node tells it as a metric.
    """
    from ledgerd import auditing
    from ledgerd.config import Config

    loaded = Config.load(config)
    _go_on_in_a_child(loaded)
    with progress_bar("auditing") as progress:
        if nights is None:
            said = auditing.audit(loaded, progress, clock=now)
        else:
            said = auditing.audit_part(loaded, nights, progress, clock=now)
    typer.echo(said)


def _go_on_in_a_child(config: Config) -> None:
    """
    Return in a child process; here, end as it ends.

    A store whose file was cut short ends the process that maps it by SIGBUS, and no code of that
    process can say so.
    """
    from ledgerd.auditing import keep_cut_short

    pid = os.fork()
    if not pid:
        return
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == -signal.SIGBUS:
        raise keep_cut_short(config, clock=now)
    raise typer.Exit(code if code >= 0 else 128 - code)
