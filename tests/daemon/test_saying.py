"""What commands say to whoever ran them."""

from __future__ import annotations

import pytest

from ledgerd.commands.saying import progress_bar


def test_a_bar_says_nothing_where_nobody_looks_on(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("auditing") as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")
