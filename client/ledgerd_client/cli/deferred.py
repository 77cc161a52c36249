"""Commands that are imported when they are called."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from typing import Any, TypeAlias

import typer
from typer.core import TyperCommand
from typer.main import get_group

Made: TypeAlias = typer.Typer | Callable[..., None]


class Deferred(TyperCommand):
    """
    A command, or a group of them, that is imported and made when it is called.

    Starting is most of what a run costs: importing gRPC for a command that asks a node, or
    cryptography for one that makes certificates, and reading the options of each. Until then a
    command is its name and what it is for, which is all that the help above it shows.
    """

    def __init__(self, name: str, summary: str, make: Callable[[], Made]) -> None:
        """What is made becomes the command: a function that Typer reads, or a group."""
        super().__init__(name, help=summary)
        self._make = make

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        # The context is of the command itself, which is what its group invokes then.
        return self.command.make_context(*args, **kwargs)

    @cached_property
    def command(self) -> Any:
        """The command itself."""
        made, whole = self._make(), typer.Typer()
        if isinstance(made, typer.Typer):
            whole.add_typer(made, name=self.name)
        else:
            whole.command(self.name)(made)
        return get_group(whole).commands[self.name or ""]


def found_at(place: str) -> Made:
    """What stands at module:name of this package."""
    module, _, name = place.partition(":")
    made: Made = getattr(import_module(f"{__package__}.{module}"), name)
    return made
