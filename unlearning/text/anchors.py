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

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from unlearning.errors import AnchorError
from unlearning.text.csv_table import join_translations, read_table, short, split_translations, write_table

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
    text = text.removeprefix("\ufeff")
    if file_format == "json":
        return Dictionary(tuple(_json_rows(text)))
    return Dictionary(tuple(_csv_anchor(cells, row) for row, cells in read_table(text, COLUMNS, required=COLUMNS[:2])))


def format_dictionary(dictionary: Dictionary, file_format: FileFormat) -> str:
    """Write a dictionary as text; the inverse of `parse_dictionary`."""
    if file_format == "json":
        return json.dumps([asdict(anchor) for anchor in dictionary.anchors], ensure_ascii=False, indent=1) + "\n"
    rows = [COLUMNS, *(_csv_cells(anchor) for anchor in dictionary.anchors)]
    return write_table(rows)


# --- CSV ---------------------------------------------------------------------------------------


def _csv_cells(anchor: Anchor) -> tuple[str, ...]:
    switch = "true" if anchor.enabled else "false"
    return anchor.term, join_translations(anchor.translations), anchor.kind, switch, anchor.note


def _csv_anchor(cells: dict[str, str], row: str) -> Anchor:
    switch = cells.get("enabled", "").strip().lower()
    if switch not in SWITCHES:
        raise AnchorError(f"Anchor row {row}: 'enabled' is {short(switch)}.", "Write true or false.")
    kind = cells.get("kind", "").strip().lower() or "phrase"
    translations = split_translations(cells.get("translations", ""))
    return _checked(Anchor(cells.get("term", ""), translations, kind, SWITCHES[switch], cells.get("note", "")), row)


# --- JSON --------------------------------------------------------------------------------------


def _json_rows(text: str) -> Iterator[Anchor]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnchorError(f"The anchor file is not valid JSON: {error}.", "Mend it there, or use CSV.") from None
    form = 'The file is a list of objects such as {"term": "Alice", "translations": ["Clara"], "kind": "person"}.'
    if not isinstance(rows, list):
        raise AnchorError(f"The anchor file holds {short(rows)} instead of a list.", form)
    for row, fields in enumerate(rows, start=1):
        if not isinstance(fields, dict):
            raise AnchorError(f"Anchor row {row} is {short(fields)} instead of an object.", form)
        yield _json_anchor(fields, str(row), form)


def _json_anchor(fields: dict[str, Any], row: str, form: str) -> Anchor:
    types = dict(zip(COLUMNS, (str, list, str, bool, str), strict=False))
    for name, value in fields.items():
        if name not in types:
            raise AnchorError(f"Anchor row {row} has the unknown field {short(name)}.", f"Known: {', '.join(COLUMNS)}.")
        if not isinstance(value, types[name]):
            raise AnchorError(f"Anchor row {row}: '{name}' is {short(value)}.", form)
    for name in COLUMNS[:2]:
        if name not in fields:
            raise AnchorError(f"Anchor row {row} has no '{name}'.", form)
    for translation in fields["translations"]:
        if not isinstance(translation, str):
            raise AnchorError(f"Anchor row {row}: the translation {short(translation)} is not text.", form)
    return _checked(Anchor(**{**fields, "translations": tuple(fields["translations"])}), row)


# --- both --------------------------------------------------------------------------------------


def _checked(anchor: Anchor, row: str) -> Anchor:
    """What no later check could mend: a kind that does not exist, text that no file can hold."""
    if anchor.kind not in KINDS:
        raise AnchorError(f"Anchor row {row}: unknown kind {short(anchor.kind)}.", f"Use one of {', '.join(KINDS)}.")
    if re.search("[\ud800-\udfff]", "".join((anchor.term, *anchor.translations, anchor.note))):
        raise AnchorError(f"Anchor row {row}: {short(anchor.term)} holds half a character.", "Type it again.")
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
