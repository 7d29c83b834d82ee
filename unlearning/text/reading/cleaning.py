"""The steps that make pieces of any format clean, in their order, and notes of what each one did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from unlearning.text.reading.characters import OLD_QUOTES_FROM, drop_italics, modern_quotes, tidy
from unlearning.text.reading.gutenberg import book_title, cut_licence, drop_marks
from unlearning.text.reading.headings import LABEL, mark_headings
from unlearning.text.reading.paragraphs import RULE, part_lines
from unlearning.text.reading.pieces import Piece

HEAD = 30  # pieces at the beginning that may hold a header


def clean(pieces: list[Piece], *, loose: bool) -> tuple[list[Piece], str, list[str]]:
    """Paragraphs, verse and headings, ready to be joined by blank lines.

    Args:
        pieces: As a reader of a format gave them.
        loose: Lines were made from a page's layout: their lengths are only roughly its width.

    Returns:
        The clean pieces, the title that a Project Gutenberg header states, and what was done, in words.
    """
    notes: list[str] = []

    def step(pieces: list[Piece], change: Callable[[str], tuple[str, int]], note: str) -> list[Piece]:
        results = [change(piece.text) for piece in pieces]
        if count := sum(count for _, count in results):
            notes.append(note.format(count=f"{count:,}"))
        return [replace(piece, text=text) for piece, (text, _) in zip(pieces, results, strict=True)]

    pieces = step(pieces, tidy, "invisible characters dropped: {count}")
    title = book_title("\n".join(piece.text for piece in pieces[:HEAD]))
    pieces, licence = cut_licence(pieces)
    notes += ["Project Gutenberg's header and licence removed"] * licence
    pieces = step(pieces, lambda text: drop_marks(text, LABEL), "illustration and page marks removed: {count}")
    pieces = step(pieces, drop_italics, "_italics_ made plain: {count}")
    if sum(piece.text.count("`") for piece in pieces) >= OLD_QUOTES_FROM:
        pieces = step(pieces, modern_quotes, "old `quotation marks' made straight: {count}")
    pieces, contents = mark_headings(_parted(pieces, loose))
    notes += ["table of contents removed"] * contents
    return pieces, title, notes


def _parted(pieces: list[Piece], loose: bool) -> list[Piece]:
    """Pieces with nothing left in lines, no white space doubled, and one rule where several were."""
    parted: list[Piece] = []
    for piece in pieces:
        if piece.kind == "lines":
            parted += part_lines(piece.text, loose=loose)
        else:
            lines = [" ".join(line.split()) for line in piece.text.split("\n")]
            parted.append(replace(piece, text="\n".join(line for line in lines if line)))
    parted = [piece for piece in parted if piece.text]
    return [piece for index, piece in enumerate(parted) if not (index and piece.text == RULE == parted[index - 1].text)]
