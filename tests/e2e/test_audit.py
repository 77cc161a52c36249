"""`ledgerd audit` of a store that no program wrote so, as an operator meets it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from border import LEDGERD, Border, audit, run

CUT = "the store's file is shorter than what it says that it holds"


def test_a_store_whose_file_was_cut_short_is_said_to_be(tmp_path: Path) -> None:
    """Reading what is missing of a mapped file ends a process by SIGBUS; the operator gets words."""
    border = Border(tmp_path / "border")
    node = border.mainland
    try:
        node.start()
        assert node.stop() == 0
        audit(node.config)
        os.truncate(node.config.parent / "data" / "store" / "data.mdb", 8 * 4096)
        done = run(LEDGERD, "audit", "--config", str(node.config), code=1)
        assert done.stderr.count("\n") == 1
        assert "CUT_SHORT" in done.stderr
        kept = json.loads((node.config.parent / "data" / "audit-result.json").read_text())
        assert (kept["ok"], kept["message"]) == (0, CUT)
    finally:
        border.close()
