"""The steps between a file's bytes and its clean text, each by itself."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearning.errors import DocumentError
from unlearning.text.documents import read_text
from unlearning.text.reading.decoding import decode

FRENCH = "L'été dernier, à la fenêtre, le garçon a été très gêné par les élèves. Où sont-ils allés ? Ça va, dit-elle. "
GERMAN = "Die größte Überraschung für Käthe war, daß der Bär süße Äpfel mochte. Schöne Grüße aus München! "
ENGLISH = "She said “no” – and the café’s naïve owner agreed… "
POLISH = "Zażółć gęślą jaźń. Chłopiec poszedł do szkoły, gdzie spotkał się z nauczycielką. Była już późna jesień. "
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy. Byl jednou jeden král, který měl tři dcery a žádného syna. "
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему. "
CHINESE = "很久很久以前，有一个国王，他有三个女儿。老人数着归来的船。"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(text, encoding) for text in (FRENCH, GERMAN, ENGLISH) for encoding in ("cp1252", "utf-8", "utf-8-sig", "utf-16")]
    + [(ENGLISH, "utf-16-le"), (ENGLISH, "utf-16-be"), (ENGLISH, "utf-32"), (RUSSIAN, "utf-16-be")]
    + [(POLISH, "cp1250"), (CZECH, "cp1250"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (CHINESE, "gb18030")],
)
def test_common_encodings(text, encoding):
    assert decode((text * 20).encode(encoding), "a.txt")[0] == text * 20


def test_a_page_says_its_own_encoding():
    page = '<meta charset="iso-8859-2"><p>Zażółć gęślą jaźń</p>'
    assert decode(page.encode("iso-8859-2"), "a.html", declares=True) == (page, "iso8859-2")


def test_utf8_with_a_few_broken_bytes_stays_utf8():
    data = (FRENCH * 20).encode("utf-8") + "é".encode()[:1]
    assert decode(data, "a.txt")[0].startswith(FRENCH)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_text_or_a_document_error(data):
    try:
        text, _ = decode(data, "a.txt")
    except DocumentError:
        return
    assert isinstance(text, str)


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("ab. ,-_`'*[]\n\t\f\u200b\u00a0\u00ad\ud800IVX1Chapter"), max_size=120))
def test_any_pasted_text_is_clean_or_refused(text):
    try:
        document = read_text(text)
    except DocumentError:
        return
    for forbidden in ("\u200b", "\u00a0", "\u00ad", "\t", "\f", "  ", "\n\n\n"):
        assert forbidden not in document.text
    assert document.text == document.text.strip() and document.sha256


def test_invisible_characters_and_odd_spaces():
    document = read_text(
        "\ufeffThe\u200b light\u00adhouse\u00a0keeper\u2009counted\x07 e\u0301clairs \ufb01rst \u202eup."
    )
    assert document.text == "The lighthouse keeper counted éclairs first up."
    assert "invisible characters dropped: 5" in document.notes
    assert read_text("A family 👨‍👩‍👧 and می‌خواهم.").text == "A family 👨‍👩‍👧 and می‌خواهم."


def test_italics_and_names_with_underscores():
    kept = "it_is said; the file_name_here and ____ and 2_000 stay"
    text = read_text(f"_You_ want to hear it, I see, and I want to _tell\nyou_, {kept}, _“so.”_").text
    assert text == f"You want to hear it, I see, and I want to tell you, {kept}, “so.”"


def test_old_quotation_marks():
    text = read_text("`Well!' thought Alice, `it isn't mine.'  ``Off,'' she said, ``with it.''").text
    assert text == "'Well!' thought Alice, 'it isn't mine.' \"Off,\" she said, \"with it.\""
    assert read_text("Type `ls` now, please.").text == "Type `ls` now, please."


def test_illustrations_and_page_marks():
    text = read_text(
        "The keeper came down the stairs.\n\n[Illustration: The keeper\n[_Copyright 1894_]]\n\nHe was [Pg 12]late.\n\n"
        "[Illustration:\n\n·THE BOATS·\n\n\nChapter II.]\n\nIt was [1] not [sic] there {13}yet.\n\n[Illustration]"
    )
    assert (
        text.text
        == "The keeper came down the stairs.\n\nHe was late.\n\nChapter II.\n\nIt was [1] not [sic] there yet."
    )


# wording: what stands before the book, what stands after it
HEADERS = {
    "today": (
        """The Project Gutenberg eBook of The Boats

This ebook is for the use of anyone anywhere.

Title: The Boats

Author: A. Finch

