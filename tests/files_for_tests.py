"""Documents of the formats that are not plain text, made byte by byte.

Written by hand so that each test says what is in its file, and that a file can be as broken as it needs to be.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence

# (x, y, size of the letters, text), in points from the lower left corner of the page
Placed = tuple[float, float, float, str]


def zip_of(members: dict[str, str | bytes]) -> bytes:
    """A zip file with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def pdf_of(pages: Sequence[Sequence[Placed]], title: str = "") -> bytes:
    """A PDF with text at these places; a page without any is what a scan looks like to a program."""
    font = len(pages) * 2 + 3
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode()]
    for number, page in enumerate(pages):
        content = b"\n".join(map(_shown, page))
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {4 + 2 * number} 0 R "
            f"/Resources << /Font << /F1 {font} 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Times-Roman /Encoding /WinAnsiEncoding >>")
    objects.append(b"<< /Title (%s) >>" % _escaped(title))
    return _pdf_file(objects, info=font + 1)


def _shown(placed: Placed) -> bytes:
    x, y, size, text = placed
    return b"BT /F1 %g Tf 1 0 0 1 %g %g Tm (%s) Tj ET" % (size, x, y, _escaped(text))


def _escaped(text: str) -> bytes:
    return text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _pdf_file(objects: Iterable[bytes], info: int) -> bytes:
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (len(offsets) + 1, info)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % table)


def printed_pages(text: str, head: str = "", lines: int = 30, width: int = 72) -> list[list[Placed]]:
    """Pages of a book as a printer sets them: indents, wrapped lines; with a head, page numbers too.

    A paragraph that begins with "# " is a heading in larger letters on a new page.
    """
    import textwrap

    pages: list[list[Placed]] = []
    furniture = 2 if head else 0

    def put(x: float, size: float, line: str, new_page: bool = False) -> None:
        if new_page or not pages or len(pages[-1]) - furniture >= lines:
            pages.append([(250.0, 810.0, 9.0, head), (295.0, 30.0, 9.0, str(len(pages) + 1))][:furniture])
        pages[-1].append((x, 780 - 14 * (len(pages[-1]) - furniture), size, line))

    for paragraph in text.split("\n\n"):
        if paragraph.startswith("# "):
            put(72, 18, paragraph[2:], new_page=True)
            continue
        for index, line in enumerate(textwrap.wrap(paragraph, width, initial_indent="    ")):
            put(72 if index else 90, 11, line.strip())
    return pages


def docx_of(body: str, styles: str = "", **members: str) -> bytes:
    """A Word document with this XML as its body and style definitions."""
    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    return zip_of(
        {
            "[Content_Types].xml": "<Types/>",
            "word/document.xml": f'<?xml version="1.0"?><w:document {w}><w:body>{body}</w:body></w:document>',
            "word/styles.xml": f'<?xml version="1.0"?><w:styles {w}>{styles}</w:styles>',
            **members,
        }
    )


def word_paragraph(text: str, style: str = "") -> str:
    """XML of one paragraph of a Word document."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


def epub_of(pages: dict[str, str], spine: Sequence[str], title: str = "", **more: str | bytes) -> bytes:
    """An e-book: file name → XHTML body (or a whole document), in the order of `spine`."""
    items = "".join(f'<item id="{name}" href="{name}" media-type="application/xhtml+xml"/>' for name in pages)
    items += '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
    order = "".join(f'<itemref idref="{name}"/>' for name in spine)
    package = (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata><dc:title>{title}</dc:title></metadata><manifest>{items}</manifest><spine>{order}</spine></package>"
    )
    container = '<container><rootfiles><rootfile full-path="OEBPS/content.opf"/></rootfiles></container>'
    members: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": container,
        "OEBPS/content.opf": package,
        **{f"OEBPS/{name}": body if body.startswith("<?xml") else _page(body) for name, body in pages.items()},
    }
    return zip_of({**members, **{name.replace("__", "/"): data for name, data in more.items()}})


def _page(body: str) -> str:
    return f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body>{body}</body></html>'
