"""
The parsers under atheris, which looks for bytes that take another way through the code.

usage: python -m fuzz.coverage CORPUS [libFuzzer's options]. Ends with a traceback, and the bytes in
a file, at the first that a parser takes in another spelling, or fails on with another's error.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ledgerd_client", "ledgerd"]):
    from fuzz.daemon import DAEMON
    from fuzz.parsers import CORE, sdk
    from fuzz.test_parsers import written

PARSERS = [*CORE.values(), *sdk().values(), *DAEMON.values()]


def one(data: bytes) -> None:
    """The first byte chooses the parser."""
    if data:
        parser, raw = PARSERS[data[0] % len(PARSERS)], data[1:]
        if written(parser, raw) not in {None, raw}:
            raise AssertionError(parser.read)


def make_corpus(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for place, parser in enumerate(PARSERS):
        for sample in parser.samples:
            data = bytes([place]) + sample
            (directory / sha256(data).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    make_corpus(Path(sys.argv[1]))
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
