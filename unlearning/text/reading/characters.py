"""Characters that a reader never sees, spaces of odd widths, and quotation marks of old plain texts."""

from __future__ import annotations

import re
import unicodedata

_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_INVISIBLE = (
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # controls, apart from those that break lines
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
)
LINE_ENDS = re.compile(r"\r\n?|[\x0b\x85\u2028]")
SPACES = re.compile(f"[{_SPACES}]")
INVISIBLE = re.compile(f"[{_INVISIBLE}]")
# The joiners carry meaning in emoji and in Indic and Persian words, and none between Latin letters.
JOINERS = re.compile("(?<=[\x00-\u024f])[\u200c\u200d]+|[\u200c\u200d]+(?=[\x00-\u024f])|^[\u200c\u200d]+")
SOFT_HYPHEN_AT_END = re.compile("\u00ad[ \t]*\n[ \t]*")
LIGATURES = {0xFB00 + index: text for index, text in enumerate(("ff", "fi", "fl", "ffi", "ffl", "st", "st"))}

OLD_QUOTES_FROM = 3  # fewer backticks than this in a document are no quotation marks
OLD_DOUBLE = re.compile(r"``|''")
ITALICS = re.compile(r"(?<![^\W_])_(?=[^\s_])((?:[^_\n]|\n(?!\s*\n))+?)(?<=[^\s_])_(?![^\W_])")


def tidy(text: str) -> tuple[str, int]:
    """Text in NFC with `\\n` line ends, plain spaces and nothing invisible.

    Page breaks (`\\f`) and tabs stay: they say where pages end and paragraphs begin.

    Returns:
        The text and how many invisible characters were dropped.
    """
    text = LINE_ENDS.sub("\n", text.replace("\u2029", "\n\n"))
    text = SOFT_HYPHEN_AT_END.sub("", text)
    text, dropped = INVISIBLE.subn("", text)
    text, joiners = JOINERS.subn("", text)
    text = SPACES.sub(" ", text)
    if any(chr(code) in text for code in LIGATURES):
        text = text.translate(LIGATURES)
    return unicodedata.normalize("NFC", text), dropped + joiners


def modern_quotes(text: str) -> tuple[str, int]:
    """``Double'' and `single' quotation marks of the 1990s as "double" and 'single'.

    Models have read such quotations with straight or curly marks and hardly ever with backticks. Only
    straight marks are always right: an apostrophe and a closing mark are the same character in these
    texts, so curly ones would have to be guessed.

    Returns:
        The text and how many marks were changed.
    """
    doubles = 0
    if "``" in text:
        text, doubles = OLD_DOUBLE.subn('"', text)
    return text.replace("`", "'"), doubles + text.count("`")


def drop_italics(text: str) -> tuple[str, int]:
    """Text without the underscores that plain texts put around _italics_.

    A pair may span lines but no blank line; names_with_underscores and `____` rules stay.
    """
    return ITALICS.subn(r"\1", text)
