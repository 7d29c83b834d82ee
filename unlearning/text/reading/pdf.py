"""PDF: lines of text with their places on the page, without running heads, feet and page numbers."""

from __future__ import annotations

import io
import logging
import math
import re
import statistics
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from unlearning.errors import DocumentError
from unlearning.text.reading.headings import is_label
from unlearning.text.reading.pieces import Piece, Rough

MOST_PAGES = 5000
LETTERS_PER_PAGE = 20  # fewer on average: the pages are pictures
EDGE_LINES = 2  # running heads and feet stand among so many lines at the top and at the bottom
REPEATS = 3  # pages that a line must recur on to be a running head
NARROWEST_INDENT, WIDEST_INDENT = 6, 60  # points
RESIZED = 1.15  # letters so much larger or smaller than in the line above begin a heading, or end one
NUMBER_AT_END = re.compile(r"^\W*\d{1,4}\W+(?=\S)|(?<=\S)\W+\d{1,4}\W*$")
PAGE_NUMBER = re.compile(r"^\W*(?:page|p\.|seite|página)?\s*(\d{1,4})(?:\s*(?:of|/|von|de)\s*\d{1,4})?\W*$", re.I)
ROMAN_NUMBER = re.compile(r"^\W*[ivxl]{1,7}\W*$")


NO_TITLE = re.compile(r"anonymous|untitled|^microsoft word|\.(?:docx?|tex|dvi|indd|pdf|qxd|rtf|odt)$|^\W*$", re.I)


@dataclass(frozen=True)
class Line:
    """A line of a page; x to the right and y upwards, in points (1/72 inch), as is the size of its letters."""

    text: str
    x: float
    y: float
    size: float = 0.0


def read_pdf(data: bytes, name: str) -> Rough:
    """Text of a PDF, as lines with blank lines and indents where the page has gaps.

    Raises:
        DocumentError: damaged, encrypted, or scanned (pictures without text).
    """
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # its warnings are for the PDF's maker
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        _unlock(reader, name)
        _refuse_too_long(len(reader.pages), name)
        pages = [_lines(page) for page in reader.pages]
        title = _title(reader)
    except DocumentError:
        raise
    except Exception as error:  # pypdf lets KeyError, RecursionError and others of damaged files through
        raise DocumentError(
            f"'{name}' is a damaged PDF ({type(error).__name__}).", "Open it in a reader, print it to a new PDF."
        ) from None
    _refuse_scanned(pages, name)
    pages, notes = without_furniture(pages)
    return Rough([Piece(_as_text(pages), "lines")], title, notes)


def _title(reader: Any) -> str:
    """The stated title, where it is one: many programs write their own name or a file's."""
    title = " ".join(str((reader.metadata or {}).get("/Title") or "").split())
    return "" if NO_TITLE.search(title) else title


def _unlock(reader: Any, name: str) -> None:
    """Many PDFs are locked against printing only, and open with an empty password."""
    if not reader.is_encrypted:
        return
    try:
        opened = bool(reader.decrypt(""))
    except Exception:  # a cipher that needs a package we do not ship
        opened = False
    if not opened:
        raise DocumentError(f"'{name}' is an encrypted PDF.", "Remove its password (print it to a new PDF) first.")


def _refuse_too_long(pages: int, name: str) -> None:
    if pages > MOST_PAGES:
        raise DocumentError(f"'{name}' has {pages:,} pages (limit {MOST_PAGES:,}).", "Split it.")


def _refuse_scanned(pages: list[list[Line]], name: str) -> None:
    letters = sum(character.isalnum() for page in pages for line in page for character in line.text)
    if letters < min(LETTERS_PER_PAGE * len(pages), 400):
        raise DocumentError(
            f"'{name}' has {len(pages)} pages and {letters} letters: it is scanned pictures, not text.",
            "Run text recognition (OCR) on it first.",
        )


def _lines(page: Any) -> list[Line]:
    """Lines of a page in the order of its content, which keeps columns apart."""
    lines: list[Line] = []
    parts: list[str] = []
    place = (0.0, 0.0, 0.0)

    def visit(text: str, cm: list[float], tm: list[float], _: object, size: float) -> None:
        nonlocal place
        for index, part in enumerate(text.split("\n")):
            if index:
                finish()
            if part.strip() and not "".join(parts).strip():
                scale = math.hypot(tm[2] * cm[0] + tm[3] * cm[2], tm[2] * cm[1] + tm[3] * cm[3])
                place = (tm[4] * cm[0] + tm[5] * cm[2] + cm[4], tm[4] * cm[1] + tm[5] * cm[3] + cm[5], size * scale)
            parts.append(part)

    def finish() -> None:
        text = "".join(parts).strip()
        if text:
            lines.append(Line(text, *place))
        parts.clear()

    page.extract_text(visitor_text=visit)
    finish()
    return lines


