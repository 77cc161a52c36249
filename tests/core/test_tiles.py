"""Paths and sizes of a published log's files, against C2SP's own vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core.errors import MalformedError
from ledgerd_client.core.tiles import Tile, bundle_of, tiles_of

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "c2sp.json").read_text())[
    "tlog_tiles_paths"
]
sizes = st.integers(min_value=0, max_value=300_000)
tiles = st.builds(
    Tile,
    st.none() | st.integers(0, 63),
    st.integers(0, 10**18 - 1),
    st.integers(1, 256),
)


def tile_of(case: dict[str, Any]) -> Tile:
    level = None if case["level"] == "entries" else case["level"]
    return Tile(level, case["index"], case.get("width", 256))


class TestAPath:
    @pytest.mark.parametrize("case", VECTORS["encode"], ids=lambda case: case["path"])
    def test_is_that_of_the_vectors(self, case: dict[str, Any]) -> None:
        assert tile_of(case).path == case["path"]

    @pytest.mark.parametrize("case", VECTORS["encode"], ids=lambda case: case["path"])
    def test_is_read_as_the_vectors_say(self, case: dict[str, Any]) -> None:
        assert Tile.parse(case["path"]) == tile_of(case)

    @pytest.mark.parametrize(
        "path",
        [
            *(f"tile/{path}" for path in VECTORS["reject"]),
            "tile/00/000",
            "tile/0/000.p/0",
            "tile/0/000.p/07",
            "tile/0/x000/001",
            "tile/0/\u0660\u0660\u0661",
            "/tile/0/000",
            "tile/0/000\n",
        ],
    )
    def test_in_another_spelling_is_refused(self, path: str) -> None:
        with pytest.raises(MalformedError):
            Tile.parse(path)

    @given(tiles)
    def test_is_read_back(self, tile: Tile) -> None:
        assert Tile.parse(tile.path) == tile

    @pytest.mark.parametrize(
        "case",
        VECTORS["entries_path_for_log_index"],
        ids=lambda case: f"{case['seq']} of {case['size']}",
    )
    def test_of_an_entrys_bundle_is_that_of_the_vectors(self, case: dict[str, Any]) -> None:
        number = case["seq"] // 256
        (found,) = (t for t in tiles_of(case["size"]) if (t.level, t.number) == (None, number))
        assert found.path == case["path"]


class TestTheTilesOfASize:
    def test_of_70000_are_those_of_the_vectors(self) -> None:
        found = list(tiles_of(70_000))
        rows = [[t.width for t in found if t.level == level] for level in (0, 1, 2, 3)]
        assert rows == [[256] * 273 + [112], [256, 17], [1], []]

    def test_of_256_are_a_full_one_and_its_hash(self) -> None:
        assert [t.path for t in tiles_of(256) if t.level is not None] == [
            "tile/0/000",
            "tile/1/000.p/1",
        ]

    def test_of_nothing_are_none(self) -> None:
        assert not list(tiles_of(0))

    @given(sizes, sizes)
    def test_and_those_of_a_smaller_one_are_all_that_is_needed(self, one: int, other: int) -> None:
        small, large = sorted((one, other))
        assert {*tiles_of(small), *tiles_of(large, small)} >= {*tiles_of(large)}

    @given(sizes, sizes)
    def test_leave_out_what_a_smaller_one_had(self, one: int, other: int) -> None:
        small, large = sorted((one, other))
        assert not {*tiles_of(small)} & {*tiles_of(large, small)}

    def test_come_after_the_hashes_that_they_are_over(self) -> None:
        levels = [t.level for t in tiles_of(70_000) if t.level is not None]
        assert levels == sorted(levels)


class TestABundle:
    def test_has_each_entrys_length_before_it(self) -> None:
        assert bundle_of([b"", b"ab", bytes(300)]) == b"\0\0\0\2ab\x01\x2c" + bytes(300)