Release date: June 1, 2021 [eBook #99999]

Language: English


*** START OF THE PROJECT GUTENBERG EBOOK THE BOATS ***


Produced by Some One and the Online
Distributed Team
""",
        """*** END OF THE PROJECT GUTENBERG EBOOK THE BOATS ***

Updated editions will replace the previous one.
START: FULL LICENSE

THE FULL PROJECT GUTENBERG LICENSE

PLEASE READ THIS""",
    ),
    "a long title": (
        """Project Gutenberg's The Boats, by A. Finch

***START OF THE PROJECT GUTENBERG EBOOK THE BOATS AND ALL
THAT CAME OF THEM***


E-text prepared by Some One

Transcriber's note: Spelling has been kept.
""",
        """End of Project Gutenberg's The Boats, by A. Finch

*** END OF THIS PROJECT GUTENBERG EBOOK THE BOATS ***

more""",
    ),
    "1993": (
        """**The Project Gutenberg Etext of The Boats, by A. Finch**

Please take a look at the important information.

**Welcome To The World of Free Plain Vanilla Electronic Texts**

***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***
Why is this "Small Print!" statement here?

*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*


This etext was prepared by Some One
""",
        "End of The Project Gutenberg Etext of The Boats",
    ),
    "2002": (
        """The Project Gutenberg EBook of The Boats

*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*
""",
        "End of the Project Gutenberg EBook of The Boats, by A. Finch",
    ),
    "small print at the end": (
        "*** START OF THIS PROJECT GUTENBERG EBOOK THE BOATS ***",
        """*** END OF THIS PROJECT GUTENBERG EBOOK THE BOATS ***

We are now releasing all our books.

*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*

Portions may be reprinted.""",
    ),
    "no marks": ("The Project Gutenberg EBook of The Boats", ""),
}
BOOK = "CHAPTER I\n\nThe keeper counted the boats as they came in.\n\nCHAPTER II\n\nThere should have been eight."


@pytest.mark.parametrize("wording", HEADERS)
def test_project_gutenberg_wordings(wording):
    header, licence = HEADERS[wording]
    document = read_text(f"{header}\n\n\n{BOOK}\n\n\n\n{licence}")
    assert document.text == BOOK
    assert "Project Gutenberg's header and licence removed" in document.notes


def test_two_books_in_one_file_keep_both():
    header, licence = HEADERS["today"]
    document = read_text("\n\n".join([header, BOOK, licence, header, "CHAPTER I\n\nA second book.", licence]))
    assert document.text == f"{BOOK}\n\nCHAPTER I\n\nA second book."
    assert read_text(header + BOOK).title == "The Boats"


def test_a_text_about_project_gutenberg_stays():
    text = "The founder of Project Gutenberg typed the first text in 1971.\n\nTitle: this is no header."
    assert read_text(text).text == text and not read_text(text).notes


def test_paragraphs_parted_by_blank_lines():
    text = (
        "The keeper of the lighthouse counted the boats as they came in,\nand there were seven.\n\n“Eight,” he said.\n"
    )
    assert read_text(text).text == (
        "The keeper of the lighthouse counted the boats as they came in, and there were seven.\n\n“Eight,” he said."
    )


def test_paragraphs_parted_by_indents():
    text = """    Indented paragraphs are marked by nothing but their indents, as
printed books have them, and so there are no blank lines between
any two of them.
    “A second one,” he said.
    “A third.”
    The fourth goes on a little longer than the others did, because
it needs two lines to show what it is, and then it ends.
"""
    paragraphs = read_text(text).text.split("\n\n")
    assert len(paragraphs) == 4 and paragraphs[1:3] == ["“A second one,” he said.", "“A third.”"]
    assert " ".join(paragraphs) == " ".join(text.split())


def test_a_line_for_each_paragraph():
    long = "A whole paragraph stands on this line, which is longer than any line that was ever wrapped by hand. " * 2
    assert read_text(f"{long}\n“Short,” he said.\n{long}").text.count("\n\n") == 2


def test_paragraphs_parted_by_nothing():
    first = "The keeper of the lighthouse counted the boats as they came in,\nand there were seven of them.\n"
    second = "“Where is the eighth boat, and where is her captain?” he asked.”\n“Nobody knows.”\n"
    text = read_text((first + second) * 12).text
    assert text.split("\n\n")[:3] == [" ".join(first.split()), *second.strip().split("\n")]


@pytest.mark.parametrize(
    "verse",
    [
        "Up went the sail in the grey of the morning,\nDown went the bell in the deep of the bay;\n"
        "Nobody heard it and nobody saw it,\nNobody knows to this day.",
        "the wind came up\nin the night and took\nthe hats of the three bakers\nand nobody\nsaid a word about it",
        "MISS M. FINCH,\nCOPPER LANE,\n(WITH THE KEEPER'S LOVE).",
    ],
)
def test_verse_keeps_its_lines(verse):
    prose = "The keeper of the lighthouse counted the boats as they came in,\nand there were seven of them.\n\n"
    indented = "\n".join("      " + line for line in verse.split("\n"))
    assert read_text(verse).text == verse
    assert read_text(prose * 3 + indented).text.endswith("\n\n" + verse)


def test_a_line_of_verse_too_long_for_the_page_is_put_together():
    prose = "The keeper of the lighthouse counted the boats as they came in,\nand there were seven of them.\n\n"
    verse = (
        "“Will you walk a little faster?” said a sailor to a crab.\n“There's a lighthouse close behind us, and it's\n"
        " blinking.\nSee how eagerly the lobsters and the turtles all advance!\n"
    )
    assert "it's blinking.\nSee how" in read_text(prose * 3 + verse).text


def test_rules_of_stars_are_one():
    assert read_text("One.\n\n*       *       *\n\n   *    *\n\n* * * * *\n\nTwo.").text == "One.\n\n* * *\n\nTwo."


def _chapters(text):
    return [chapter.title for chapter in read_text(text).chapters]


PARAGRAPH = (
    "The keeper of the lighthouse counted the boats as they came in, and there were seven of them, not eight.\n\n"
)


def test_chapters_with_their_titles_below():
    text = (
        f"          CHAPTER I.\n\n     The Harbour of Glass\n\n\n{PARAGRAPH}CHAPTER II\nA TELESCOPE\n\n{PARAGRAPH}"
        f"Chapter the Third: The Bell\n\n{PARAGRAPH}CHAPTER IV.--The Boat\n\n{PARAGRAPH}EPILOGUE\n\n{PARAGRAPH}"
    )
    assert _chapters(text) == [
        "CHAPTER I. The Harbour of Glass", "CHAPTER II. A TELESCOPE", "Chapter the Third: The Bell",
        "CHAPTER IV.--The Boat", "EPILOGUE",
    ]  # fmt: skip


def test_sentences_that_begin_like_chapters_are_none():
    sentences = "Part of the sail\n\nBook two seats now\n\nAct one was over, he said.\n\n"
    text = f"Chapter 1\n\n{PARAGRAPH}{sentences}Chapter 2\n\n{PARAGRAPH}"
    assert _chapters(text) == ["Chapter 1", "Chapter 2"]
    assert _chapters(f"Chapter 1\n\n“No Answer”\n\n{PARAGRAPH}") == ["Chapter 1"]


def test_parts_and_their_first_chapters_are_one_heading():
    text = f"BOOK ONE\n\nCHAPTER I\n\n{PARAGRAPH}CHAPTER II\n\n{PARAGRAPH}BOOK TWO\n\nCHAPTER I\n\n{PARAGRAPH}"
    assert _chapters(text) == ["BOOK ONE. CHAPTER I", "CHAPTER II", "BOOK TWO. CHAPTER I"]


def test_numbered_and_capital_headings():
    titles = ["I. A Scandal in the Harbour", "II. The Bell", "III. The Eighth Boat"]
    assert _chapters("".join(f"{title}\n\n{PARAGRAPH}" for title in titles)) == titles
    assert _chapters("".join(f"{number}.\n\n{PARAGRAPH}" for number in (1, 2, 3))) == ["1.", "2.", "3."]
    capitals = ["THE HARBOUR", "THE TELESCOPE", "THE BELL"]
    assert _chapters("".join(f"\n\n\n{title}\n\n{PARAGRAPH}" for title in capitals)) == capitals
    assert _chapters(f"DRINK ME\n\n{PARAGRAPH}1.\n\n{PARAGRAPH}") == []


@pytest.mark.parametrize(
    "contents",
    [
        "Contents\n\n CHAPTER I.   The Harbour\n CHAPTER II.  The Bell\n CHAPTER III. The Boat\n\n",
        "CONTENTS\n\nCHAPTER I. The Harbour\n\nCHAPTER II. The Bell\n\nCHAPTER III. The Boat\n\n",
        "Table of Contents\n\nThe Harbour ........ 1\nThe Bell ......... 17\nThe Boat ........ 123\n\n",
    ],
)
def test_a_table_of_contents_goes_and_no_chapter_with_it(contents):
    titles = ["CHAPTER I. The Harbour", "CHAPTER II. The Bell", "CHAPTER III. The Boat"]
    body = "\n\n".join(f"{title}\n\n{PARAGRAPH.strip()}" for title in titles)
    document = read_text(f"THE EIGHTH BOAT\n\n{contents}{body}")
    assert document.text == f"THE EIGHTH BOAT\n\n{body}"
    assert [chapter.title for chapter in document.chapters] == titles
    assert "table of contents removed" in document.notes


@pytest.mark.parametrize(
    "unit",
    [
        "_",
        "_a",
        "a\n",
        "[Illustration",
        "-\n",
        "IIII",
        " ",
        "`",
        "x\u0301",
        "CHAPTER I\n",
        "*** START OF THE PROJECT GUTENBERG\n",
    ],
)
def test_no_text_takes_long(unit):
    text = unit * (200_000 // len(unit)) + "x"
    began = time.process_time()
    assert read_text(text).text.endswith("x")
    assert time.process_time() - began < 10
