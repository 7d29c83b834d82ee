"""Files of every kind become the same clean text, or an error that says what to do."""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from pathlib import Path

import pypdf
import pytest
from files_for_tests import docx_of, epub_of, pdf_of, printed_pages, word_paragraph, zip_of

from unlearning.errors import DocumentError
from unlearning.text.documents import read_documents, read_text

BOOKS = Path(__file__).parents[2] / "shared" / "books"
ALICE, PRIDE = BOOKS / "alice_in_wonderland.txt", BOOKS / "pride_and_prejudice.txt"
with_books = pytest.mark.skipif(not ALICE.exists() or not PRIDE.exists(), reason="the two books are not here")

FIRST = (
    "Marigold Finch lived in the tall house at the end of Copper Lane, with a grey cat and a brass telescope, and she "
    "had never once been late for anything."
)
SECOND = "“Where is the eighth boat?” asked Marigold. The keeper’s lamp swung, and the keeper didn’t answer."
THIRD = "It was raining when the Grey Wanderer turned the corner of the harbour, its sails torn and its bell silent."
STORY = f"Chapter 1\n\n{FIRST}\n\n{SECOND}\n\nChapter 2\n\n{THIRD}"


def _file(folder, name, data):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
    return path


def _read(folder, name, data, **limits):
    return read_documents([_file(folder, name, data)], **limits)


def _error(folder, name, data, **limits):
    with pytest.raises(DocumentError) as caught:
        _read(folder, name, data, **limits)
    assert name in caught.value.message and caught.value.hint, "an error names the file and says what to do"
    return str(caught.value)


def _wrapped(text, width=66):
    import textwrap

    return "\n\n".join(textwrap.fill(paragraph, width) for paragraph in text.split("\n\n"))


def _html_of(text):
    parts = text.split("\n\n")
    return "".join(f"<h2>{part}</h2>" if part.startswith("Chapter") else f"<p>{part}</p>" for part in parts)


def _docx_of_story():
    heading = '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
    paragraphs = STORY.split("\n\n")
    body = "".join(word_paragraph(p, "berschrift1" if p.startswith("Chapter") else "") for p in paragraphs)
    return docx_of(body, heading)


def _epub_of_story():
    parts = re.split(r"\n\n(?=Chapter 2)", STORY)
    pages = {"one.xhtml": _html_of(parts[0]), "two.xhtml": _html_of(parts[1])}
    return epub_of(dict(reversed(pages.items())), list(pages), "The Eighth Boat")


