"""Documents: from files of six formats to one clean text with its chapters.

What "clean" means, in the order in which it is done: invisible characters and odd spaces go; Project
Gutenberg's header and licence go; illustration and page marks go; underscores around _italics_ go; old
`quotation marks' become straight ones; hard-wrapped lines become paragraphs parted by one blank line,
verse keeps its lines; chapter headings stand on one line of their own and a table of contents goes.
Spelling, capitals, curly quotation marks and the words themselves are left as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from unlearning.errors import DocumentError
from unlearning.text.reading.cleaning import clean
from unlearning.text.reading.decoding import decode
from unlearning.text.reading.docx import read_docx
from unlearning.text.reading.epub import read_epub
from unlearning.text.reading.headings import is_label
from unlearning.text.reading.markup import read_html, read_markdown
from unlearning.text.reading.pdf import read_pdf
from unlearning.text.reading.pieces import Piece, Rough

MAX_BYTES = 20_000_000
UNPACKED = 10  # a zip's parts may unpack to so many times the size limit
BETWEEN = "\n\n"
WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")


@dataclass(frozen=True)
class Chapter:
    """A stretch of a document under one heading: `text[start:end]`, the heading included."""

    title: str
    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """A clean text.

    Attributes:
        title: From the file's own description of itself, or its name.
        text: Paragraphs parted by one blank line; verse and lists keep their lines.
        chapters: In order; text before the first heading is in none. Empty where there are no headings.
        sources: Names of the files.
        notes: What was found and cleaned, in words.
    """

    title: str
    text: str
    chapters: tuple[Chapter, ...] = ()
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def words(self) -> int:
        """Words: "rabbit-hole" and "don't" are one each."""
        return sum(1 for _ in WORD.finditer(self.text))

    @cached_property
    def sha256(self) -> str:
        """Of the text in UTF-8: two documents with the same text are the same forget set."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


Reader = Callable[[bytes, str, int], Rough]


def _lines_of(data: bytes, name: str) -> Rough:
    text, encoding = decode(data, name)
    notes = [] if encoding in ("utf-8", "ascii") else [f"read as {encoding}"]
    return Rough([Piece(text, "lines")], notes=notes)


def _markdown(data: bytes, name: str, _: int) -> Rough:
    return read_markdown(decode(data, name)[0])


def _web_page(data: bytes, name: str, _: int) -> Rough:
    return read_html(decode(data, name, declares=True)[0], name)


READERS: dict[str, Reader] = {
    **dict.fromkeys((".txt", ".text"), lambda data, name, _: _lines_of(data, name)),
    **dict.fromkeys((".md", ".markdown"), _markdown),
    **dict.fromkeys((".html", ".htm", ".xhtml"), _web_page),
    ".epub": lambda data, name, limit: read_epub(data, name, UNPACKED * limit),
    ".docx": lambda data, name, limit: read_docx(data, name, UNPACKED * limit),
    ".pdf": lambda data, name, _: read_pdf(data, name),
}
SUFFIXES = tuple(READERS)
INSTEAD = {
    ".doc": "Save it as .docx.",
    ".rtf": "Save it as .docx or .txt.",
    ".odt": "Save it as .docx.",
    ".pages": "Export it as .docx or .pdf.",
    ".mobi": "Convert it to .epub.",
    ".azw3": "Convert it to .epub.",
    ".zip": "Unpack it and give the files in it.",
}


def read_documents(paths: Sequence[Path], *, max_bytes: int = MAX_BYTES) -> Document:
    """One clean document of one or several files, joined in the order given.

    Args:
        paths: Files with a suffix of SUFFIXES, in any common encoding.
        max_bytes: Most bytes that all of them may have together.

    Returns:
        The document. A file without headings of its own is one chapter of a joined document.

    Raises:
        DocumentError: a file is missing, empty, too large, damaged, encrypted, scanned, binary, of an
            unknown kind, or has no text left once it is clean. Names the file, and what to do.
    """
    if not paths:
        raise DocumentError("No document was given.", "Give at least one file.")
    documents, left = [], max_bytes
    for path in map(Path, paths):
        data = _bytes_of(path, left, max_bytes)
        left -= len(data)
        rough = READERS[path.suffix.lower()](data, path.name, max_bytes)
        title = rough.title or _only_top_heading(rough.pieces) or path.stem.replace("_", " ")
        loose = path.suffix.lower() == ".pdf"
        documents.append(_document(rough, title, path.name, loose=loose))
    return documents[0] if len(documents) == 1 else _join(documents)


