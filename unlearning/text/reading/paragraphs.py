"""Hard-wrapped lines to paragraphs and verse.

A line of wrapped prose ends where the next word would not have fitted; a line of verse ends before.
From that one fact, and the width that the whole text is wrapped at, follow the paragraphs of texts
that part them by blank lines, by indents, or by nothing but a short last line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from unlearning.text.reading.headings import is_label
from unlearning.text.reading.joining import KeepsHyphen, hyphen_judge, join_lines
from unlearning.text.reading.pieces import Piece

LONG_LINE = 120  # characters: longer lines are whole paragraphs
SLACK = 0.9  # a line counts as full from this share of the width on
LOOSE_SLACK = 0.82  # … in a PDF, whose letters differ in width
NARROWEST = 45  # characters: nobody wraps prose in narrower lines
SOLID_FROM = 30  # lines in an average block: blank lines do not part paragraphs here
NARROWEST_INDENT, WIDEST_INDENT = 2, 12  # characters by which a paragraph's first line is set in
RULE = "* * *"  # what any line of stars or dashes becomes
RULE_LINE = re.compile(r"^[\s*·•~_=#-]+$")
SENTENCE_END = re.compile(r"[.!?…:][\"”’'»)\]]*$|[\"”’]$|--$|—$")
PAUSES = frozenset(",;:.!?-—\"'”’)")
PROSE_SHARE = 0.5  # of a block's lines must be full for it to be prose
INDENTED_SHARE = 0.7  # … for its indents to be beginnings of paragraphs


@dataclass(frozen=True)
class Layout:
    """How a text is set.

    Attributes:
        width: Characters that it is wrapped at; 0 where it is not.
        slack: Share of the width from which on a line is full.
        separated: Blank lines part its paragraphs.
        keeps_hyphen: Decides about a hyphen at a line's end.
    """

    width: int
    slack: float
    separated: bool
    keeps_hyphen: KeepsHyphen


def part_lines(text: str, *, loose: bool = False) -> list[Piece]:
    """Paragraphs, verse and rules of a text, in order.

    Args:
        text: With `\\n` line ends.
        loose: Lines were made from a page's layout: their lengths are only roughly the width.
    """
    lines = [line.rstrip().replace("\t", "    ") for line in text.replace("\f", "\n").split("\n")]
    layout = _layout(lines, loose)
    pieces: list[Piece] = []
    for blanks, block in _blocks(lines):
        for index, piece in enumerate(_part(block, layout)):
            pieces.append(Piece(piece.text, piece.kind, 0, piece.centred, blanks if index == 0 else 0))
    return pieces


def _layout(lines: list[str], loose: bool) -> Layout:
    inner = [len(line) for line, after in pairwise(lines) if line and after]
    filled = [len(line) for line in lines if line]
    blocks = sum(1 for line, before in zip(lines, ["", *lines], strict=False) if line and not before)
    long = sum(length for length in filled if length > LONG_LINE)
    keeps_hyphen = hyphen_judge(lines)
    if long > 0.5 * sum(filled):
        return Layout(0, 1.0, blocks > 0.3 * len(filled), keeps_hyphen)
    width = max(NARROWEST, sorted(inner)[int(0.95 * (len(inner) - 1))]) if inner else NARROWEST
    separated = not loose and len(filled) <= SOLID_FROM * max(1, blocks)
    return Layout(width, LOOSE_SLACK if loose else SLACK, separated, keeps_hyphen)


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """(blank lines before it, lines) of each run of lines without a blank one."""
    block: list[str] = []
    blanks = before = 0
    for line in [*lines, ""]:
        if line:
            if not block:
                before, blanks = blanks, 0
            block.append(line)
        else:
            if block:
                yield before, block
                block = []
            blanks += 1


def _part(block: list[str], layout: Layout) -> Iterator[Piece]:
    if all(RULE_LINE.match(line) for line in block):
        yield Piece(RULE)
        return
    for label, part in _at_labels(block, layout):
        if label or len(part) == 1:
            yield Piece(_one_line(part[0]), centred=_centred(part[0], layout))
        elif not layout.width:
            yield from _long_lines(part, layout)
        elif split := _at_indents(part, layout):
            yield from (_prose_or_verse(lines, layout) for lines in split)
        elif layout.separated:
            yield _prose_or_verse(part, layout)
        else:
            yield from _solid(part, layout)


def _at_labels(block: list[str], layout: Layout) -> Iterator[tuple[bool, list[str]]]:
    """A block cut at chapter headings: at its first line, or at any where blank lines part nothing.

    A label with nothing but its title below stays whole: headings.py joins the two.
    """
    part: list[str] = []
    for index, line in enumerate(block):
        ended = not index or SENTENCE_END.search(block[index - 1]) or not _full(block, index - 1, layout)
        alone = index + 1 == len(block) or not _full(block, index, layout)
        here = ended and alone and is_label(line) and (not index or not layout.separated)
        if here and len(block) > 1 and not _is_title_below(block[index : index + 4], layout):
            if part:
                yield False, part
            yield True, [line]
            part = []
        else:
            part.append(line)
    if part:
        yield False, part


def _is_title_below(block: list[str], layout: Layout) -> bool:
    """Label and title, and nothing else, in one block: headings.py joins them."""
    return len(block) <= 3 and not any(_full(block, i, layout) for i in range(len(block) - 1)) and len(block[-1]) <= 60


def _one_line(line: str) -> str:
    return " ".join(line.split())


def _centred(line: str, layout: Layout) -> bool:
    indent = len(line) - len(line.lstrip())
    return indent >= 8 and abs(indent + len(line.strip()) / 2 - layout.width / 2) < 0.15 * layout.width


def _long_lines(block: list[str], layout: Layout) -> Iterator[Piece]:
    """Every line a paragraph, but a block of short lines is verse."""
    if layout.separated and all(len(line) <= LONG_LINE for line in block):
        yield _verse(block)
    else:
        yield from (Piece(_one_line(line)) for line in block)


def _full(block: list[str], index: int, layout: Layout, slack: float = 0.0) -> bool:
    """Whether the first word of the next line would not have fitted on this one."""
    following = block[index + 1].split(None, 1)[0]
    return len(block[index]) + 1 + len(following) > (slack or layout.slack) * layout.width


def _prose_lines(block: list[str], layout: Layout) -> float:
    """Share of a block's lines, the last apart, that break as prose does.

    An unevenly wrapped line counts too, if the next one goes on in small letters; but a block of several
    lines with hardly a full one among them is verse in small letters.
    """
    inner = len(block) - 1
    full = [_full(block, index, layout) for index in range(inner)]
    goes_on = [
        block[index + 1].lstrip()[:1].islower() and len(block[index]) >= 0.6 * layout.width for index in range(inner)
    ]
    if inner > 2 and sum(full) < 0.3 * inner:
        return sum(full) / inner
    return sum(map(max, full, goes_on)) / inner


def _all_capitals_first(lines: list[str]) -> bool:
    """Each line begins with a capital, as verse does and four lines of prose hardly ever do."""
    first = [line.lstrip(" \"'“‘(`—-_*")[:1] for line in lines[1:]]
    return sum(letter.isupper() for letter in first) >= 0.9 * len(first)


def _verse_lines(block: list[str], layout: Layout) -> list[str]:
    """Lines of verse, those put together again that were too long for the page; nothing for prose.

    A line that begins small after a full one, or far to the right, goes on with the line above. What
    comes of it is verse if each line begins with a capital, none is long, and some end before the margin,
    or most at a mark.
    """
    lines, ends = [block[0].strip()], []
    for index, line in enumerate(block[1:]):
        deep = len(line) - len(line.lstrip()) >= 30 and len(line.split()) <= 3
        if deep or (_full(block, index, layout) and line.lstrip(" \"'“‘(")[:1].islower()):
            lines[-1] += " " + line.strip()
        else:
            ends.append(index)
            lines.append(line.strip())
    if not ends or max(map(len, lines)) > 1.4 * layout.width or not _all_capitals_first(lines):
        return []
    couplet = len(ends) == 1
    strict = 0.0 if couplet or not layout.separated else 1.0  # three lines say enough to trust the exact width
    short = sum(not _full(block, index, layout, strict) for index in ends)
    pauses = sum(block[index][-1] in PAUSES for index in ends) if len(ends) >= 3 else 0
    return lines if short >= (1.0 if couplet else 0.3) * len(ends) or pauses > 0.5 * len(ends) else []


def _prose_or_verse(block: list[str], layout: Layout) -> Piece:
    if len(block) == 1:
        return Piece(_one_line(block[0]))
    if verse := _verse_lines(block, layout):
        return _verse(verse)
    if _prose_lines(block, layout) < PROSE_SHARE:
        return _verse(block)
    return Piece(join_lines(block, layout.keeps_hyphen))


def _verse(block: list[str]) -> Piece:
    return Piece("\n".join(_one_line(line) for line in block), "verse")


def _at_indents(block: list[str], layout: Layout) -> list[list[str]]:
    """A block cut where indented lines begin paragraphs; nothing where indents mean something else."""
    indents = [len(line) - len(line.lstrip()) for line in block]
    base = min(indents)
    starts = Counter(b for a, b in pairwise(indents) if a == base < b)
    if not starts:
        return []
    indent = starts.most_common(1)[0][0]
    if not NARROWEST_INDENT <= indent - base <= WIDEST_INDENT:
        return []
    parts: list[list[str]] = []
    for line, width in zip(block, indents, strict=True):
        if width == indent or not parts:
            parts.append([])
        parts[-1].append(line)
    inner = [_full(part, index, layout) for part in parts for index in range(len(part) - 1)]
    return parts if inner and sum(inner) >= INDENTED_SHARE * len(inner) else []


def _solid(block: list[str], layout: Layout) -> Iterator[Piece]:
    """Paragraphs of a block that marks them by nothing but their short last lines."""
    part: list[str] = []
    for index, line in enumerate(block):
        part.append(line)
        if index + 1 == len(block) or _ends_paragraph(block, index, layout):
            yield _solid_piece(part, layout)
            part = []


def _ends_paragraph(block: list[str], index: int, layout: Layout) -> bool:
    """A short line at a sentence's end; or one speaker ends and another begins."""
    if (block[index][-1] + block[index + 1].lstrip()[:1]) in ("”“", "’‘", "»«", '""'):
        return True
    if _full(block, index, layout) or block[index + 1].lstrip()[:1].islower():
        return False
    return bool(SENTENCE_END.search(block[index]))


def _solid_piece(part: list[str], layout: Layout) -> Piece:
    if len(part) > 2 and _prose_lines(part, layout) < 0.3:
        return _verse(part)
    return Piece(join_lines(part, layout.keeps_hyphen))
