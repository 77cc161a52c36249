"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

# Where the package has it.
NODE_TOML: Final = Path("/etc/ledgerd/node.toml")

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The node's TOML file.")]
