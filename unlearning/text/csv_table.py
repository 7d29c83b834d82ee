"""A table as CSV, as people and spreadsheet programs write it, and several translations in one cell."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from unlearning.errors import AnchorError


def write_table(rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells as CSV: commas, line feeds, quotes only where they are needed."""
    return "".join(",".join(map(_quote, row)) + "\n" for row in rows)


def _quote(cell: str) -> str:
    # Not csv.writer: before Python 3.13 it leaves a lone carriage return unquoted, and the row breaks there.
    return '"' + cell.replace('"', '""') + '"' if re.search(r'[,;"\t\r\n]', cell) else cell


def read_table(text: str, known: Sequence[str], required: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table, each with its name for messages ("3 (line 5)") and its cells by column.

    Args:
        text: CSV with a row of column names, its cells parted by comma, semicolon or tab. Empty rows do not count.
        known: The columns that it may have, in any order and with any capitals.
        required: Those that it must have.

    Raises:
        AnchorError: a column unknown, missing or twice; a row too long; quotes that do not close.
    """
    delimiter, columns = _header(text, known, required)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    row = 0  # the row of column names
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue  # spreadsheet programs keep the empty rows below a table
            if row:
                yield _named_cells(columns, cells, row, reader.line_num)
            row += 1
    except csv.Error as error:
        message = f"Line {reader.line_num} of the anchor file is not valid CSV: {error}."
        raise AnchorError(message, 'A cell with a quote in it is written in quotes, doubled: "a ""b"" c".') from None


def _named_cells(columns: list[str], cells: list[str], row: int, line: int) -> tuple[str, dict[str, str]]:
    if surplus := "".join(cells[len(columns) :]).strip():
        message = f"Anchor row {row} (line {line}) has more cells than there are columns: {short(surplus)}."
        raise AnchorError(message, "Put a cell that holds the separator into double quotes.")
    return f"{row} (line {line})", dict(zip(columns, cells, strict=False))


def _header(text: str, known: Sequence[str], required: Sequence[str]) -> tuple[str, list[str]]:
    """The delimiter and the names of the columns, from the first row that is not empty."""
    first = next((line for line in text.splitlines() if line.strip()), None)
    if first is None:
        raise AnchorError("The anchor file is empty.", f"Its first row names the columns: {','.join(known)}.")
    delimiter = max(",;\t", key=first.count)
    columns = [cell.strip().strip('"').strip().lower() for cell in first.split(delimiter)]
    while columns and not columns[-1]:
        columns.pop()  # a spreadsheet's empty columns to the right of the table
    mend = f"The first row names the columns: {','.join(known)}; needed are {' and '.join(required)}."
    for column in columns:
        if column not in known:
            raise AnchorError(f"The anchor file has the unknown column {short(column)}.", mend)
        if columns.count(column) > 1:
            raise AnchorError(f"The anchor file has the column '{column}' twice.", mend)
    for column in required:
        if column not in columns:
            raise AnchorError(f"The anchor file has no column '{column}'.", mend)
    return delimiter, columns


def join_translations(translations: tuple[str, ...]) -> str:
    """Several translations in one cell: `Grey Badger | Brown Squirrel`."""
    if translations == ("",):
        return "\\"  # an empty cell means no translation at all
    return " | ".join(_escape(each) for each in translations)


def split_translations(cell: str) -> tuple[str, ...]:
    """The inverse of `join_translations`; blanks around a `|` do not count."""
    parts: list[list[str]] = [[]]
    for character in re.findall(r"\\.?|[^\\]", cell, re.DOTALL):  # an escaped pair counts as one
        if character == "|":
            parts.append([])
        else:
            parts[-1].append(character)
    return tuple(map(_unescape, parts)) if cell.strip() else ()


def _escape(translation: str) -> str:
    return re.sub(r"[\\|]|^\s|\s\Z", r"\\\g<0>", translation)


def _unescape(characters: list[str]) -> str:
    solid = [place for place, character in enumerate(characters) if not character.isspace()]
    inside = characters[solid[0] : solid[-1] + 1] if solid else []
    return "".join(character[1:] if character[0] == "\\" else character for character in inside)


def short(value: object) -> str:
    """A value as it is shown in a message."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
