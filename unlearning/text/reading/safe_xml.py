"""XML from strangers: no entity of its own is expanded, nothing is fetched."""

from __future__ import annotations

import html
import re
from typing import Any

from unlearning.errors import DocumentError
from unlearning.text.reading.archive import Archive
from unlearning.text.reading.decoding import decode

XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
DOCTYPE_WITHIN = 2000  # a document type stands in the first characters or nowhere
DOCTYPE = re.compile(r"<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>", re.IGNORECASE | re.DOTALL)
ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31});")
XML_ENTITIES = frozenset(("amp", "lt", "gt", "quot", "apos"))


def without_doctype(text: str) -> str:
    """Text without its XML declaration and document type, and so without entities that it defines."""
    text = XML_DECLARATION.sub("", text)
    at = text[:DOCTYPE_WITHIN].upper().find("<!DOCTYPE")
    found = DOCTYPE.match(text, at) if at >= 0 else None
    return text[: found.start()] + text[found.end() :] if found else text


def parse_xml(text: str) -> Any:
    """Root of an XML document; HTML's named characters (&nbsp;) become what they stand for.

    Raises:
        lxml.etree.XMLSyntaxError: it is not well formed, or uses an entity that it defined itself.
    """
    from lxml import etree

    text = ENTITY.sub(_named_character, without_doctype(text))
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=True)
    return etree.fromstring(text.encode("utf-8", errors="replace"), parser)


def _named_character(found: re.Match[str]) -> str:
    if found[1] in XML_ENTITIES:
        return found[0]
    character = html.unescape(found[0])
    return found[0] if character == found[0] else html.escape(character, quote=False)


def read_part(archive: Archive, path: str, what: str) -> Any:
    """Root of an XML member of an archive.

    Args:
        archive: The file it is part of.
        path: The member's name.
        what: What the archive ought to be, for the error.

    Raises:
        DocumentError: it is missing or cannot be parsed.
    """
    from lxml import etree

    try:
        return parse_xml(decode(archive.read(path), archive.name, declares=True)[0])
    except (etree.XMLSyntaxError, ValueError):
        raise DocumentError(
            f"'{archive.name}' is a damaged {what}: its part '{path}' cannot be read.", "Download or save it again."
        ) from None


def local_name(node: Any) -> str:
    """An element's name without its name space; empty for comments and the like."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
