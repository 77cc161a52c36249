"""Who is on a border that one tries things on, and where each has its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the border."""

    name: str
    origin: str
    domain: str


@dataclass(frozen=True, slots=True)
class Institution:
    """One of the four that a new border has."""

    name: str
    id: str
    side: str
    place: int
    sector: int
    registered_as: str


SIDES = (
    Side("mainland", "mainland.dev.invalid/log", "mainland.dev.invalid"),
    Side("hongkong", "hongkong.dev.invalid/log", "hongkong.dev.invalid"),
)
INSTITUTIONS = (
    Institution("sz-hospital", "uscc.12440300MB0000001U", "mainland", 440300, 3, "深圳试验医院"),
    Institution("gz-bank", "uscc.91440100MA0000002D", "mainland", 440100, 1, "广州试验银行"),
    Institution("hk-clinic", "hkbr.50000001", "hongkong", 810000, 3, "香港試驗診所"),
    Institution("hk-credit", "hkbr.50000002", "hongkong", 810000, 2, "香港試驗信貸資料社"),
)


@dataclass(frozen=True, slots=True)
class Regulator:
    """Who may read on one side; without sectors, of every one."""

    name: str
    id: str
    side: str
    sectors: tuple[int, ...]
    registered_as: str


REGULATORS = (
    Regulator("cac", "cac", "mainland", (), "试验网信部门"),
    Regulator("dpo", "dpo", "hongkong", (), "試驗數字政策辦公室"),
    Regulator("hkma", "hkma", "hongkong", (1, 2), "試驗金融管理局"),
)


def node_settings(directory: Path, side: str) -> Path:
    """Where a side's node has its configuration."""
    return directory / side / "node" / "node.toml"
