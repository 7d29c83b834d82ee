"""Chapters: which lines are headings, which list of them is only a table of contents."""

from __future__ import annotations

import re
from dataclasses import replace

from unlearning.text.reading.pieces import Piece

_ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth last"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_DIGITS = "one|two|three|four|five|six|seven|eight|nine"
_ROMAN = r"(?=[mdclxvi])m{0,3}(?:cm|cd|d?c{0,3})(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,4})"
_WORDS = "|".join(sorted(f"{_ONES} eighteen nineteen {_ORDINALS}".split(), key=len, reverse=True))
NUMBER = rf"(?:the\s+)?(?:\d{{1,3}}|(?:{_TENS})(?:[-\s](?:{_DIGITS}))?|{_WORDS}|{_ROMAN})"
NAMES = (
    "chapter|chap\\.?|book|part|volume|vol\\.?|letter|canto|act|scene|stave|section|lecture|episode|"
    "kapitel|teil|buch|chapitre|livre|partie|cap[ií]tulo|libro|parte|capitolo|hoofdstuk|kapittel|rozdział|глава|часть"
)
# "CHAPTER IV", "Chapter the Last.", "Book Two:"
LABEL = re.compile(rf"^(?:the\s+)?(?:{NAMES})\s+{NUMBER}\s*[.:)\]]*$", re.IGNORECASE)
# "CHAPTER I. Down the Rabbit-Hole", "Chapter 1: A Beginning"; without a mark between, the title must look like one
LABEL_TITLE = re.compile(
    rf"^(?:the\s+)?(?:{NAMES})\s+{NUMBER}(?:\s*[.:)\]]+\s*[-–—]*\s*|\s*[-–—]+\s*|\s+(?=\S))(?P<title>\S.*)$",
    re.IGNORECASE,
)
MARKED = re.compile(rf"^(?:the\s+)?(?:{NAMES})\s+{NUMBER}\s*[.:)\]–—-]", re.IGNORECASE)
BARE_NUMBER = re.compile(rf"^(?:{_ROMAN}|\d{{1,3}})\s*[.:)]?$", re.IGNORECASE)
NUMBER_TITLE = re.compile(r"^(?P<number>[MDCLXVI]+|\d{1,3})\s*[.:)]\s+(?P<title>[^\W\d_].*)$")
OTHER = re.compile(
    r"^(?:preface|prologue|epilogue|introduction|introductory|foreword|afterword|conclusion|interlude|postscript|"
    r"author['’]s note|appendix(?:\s+\w{1,4})?)\s*\.?$",
    re.IGNORECASE,
)
CONTENTS = re.compile(r"^(?:table of )?contents\.?:?$", re.IGNORECASE)
LONGEST = 100  # characters of a heading
LONGEST_TITLE = 80
LEADER = re.compile(r"[\s.·…]*\s\d{1,4}$")  # dots and a page number at the end of an entry of a table of contents
SMALL_WORDS = frozenset(
    "a an and as at but by for from in into is it of on or the to with de la le du des und der die".split()
)


def is_label(line: str) -> bool:
    """Whether a line is a chapter's label or heading all by itself: "CHAPTER IV", "Part 2: The Sea"."""
    line = " ".join(line.split())
    return len(line) <= LONGEST and bool(LABEL.match(line) or _labelled_title(line))


def _labelled_title(line: str) -> bool:
    found = LABEL_TITLE.match(line)
    if not found:
        return False
    title = found["title"]
    if MARKED.match(line):
        return title[0].isupper() or not title[0].isalpha()
    return _looks_like_title(title)


def _looks_like_title(text: str) -> bool:
    """Capitals At The Words That Count, or ALL CAPITALS."""
    if len(text) > LONGEST_TITLE or text[-1] in ",;:" or text[0] in "\"“‘'«`":
        return False
    if text[-1] == "." and not text.isupper() and len(text.split()) > 6:
        return False
    words = [word for word in re.findall(r"[^\W\d_]+", text) if word.lower() not in SMALL_WORDS and len(word) > 1]
    return bool(words) and all(word[0].isupper() for word in words) and text.lstrip("([").strip()[:1].isupper()


def mark_headings(pieces: list[Piece]) -> tuple[list[Piece], bool]:
    """Pieces with chapter headings told from prose, each in one line with its title.

    Returns:
        The pieces, and whether a table of contents was dropped.
    """
    pieces = [_as_heading(piece) for piece in pieces]
    if not any(piece.kind == "heading" for piece in pieces):
        pieces = _numbered(pieces)
    if not any(piece.kind == "heading" for piece in pieces):
        pieces = _capitals(pieces)
    without = _without_contents(pieces)
    return _with_titles(without), len(without) < len(pieces)


def _as_heading(piece: Piece) -> Piece:
    if piece.kind not in ("paragraph", "verse"):
        return piece
    lines = piece.text.split("\n")
    first = lines[0].strip()
    if len(lines) == 1 and (is_label(first) or OTHER.match(first)):
        return replace(piece, text=first, kind="heading")
    # label and title in one block of two or three short lines
    if len(lines) in (2, 3) and LABEL.match(first) and all(len(line) <= LONGEST_TITLE for line in lines):
        return replace(piece, text=_join(first, " ".join(line.strip() for line in lines[1:])), kind="heading")
    return piece


