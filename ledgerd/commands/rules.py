"""`ledgerd rules` and `ledgerd adopt-rules`: which there are, and which are in force."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import os
from typing import Annotated

import typer

from ledgerd.clock import now
from ledgerd.commands.options import NODE_TOML, ConfigFile
from ledgerd.commands.saying import say


def rules(
    law: Annotated[
        str, typer.Option(help="Version of the law; by default the newest that is held.")
    ] = "",
) -> None:
    """Print every rule with its sources, their grade, and the figures in force (docs/rules.md)."""
    from ledgerd.rules.law import newest_law
    from ledgerd.rules_page import render_rules

    typer.echo(render_rules(law or newest_law()), nl=False)


def adopt_rules(config: ConfigFile = NODE_TOML) -> None:
    """
    Put the rules of the configuration in force, in the log of a node that does not run.

    They hold from the new entry on: what is found already stays as it was found.
    """
    from ledgerd.adopting import adopt_rules as adopt
    from ledgerd.config import Config

    index = adopt(Config.load(config), clock=now, random=os.urandom)
    say(f"Entry {index} puts them in force. Start the node again with `ledgerd serve`.")
