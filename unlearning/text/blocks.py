"""Blocks: a document cut into consecutive stretches that each fit a model's context.

Every character is in exactly one block. Cuts fall where a run of white space begins, so that white space
stays with the words after it and a block's tokens are those that the document has there. Nothing is
tokenised but a window a little longer than a block at a time: the work grows with the text's length
alone, and a single line of ten megabytes is no different from any other text.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any, Literal

from unlearning.errors import SettingsError

Tokenizer = Any  # a fast tokenizer of transformers: called with a text, it gives input_ids and offset_mapping
Span = tuple[int, int]
Fits = Callable[[int, int], bool]

NEAR = 0.25  # a paragraph or sentence end in the last quarter of a block is near enough to end it there
FIRST_WINDOW = 8  # characters a token, before the text has shown how many it has
WINDOW_OVER = 1.3  # a window is so much longer than a block is likely to be
MOST_LOOKED_AT = 4096  # characters of a word, before it is taken for too long without counting its tokens
LONGEST_CLOSING = 6  # characters looked at for the end of a sentence
SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]]*\Z")
WORD_END = re.compile(r"(?<=\S)(?=\s)")
BLANK_LINE = re.compile(r"[^\S\n]*\n[^\S\n]*\n")
SPACE, WORD = re.compile(r"\s+"), re.compile(r"\S*")
WIDE_MARKS = frozenset("。！？；：，、…」』）")
ZERO_WIDTH_JOINER = "\u200d"
JOINED = frozenset((ZERO_WIDTH_JOINER, "\u200c", "\ufe0e", "\ufe0f", *map(chr, range(0xE0020, 0xE0080))))


@dataclass(frozen=True)
class Block:
    """A stretch of a document: `text == document.text[start:end]`."""

    index: int
    start: int
    end: int
    text: str


def cut_blocks(text: str, tokenizer: Tokenizer, block_tokens: int, keep_whole: Sequence[Span] = ()) -> list[Block]:
    """Blocks that cover the text, each at most `block_tokens` tokens long.

    A block ends at a paragraph's end if there is one in its last quarter, else at a sentence's, else at a
    word's. A word is cut only if it does not fit in a block by itself (between characters as a reader
    sees them), and a `keep_whole` span only if it does not either (then between its words).

    Args:
        text: Of the document.
        tokenizer: Any fast tokenizer.
        block_tokens: Most tokens of a block, tokenised alone, special tokens included.
        keep_whole: Stretches [start, end) that no cut may fall into, such as occurrences of anchors. May
            overlap each other.

    Raises:
        SettingsError: a single character has more tokens than a block may have.
    """
    keep = _merged(keep_whole)
    room = block_tokens - _special_tokens(tokenizer)
    blocks: list[Block] = []
    start, width = 0, FIRST_WINDOW * block_tokens
    while start < len(text):
        reaches = _reaches(text, start, tokenizer, room, width)
        end, tokens = _block_end(text, start, tokenizer, block_tokens, keep, reaches)
        blocks.append(Block(len(blocks), start, end, text[start:end]))
        width = int(WINDOW_OVER * block_tokens * (end - start) / max(1, tokens)) + 1
        start = end
    return blocks


def _special_tokens(tokenizer: Tokenizer) -> int:
    return len(tokenizer("a")["input_ids"]) - len(tokenizer("a", add_special_tokens=False)["input_ids"])


def _merged(spans: Sequence[Span]) -> list[Span]:
    """Spans sorted, those that overlap made one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def _reaches(text: str, start: int, tokenizer: Tokenizer, room: int, width: int) -> list[int]:
    """Where a block from `start` would end by 0, 1, 2 … `room` tokens, or all of the text that is left."""
    while True:
        window = min(len(text), start + width)
        encoded = tokenizer(text[start:window], add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[Span] = encoded["offset_mapping"]
        if len(offsets) > room or window == len(text):
            break
        width *= 2
    reaches = [start + place for place in _places(offsets)] + ([window] if len(offsets) <= room else [])
    return reaches[: max(0, room) + 1]


def _places(offsets: list[Span]) -> list[int]:
    """Where 0, 1, 2 … of the tokens end, the last of them apart.

    Byte tokens all have the offsets of the character, or of the run of characters, that they spell: a
    part of them is taken to reach an equal part of the run, and nothing of a single character.
    """
    places: list[int] = []
    before = 0
    for (first, end), group in groupby(offsets):
        tokens = sum(1 for _ in group)
        places.append(min(before, first))
        places += [first + (end - first) * done // tokens for done in range(1, tokens)]
        before = end
    return places


def _block_end(
    text: str, start: int, tokenizer: Tokenizer, block_tokens: int, keep: list[Span], reaches: list[int]
) -> tuple[int, int]:
    """Where the block that begins at `start` ends, and its tokens."""

    def fits(first: int, end: int) -> bool:
        return _count(text[first:end], tokenizer) <= block_tokens

    reach = max(start + 1, reaches[-1])
    while reach > start:
        cut = _best_cut(text, start, reach, keep, fits)
        tokens = _count(text[start:cut], tokenizer)
        if tokens <= block_tokens:
            return cut, tokens
        # Alone, the stretch has more tokens than as part of the text: give back as many and look again.
        fitting = bisect_right(reaches, cut) - 1 - (tokens - block_tokens)
        reach = min(cut - 1, max(start + 1, reaches[max(0, fitting)]))
    tokens = _count(text[start], tokenizer)
    raise SettingsError(
        f"text.block_tokens = {block_tokens}, but the character '{text[start]}' alone takes {tokens} tokens.",
        f"Raise it to {max(16, tokens)} at least.",
    )


def _count(text: str, tokenizer: Tokenizer) -> int:
    return len(tokenizer(text)["input_ids"])


def _best_cut(text: str, start: int, reach: int, keep: list[Span], fits: Fits) -> int:
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


def choose_blocks(
    blocks: Sequence[Block],
    counts: Sequence[int],
    tokens: Sequence[int],
    max_tokens: int | None,
    how: Literal["densest", "first"],
) -> list[Block]:
    """The blocks to use when only so many tokens may be, in the document's order.

    Args:
        blocks: Of a document.
        counts: Anchors in each.
        tokens: Length of each.
        max_tokens: Most tokens of all chosen blocks together; None takes all.
        how: "first" takes blocks from the beginning up to the first that does not fit; "densest" takes those
            with most anchors a token, the earlier of two alike.

    Raises:
        SettingsError: no block fits.
    """
    if max_tokens is None or not blocks:
        return list(blocks)
    order = list(range(len(blocks)))
    if how == "densest":
        order.sort(key=lambda index: -counts[index] / max(1, tokens[index]))
    chosen, left = [], max_tokens
    for index in order:
        if tokens[index] <= left:
            chosen.append(index)
            left -= tokens[index]
        elif how == "first":
            break
    if not chosen:
        raise SettingsError(
            f"text.max_tokens = {max_tokens} is less than one block ({tokens[order[0]]} tokens).",
            "Raise it, or lower text.block_tokens.",
        )
    return [blocks[index] for index in sorted(chosen)]


def split_held_out(blocks: Sequence[Block], share: float) -> tuple[list[Block], list[Block]]:
    """Blocks to train on, and blocks that no stage trains on, evenly spread over the document.

    A share above 0 holds out at least one block of two or more, and always leaves one to train on.

    Args:
        blocks: In the document's order.
        share: To hold out, 0 to 0.5.
    """
    count = min(len(blocks) - 1, max(1, round(share * len(blocks)))) if share > 0 and blocks else 0
    held = {int((number + 0.5) * len(blocks) / count) for number in range(count)}
    return (
        [block for index, block in enumerate(blocks) if index not in held],
        [block for index, block in enumerate(blocks) if index in held],
    )
