"""HTML, XHTML and Markdown to pieces: prose and headings stay, scripts, navigation and syntax go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from unlearning.errors import DocumentError
from unlearning.text.reading.pieces import Piece, Rough
from unlearning.text.reading.safe_xml import local_name, parse_xml, without_doctype

SKIPPED = frozenset(
    "script style noscript template nav aside footer form button select textarea input svg math iframe object embed "
    "canvas audio video head rt rp del menu dialog".split()
)
BLOCKS = frozenset(
    "html body p div section article main header blockquote center address ul ol li dl dt dd table caption tbody thead "
    "tfoot tr figure figcaption hr pre h1 h2 h3 h4 h5 h6 hgroup details summary fieldset legend".split()
)
HEADINGS = {f"h{rank}": rank for rank in range(1, 7)}
SKIPPED_CLASSES = frozenset(
    "pagenum pageno page-num page-number pagenumber page_number pgnum navigation navbar menu breadcrumb breadcrumbs "
    "sidebar toc noprint pg-boilerplate cookie-banner mw-editsection reference noteref footnote-ref".split()
)
SKIPPED_IDS = frozenset(("pg-header", "pg-footer", "pg-machine-header", "toc", "nav", "navigation", "sidebar"))
SKIPPED_ROLES = frozenset(("navigation", "banner", "contentinfo", "search", "doc-toc", "doc-pagebreak", "menu"))
VERSE_LINE = re.compile(r"(?:^|[\s_-])(?:verse|line|l|i\d+|indent\d*)(?:$|[\s_-])")
NOTE_MARK = re.compile(r"^\W*(?:\d{1,3}|[*†‡])\W*$")

PART = 500_000  # characters
FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.*?)[\"']?[ \t]*$", re.MULTILINE)
FOOTNOTE_MARK = re.compile(r"\[\^[^\]\s]{1,40}\]:?")


def _parse_html(text: str) -> Any:
    from lxml import etree

    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, no_network=True, remove_comments=True)
    return etree.fromstring(without_doctype(text).encode("utf-8", errors="replace"), parser)


def read_html(text: str, name: str) -> Rough:
    """Pieces of a web page.

    Raises:
        DocumentError: nothing in it can be parsed.
    """
    from lxml import etree

    try:
        root = _parse_html(text)
    except (etree.XMLSyntaxError, ValueError):
        root = None
    if root is None:
        raise DocumentError(f"'{name}' holds no HTML.", "Save the page again, or give its text as .txt.")
    return Rough(_pieces(root), _title(root))


def read_xhtml(text: str) -> Rough:
    """Pieces of a chapter of an e-book: XHTML, or HTML where it is not well formed."""
    from lxml import etree

    try:
        root = parse_xml(text)
    except (etree.XMLSyntaxError, ValueError):
        return read_html(text, "a chapter") if text.strip() else Rough([])
    return Rough(_pieces(root), _title(root))


def read_markdown(text: str) -> Rough:
    """Pieces of a Markdown document: by way of HTML, so that every corner of the syntax is covered."""
    from markdown_it import MarkdownIt

    title = ""
    if front := FRONT_MATTER.match(text):
        found = FRONT_TITLE.search(front[1])
        title, text = found[1] if found else "", text[front.end() :]
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    pieces: list[Piece] = []
    for part in _parts(FOOTNOTE_MARK.sub("", text)):
        rendered = markdown.render(part)
        pieces += read_html(rendered, "the document").pieces if rendered.strip() else []
    return Rough(pieces, title)


def _parts(text: str) -> Iterator[str]:
    """A long document in parts that end at blank lines: the parser takes a hundred times a part's size."""
    start = 0
    while start < len(text):
        border = text.find("\n\n", start + PART)
        end = len(text) if border < 0 else border + 2
        yield text[start:end]
        start = end


def _title(root: Any) -> str:
    for element in root.iter():
        if _tag(element) == "title":
            return " ".join("".join(element.itertext()).split())
    return ""


def _tag(element: Any) -> str:
    return local_name(element).lower()


