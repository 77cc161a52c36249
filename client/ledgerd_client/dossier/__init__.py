"""
A report on paper: a PDF whose bytes follow from the report, the language and the font.

Needs the extra [reports]. Beside the PDF belongs the report itself, as JSON: from it everything can
be made again and compared (`ledgerctl report verify`).
"""

from __future__ import annotations

from pathlib import Path

from ledgerd_client.catalogue import Catalogue
from ledgerd_client.dossier.content import compose, texts_of
from ledgerd_client.dossier.fonts import find_font
from ledgerd_client.dossier.pages import Paper
from ledgerd_client.reports.model import Report

__all__ = ["render"]


def render(report: Report, words: Catalogue, font: Path | None = None) -> bytes:
    """
    The report as a PDF, in the language of words, of which each page says what it rests on.

    font: a TrueType font or collection, for text that Latin letters can't write. Raises InputError
    NO_FONT when one is needed and none is here.
    """
    blocks = compose(report, words)
    texts = [*texts_of(blocks), report.tree.origin, words.word("page_of")]
    return Paper(report, words, find_font(texts, font)).print(blocks)