FORMATS = {
    "story.txt": lambda: _wrapped(STORY),
    "story.md": lambda: re.sub("^Chapter", "## Chapter", _wrapped(STORY), flags=re.MULTILINE),
    "story.html": lambda: f"<html><body>{_html_of(STORY)}</body></html>",
    "story.epub": _epub_of_story,
    "story.docx": _docx_of_story,
    "story.pdf": lambda: pdf_of(printed_pages(STORY.replace("Chapter ", "# Chapter "))),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_text(tmp_path, name):
    document = _read(tmp_path, name, FORMATS[name]())
    assert document.text == STORY
    assert [chapter.title for chapter in document.chapters] == ["Chapter 1", "Chapter 2"]
    assert document.sources == (name,)


def test_chapters_are_stretches_of_the_text():
    document = read_text(STORY)
    one, two = document.chapters
    assert document.text[one.start : one.end] == f"Chapter 1\n\n{FIRST}\n\n{SECOND}"
    assert document.text[two.start : two.end] == f"Chapter 2\n\n{THIRD}"
    assert document.words == len(STORY.split())


def test_a_pdf_loses_its_furniture_and_keeps_its_chapters(tmp_path):
    body = "\n\n".join([FIRST, SECOND, THIRD] * 12)
    text = f"# Chapter 1\n\n{body}\n\n# Chapter 2\n\n{body}\n\n# Chapter 3\n\n{body}"
    document = _read(tmp_path, "book.pdf", pdf_of(printed_pages(text, "Chapter notes by F.", 20), "The Eighth Boat"))
    assert document.text == text.replace("# ", "")
    assert document.title == "The Eighth Boat"
    assert [chapter.title for chapter in document.chapters] == ["Chapter 1", "Chapter 2", "Chapter 3"]
    assert any("running heads" in note for note in document.notes)
    assert any("page numbers" in note for note in document.notes)


def test_a_running_head_that_repeats_the_chapter_leaves_its_heading(tmp_path):
    chapters = {name: "\n\n".join([FIRST, THIRD] * 15) for name in ("Chapter I", "Chapter II")}
    pages = [page for name, body in chapters.items() for page in printed_pages(f"# {name}\n\n{body}", name, 20)]
    document = _read(tmp_path, "book.pdf", pdf_of(pages))
    assert [chapter.title for chapter in document.chapters] == ["Chapter I", "Chapter II"]
    assert document.text.count("Chapter") == 2


def test_hyphens_at_line_ends_go_and_those_of_compounds_stay():
    document = read_text(
        "The White Rabbit took a watch out of its waistcoat-pocket, and the lantern\n"
        "swung from side to side as it ran down the path with its watch in its waistcoat-\n"
        "pocket and its ears laid back, for it was a very consci-\n"
        "entious rabbit, as rabbits go, and the old bells of the sheep-\n"
        "fold rang, and so it went--\nand did not stop."
    )
    assert "in its waistcoat-pocket and" in document.text
    assert "conscientious rabbit" in document.text
    assert "it went--and did" in document.text


def test_several_files_are_joined_and_each_without_chapters_is_one(tmp_path):
    one = _file(tmp_path, "the_boat.txt", STORY)
    two = _file(tmp_path, "letter.md", FIRST)
    document = read_documents([one, two])
    assert document.text == f"{STORY}\n\n{FIRST}"
    assert [chapter.title for chapter in document.chapters] == ["Chapter 1", "Chapter 2", "letter"]
    assert [document.text[c.start : c.end] for c in document.chapters][-1] == FIRST
    assert document.title == "the boat, letter" and document.sources == ("the_boat.txt", "letter.md")


def test_the_same_text_has_the_same_hash_whatever_its_file(tmp_path):
    assert _read(tmp_path, "a.md", FIRST).sha256 == _read(tmp_path, "b.txt", FIRST).sha256 == read_text(FIRST).sha256


def test_cleaning_clean_text_changes_nothing():
    once = read_text(_wrapped(STORY))
    assert read_text(once.text).text == once.text


def test_markdown_syntax_goes_and_headings_stay(tmp_path):
    source = (
        "---\ntitle: The Boat\n---\n\n# A *Fine* Day\n\nShe had `one` **boat**, [far](http://x.org) out\nat sea. "
        "![map](map.png)\n\n> Up went the sail  \n> and down went the bell\n\n- apples\n- thread\n\n"
        "```\nx = 1\n```\n\n## Evening\n\nDon\\'t &amp; won\\'t.[^1]\n"
    )
    document = _read(tmp_path, "day.md", source)
    assert document.title == "The Boat"
    assert document.text == (
        "A Fine Day\n\nShe had one boat, far out at sea.\n\nUp went the sail\nand down went the bell\n\n"
        "apples\n\nthread\n\nx = 1\n\nEvening\n\nDon't & won't."
    )


def test_a_title_comes_from_the_only_top_heading_or_the_name(tmp_path):
    assert _read(tmp_path, "a_day.md", f"# The Boat\n\n{FIRST}\n\n## Evening\n\n{SECOND}").title == "The Boat"
    assert _read(tmp_path, "a_day.md", f"# Morning\n\n{FIRST}\n\n# Evening\n\n{SECOND}").title == "a day"


def test_a_web_page_loses_everything_but_its_text(tmp_path):
    page = (
        "<!DOCTYPE html><html><head><title>Boats &amp; bells</title><style>p{color:red}</style></head><body>"
        "<nav><a href='/'>Home</a></nav><header>Subscribe now</header><main><h1>Boats</h1>"
        "<p>She&nbsp;said: <em>seven</em><sup><a href='#n1'>1</a></sup> boats<script>track()</script>.</p>"
        "<div class='poem'><span>Up went the sail,<br/>down went the bell.</span></div>"
        "<!-- a comment -->Loose text.<p hidden>secret</p><span class='pagenum'>[12]</span></main>"
        "<footer>All rights reserved</footer></body></html>"
    )
    document = _read(tmp_path, "page.html", page)
    assert document.title == "Boats & bells"
    assert document.text == "Boats\n\nShe said: seven boats.\n\nUp went the sail,\ndown went the bell.\n\nLoose text."


def test_an_epub_is_read_in_the_order_of_its_spine_with_names_from_its_contents(tmp_path):
    ncx = (
        '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>The Harbour</text>'
        '</navLabel><content src="b.xhtml#top"/></navPoint></navMap></ncx>'
    )
    pages = {"a.xhtml": f"<p>{THIRD}</p>", "b.xhtml": f"<img src='h.png'/><p>{FIRST}</p>", "c.xhtml": "<p>unlisted</p>"}
    data = epub_of(pages, ["b.xhtml", "a.xhtml"], "The Eighth Boat", **{"OEBPS__toc.ncx": ncx})
    document = _read(tmp_path, "boat.epub", data)
    assert document.title == "The Eighth Boat"
    assert document.text == f"The Harbour\n\n{FIRST}\n\n{THIRD}"


def test_entities_that_explode_are_not_expanded(tmp_path):
    bomb = '<!ENTITY a "boom boom boom boom boom boom ">' + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in itertools.pairwise("abcdefghi")
    )
    page = f'<?xml version="1.0"?><!DOCTYPE html [{bomb}]><html><body><p>{FIRST} &i;</p></body></html>'
    document = _read(tmp_path, "bomb.epub", epub_of({"a.xhtml": page}, ["a.xhtml"]))
    assert FIRST in document.text and len(document.text) < 2 * len(FIRST)
    head = '<?xml version="1.0"?><!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    outside = head + "<html><body><p>A &x;</p></body></html>"
    assert "root:" not in _read(tmp_path, "file.epub", epub_of({"a.xhtml": outside}, ["a.xhtml"])).text


