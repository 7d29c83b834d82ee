"""Blocks: a document cut into consecutive stretches that each fit a model's context.

Every character is in exactly one block. Cuts fall where a run of white space begins, so that white space
stays with the words after it and a block's tokens are those that the document has there. Nothing is
tokenised but a window a little longer than a block at a time: the work grows with the text's length
alone, and a single line of ten megabytes is no different from any other text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from unlearning.errors import SettingsError
from unlearning.text.cuts import Span, best_cut, merged

Tokenizer = Any  # a fast tokenizer of transformers: called with a text, it gives input_ids and offset_mapping
FIRST_WINDOW = 8  # characters a token, before the text has shown how many it has
WINDOW_OVER = 1.3  # a window is so much longer than a block is likely to be


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
    keep = merged(keep_whole)
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


def _reaches(text: str, start: int, tokenizer: Tokenizer, room: int, width: int) -> list[int]:
    """Where a block from `start` would end by 0, 1, 2 … `room` tokens, or all of the text that is left."""
    while True:
        window = min(len(text), start + width)
        encoded = tokenizer(text[start:window], add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[Span] = encoded["offset_mapping"]
        if len(offsets) > room or window == len(text):
            break
        width *= 2
    reaches = [start + place for place in _places(offsets, room)] + ([window] if len(offsets) <= room else [])
    return reaches[: max(0, room) + 1]


def _places(offsets: list[Span], most: int) -> list[int]:
    """Where 0, 1, 2 … `most` of the tokens end, the last of all tokens apart.

    Byte tokens all have the offsets of the character, or of the run of characters, that they spell: a
    part of them is taken to reach an equal part of the run, and nothing of a single character.
    """
    places: list[int] = []
    before = 0
    for (first, end), group in groupby(offsets):
        tokens = len(list(group))
        places.append(before if before < first else first)
        if tokens > 1:
            places += [first + (end - first) * done // tokens for done in range(1, tokens)]
        if len(places) > most:
            break
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
        cut = best_cut(text, start, reach, keep, fits)
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