def _only_top_heading(pieces: list[Piece]) -> str:
    """The one heading of the highest rank, where the document begins with it: its title."""
    top = [piece for piece in pieces if piece.kind == "heading" and piece.level == 1]
    return top[0].text if len(top) == 1 and top[0] is pieces[0] else ""


def read_text(text: str, title: str = "pasted text") -> Document:
    """A clean document of text that was pasted in; as a .txt file.

    Raises:
        DocumentError: it is empty, or nothing is left once it is clean.
    """
    if not text.strip():
        raise DocumentError("The pasted text is empty.", "Paste some text, or give a file.")
    return _document(Rough([Piece(text, "lines")]), title, title, loose=False)


def _bytes_of(path: Path, left: int, max_bytes: int) -> bytes:
    name = path.name
    if not path.exists():
        raise DocumentError(f"There is no file '{path}'.", "Check the path.")
    if path.is_dir():
        raise DocumentError(f"'{path}' is a folder.", "Give the files in it.")
    suffix = path.suffix.lower()
    if suffix not in READERS:
        mend = INSTEAD.get(suffix, f"Give one of: {', '.join(SUFFIXES)}.")
        raise DocumentError(f"'{name}' is of a kind that cannot be read ('{suffix or 'no suffix'}').", mend)
    try:
        with path.open("rb") as stream:
            data = stream.read(left + 1)
        size = path.stat().st_size
    except OSError as error:
        raise DocumentError(f"'{path}' cannot be read: {error.strerror}.", "Check its permissions.") from None
    if len(data) > left:
        together = "" if left == max_bytes else ", which makes the documents together too large"
        raise DocumentError(
            f"'{name}' has {size / 1e6:,.1f} MB{together} (limit {max_bytes / 1e6:,.1f} MB).", "Give a part of it."
        )
    if not data.strip():
        raise DocumentError(f"'{name}' is empty.", "Give a file with text in it.")
    return data


def _document(rough: Rough, title: str, name: str, *, loose: bool) -> Document:
    pieces, own_title, notes = clean(rough.pieces, loose=loose)
    text, chapters = _assemble(pieces)
    if not WORD.search(text):
        raise DocumentError(f"'{name}' has no text left once it is clean.", "Give a file with more than its wrapping.")
    return Document(own_title or title, text, chapters, (name,), (*rough.notes, *notes))


def _assemble(pieces: list[Piece]) -> tuple[str, tuple[Chapter, ...]]:
    starts, at = [], 0
    for piece in pieces:
        starts.append(at)
        at += len(piece.text) + len(BETWEEN)
    text = BETWEEN.join(piece.text for piece in pieces)
    begins = _chapter_starts(pieces)
    ends = [starts[group[0]] - len(BETWEEN) for group in begins[1:]] + [len(text)] * bool(begins)
    chapters = (
        Chapter(_title([pieces[index].text for index in group]), starts[group[0]], end)
        for group, end in zip(begins, ends, strict=True)
    )
    return text, tuple(chapters)


def _title(headings: list[str]) -> str:
    return ". ".join([*(heading.rstrip(".") for heading in headings[:-1]), headings[-1]])


def _chapter_starts(pieces: list[Piece]) -> list[list[int]]:
    """Indices of the headings that begin each chapter: several where a part and its first chapter meet."""
    headings = [index for index, piece in enumerate(pieces) if piece.kind == "heading"]
    labelled = {pieces[index].level for index in headings if is_label(pieces[index].text)}
    if len(labelled) == 0:
        ranks = Counter(pieces[index].level for index in headings)
        labelled = {min((rank for rank, count in ranks.items() if count > 1), default=-1)}
    groups: list[list[int]] = []
    for index in headings:
        if pieces[index].level not in labelled and not is_label(pieces[index].text) and pieces[index].level:
            continue
        if groups and groups[-1][-1] == index - 1:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _join(documents: list[Document]) -> Document:
    """Documents one after the other; each that has no chapters is one."""
    chapters: list[Chapter] = []
    at = 0
    for document in documents:
        inner = document.chapters or (Chapter(document.title, 0, len(document.text)),)
        chapters += [Chapter(chapter.title, chapter.start + at, chapter.end + at) for chapter in inner]
        at += len(document.text) + len(BETWEEN)
    titles = [document.title for document in documents]
    title = ", ".join(titles) if len(titles) <= 3 else f"{titles[0]} and {len(titles) - 1} more"
    return Document(
        title,
        BETWEEN.join(document.text for document in documents),
        tuple(chapters),
        tuple(source for document in documents for source in document.sources),
        tuple(f"{document.sources[0]}: {note}" for document in documents for note in document.notes),
    )
