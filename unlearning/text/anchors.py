"""The anchor dictionary: expressions idiosyncratic to a text, each with its generic translations.

As CSV (for people and spreadsheet programs) one row is one anchor:

    term,translations,kind,enabled,note
    White Rabbit,Grey Badger | Brown Squirrel,creature,true,always late

Translations are separated by `|`. Inside one, a backslash keeps the next character as it is, so a
literal `|` is written `\\|`. As JSON it is a list of objects with the same names. Both are lossless.

Rows are counted from 1 without the header: row n is `dictionary.anchors[n - 1]`.
Source of the idea: Eldan & Russinovich 2023 (arXiv 2310.02238), section 2.2.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from unlearning.errors import AnchorError

KINDS = ("person", "place", "creature", "thing", "phrase")
COLUMNS = ("term", "translations", "kind", "enabled", "note")
SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "": True}
SWITCHES |= {"false": False, "no": False, "off": False, "0": False}
MAX_BYTES = 10_000_000  # the paper's dictionary, 1,500 anchors, is about 60 kB

FileFormat = Literal["csv", "json"]


@dataclass(frozen=True)
class Anchor:
    """One expression of the text and what may stand in its place."""

    term: str
    translations: tuple[str, ...]
    kind: str = "phrase"
    enabled: bool = True
    note: str = ""


@dataclass(frozen=True)
class Dictionary:
    """Anchors in the order of their file; an occurrence refers to one by its index."""

    anchors: tuple[Anchor, ...]

    def enabled(self) -> tuple[Anchor, ...]:
        """The anchors that are switched on."""
        return tuple(anchor for anchor in self.anchors if anchor.enabled)


def load_dictionary(path: str | Path) -> Dictionary:
    """Read a dictionary from a `.csv` or `.json` file.

    Raises:
        AnchorError: no such file, too large, not text, or a row that cannot be understood.
    """
    path = Path(path)
    file_format = _format_of(path)
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise AnchorError(f"The anchor file {path} cannot be read: {error.strerror}.", "Check its name.") from None
    if data is None:
        raise AnchorError(f"The anchor file {path} is over {MAX_BYTES:,} bytes.", "Split it, or check that it is one.")
    return parse_dictionary(_decode(data, path), file_format)


def save_dictionary(dictionary: Dictionary, path: str | Path) -> None:
    """Write a dictionary as `.csv` or `.json`, whole or not at all.

    Raises:
        AnchorError: another suffix, or a place that cannot be written to.
    """
    path = Path(path)
    text = format_dictionary(dictionary, file_format := _format_of(path))
    # Spreadsheet programs take a CSV without the mark for their own code page and spoil every accent.
    encoding = "utf-8-sig" if file_format == "csv" and not text.isascii() else "utf-8"
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(text.encode(encoding))
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise AnchorError(
            f"The anchor file {path} cannot be written: {error.strerror}.", "Choose another place."
        ) from None
    except UnicodeEncodeError:
        raise AnchorError(
            f"The anchors hold half a character, which {path.name} cannot.", "Type that term again."
        ) from None


def parse_dictionary(text: str, file_format: FileFormat) -> Dictionary:
    """Read a dictionary from text; the inverse of `format_dictionary`.

    CSV may come from a spreadsheet program: comma, semicolon or tab between cells, with or without a
    byte order mark, columns in any order. Only `term` and `translations` are required.

    Raises:
        AnchorError: names the row and what is wrong with it.
    """
    rows = _csv_rows(text.removeprefix("\ufeff")) if file_format == "csv" else _json_rows(text.removeprefix("\ufeff"))
    return Dictionary(tuple(rows))


def format_dictionary(dictionary: Dictionary, file_format: FileFormat) -> str:
    """Write a dictionary as text; the inverse of `parse_dictionary`."""
    if file_format == "json":
        return json.dumps([asdict(anchor) for anchor in dictionary.anchors], ensure_ascii=False, indent=1) + "\n"
    rows = [COLUMNS, *(_csv_cells(anchor) for anchor in dictionary.anchors)]
    return "".join(",".join(map(_quote, row)) + "\n" for row in rows)


# --- CSV ---------------------------------------------------------------------------------------


def _csv_cells(anchor: Anchor) -> tuple[str, ...]:
    switch = "true" if anchor.enabled else "false"
    return anchor.term, join_translations(anchor.translations), anchor.kind, switch, anchor.note


def _quote(cell: str) -> str:
    # Not csv.writer: before Python 3.13 it leaves a lone carriage return unquoted, and the row breaks there.
    return '"' + cell.replace('"', '""') + '"' if re.search(r'[,;"\t\r\n]', cell) else cell


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


def _csv_rows(text: str) -> Iterator[Anchor]:
    delimiter, columns = _header(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    row = 0
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue  # spreadsheet programs keep the empty rows below a table
            if row:
                yield _csv_anchor(columns, cells, f"{row} (line {reader.line_num})")
            row += 1
    except csv.Error as error:
        message = f"Line {reader.line_num} of the anchor file is not valid CSV: {error}."
        raise AnchorError(message, 'A cell with a quote in it is written in quotes, doubled: "a ""b"" c".') from None


def _header(text: str) -> tuple[str, list[str]]:
    """The delimiter and the names of the columns, from the first row that is not empty."""
    first = next((line for line in text.splitlines() if line.strip()), None)
    if first is None:
        raise AnchorError("The anchor file is empty.", f"Its first row names the columns: {','.join(COLUMNS)}.")
    delimiter = max(",;\t", key=first.count)
    columns = [cell.strip().strip('"').strip().lower() for cell in first.split(delimiter)]
    while columns and not columns[-1]:
        columns.pop()  # a spreadsheet's empty columns to the right of the table
    mend = f"The first row names the columns: {','.join(COLUMNS)}; the last three may be left out."
    for column in columns:
        if column not in COLUMNS:
            raise AnchorError(f"The anchor file has the unknown column {_short(column)}.", mend)
        if columns.count(column) > 1:
            raise AnchorError(f"The anchor file has the column '{column}' twice.", mend)
    for column in COLUMNS[:2]:
        if column not in columns:
            raise AnchorError(f"The anchor file has no column '{column}'.", mend)
    return delimiter, columns


def _csv_anchor(columns: list[str], cells: list[str], row: str) -> Anchor:
    if surplus := "".join(cells[len(columns) :]).strip():
        message = f"Anchor row {row} has more cells than there are columns: {_short(surplus)}."
        raise AnchorError(message, "Put a cell that holds the separator into double quotes.")
    named = dict(zip(columns, cells))
    switch = named.get("enabled", "").strip().lower()
    if switch not in SWITCHES:
        raise AnchorError(f"Anchor row {row}: 'enabled' is {_short(switch)}.", "Write true or false.")
    kind = named.get("kind", "").strip().lower() or "phrase"
    translations = split_translations(named.get("translations", ""))
    return _checked(Anchor(named.get("term", ""), translations, kind, SWITCHES[switch], named.get("note", "")), row)


# --- JSON --------------------------------------------------------------------------------------


def _json_rows(text: str) -> Iterator[Anchor]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnchorError(f"The anchor file is not valid JSON: {error}.", "Mend it there, or use CSV.") from None
    form = 'The file is a list of objects such as {"term": "Alice", "translations": ["Clara"], "kind": "person"}.'
    if not isinstance(rows, list):
        raise AnchorError(f"The anchor file holds {_short(rows)} instead of a list.", form)
    for row, fields in enumerate(rows, start=1):
        if not isinstance(fields, dict):
            raise AnchorError(f"Anchor row {row} is {_short(fields)} instead of an object.", form)
        yield _json_anchor(fields, str(row), form)


def _json_anchor(fields: dict[str, Any], row: str, form: str) -> Anchor:
    types = dict(zip(COLUMNS, (str, list, str, bool, str)))
    for name, value in fields.items():
        if name not in types:
            raise AnchorError(
                f"Anchor row {row} has the unknown field {_short(name)}.", f"Known: {', '.join(COLUMNS)}."
            )
        if not isinstance(value, types[name]):
            raise AnchorError(f"Anchor row {row}: '{name}' is {_short(value)}.", form)
    for name in COLUMNS[:2]:
        if name not in fields:
            raise AnchorError(f"Anchor row {row} has no '{name}'.", form)
    for translation in fields["translations"]:
        if not isinstance(translation, str):
            raise AnchorError(f"Anchor row {row}: the translation {_short(translation)} is not text.", form)
    return _checked(Anchor(**{**fields, "translations": tuple(fields["translations"])}), row)


# --- both --------------------------------------------------------------------------------------


def _checked(anchor: Anchor, row: str) -> Anchor:
    """What no later check could mend: a kind that does not exist, text that no file can hold."""
    if anchor.kind not in KINDS:
        raise AnchorError(f"Anchor row {row}: unknown kind {_short(anchor.kind)}.", f"Use one of {', '.join(KINDS)}.")
    if re.search("[\ud800-\udfff]", "".join((anchor.term, *anchor.translations, anchor.note))):
        raise AnchorError(f"Anchor row {row}: {_short(anchor.term)} holds half a character.", "Type it again.")
    return anchor


def _format_of(path: Path) -> FileFormat:
    match path.suffix.lower():
        case ".csv":
            return "csv"
        case ".json":
            return "json"
    raise AnchorError(f"An anchor file ends in .csv or .json; {path.name} does not.", "Rename it or save it as CSV.")


def _decode(data: bytes, path: Path) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]  # "Unicode text" of spreadsheet programs
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise AnchorError(f"The anchor file {path} is not text.", "Save the table as CSV (UTF-8) and use that.")


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
