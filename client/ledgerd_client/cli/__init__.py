"""ledgerctl, the tool of institutions, authorities, operators and verifiers."""

from __future__ import annotations

import sys

try:
    from ledgerd_client.cli.program import app, main
except ModuleNotFoundError as error:
    sys.stderr.write(f"ledgerctl needs {error.name}: pip install 'ledgerd-client[cli]'\n")
    sys.exit(2)

__all__ = ["app", "main"]
