"""Mechanisms of the code table `mechanism` (regulation facts 7.5), by the names that rules use."""

from __future__ import annotations

from typing import Final

GBA_SC: Final = 1
GBA_CERT: Final = 2
ASSESSMENT: Final = 3
CN_SC: Final = 4
CN_CERT: Final = 5
FTZ_LIST: Final = 7
HETAO_LIST: Final = 8
HK_RMC: Final = 9
HK_PDPO: Final = 10
GBA_SC_MO: Final = 11