def test_word_keeps_insertions_and_leaves_out_deletions_and_contents(tmp_path):
    run = "<w:r><w:t xml:space='preserve'>{}</w:t></w:r>"
    deleted = "<w:del><w:r><w:delText>red </w:delText></w:r></w:del>"
    styles = (
        '<w:style w:styleId="Toc1"><w:name w:val="toc 1"/></w:style>'
        '<w:style w:styleId="H"><w:name w:val="heading 2"/></w:style>'
        '<w:style w:styleId="Mine"><w:name w:val="My heading"/><w:basedOn w:val="H"/></w:style>'
    )
    body = (
        word_paragraph("The Harbour 1", "Toc1")
        + word_paragraph("The Harbour", "Mine")
        + f"<w:p>{run.format('Seven ')}<w:ins>{run.format('grey ')}</w:ins>{deleted}"
        + f"{run.format('boats')}<w:r><w:br/></w:r>{run.format('came.')}</w:p>"
        + f"<w:sdt><w:sdtContent>{word_paragraph('A control.')}</w:sdtContent></w:sdt>"
        + word_paragraph("The Bell", "Mine")
        + word_paragraph(FIRST)
    )
    document = _read(tmp_path, "boat.docx", docx_of(body, styles))
    assert document.text == f"The Harbour\n\nSeven grey boats\ncame.\n\nA control.\n\nThe Bell\n\n{FIRST}"
    assert [chapter.title for chapter in document.chapters] == ["The Harbour", "The Bell"]


def test_missing_folder_and_unknown_kinds(tmp_path):
    with pytest.raises(DocumentError, match=r"no file '.*gone\.txt'.*Check the path"):
        read_documents([tmp_path / "gone.txt"])
    with pytest.raises(DocumentError, match="is a folder"):
        read_documents([tmp_path])
    with pytest.raises(DocumentError, match="No document was given"):
        read_documents([])
    assert "Save it as .docx" in _error(tmp_path, "old.doc", "x")
    assert ".epub" in _error(tmp_path, "song.mp3", "x")
    assert "no suffix" in _error(tmp_path, "README", "x")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.epub", "a.pdf", "a.docx"])
@pytest.mark.parametrize("data", [b"", b" \n\t\n "])
def test_empty_files(tmp_path, name, data):
    assert "is empty" in _error(tmp_path, name, data)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"%PDF-1.7 ...", "a PDF"),
        ("a.md", b"PK\x03\x04....", "zip archive"),
        ("a.txt", b"\x89PNG\r\n\x1a\n", "picture"),
        ("a.html", b"\x7fELF\x02\x01", "a program"),
        ("a.txt", bytes(range(256)) * 20, "binary data"),
        ("a.txt", b"text\x00with a few\x00zeros and more text", "binary data"),
    ],
)
def test_binary_files_under_a_text_name(tmp_path, name, data, said):
    assert said in _error(tmp_path, name, data)


