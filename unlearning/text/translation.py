"""The translated text and the map of token positions between a text and its translation.

WHP, Algorithm 1: every anchor of a block is replaced by one generic translation, the baseline reads the
translated block, and its predictions are carried back to the original positions. "Position i of the source
corresponds to position j of the translation" means: *after token i the source continues as the translation
continues after token j*. Everything here works on character offsets, so any fast tokenizer will do.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import pairwise

from unlearning.text.anchors import Dictionary
from unlearning.text.occurrences import Occurrence, find_occurrences, render_translation


@dataclass(frozen=True)
class Piece:
    """A stretch of the source and where it went. Untouched stretches have `anchor` None."""

    start: int
    end: int
    new_start: int
    new_end: int
    anchor: int | None = None
    first: bool = False  # the first mention of its anchor in this text


@dataclass(frozen=True)
class Translated:
    source: str
    text: str
    pieces: tuple[Piece, ...]

    @cached_property
    def _starts(self) -> list[int]:
        return [piece.start for piece in self.pieces]

    @property
    def replaced(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.anchor is not None]

    def to_translation(self, char: int, inner: str = "none") -> int | None:
        """Where the source's continuation at `char` begins in the translation.

        Args:
            char: An offset into the source, 0..len(source).
            inner: At which mentions the words inside an anchor are aligned one by one with those of a translation
                of as many words: "none" (the paper), "first" or "all" (our additions).

        Returns:
            The offset into the translation, or None inside an anchor where nothing corresponds.
        """
        if not self.pieces:
            return char
        piece = self.pieces[max(0, bisect_right(self._starts, char) - 1)]
        if piece.anchor is None or char == piece.start:
            return piece.new_start + char - piece.start
        if char == piece.end:
            return piece.new_end
        return self._inside(piece, char) if inner == "all" or (inner == "first" and piece.first) else None

    def _inside(self, piece: Piece, char: int) -> int | None:
        words = _word_ends(self.source[piece.start : piece.end])
        new_words = _word_ends(self.text[piece.new_start : piece.new_end])
        if len(words) != len(new_words) or char - piece.start not in words:
            return None
        return piece.new_start + new_words[words.index(char - piece.start)]


def _word_ends(phrase: str) -> list[int]:
    """Character offsets at which the words of a phrase end, words being parted by white space."""
    edges = pairwise([*phrase, " "])
    return [place + 1 for place, (here, after) in enumerate(edges) if not here.isspace() and after.isspace()]


def draw_translations(dictionary: Dictionary, generator: random.Random) -> dict[int, int]:
    """One translation for each anchor: index of the anchor → index of its translation (WHP, Algorithm 1)."""
    return {
        index: generator.randrange(len(anchor.translations))
        for index, anchor in enumerate(dictionary.anchors)
        if anchor.enabled and anchor.translations
    }


def translate(
    text: str,
    dictionary: Dictionary,
    choice: Mapping[int, int],
    occurrences: Sequence[Occurrence] | None = None,
) -> Translated:
    """Replace every anchor of `text` by its chosen translation.

    Args:
        text: The source.
        dictionary: The anchors.
        choice: Anchor index → translation index; an anchor that is missing here takes its first translation.
        occurrences: Where the anchors are, if already known.
    """
    pieces: list[Piece] = []
    parts: list[str] = []
    seen: set[int] = set()
    place = new_place = 0

    def append(end: int, new: str, anchor: int | None = None) -> None:
        nonlocal place, new_place
        if end == place and not new:
            return
        first = anchor is not None and anchor not in seen
        pieces.append(Piece(place, end, new_place, new_place + len(new), anchor, first))
        parts.append(new)
        place, new_place = end, new_place + len(new)

    for found in find_occurrences(text, dictionary) if occurrences is None else occurrences:
        anchor = dictionary.anchors[found.anchor]
        append(found.start, text[place : found.start])
        translation = anchor.translations[choice.get(found.anchor, 0)]
        append(found.end, render_translation(found, anchor, translation), found.anchor)
        seen.add(found.anchor)
    append(len(text), text[place:])
    return Translated(text, "".join(parts), tuple(pieces))


class Mask(IntEnum):
    """Why a position has no label (or that it has one)."""

    LABELLED = 0
    INSIDE_ANCHOR = 1  # the next token lies inside an anchor, after its first token
    REPEATED = 2  # the next token begins a second or later mention of an anchor
    NO_BOUNDARY = 3  # no token of the translation ends where this one does


@dataclass(frozen=True)
class Encoded:
    """A text as a tokenizer sees it.

    Attributes:
        ids: Token ids, with the specials that the tokenizer puts at the start.
        offsets: For each token its (start, end) in characters; (0, 0) for a special at the start.
    """

    ids: Sequence[int]
    offsets: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class PositionMap:
    """For each source position the corresponding position of the translation.

    Attributes:
        target: Position in the translation, or −1 where the position has no label.
        mask: Why (a `Mask` for each position).
        used: (source position, anchor index) for each anchor's first mention: at this position and later ones
            its translation counts as used. This is the first position that has read some of the anchor.
    """

    target: list[int]
    mask: list[Mask]
    used: list[tuple[int, int]]


def position_map(source: Encoded, target: Encoded, translated: Translated, inner: str = "none") -> PositionMap:
    """Map source positions to positions of the translation (WHP, Algorithm 1, and its consistency rules).

    Args:
        source: Tokens of `translated.source`.
        target: Tokens of `translated.text`.
        translated: What was replaced by what.
        inner: Align the words inside mentions; see `Translated.to_translation`.
    """
    places = _matching_positions(source, target, translated, inner)
    mask = [Mask.NO_BOUNDARY if place < 0 else Mask.LABELLED for place in places]
    used: list[tuple[int, int]] = []
    starts = [start for start, _ in source.offsets]
    for piece in translated.replaced:
        tokens = _tokens_over(source.offsets, starts, piece.start, piece.end)
        if not tokens:
            continue
        for token in tokens[1:]:  # the position before an inner token
            end = source.offsets[token - 1][1]
            if not piece.start < end < piece.end or translated.to_translation(end, inner) is None:
                mask[token - 1] = Mask.INSIDE_ANCHOR
        if piece.first and piece.anchor is not None:
            used.append((tokens[0], piece.anchor))
        else:
            for token in _opening_tokens(source.offsets, tokens[0], translated.source):
                mask[token - 1] = Mask.REPEATED
    return PositionMap(
        [place if why is Mask.LABELLED else -1 for place, why in zip(places, mask, strict=True)], mask, used
    )


def _boundaries(offsets: Sequence[tuple[int, int]]) -> list[int | None]:
    """For each token the character at which it ends, or None if the next token shares its last character.

    A character that a tokenizer writes as several tokens (an emoji in bytes) gives them all the same offsets;
    only after the last of them has the text been read up to there.
    """
    ends: list[int | None] = [end for _, end in offsets]
    for index, (next_start, next_end) in enumerate(offsets[1:]):
        end = offsets[index][1]
        if next_start < end or (next_start == next_end == end and end > 0):
            ends[index] = None
    return ends


def _matching_positions(source: Encoded, target: Encoded, translated: Translated, inner: str) -> list[int]:
    """Source position → position of the translation after which the same text follows, or −1."""
    reached = {end: place for place, end in enumerate(_boundaries(target.offsets)) if end is not None}
    places = [-1] * len(source.ids)
    before: int = -1  # the last boundary, and its counterpart: at first the beginnings of both texts
    before_target: int | None = -1
    for place, end in enumerate(_boundaries(source.offsets)):
        if end is None:
            continue
        char = translated.to_translation(end, inner)
        found = None if char is None else reached.get(char)
        if found is not None:
            places[place] = found
        # Tokens between two boundaries that are the same on both sides correspond one to one.
        if found is not None and before_target is not None and place - before == found - before_target > 1:
            ids, target_ids = source.ids[before + 1 : place + 1], target.ids[before_target + 1 : found + 1]
            if list(ids) == list(target_ids):
                places[before + 1 : place] = range(before_target + 1, found)
        before, before_target = place, found
    return places


def _opening_tokens(offsets: Sequence[tuple[int, int]], first: int, text: str) -> list[int]:
    """The first token of an expression, and the token of the single blank before it where it has one of its own.

    Elsewhere that blank is part of the expression's first token, so predicting it begins the expression.
    """
    start, end = offsets[first - 1]
    blank = first > 1 and start >= offsets[first][0] - 1 and text[start:end] in ("", " ")
    return [token for token in ([first - 1, first] if blank else [first]) if token > 0]


def _tokens_over(offsets: Sequence[tuple[int, int]], starts: Sequence[int], start: int, end: int) -> list[int]:
    """Indices of the tokens that share a character with [start, end)."""
    index = max(0, bisect_right(starts, start) - 1)
    while index > 0 and offsets[index - 1][1] > start:  # several tokens of one character
        index -= 1
    tokens = []
    while index < len(offsets) and offsets[index][0] < end:
        if offsets[index][1] > start:
            tokens.append(index)
        index += 1
    return tokens
