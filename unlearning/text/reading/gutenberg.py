"""Project Gutenberg's header, licence, credits, illustration and page marks, in their historic wordings.

Written from the wordings themselves: "Small Print" headers of 1991–2003 (`*END*THE SMALL PRINT!`), the
START/END markers since, and the credits and notes that stand between a marker and the book.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from unlearning.text.reading.pieces import Piece

MENTION = re.compile(r"project gutenberg|gutenberg(?:-tm|™| etext)|millennium fulcrum edition", re.IGNORECASE)
HEADER = re.compile(
    r"^\W*(?:the |this )?(?:project gutenberg(?:['’]s)? e-?(?:book|text)|millennium fulcrum)", re.IGNORECASE
)
START = re.compile(
    r"^\W*start of (?:the|this) project gutenberg\b"
    r"|^\*+\s*end\s*\*+\s*the small print"
    r"|^\*?\s*end\s*\*?\s*the small print!"
    r"|small print!.*\*\s*end\s*\*\s*$",
    re.IGNORECASE,
)
END = re.compile(
    r"^\W*end of (?:the |this )?project gutenberg"
    r"|^\W*this is the end of (?:the |this )?project gutenberg"
    r"|^\W*end of (?:the |this )?(?:e-?text|e-?book) of\b"
    r"|^\W*start: full licen[sc]e"
    r"|^\W*the full project gutenberg licen[sc]e",
    re.IGNORECASE,
)
SAME_HEADER = 600  # lines: two start marks so near to each other, and no end between, belong to one header
MARKER_LINES = 3  # a marker with a long title runs on to so many lines
CREDIT = re.compile(
    r"^\W*(?:produced by|(?:this )?e-?(?:text|book) (?:was )?(?:prepared|produced|created|scanned|transcribed)"
    r"|transcribed (?:from|by)|scanned (?:and proofed )?by|html version by|proofread|(?:online )?distributed proofread"
    r"|transcriber['’]s notes?\b|credits?:|title:|author:|editor:|illustrator:|translator:|release date|posting date"
    r"|most recently updated|language:|original publication:|character set|first (?:posted|released)|last updated"
    r"|\[?e-?(?:book|text) ?#|this file was produced from|images generously|updated editions will"
    r"|(?:the )?millennium fulcrum edition|note: project gutenberg|\(this file was)",
    re.IGNORECASE,
)
TITLE_LINE = re.compile(r"^\s*Title:\s*(\S.*)$", re.MULTILINE | re.IGNORECASE)
CREDITS_WITHIN = 30  # pieces or lines at the start that may be credits

PICTURE = re.compile(r"\[\s*(?:illustrations?|picture|frontispiece|image|decoration|blank page|music)\b", re.IGNORECASE)
LONGEST_CAPTION, DEEPEST = 4000, 10  # characters; brackets within brackets
BRACKET = re.compile(r"[\[\]]")
PAGE_MARK = re.compile(r"\[(?:pg|page|p)\.?\s*[\divxlc]+\]|\{(?:p|pg|page)?\.?\s*\d+[a-z]?\}", re.IGNORECASE)


def book_title(text: str) -> str:
    """The title that the header states, or nothing."""
    head = text[:5000]
    found = TITLE_LINE.search(head) if MENTION.search(head) else None
    return " ".join(found[1].split()) if found else ""


def cut_licence(pieces: list[Piece]) -> tuple[list[Piece], bool]:
    """The pieces of the book itself.

    Returns:
        What is left, and whether anything was cut.
    """
    entries = list(_entries(pieces))
    if not any(mark.search(text) for _, text in entries for mark in (START, END, HEADER)):
        return pieces, False  # a text may speak of Project Gutenberg without being its edition
    kept = [entries[index] for first, last in _books(entries) for index in _without_credits(entries, first, last)]
    return _regroup(pieces, kept), len(kept) < len(entries)


def _entries(pieces: list[Piece]) -> Iterator[tuple[int, str]]:
    """(index of the piece, text): a line of `lines`, the whole of any other piece."""
    for index, piece in enumerate(pieces):
        for text in piece.text.split("\n") if piece.kind == "lines" else [piece.text]:
            yield index, text


def _books(entries: list[tuple[int, str]]) -> list[tuple[int, int]]:
    """[first, last) of each book: after a start mark, or from the beginning; up to an end mark."""
    starts = [i for i, (_, text) in enumerate(entries) if START.search(text)]
    ends = [i for i, (_, text) in enumerate(entries) if END.search(text)]
    books: list[tuple[int, int]] = []
    for start, following in zip([-1, *starts], [*starts, len(entries)], strict=True):
        end = next((e for e in ends if start < e < following), None)
        short = end is None and following - start < SAME_HEADER
        if (start == -1 and starts) or (short and (following < len(entries) or books)):
            continue  # a header before its second mark, or small print after the book
        books.append((_after_marker(entries, start), end if end is not None else following))
    return books


def _after_marker(entries: list[tuple[int, str]], start: int) -> int:
    if start < 0:
        return 0
    for index in range(start, min(start + MARKER_LINES, len(entries))):
        if entries[index][1].rstrip().endswith("*"):
            return index + 1
    return start + 1


def _without_credits(entries: list[tuple[int, str]], first: int, last: int) -> Iterator[int]:
    """Indices of a book without the paragraphs of credits among its first ones."""
    in_credit, seen = False, 0
    for index in range(first, last):
        text = entries[index][1]
        seen += bool(text.strip())
        if MENTION.search(text) or (seen <= CREDITS_WITHIN and CREDIT.match(text.strip())):
            in_credit = True
        elif not text.strip() or index == first or entries[index][0] != entries[index - 1][0]:
            in_credit = False  # a credit runs to the next blank line, or to the end of its piece
        if not in_credit:
            yield index


def _regroup(pieces: list[Piece], kept: list[tuple[int, str]]) -> list[Piece]:
    texts: dict[int, list[str]] = {}
    for index, text in kept:
        texts.setdefault(index, []).append(text)
    regrouped = []
    for index, lines in texts.items():
        piece = pieces[index]
        regrouped.append(Piece("\n".join(lines), piece.kind, piece.level, piece.centred, piece.apart))
    return regrouped


def drop_marks(text: str, keep_line: re.Pattern[str]) -> tuple[str, int]:
    """Text without [Illustration: …] and [Pg 12] marks.

    Args:
        text: Of one piece.
        keep_line: What a line within a caption looks like that is no caption: a chapter's heading,
            which some illustrated editions have inside.

    Returns:
        The text and how many marks went.
    """
    text, count = PAGE_MARK.subn("", text)
    out, at = [], 0
    for found in PICTURE.finditer(text):
        if found.start() < at:
            continue
        end = _closing(text, found.start())
        if end is None:
            continue
        headings = [line for line in _caption_lines(text[found.start() : end]) if keep_line.match(line)]
        out += [text[at : found.start()], *(f"\n\n{line}\n\n" for line in headings)]
        at, count = end, count + 1
    return "".join([*out, text[at:]]), count


def _caption_lines(caption: str) -> list[str]:
    return [line.strip(" []\t") for line in caption.split("\n")]


def _closing(text: str, start: int) -> int | None:
    """End of the bracket that opens at `start`; brackets within are counted."""
    depth = 0
    for found in BRACKET.finditer(text, start, start + LONGEST_CAPTION):
        depth += 1 if found[0] == "[" else -1
        if not depth:
            return found.end()
        if depth > DEEPEST:
            break
    return None
