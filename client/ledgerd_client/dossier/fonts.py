"""Which font a text can be printed with; none is carried along."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ledgerd_client.core.errors import InputError

_KNOWN: Final = (
    Path("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"),
    Path("/usr/share/fonts/truetype/arphic/uming.ttc"),
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"),
)


def find_font(texts: Iterable[str], named: Path | None) -> Path | None:
    """The font file that texts need; None where every reader's own Helvetica does."""
    if named is not None:
        return named
    if all(_is_latin(text) for text in texts):
        return None
    for path in _KNOWN:
        if path.is_file():
            return path
    raise InputError(
        "no font is found here that has Chinese characters",
        reason="NO_FONT",
        action="apt install fonts-wqy-microhei, or name one with --font",
    )


def _is_latin(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
