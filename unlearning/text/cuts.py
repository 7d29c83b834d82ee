"""Where a block may end: the best place for a cut within reach.

In this order: a paragraph's end, a sentence's, a word's; where none of them is within reach, after white
space that is itself too long, inside a span or word that no block could hold, between visible characters.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import takewhile

Span = tuple[int, int]
Fits = Callable[[int, int], bool]
NEAR = 0.25  # a paragraph or sentence end in the last quarter of a block is near enough to end it there
MOST_LOOKED_AT = 4096  # characters of a word, before it is taken for too long without counting its tokens
LONGEST_CLOSING = 6  # characters looked at for the end of a sentence
SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]]*\Z")
WORD_END = re.compile(r"(?<=\S)(?=\s)")
BLANK_LINE = re.compile(r"[^\S\n]*\n[^\S\n]*\n")
SPACE, WORD = re.compile(r"\s+"), re.compile(r"\S*")
WIDE_MARKS = frozenset("。！？；：，、…」』）")
ZERO_WIDTH_JOINER = "\u200d"
JOINED = frozenset((ZERO_WIDTH_JOINER, "\u200c", "\ufe0e", "\ufe0f", *map(chr, range(0xE0020, 0xE0080))))


def merged(spans: Sequence[Span]) -> list[Span]:
    """Spans [start, end) sorted, those that overlap made one."""
    union: list[Span] = []
    for start, end in sorted(spans):
        if union and start < union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        elif end > start:
            union.append((start, end))
    return union


def best_cut(text: str, start: int, reach: int, keep: list[Span], fits: Fits) -> int:
    """The best place in (start, reach] to end a block; `fits` tells whether a stretch fits in one."""
    if reach == len(text):
        return reach
    ends = [start + found.start() for found in WORD_END.finditer(text[start : reach + 1])]
    outside = [end for end in ends if not _around(end, keep)]
    if outside:
        return _nicest(text, start, outside)
    if cut := _after_space(text, start, reach, keep, fits):
        return cut
    return _inside_span(ends[-1], start, keep, fits) if ends else _inside_word(text, start, reach, keep)


def _around(place: int, keep: list[Span]) -> Span | None:
    """The span that a cut at this place would cut in two."""
    at = bisect_left(keep, place, key=lambda span: span[0]) - 1
    return keep[at] if at >= 0 and keep[at][0] < place < keep[at][1] else None


def _after_space(text: str, start: int, reach: int, keep: list[Span], fits: Fits) -> int | None:
    """Where leading white space ends, if it alone keeps the next word or span from fitting."""
    found = SPACE.match(text, start, reach)
    if not found:
        return None
    word = found.end()
    if word >= reach:
        return reach
    span = _around(word + 1, keep)
    longest = max(MOST_LOOKED_AT, 8 * (reach - start))
    end = WORD.match(text, max(word, span[1] if span else 0), word + longest)
    end_of_word = end.end() if end else word
    if _around(word, keep) or end_of_word >= word + longest:
        return None
    return word if fits(word, end_of_word) else None


def _inside_span(end: int, start: int, keep: list[Span], fits: Fits) -> int:
    """A word's end within a span that is too long for a block; the span's start if it fits in the next one."""
    span = _around(end, keep)
    return span[0] if span and span[0] > start and fits(*span) else end


def _inside_word(text: str, start: int, reach: int, keep: list[Span]) -> int:
    """The last place in a word too long for a block that cuts neither a span nor a visible character.

    Chinese and Japanese set no spaces, so that a whole paragraph is such a word: it is cut at a mark.
    """
    places = range(reach, start, -1)
    near = int(NEAR * (reach - start))
    for place in places[:near]:
        if text[place - 1] in WIDE_MARKS and text[place] not in WIDE_MARKS and not _around(place, keep):
            return place
    for spans in (keep, []):
        for place in places:
            if not _inside_character(text, place, start) and not _around(place, spans):
                return place
    return reach


def _inside_character(text: str, place: int, start: int) -> bool:
    """Whether what a reader takes for one character has code points on both sides of the place."""
    before, after = text[place - 1], text[place]
    if unicodedata.category(after)[0] == "M" or after in JOINED or before == ZERO_WIDTH_JOINER:
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\u1160" <= after <= "\u11ff" or before + after == "\r\n":
        return True  # skin tones, Korean letters that join the one before
    if not (_is_flag_letter(before) and _is_flag_letter(after)):
        return False
    letters = sum(1 for _ in takewhile(_is_flag_letter, (text[at] for at in range(place - 1, start - 1, -1))))
    return letters % 2 == 1


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _nicest(text: str, start: int, ends: list[int]) -> int:
    """The last paragraph's end near the last word's end, else the last sentence's, else the word's."""
    last = ends[-1]
    near = [end for end in reversed(ends) if end >= last - NEAR * (last - start)]
    for is_end in (_ends_paragraph, _ends_sentence):
        for end in near:
            if is_end(text, end):
                return end
    return last


def _ends_paragraph(text: str, end: int) -> bool:
    return bool(BLANK_LINE.match(text, end))


def _ends_sentence(text: str, end: int) -> bool:
    return bool(SENTENCE_END.search(text[max(0, end - LONGEST_CLOSING) : end]))