def test_an_encrypted_pdf(tmp_path):
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(FORMATS["story.pdf"]()))
    writer.encrypt("secret", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    assert "encrypted" in _error(tmp_path, "locked.pdf", buffer.getvalue())


def test_a_pdf_locked_against_printing_only_is_read(tmp_path):
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(FORMATS["story.pdf"]()))
    writer.encrypt("", owner_password="secret", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    assert FIRST in _read(tmp_path, "noprint.pdf", buffer.getvalue()).text


def test_scanned_and_damaged_pdfs(tmp_path):
    assert "scanned" in _error(tmp_path, "scan.pdf", pdf_of([[]] * 5))
    assert "scanned" in _error(tmp_path, "scan.pdf", pdf_of([[(290, 30, 9, str(number))] for number in range(50)]))
    assert "damaged" in _error(tmp_path, "bad.pdf", b"%PDF-1.4\nnonsense")
    assert "damaged" in _error(tmp_path, "half.pdf", FORMATS["story.pdf"]()[:300])


@pytest.mark.parametrize("name", ["a.epub", "a.docx"])
def test_broken_zips(tmp_path, name):
    good = FORMATS["story" + name[1:]]()
    assert "broken zip" in _error(tmp_path, name, b"PK\x03\x04 not really")
    assert "broken zip" in _error(tmp_path, name, good[: len(good) // 2])
    spoiled = bytearray(good)
    spoiled[good.index(b"word/document.xml" if name == "a.docx" else b"OEBPS/content.opf") + 30] ^= 0xFF
    assert "broken zip" in _error(tmp_path, name, bytes(spoiled))
    assert "zip file but no" in _error(tmp_path, name, zip_of({"other.txt": "x"}))


def test_password_protected_word_files(tmp_path):
    assert "password" in _error(tmp_path, "a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))


def test_copy_protected_epubs(tmp_path):
    protection = '<encryption><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/></encryption>'
    data = epub_of({"a.xhtml": "<p>x</p>"}, ["a.xhtml"], **{"META-INF__encryption.xml": protection})
    assert "copy-protected" in _error(tmp_path, "a.epub", data)
    fonts = '<encryption><EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/></encryption>'
    data = epub_of({"a.xhtml": "<p>open</p>"}, ["a.xhtml"], **{"META-INF__encryption.xml": fonts})
    assert _read(tmp_path, "fonts.epub", data).text == "open"


def test_zip_bombs_are_stopped_while_unpacking(tmp_path):
    bomb = docx_of("<w:p>" + " " * 50_000_000 + "</w:p>")
    assert len(bomb) < 100_000
    assert "zip bomb" in _error(tmp_path, "ratio.docx", bomb)
    pages = epub_of({"a.xhtml": f"<p>{'ab' * 50_000}</p>"}, ["a.xhtml"])
    assert "zip bomb" in _error(tmp_path, "total.epub", pages, max_bytes=len(pages))


def test_a_zip_that_lies_about_its_sizes_is_broken_or_bounded(tmp_path):
    data = bytearray(docx_of("<w:p>" + " " * 5_000_000 + "</w:p>"))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = archive.getinfo("word/document.xml").file_size.to_bytes(4, "little")
    data = bytes(data).replace(size, (100).to_bytes(4, "little"))
    assert "broken zip" in _error(tmp_path, "liar.docx", data)


def test_the_size_limit_counts_all_files_together(tmp_path):
    assert "limit 0.1 MB" in _error(tmp_path, "big.txt", "word " * 30_000, max_bytes=100_000)
    one, two = (_file(tmp_path, name, "word " * 12_000) for name in ("one.txt", "two.txt"))
    with pytest.raises(DocumentError, match=r"'two\.txt' has 0\.1 MB, which makes the documents together too large"):
        read_documents([one, two], max_bytes=100_000)


def test_no_text_left(tmp_path):
    mark = "*** {} OF THE PROJECT GUTENBERG EBOOK X ***"
    licence = f"{mark.format('START')}\n\n[Illustration]\n\n{mark.format('END')}"
    assert "no text left" in _error(tmp_path, "a.txt", licence)
    assert "no text left" in _error(tmp_path, "a.html", "<html><body><script>x()</script></body></html>")
    assert "no text left" in _error(tmp_path, "a.md", "***\n\n---")
    assert "no text left" in _error(tmp_path, "a.docx", docx_of("<w:p/>"))
    with pytest.raises(DocumentError, match="pasted text is empty"):
        read_text(" \n ")
    with pytest.raises(DocumentError, match="no text left"):
        read_text("\u200b\ufeff")


@with_books
def test_alice_whole():
    document = read_documents([ALICE])
    titles = [chapter.title for chapter in document.chapters]
    assert len(titles) == 12
    assert titles[0] == "CHAPTER I. Down the Rabbit-Hole" and titles[-1] == "CHAPTER XII. Alice's Evidence"
    assert abs(document.words - 26_500) < 100
    assert "OUT OF ITS WAISTCOAT-POCKET, and looked" in document.text and "tinkling sheep-bells" in document.text
    assert "'How doth the little crocodile\nImprove his shining tail,\n" in document.text
    assert "treading on my tail.\nSee how eagerly" in document.text
    assert "Alice was beginning to get very tired of sitting by her sister on the bank, and of having" in document.text
    assert "`" not in document.text and "  " not in document.text and "\n\n\n" not in document.text
    assert read_text(document.text).text == document.text


@with_books
def test_pride_and_prejudice_whole():
    document = read_documents([PRIDE])
    assert [chapter.title for chapter in document.chapters] == [f"Chapter {number}" for number in range(1, 62)]
    assert abs(document.words - 121_900) < 300
    assert "\n\n“You want to tell me, and I have no objection to hearing it.”\n\n" in document.text
    words = re.findall(r"\w+", PRIDE.read_text(encoding="utf-8").replace("_", " "))
    assert re.findall(r"\w+", document.text) == words, "no word lost, joined or added"
    assert not re.search(r"[^\n]\n[^\n]", document.text), "there is no verse in it"
    assert read_text(document.text).text == document.text