def without_furniture(pages: list[list[Line]]) -> tuple[list[list[Line]], list[str]]:
    """Pages without running heads, running feet and page numbers, and notes of what went.

    A line at the edge of a page is a running head if it recurs there, its page number aside, on three pages;
    chapter headings are compared in full and their first occurrence stays, so no chapter is lost.
    """
    edges = [_edge(page) for page in pages]
    recurring = _recurring(pages, edges)
    offset = _number_offset(pages, edges)
    seen: set[str] = set()
    kept, heads, numbers = [], 0, 0
    for number, (page, edge) in enumerate(zip(pages, edges, strict=True)):
        keep = []
        for index, line in enumerate(page):
            key = _key(line.text)
            if index in edge and _is_page_number(line.text, number, offset):
                numbers += 1
            elif index in edge and key in recurring and not (is_label(line.text) and key not in seen):
                heads += 1
            else:
                keep.append(line)
            seen.add(key)
        kept.append(keep)
    notes = [f"running heads and feet removed: {heads:,}"] if heads else []
    return kept, notes + ([f"page numbers removed: {numbers:,}"] if numbers else [])


def _recurring(pages: list[list[Line]], edges: list[set[int]]) -> set[str]:
    """Lines that recur at the edges of pages and hardly ever within them, as lines of the text itself may."""
    at_edge: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for page, edge in zip(pages, edges, strict=True):
        at_edge.update({_key(page[index].text) for index in edge})
        within.update({_key(line.text) for index, line in enumerate(page) if index not in edge})
    return {key for key, count in at_edge.items() if count >= REPEATS and count >= 2 * within[key]}


def _edge(page: list[Line]) -> set[int]:
    by_height = sorted(range(len(page)), key=lambda index: page[index].y)
    return set(by_height[:EDGE_LINES] + by_height[-EDGE_LINES:])


def _key(text: str) -> str:
    text = " ".join(text.split())
    return text.casefold() if is_label(text) else NUMBER_AT_END.sub("", text).casefold()


def _number_offset(pages: list[list[Line]], edges: list[set[int]]) -> int | None:
    """Printed page number minus index of the page: the same on most pages."""
    offsets = Counter(
        int(found[1]) - number
        for number, (page, edge) in enumerate(zip(pages, edges, strict=True))
        for index in edge
        if (found := PAGE_NUMBER.match(page[index].text))
    )
    if not offsets:
        return None
    offset, count = offsets.most_common(1)[0]
    return offset if count >= min(REPEATS, len(pages)) else None


def _is_page_number(text: str, number: int, offset: int | None) -> bool:
    if offset is None:
        return False
    if found := PAGE_NUMBER.match(text):
        return int(found[1]) - number == offset
    return bool(ROMAN_NUMBER.match(text)) and number <= -offset + 1  # front matter, before page 1


def _as_text(pages: list[list[Line]]) -> str:
    """Lines again, with a blank line for a gap or another size of letters, and two spaces for an indent."""
    leading = _leading(pages)
    bottom = _usual([min(line.y for line in page) for page in pages if page])
    above: Line | None = None
    out: list[str] = []
    for page in pages:
        margins = _margins(page)
        for index, line in enumerate(page):
            if above and _apart(above, line, leading, turned=not index):
                out.append("")
            left = max((margin for margin in margins if margin <= line.x + 2), default=line.x)
            indented = NARROWEST_INDENT < line.x - left < WIDEST_INDENT
            out.append("  " + line.text if indented else line.text)
            above = line
        if page and page[-1].y > bottom + 4 * leading:
            out.append("")  # the page ends early: so does a chapter
    return "\n".join(out)


def _apart(above: Line, line: Line, leading: float, turned: bool) -> bool:
    resized = not 1 / RESIZED < (line.size or 1) / (above.size or 1) < RESIZED
    return resized or (not turned and above.y - line.y > 1.45 * leading)


def _leading(pages: list[list[Line]]) -> float:
    """Usual distance of two lines."""
    gaps = [round(a.y - b.y, 1) for page in pages for a, b in pairwise(page) if 2 < a.y - b.y < 60]
    return Counter(gaps).most_common(1)[0][0] if gaps else 12.0


def _usual(values: list[float]) -> float:
    return statistics.median_low(values) if values else 0.0


def _margins(page: list[Line]) -> list[float]:
    """Left edges of the page's columns: where many of its lines begin, indents apart."""
    starts = Counter(round(line.x) for line in page)
    margins: list[float] = []
    for x in sorted(x for x, count in starts.items() if count >= max(2, 0.1 * len(page))):
        if not margins or x > margins[-1] + WIDEST_INDENT:
            margins.append(float(x))
    return margins
