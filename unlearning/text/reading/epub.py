"""EPUB: a zip of XHTML chapters in the order of its spine."""

from __future__ import annotations

import posixpath
import re
from typing import Any
from urllib.parse import unquote

from unlearning.errors import DocumentError
from unlearning.text.reading.archive import Archive
from unlearning.text.reading.decoding import decode
from unlearning.text.reading.markup import read_xhtml
from unlearning.text.reading.pieces import Piece, Rough
from unlearning.text.reading.safe_xml import local_name, read_part

CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
FONT_SCRAMBLING = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
PAGES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document", "application/xml")


def read_epub(data: bytes, name: str, max_unpacked: int) -> Rough:
    """Chapters of an e-book, in reading order.

    A chapter whose heading is a picture gets the name that the table of contents gives it.

    Raises:
        DocumentError: broken zip, zip bomb, copy protection, or no chapters.
    """
    archive = Archive(data, name, max_unpacked)
    _refuse_protected(archive)
    package_path = _package_path(archive)
    package = read_part(archive, package_path, "e-book")
    pages, contents = _spine(package, posixpath.dirname(package_path))
    labels = _labels(archive, contents)
    pieces: list[Piece] = []
    missing = 0
    for path in pages:
        if path not in archive:
            missing += 1
            continue
        page = read_xhtml(decode(archive.read(path), name, declares=True)[0]).pieces
        if page and path in labels and not any(piece.kind == "heading" for piece in page):
            page = [Piece(labels[path], "heading", 2), *page]
        pieces += page
    if not pieces and missing == len(pages):
        raise DocumentError(f"'{name}' has none of the chapters that it lists.", "Download or save it again.")
    notes = [f"{missing} listed chapters are missing from the file"] if missing else []
    return Rough(pieces, _book_title(package), notes)


def _named(root: Any, *names: str) -> list[Any]:
    """Elements of these names, whatever their name space."""
    return [node for node in root.iter() if local_name(node) in names]


def _refuse_protected(archive: Archive) -> None:
    if ENCRYPTION not in archive:
        return
    for method in _named(read_part(archive, ENCRYPTION, "e-book"), "EncryptionMethod"):
        if method.get("Algorithm") not in FONT_SCRAMBLING:
            raise DocumentError(f"'{archive.name}' is copy-protected (DRM).", "Give a copy without protection.")


def _package_path(archive: Archive) -> str:
    if CONTAINER not in archive:
        raise DocumentError(f"'{archive.name}' is a zip file but no e-book.", "Give it its own suffix, or unpack it.")
    for node in _named(read_part(archive, CONTAINER, "e-book"), "rootfile"):
        if path := node.get("full-path"):
            return str(path)
    raise DocumentError(f"'{archive.name}' is a damaged e-book: it names no package.", "Download it again.")


def _resolve(folder: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))


def _spine(package: Any, folder: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Paths of the chapters, and (path, folder) of the tables of contents."""
    items = {node.get("id"): node for node in _named(package, "item")}
    navigation = [node for node in items.values() if "nav" in (node.get("properties") or "").split()]
    tables = navigation + [node for node in items.values() if node.get("media-type") == "application/x-dtbncx+xml"]
    pages = []
    for reference in _named(package, "itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item in navigation or reference.get("linear") == "no" or not item.get("href"):
            continue
        if item.get("media-type") in PAGES:
            pages.append(_resolve(folder, item.get("href")))
    return pages, [(path, posixpath.dirname(path)) for path in (_resolve(folder, node.get("href")) for node in tables)]


def _labels(archive: Archive, tables: list[tuple[str, str]]) -> dict[str, str]:
    """Chapter file → its first name in the table of contents (EPUB 3 nav, or EPUB 2 ncx)."""
    labels: dict[str, str] = {}
    for path, folder in tables:
        if path not in archive:
            continue
        try:
            root = read_part(archive, path, "e-book")
        except DocumentError:
            continue  # the names are a convenience
        for node in _named(root, "a", "navPoint"):
            target, label = _link(node)
            if target and label:
                labels.setdefault(_resolve(folder, target), label)
    return labels


def _link(node: Any) -> tuple[str, str]:
    if node.get("href"):
        return node.get("href"), re.sub(r"\s+", " ", "".join(node.itertext())).strip()
    content, text = _named(node, "content"), _named(node, "text")
    if not content or not text:
        return "", ""
    return content[0].get("src") or "", re.sub(r"\s+", " ", text[0].text or "").strip()


def _book_title(package: Any) -> str:
    titles = _named(package, "title")
    return re.sub(r"\s+", " ", titles[0].text or "").strip() if titles else ""
