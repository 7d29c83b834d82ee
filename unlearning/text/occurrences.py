"""Where the anchors stand in a text, and how a translation is written in such a place.

Found are whole words only, leftmost first and the longest there, in the spellings of `spellings`. White
space inside a term is flexible (a line break may stand in a name), a straight apostrophe equals a curly one.
A possessive ending is left in the text: of "Alice's", "Alice" is found, so "Alice's" becomes "Clara's".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.word_forms import first_raised, plural, plurals, raised, title, words_raised

# White space that does not cross a paragraph: at most one line break.
GAP = r"(?:[^\S\n]+(?:\n[^\S\n]*)?|\n[^\S\n]*)"
# Scripts that do not part their words (Thai, Lao, Burmese, Khmer, kana, Han): there, every place is a boundary.
UNPARTED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
JOINERS = "\u00ad\u200c\u200d\ufe00-\ufe0f"  # soft hyphen, (non-)joiners, variation selectors
LETTER = rf"[^\W_{UNPARTED}]"  # "_" is no letter here: plain-text books set _italics_ with it


@dataclass(frozen=True)
class Occurrence:
    """One place of the text: `text[start:end]`, as it stands there, is anchor number `anchor`."""

    start: int
    end: int
    anchor: int
    text: str


def find_occurrences(text: str, dictionary: Dictionary) -> list[Occurrence]:
    """All places where an enabled anchor stands, in order and without overlap.

    Args:
        text: Any text.
        dictionary: Compiled once, then kept; a dictionary of 500 anchors reads about a megabyte a second.
    """
    pattern, owner = _compiled(dictionary)
    if pattern is None:
        return []
    found = pattern.finditer(text)
    return [Occurrence(match.start(), match.end(), owner[normal(match[0])], match[0]) for match in found]


def spellings(dictionary: Dictionary) -> Mapping[str, int]:
    """Every spelling that is looked for, and the index of the anchor that it stands for.

    A term as it is written comes before another term's capitals, and those before another term's plural.
    """
    owner: dict[str, int] = {}
    terms = [
        (index, normal(anchor.term))
        for index, anchor in enumerate(dictionary.anchors)
        if anchor.enabled and any(letter.isalnum() for letter in anchor.term)
    ]
    for index, term in terms:
        owner.setdefault(term, index)
    for index, term in terms:
        for spelling in raised(term):
            owner.setdefault(normal(spelling), index)
    for index, term in terms:
        for form in plurals(term):
            for spelling in (form, *raised(form)):
                owner.setdefault(normal(spelling), index)
    return owner


def normal(expression: str) -> str:
    """An expression with single blanks, straight apostrophes and composed accents."""
    return unicodedata.normalize("NFC", " ".join(expression.split())).replace("’", "'")


def render_translation(occurrence: Occurrence, anchor: Anchor, translation: str) -> str:
    """The translation in the number and the capitals of the place where it is to stand.

    "MUGGLES" for anchor "Muggle" and translation "commoner" gives "COMMONERS". An article before the place
    is not touched, as nothing outside an anchor ever is.
    """
    term, found = normal(anchor.term), normal(occurrence.text)
    if normal(translation) == term:
        return occurrence.text
    new = translation.strip()
    form = next((form for form in (term, *plurals(term)) if found in (form, *map(normal, raised(form)))), term)
    if form != term:
        new = plural(new, name=anchor.kind == "person")
    new = _capitals_like(found, form, new)
    gaps, words = re.findall(r"\s+", occurrence.text), new.split()
    if len(words) == len(gaps) + 1:
        return words[0] + "".join(gap + word for gap, word in zip(gaps, words[1:], strict=False))
    return new


def _capitals_like(found: str, term: str, new: str) -> str:
    """`new` with capitals where `found` has more of them than `term`."""
    if found == term:
        return new
    for spelling in (first_raised, title, words_raised):  # "X" for term "x" is a beginning, not all capitals
        if found == spelling(term):
            return spelling(new)
    return new.upper()


# --- the pattern -------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _compiled(dictionary: Dictionary) -> tuple[re.Pattern[str] | None, Mapping[str, int]]:
    owner = spellings(dictionary)
    written = {unicodedata.normalize(form, each) for each in owner for form in ("NFC", "NFD")}
    if not written:
        return None, owner
    firsts = re.escape("".join(sorted({each[0] for each in written}))).replace("'", "'’")
    marks = _marks()
    # Looking back has a fixed width: a letter may carry up to three combining marks, or a joiner.
    tails = ("", f"[{marks}]", f"[{marks}]" * 2, f"[{marks}]" * 3, f"[{JOINERS}]")
    start = "".join(f"(?<!{LETTER}{tail})" for tail in tails)
    not_ended = rf"[{marks}]|[{JOINERS}]*{LETTER}|['’][tT](?!{LETTER})"  # of "Don't", "Don" is no name
    return re.compile(f"(?=[{firsts}]){start}(?:{_alternatives(written)})(?!{not_ended})"), owner


def _alternatives(written: Iterable[str], depth: int = 3) -> str:
    """A pattern for any of some strings, longest first, that branches on the first characters to be fast."""
    if depth == 0:
        return "|".join("".join(map(_character, each)) for each in sorted(written, key=lambda each: (-len(each), each)))
    groups: dict[str, list[str]] = {}
    for each in sorted(written, reverse=True):  # the empty rest comes last: the shortest way to end
        groups.setdefault(each[:1], []).append(each[1:])
    return "|".join(
        f"{_character(first)}(?:{_alternatives(rests, depth - 1)})" if first else "" for first, rests in groups.items()
    )


def _character(character: str) -> str:
    if character == " ":
        return GAP
    return "['’]" if character == "'" else re.escape(character)


@lru_cache(maxsize=1)
def _marks() -> str:
    """All combining marks as the inside of a character class, but for those that belong to emoji."""
    codes = (code for code in range(0x300, 0x1F000) if unicodedata.category(chr(code))[0] == "M")
    codes = (code for code in codes if not 0xFE00 <= code <= 0xFE0F and code != 0x20E3)
    runs = (list(run) for _, run in groupby(enumerate(codes), key=lambda pair: pair[1] - pair[0]))
    return "".join(f"{chr(run[0][1])}-{chr(run[-1][1])}" for run in runs)
