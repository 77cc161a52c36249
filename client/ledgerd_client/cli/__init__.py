"""ledgerctl, the tool of institutions, authorities, operators and verifiers."""

from __future__ import annotations

import os
import sys

# gRPC's own lines on standard error say no more than our errors do; read when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

try:
    from ledgerd_client.cli.program import app, main
except ModuleNotFoundError as error:
    sys.stderr.write(f"ledgerctl needs {error.name}: pip install 'ledgerd-client[cli]'\n")
    sys.exit(2)

__all__ = ["app", "main"]