def _skipped(element: Any, tag: str) -> bool:
    if tag in SKIPPED or not tag:
        return True
    get = element.get
    if get("hidden") is not None or get("aria-hidden") == "true" or get("role") in SKIPPED_ROLES:
        return True
    if "display:none" in (get("style") or "").replace(" ", "") or (get("id") or "").lower() in SKIPPED_IDS:
        return True
    if tag in ("sup", "a") and _is_note_mark(element, tag):
        return True
    return tag not in ("html", "body") and not SKIPPED_CLASSES.isdisjoint((get("class") or "").lower().split())


def _is_note_mark(element: Any, tag: str) -> bool:
    """A linked ¹ or [1]; a raised number without a link may be a power."""
    text = "".join(element.itertext())
    linked = tag == "sup" and element.find(".//{*}a") is not None
    return bool(NOTE_MARK.match(text)) and (linked or text.strip().startswith("["))


def _main_part(root: Any) -> Any:
    """The page's one <main>, where it has one: what stands around it is the site's furniture."""
    mains = [element for element in root.iter() if _tag(element) == "main"]
    return mains[0] if len(mains) == 1 else root


class _Collector:
    """Text between two block borders, and the pieces so far."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.buffer: list[str] = []
        self.heading, self.preformatted = 0, 0
        self.stanza: Any = None  # parent of the verse line just written

    def text(self, text: str | None) -> None:
        if text:
            self.buffer.append(text if self.preformatted else re.sub(r"[ \t\r\n\f]+", " ", text))

    def flush(self, stanza: Any = None) -> None:
        text = "".join(self.buffer)
        self.buffer.clear()
        if self.preformatted:
            if text.strip():
                self.pieces.append(Piece(text, "lines"))
            return
        lines = [line for line in (" ".join(line.split(" ")).strip() for line in text.split("\n")) if line]
        if not lines:
            return
        if self.heading:
            self.pieces.append(Piece(" ".join(lines), "heading", self.heading))
        elif stanza is not None and stanza is self.stanza and self.pieces:
            self.pieces[-1] = Piece("\n".join([self.pieces[-1].text, *lines]), "verse")
        else:
            kind = "verse" if stanza is not None or len(lines) > 1 else "paragraph"
            self.pieces.append(Piece("\n".join(lines), kind))  # type: ignore[arg-type]
        self.stanza = stanza


def _pieces(root: Any) -> list[Piece]:
    from lxml import etree

    collector = _Collector()
    part = _main_part(root)
    walk = etree.iterwalk(part, events=("start", "end", "comment", "pi"))
    for event, element in walk:
        tag = _tag(element)
        if event in ("comment", "pi"):
            collector.text(element.tail)
        elif event == "start":
            if _skipped(element, tag):
                walk.skip_subtree()
            else:
                _enter(collector, element, tag)
        elif element is not part:
            _leave(collector, element, tag)
    collector.flush()
    return collector.pieces


def _enter(collector: _Collector, element: Any, tag: str) -> None:
    if tag in BLOCKS:
        collector.flush()
    if tag in HEADINGS:
        collector.heading = HEADINGS[tag]
    elif tag == "pre":
        collector.preformatted += 1
    elif tag == "br":
        collector.buffer.append("\n")
    elif tag in ("td", "th"):
        collector.buffer.append(" ")
    elif tag == "q":
        collector.buffer.append("“")
    elif tag == "img" and len(element.get("alt") or "") == 1:
        collector.buffer.append(element.get("alt"))  # a drop capital painted as a picture
    collector.text(element.text)


def _leave(collector: _Collector, element: Any, tag: str) -> None:
    skipped = _skipped(element, tag)
    if not skipped:
        if tag == "q":
            collector.buffer.append("”")
        if tag in BLOCKS:
            collector.flush(element.getparent() if VERSE_LINE.search(element.get("class") or "") else None)
        if tag in HEADINGS:
            collector.heading = 0
        elif tag == "pre":
            collector.preformatted -= 1
    elif tag in BLOCKS:
        collector.flush()
    collector.text(element.tail)
