"""Word documents: the paragraphs of word/document.xml.

Read directly rather than with python-docx, which passes over tracked insertions and content controls.
"""

from __future__ import annotations

import re
from typing import Any

from unlearning.errors import DocumentError
from unlearning.text.reading.archive import Archive
from unlearning.text.reading.pieces import Piece, Rough
from unlearning.text.reading.safe_xml import local_name, read_part

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
BODY, STYLES, CORE = "word/document.xml", "word/styles.xml", "docProps/core.xml"
HEADING_STYLE = re.compile(r"^heading ([1-6])$", re.IGNORECASE)
# Deleted text, the twin of a text box for old readers, field codes, and what floats at the page's edge.
SKIPPED = frozenset(("del", "moveFrom", "Fallback", "instrText", "delText", "footnoteReference", "endnoteReference"))
BREAKS = {"br": "\n", "cr": "\n", "tab": " ", "noBreakHyphen": "-", "softHyphen": "", "ptab": " "}
CONTENTS_STYLE = re.compile(r"^(toc|table of contents)\b", re.IGNORECASE)


def read_docx(data: bytes, name: str, max_unpacked: int) -> Rough:
    """Paragraphs and headings of a Word document; headers, footers, notes and comments are left out.

    Raises:
        DocumentError: broken zip, zip bomb, password, or no Word document inside.
    """
    archive = Archive(data, name, max_unpacked)
    if BODY not in archive:
        raise DocumentError(f"'{name}' is a zip file but no Word document.", "Give it its own suffix, or unpack it.")
    styles = _styles(_part(archive, STYLES)) if STYLES in archive else {}
    pieces = []
    for paragraph in _paragraphs(_part(archive, BODY)):
        style = styles.get(_style_id(paragraph), "")
        text = _text(paragraph)
        if text.strip() and not CONTENTS_STYLE.match(style):
            pieces.append(_piece(text, style, paragraph))
    return Rough(pieces, _title(archive))


def _part(archive: Archive, path: str) -> Any:
    root = read_part(archive, path, "Word document")
    for node in root.iter() if root.tag.startswith(STRICT) else ():
        if isinstance(node.tag, str):
            node.tag = node.tag.replace(STRICT, W)
    return root


def _paragraphs(root: Any) -> list[Any]:
    return [node for node in root.iter(f"{W}p") if not any(local_name(up) in SKIPPED for up in node.iterancestors())]


def _style_id(paragraph: Any) -> str:
    node = paragraph.find(f"{W}pPr/{W}pStyle")
    return "" if node is None else node.get(f"{W}val", "")


def _styles(root: Any) -> dict[str, str]:
    """Style id → its English name (ids are in the language of the Word that wrote the file).

    A style made from a heading style counts as that heading.
    """
    names, parents = {}, {}
    for style in root.iter(f"{W}style"):
        identity, name, base = style.get(f"{W}styleId", ""), style.find(f"{W}name"), style.find(f"{W}basedOn")
        names[identity] = "" if name is None else name.get(f"{W}val", "")
        parents[identity] = "" if base is None else base.get(f"{W}val", "")
    return {identity: _root_heading(identity, names, parents) or names[identity] for identity in names}


def _root_heading(identity: str, names: dict[str, str], parents: dict[str, str]) -> str:
    for _ in range(10):  # a chain of styles; ten is more than Word makes, and ends a circle
        if HEADING_STYLE.match(names.get(identity, "")):
            return names[identity]
        identity = parents.get(identity, "")
    return ""


def _text(paragraph: Any) -> str:
    pieces: list[str] = []
    stack = list(reversed(paragraph))
    while stack:
        node = stack.pop()
        kind = local_name(node)
        if kind == "t":
            pieces.append(node.text or "")
        elif kind in BREAKS:
            pieces.append(BREAKS[kind])
        elif kind not in SKIPPED and kind not in ("p", "pPr", "rPr"):  # a paragraph within comes by itself
            stack.extend(reversed(node))
    return "".join(pieces)


def _piece(text: str, style: str, paragraph: Any) -> Piece:
    lines = [line for line in (" ".join(line.split()) for line in text.split("\n")) if line]
    outline = paragraph.find(f"{W}pPr/{W}outlineLvl")
    found = HEADING_STYLE.match(style)
    level = int(found[1]) if found else 0
    if outline is not None and (outline.get(f"{W}val") or "9") in "012345":
        level = int(outline.get(f"{W}val")) + 1
    if level:
        return Piece(" ".join(lines), "heading", level)
    alignment = paragraph.find(f"{W}pPr/{W}jc")
    centred = alignment is not None and alignment.get(f"{W}val") == "center"
    return Piece("\n".join(lines), "verse" if len(lines) > 1 else "paragraph", centred=centred)


def _title(archive: Archive) -> str:
    if CORE not in archive:
        return ""
    for node in _part(archive, CORE).iter():
        if local_name(node) == "title":
            return " ".join((node.text or "").split())
    return ""
