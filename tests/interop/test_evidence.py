"""Claims of evidence, held against logs that a second implementation made, and that did nothing wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from interop import rotation, scenario

from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.wrong_entries import CLAIMS, Entry


def honest_pairs() -> Iterator[Any]:
    """Each entry of four honest logs alone, and after each earlier one, with bodies and without."""
    made, world = rotation.build(), scenario.build()
    for log in (made.mainland, made.hongkong, world.mainland, world.hongkong):
        entries = [
            [Entry(at, entry.raw, (), body) for body in (entry.body, b"")]
            for at, entry in enumerate(log.entries)
        ]
        for at, later in enumerate(entries):
            earlier = [None, *(one for pair in entries[:at] for one in pair)]
            yield from ((log.origin, before, entry) for before in earlier for entry in later)


class TestAnHonestLog:
    @pytest.mark.parametrize("claim", CLAIMS)
    def test_is_accused_of_nothing(self, claim: str) -> None:
        """Whatever two of its entries are held against each other, rotations and LOSS included."""

        def is_true(*asked: Any) -> bool:
            try:
                return CLAIMS[claim](*asked)
            except LedgerError:
                return False

        assert [pair for pair in honest_pairs() if is_true(*pair)] == []
