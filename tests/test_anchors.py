"""Dictionaries go out and come back unchanged, and what cannot be read is refused by row."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unlearning.errors import AnchorError
from unlearning.text.anchors import (
    KINDS,
    Anchor,
    Dictionary,
    format_dictionary,
    load_dictionary,
    parse_dictionary,
    save_dictionary,
)
from unlearning.text.csv_table import join_translations, split_translations

# Mostly the characters that a careless format breaks on.
awkward = st.text(alphabet=st.one_of(st.sampled_from('|\\;,"\n\r\t \ufeffaé\u0301🎩א='), st.characters(codec="utf-8")))
anchors = st.builds(
    Anchor, awkward, st.lists(awkward, max_size=3).map(tuple), st.sampled_from(KINDS), st.booleans(), awkward
)
dictionaries = st.lists(anchors, max_size=4).map(tuple).map(Dictionary)
HEADER = "term,translations,kind,enabled,note\n"


@given(dictionaries)
@example(Dictionary((Anchor("", ("",)), Anchor("", ()), Anchor("a", ("", "")), Anchor("\r", ("\\ ", " \\")))))
def test_both_formats_are_lossless(dictionary: Dictionary) -> None:
    for file_format in ("csv", "json"):
        assert parse_dictionary(format_dictionary(dictionary, file_format), file_format) == dictionary


@given(st.lists(awkward).map(tuple))
def test_a_cell_of_translations_is_lossless(translations: tuple[str, ...]) -> None:
    assert split_translations(join_translations(translations)) == translations


@pytest.mark.parametrize("suffix", [".csv", ".json", ".CSV"])
def test_files_are_lossless(tmp_path: Path, suffix: str) -> None:
    dictionary = Dictionary(
        (Anchor('Élan, "the" 🎩', ("a | b", "c"), "person", False, "two\nlines"), Anchor("Ron", ("Tom",)))
    )
    save_dictionary(dictionary, tmp_path / f"anchors{suffix}")
    assert load_dictionary(tmp_path / f"anchors{suffix}") == dictionary
    assert [path.name for path in tmp_path.iterdir()] == [f"anchors{suffix}"]


def test_the_csv_is_readable() -> None:
    rabbit = Anchor("White Rabbit", ("Grey Badger", "Brown Squirrel"), "creature", True, "late, always")
    expected = HEADER + 'White Rabbit,Grey Badger | Brown Squirrel,creature,true,"late, always"\n'
    assert format_dictionary(Dictionary((rabbit,)), "csv") == expected


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("term;translations;kind;enabled;note\r\nÉlan;Verve | Zest;thing;FALSE;\r\n;;;;\r\n", "utf-8-sig"),
        ("Term\tTranslations\tKind\tEnabled\r\nÉlan\tVerve|Zest\tthing\tno\r\n", "utf-16"),
        ("translations,note,enabled,kind,term,,\nVerve | Zest,,0,Thing,Élan,,\n\n", "cp1252"),
        ('"term","translations","kind","enabled"\r"Élan","Verve | Zest","thing","off"\r', "utf-8"),
    ],
)
def test_spreadsheet_programs_are_understood(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "anchors.csv").write_bytes(text.encode(encoding))
    assert load_dictionary(tmp_path / "anchors.csv") == Dictionary((Anchor("Élan", ("Verve", "Zest"), "thing", False),))


def test_columns_but_the_first_two_may_be_left_out() -> None:
    assert parse_dictionary("term,translations\nRon,Tom\n", "csv").anchors == (Anchor("Ron", ("Tom",)),)
    assert parse_dictionary('[{"term": "Ron", "translations": ["Tom"]}]', "json").anchors == (Anchor("Ron", ("Tom",)),)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "is empty"),
        ("term,colour\n", "unknown column 'colour'"),
        ("term,term,translations\n", "column 'term' twice"),
        ("term,kind\nRon,person\n", "no column 'translations'"),
        (HEADER + "Ron,Tom,person\nEve,Ann,wizard\n", "row 2 (line 3): unknown kind 'wizard'"),
        (HEADER + '"Ron\nW.",Tom,person\n\nEve,Ann,,perhaps\n', "row 2 (line 5): 'enabled' is 'perhaps'"),
        (HEADER + "Ron,Tom,person,true,a, b\n", "row 1 (line 2) has more cells than there are columns: 'b'"),
        (HEADER + 'Ron,"Tom" S,person\n', "Line 2"),
        (HEADER + 'Ron,"Tom', "Line 2"),
    ],
)
def test_a_bad_csv_is_refused_by_row(text: str, named: str) -> None:
    with pytest.raises(AnchorError) as caught:
        parse_dictionary(text, "csv")
    assert named in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ({"Ron": "Tom"}, "instead of a list"),
        (["Ron"], "row 1 is 'Ron'"),
        ([{"term": "Ron", "translations": ["Tom"]}, {"translations": ["Tom"]}], "row 2 has no 'term'"),
        ([{"term": "Ron", "translations": "Tom"}], "row 1: 'translations' is 'Tom'"),
        ([{"term": "Ron", "translations": [1]}], "translation 1 is not text"),
        ([{"term": "Ron", "translations": [], "enabled": 1}], "'enabled' is 1"),
        ([{"term": "Ron", "translations": [], "kind": "elf"}], "unknown kind 'elf'"),
        ([{"term": "Ron", "translations": [], "color": ""}], "unknown field 'color'"),
        ([{"term": "\ud83d", "translations": []}], "half a character"),
    ],
)
def test_a_bad_json_is_refused_by_row(rows: object, named: str) -> None:
    with pytest.raises(AnchorError) as caught:
        parse_dictionary(json.dumps(rows), "json")
    assert named in caught.value.message
    assert caught.value.hint


def test_json_that_is_none() -> None:
    for text in ("", "[{]", "[" * 100_000):
        with pytest.raises(AnchorError, match="not valid JSON"):
            parse_dictionary(text, "json")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_bytes(b"PK\x03\x04\x00\x00" + bytes(range(256)))
    (tmp_path / "large.csv").write_bytes(b"x" * 10_000_001)
    (tmp_path / "folder.json").mkdir()
    for name, named in [
        ("none.csv", "No such file"),
        ("sheet.csv", "is not text"),
        ("large.csv", "10,000,000 bytes"),
        ("folder.json", "cannot be read"),
        ("anchors.xlsx", "ends in .csv or .json"),
    ]:
        with pytest.raises(AnchorError, match=named):
            load_dictionary(tmp_path / name)


def test_saving_where_one_cannot(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="cannot be written"):
        save_dictionary(Dictionary(()), tmp_path / "missing" / "anchors.csv")
    with pytest.raises(AnchorError, match="half a character"):
        save_dictionary(Dictionary((Anchor("\ud83d", ()),)), tmp_path / "anchors.csv")
    assert list(tmp_path.iterdir()) == []
