"""ledgerctl, the tool of institutions, authorities, operators and verifiers."""

from __future__ import annotations

import gc
import os
import sys

from ledgerd_client.secrecy import keep_to_ourselves

# gRPC's own lines on standard error say no more than our errors do; read when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

__all__ = ["main"]


def main() -> None:
    """Run the program; ends the process."""
    # What a short run makes is nearly all modules, which stay: looking through them for garbage,
    # again and again and once more at the end, would take a fifth of its time.
    gc.set_threshold(100_000)
    keep_to_ourselves()
    try:
        from ledgerd_client.cli.program import run  # noqa: PLC0415 -- needs an extra

        run()
    except ModuleNotFoundError as error:
        sys.stderr.write(f"ledgerctl needs {error.name}: pip install 'ledgerd-client[cli]'\n")
        sys.exit(2)
    finally:
        gc.freeze()
