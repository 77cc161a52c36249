"""
ledgerd, the daemon of a side's ledger.

Worker processes import this module once more, so it imports as little as it can: what a command
needs is imported in it.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.completion import completion_init  # type: ignore[attr-defined] # nothing public does
from typer.core import TyperGroup

from ledgerd.commands.audit import audit
from ledgerd.commands.backup import backup
from ledgerd.commands.carry import peer
from ledgerd.commands.compact import compact
from ledgerd.commands.dev import dev
from ledgerd.commands.examine import check, doctor
from ledgerd.commands.exits import BAD_INPUT, FAILED
from ledgerd.commands.init import init
from ledgerd.commands.mirror import mirror
from ledgerd.commands.publish import publish
from ledgerd.commands.recover import recover, restore
from ledgerd.commands.rotate import rotate
from ledgerd.commands.rules import adopt_rules, rules
from ledgerd.commands.saying import explain
from ledgerd.commands.serve import serve
from ledgerd.commands.standby import promote, standby
from ledgerd_client.core.errors import InputError, LedgerError
from ledgerd_client.secrecy import keep_to_ourselves


class Program(TyperGroup):
    """The root command: errors become one line, which says what to do, and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LedgerError as error:
            explain(error)
            raise typer.Exit(BAD_INPUT if isinstance(error, InputError) else FAILED) from None


app = typer.Typer(
    name="ledgerd",
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""
    Keep one side's ledger of cross-boundary transfers, and verify the other side's.

    Exit codes: 0 done, or stopped by a signal; 1 refused or failed; 2 wrong usage, configuration or
    input; 70 the store failed under a node or standby, or is none that it may have, or what a
    standby was sent does not verify.
    """,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(f"ledgerd {version('ledgerd')}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


app.command()(init)
app.command()(serve)
app.command()(compact)
app.command()(mirror)
app.command()(audit)
app.command()(check)
app.command()(doctor)
app.command()(publish)
app.command()(backup)
app.command()(standby)
app.command()(promote)
app.add_typer(peer, name="peer")
app.command()(rotate)
app.command()(restore)
app.command()(recover)
app.command()(adopt_rules)
app.command()(rules)
app.command()(dev)


def main() -> None:
    """Run the program; ends the process."""
    keep_to_ourselves()
    if "_LEDGERD_COMPLETE" in os.environ:  # a shell asks what may stand next
        completion_init()
    app()


if __name__ == "__main__":
    main()
