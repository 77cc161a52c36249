"""A QR code, drawn as squares: what the page rests on, for whoever has no hands to type it."""

from __future__ import annotations

from functools import lru_cache

import segno
from fpdf import FPDF


def draw_code(pdf: FPDF, text: str, left: float, top: float, size: float) -> None:
    """Draw a code of size mm with its quiet zone; the same text is always the same picture."""
    rows = _matrix(text)
    step = size / len(rows)
    pdf.set_fill_color(0)
    for y, row in enumerate(rows):
        start: int | None = None
        # Runs of dark squares as one: no hairlines between them, and a smaller file.
        for x, dark in enumerate((*row, 0)):
            if dark and start is None:
                start = x
            elif not dark and start is not None:
                pdf.rect(left + start * step, top + y * step, (x - start) * step, step, style="F")
                start = None


@lru_cache(maxsize=1)
def _matrix(text: str) -> tuple[tuple[int, ...], ...]:
    """Its squares with the quiet zone: the same on every page."""
    return tuple(map(tuple, segno.make_qr(text, error="m").matrix_iter(scale=1, border=2)))
