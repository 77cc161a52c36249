"""Blocks on paper: A4, black on white, with a foot on every page that says what it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import Final

from fpdf import FPDF, FontFace, XPos, YPos
from fpdf.enums import TableBordersLayout, WrapMode

from ledgerd_client._values import from_micros
from ledgerd_client.catalogue import Catalogue
from ledgerd_client.core.errors import InputError
from ledgerd_client.dossier.content import Bars, Block, Facts, Grid, Heading, Paragraph, Seal
from ledgerd_client.dossier.qr import draw_code
from ledgerd_client.keyfile import read_file
from ledgerd_client.reports.model import Report

# Lengths are in mm, sizes of letters in points.
_MARGIN: Final = 18.0
_FOOT: Final = 26.0
_LINE: Final = 5.0
_TEXT: Final = 9.0
_SMALL: Final = 7.0
_CODE: Final = 20.0
_LABEL: Final = 38.0
_BAR: Final = 4.0
_SEAL: Final = (80.0, 46.0)
_GREY: Final = 150
_FAMILY: Final = "dossier"
# How files of TrueType and OpenType fonts, and collections of them, begin.
_FONTS: Final = (b"\0\1\0\0", b"true", b"OTTO", b"ttcf")


class Paper:
    """One PDF. Its bytes follow from the report, the words and the font, whatever the day is."""

    def __init__(self, report: Report, words: Catalogue, font: Path | None) -> None:
        self._report = report
        self._pdf = pdf = _Sheets(report, words)
        pdf.set_margins(_MARGIN, _MARGIN, _MARGIN)
        pdf.set_auto_page_break(auto=True, margin=_FOOT)
        pdf.set_creation_date(from_micros(report.as_of).astimezone(UTC))
        pdf.set_producer("ledgerctl")
        pdf.set_title(f"{words.report(report.name).title} {report.digest.hex()}")
        # Chinese has no blanks to break at.
        self._wrap = WrapMode.WORD if words.lang == "en" else WrapMode.CHAR
        pdf.family = "helvetica" if font is None else _FAMILY
        if font is not None:
            _add_font(pdf, font)

    def print(self, blocks: Iterable[Block]) -> bytes:
        """Draw them one below the other; return the file."""
        self._pdf.add_page()
        for block in blocks:
            self._pdf.set_x(_MARGIN)
            self._draw(block)
        return bytes(self._pdf.output())

    def _draw(self, block: Block) -> None:
        match block:
            case Heading(text):
                self._heading(text)
            case Paragraph(text):
                self._pdf.write_text(text)
                self._pdf.ln(2)
            case Facts(lines):
                self._facts(lines)
            case Grid():
                self._grid(block)
            case Bars(bars):
                self._bars(bars)
            case Seal(what, lines):
                self._seal(what, lines)

    def _heading(self, text: str) -> None:
        pdf = self._pdf
        # Not alone at the foot of a page.
        if pdf.will_page_break(4 * _LINE):
            pdf.add_page()
        pdf.ln(2)
        pdf.letters(12)
        pdf.multi_cell(0, 6, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        pdf.ln(1)

    def _facts(self, lines: Iterable[tuple[str, str]]) -> None:
        pdf = self._pdf
        for label, value in lines:
            pdf.letters(_SMALL)
            pdf.cell(_LABEL, _LINE, label)
            pdf.multi_cell(0, _LINE, value, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        pdf.ln(2)

    def _grid(self, grid: Grid) -> None:
        pdf = self._pdf
        pdf.letters(_SMALL)
        pdf.set_fill_color(255)
        aligns = tuple("RIGHT" if right else "LEFT" for right in grid.right)
        with pdf.table(
            text_align=aligns,
            col_widths=grid.widths,
            line_height=3.6,
            padding=0.6,
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            headings_style=FontFace(emphasis=None, fill_color=235),
            wrapmode=self._wrap,
        ) as table:
            for row in (grid.headings, *grid.rows):
                table.row(row)
        pdf.ln(3)

    def _bars(self, bars: Iterable[tuple[str, int]]) -> None:
        pdf = self._pdf
        bars = tuple(bars)
        most = max((value for _, value in bars), default=0) or 1
        room = pdf.epw - _LABEL - 24
        pdf.set_fill_color(_GREY)
        for label, value in bars:
            if pdf.will_page_break(_LINE):
                pdf.add_page()
            pdf.letters(_SMALL)
            pdf.cell(_LABEL, _LINE, label)
            wide = room * value / most
            pdf.rect(_MARGIN + _LABEL, pdf.get_y() + 0.5, max(wide, 0.2), _BAR, style="F")
            pdf.set_x(_MARGIN + _LABEL + wide + 1.5)
            pdf.cell(22, _LINE, f"{value:,}", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        pdf.ln(3)

    def _seal(self, what: str, lines: tuple[str, ...]) -> None:
        pdf = self._pdf
        wide, high = _SEAL
        if pdf.will_page_break(high + 6 + 2 * _LINE):
            pdf.add_page()
        pdf.ln(4)
        # The sheet may stand alone: whoever signs it sees of what.
        pdf.write_text(what)
        left, top = pdf.get_x(), pdf.get_y()
        pdf.rect(left, top, wide, high)
        pdf.letters(_SMALL)
        for place, text in enumerate(lines):
            pdf.text(left + 3, top + 5 + place * (high - 12) / 2, text)
        pdf.set_y(top + high + 2)


class _Sheets(FPDF):
    """Pages with their foot."""

    family = "helvetica"

    def __init__(self, report: Report, words: Catalogue) -> None:
        super().__init__(format="A4")
        tree = report.tree
        self._words = words
        self._lines = (
            f"{tree.origin}    {words.column('size')} {tree.size}",
            f"{words.column('root')} {tree.root.hex()}",
            f"{words.column('report_digest')} {report.digest.hex()}",
        )
        self._code = f"ledgerd:{tree.origin}/{tree.size}#{tree.root.hex()}/{report.digest.hex()}"

    def letters(self, size: float) -> None:
        self.set_font(self.family, size=size)

    def write_text(self, text: str) -> None:
        self.letters(_TEXT)
        self.multi_cell(0, _LINE, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def footer(self) -> None:
        top = self.h - _FOOT + 3
        self.line(_MARGIN, top, self.w - _MARGIN, top)
        self.letters(6)
        for place, text in enumerate(self._lines):
            self.text(_MARGIN, top + 5 + 4 * place, text)
        page = self._words.word("page_of").format(page=self.page_no(), pages="{nb}")
        self.set_xy(_MARGIN - self.c_margin, top + 14)
        self.cell(0, 4, page)
        draw_code(self, self._code, self.w - _MARGIN - _CODE, top + 1, _CODE)


def _add_font(pdf: FPDF, font: Path) -> None:
    if read_file(font)[:4] not in _FONTS:
        raise _no_font(font)
    try:
        pdf.add_font(_FAMILY, fname=font)
    except Exception as error:
        raise _no_font(font) from error


def _no_font(font: Path) -> InputError:
    return InputError(
        f"{font} is no TrueType font that can be used",
        reason="NO_FONT",
        action="apt install fonts-wqy-microhei, or name another one with --font",
    )