def _join(label: str, title: str) -> str:
    return f"{label.rstrip(' .:)')}. {title.strip()}"


def _value(numeral: str) -> int:
    numeral = numeral.strip(" .:)").upper()
    if numeral.isdigit():
        return int(numeral)
    values = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}.get(letter, 0) for letter in numeral]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def _numbered(pieces: list[Piece]) -> list[Piece]:
    """Chapters called "I." or "1. A Beginning", where at least three of them count up from 1."""
    for pattern in (NUMBER_TITLE, BARE_NUMBER):
        found, expected = [], 1
        for index, piece in enumerate(pieces):
            line = piece.text.strip()
            match = pattern.match(line) if piece.kind == "paragraph" and len(line) <= LONGEST else None
            if match and pattern is NUMBER_TITLE and not _looks_like_title(match["title"]):
                continue
            if match and _value(match["number"] if pattern is NUMBER_TITLE else line) in (expected, 1):
                expected = _value(match["number"] if pattern is NUMBER_TITLE else line) + 1
                found.append(index)
        if len(found) >= 3:
            return [
                replace(p, kind="heading", text=p.text.strip()) if i in set(found) else p for i, p in enumerate(pieces)
            ]
    return pieces


def _capitals(pieces: list[Piece]) -> list[Piece]:
    """Chapters called by a title in capitals that stands well apart from the text before it."""
    found = {
        index
        for index, piece in enumerate(pieces)
        if piece.kind == "paragraph" and piece.apart >= 2 and len(piece.text) <= 60
        and piece.text.isupper() and sum(map(str.isalpha, piece.text)) >= 4 and not CONTENTS.match(piece.text)
        and piece.text.rstrip(".") not in ("THE END", "FINIS", "END")
        and index + 1 < len(pieces) and len(pieces[index + 1].text) > LONGEST
    }  # fmt: skip
    if len(found) < 3:
        return pieces
    return [replace(piece, kind="heading") if index in found else piece for index, piece in enumerate(pieces)]


def _plain(text: str) -> str:
    """A heading's words alone, for finding it again in a table of contents."""
    return re.sub(r"\W+", " ", LEADER.sub("", text)).strip().casefold()


def _entry_share(piece: Piece) -> float:
    """How many lines of a block look like entries of a table of contents."""
    lines = [line for line in piece.text.split("\n") if line.strip()]
    entries = sum(bool(LEADER.search(line) or is_label(line) or NUMBER_TITLE.match(line)) for line in lines)
    return entries / len(lines) if len(lines) >= 3 else 0.0


def _without_contents(pieces: list[Piece]) -> list[Piece]:
    """Pieces without a table of contents: a block of entries, or headings in a row that come again later."""
    drop = {index for index, piece in enumerate(pieces) if piece.kind == "verse" and _entry_share(piece) >= 0.6}
    last = {_plain(piece.text): index for index, piece in enumerate(pieces) if piece.kind == "heading"}
    for run in _runs(pieces):
        again = [index for index in run if _comes_again(pieces[index].text, index, last)]
        if len(again) >= 3:
            drop.update(again)
    drop |= {index for index in range(len(pieces)) if index + 1 in drop and CONTENTS.match(pieces[index].text.strip())}
    return [piece for index, piece in enumerate(pieces) if index not in drop]


def _comes_again(text: str, index: int, last: dict[str, int]) -> bool:
    """Whether a heading stands again below, or its label alone, with the title under it."""
    plain = _plain(text)
    found = LABEL_TITLE.match(" ".join(text.split()))
    label = _plain(text[: found.start("title")]) if found else plain
    return max(last.get(plain, -1), last.get(label, -1)) > index


def _runs(pieces: list[Piece]) -> list[list[int]]:
    """Headings that follow each other with no text between them."""
    runs: list[list[int]] = [[]]
    for index, piece in enumerate(pieces):
        if piece.kind == "heading":
            runs[-1].append(index)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _with_titles(pieces: list[Piece]) -> list[Piece]:
    """A label and the title that stands below it, as one heading."""
    out: list[Piece] = []
    for index, piece in enumerate(pieces):
        above = out[-1] if out else None
        following = pieces[index + 1] if index + 1 < len(pieces) else None
        if above and above.kind == "heading" and _labels_only(above.text) and _is_title(piece, following):
            out[-1] = replace(above, text=_join(above.text, piece.text))
        else:
            out.append(piece)
    return out


def _labels_only(text: str) -> bool:
    return bool(LABEL.match(text) or BARE_NUMBER.match(text))


def _is_title(piece: Piece, following: Piece | None) -> bool:
    if "\n" in piece.text or len(piece.text) > LONGEST_TITLE or following is None:
        return False
    if piece.kind == "heading":
        return not is_label(piece.text)
    return piece.centred or _looks_like_title(piece.text)
