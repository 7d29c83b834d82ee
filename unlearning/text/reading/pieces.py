"""What every reader of a format hands on: a list of pieces in reading order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["lines", "paragraph", "verse", "heading"]


@dataclass(frozen=True)
class Piece:
    """A stretch of a document.

    Attributes:
        text: Its characters. Only `lines` and `verse` hold line breaks.
        kind: `lines` is text as it came, still to be parted into paragraphs and verse.
        level: Rank of a heading, 1 (highest) to 6; 0 where the format does not say.
        centred: The line stood in the middle of the page, as titles do.
        apart: The blank lines that stood before it.
    """

    text: str
    kind: Kind = "paragraph"
    level: int = 0
    centred: bool = False
    apart: int = 1


@dataclass(frozen=True)
class Rough:
    """A document read but not yet cleaned."""

    pieces: list[Piece]
    title: str = ""
    notes: list[str] = field(default_factory=list)
