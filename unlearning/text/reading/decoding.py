"""Bytes to text: byte-order marks, UTF-8, UTF-16, Windows code pages, and what is no text at all."""

from __future__ import annotations

import codecs
import re
from collections import Counter

from unlearning.errors import DocumentError

# Longest mark first: UTF-32-LE begins with UTF-16-LE's mark.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# How other kinds of file begin, for saying what a wrongly named one is.
SIGNATURES = (
    (b"%PDF-", "a PDF", "Give it the suffix .pdf."),
    (b"PK\x03\x04", "a zip archive (docx and epub files are such)", "Give it its own suffix: .docx or .epub."),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Word file", "Save it as .docx or .txt."),
    (b"{\\rtf", "a rich text file", "Save it as .docx or .txt."),
    (b"\x89PNG", "a PNG picture", "Give a text, not a picture."),
    (b"\xff\xd8\xff", "a JPEG picture", "Give a text, not a picture."),
    (b"GIF8", "a GIF picture", "Give a text, not a picture."),
    (b"\x1f\x8b", "a gzip file", "Unpack it first."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it first."),
    (b"Rar!", "a rar archive", "Unpack it first."),
    (b"\x7fELF", "a program", "Give a text, not a program."),
    (b"MZ\x90", "a program", "Give a text, not a program."),
)

SAMPLE_BYTES = 256_000  # enough to tell an encoding by
MOST_CONTROL = 0.005  # share of control characters above which a file is no text
WESTERN_MOST = 0.06  # share of accented letters up to which an 8-bit file is taken for a western language
WORDS_LOOKED_UP = 200
WESTERN_LANGUAGES = ("fr", "de", "es", "pt", "it", "sv", "da")
# The pages in use, the likelier first; left to itself the detector prefers rare ones.
CODE_PAGES = "cp1250 cp1251 cp1253 cp1254 cp1255 cp1256 cp1257 iso8859_2 koi8_r gb18030 big5 cp932 euc_jp cp949".split()
DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""")
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# Symbols of Windows-1252 that never stand beside a letter of a word in it; they do when it is the wrong guess.
ODD_IN_WORDS = re.compile(r"(?<=[^\W\d_])[¡-©«-´¶-¹»-¿×÷]+(?=[^\W\d_])|\ufffd")


def decode(data: bytes, name: str, *, declares: bool = False) -> tuple[str, str]:
    """Text of a file in whatever encoding it is.

    Args:
        data: The whole file.
        name: What to call it in an error.
        declares: The format may state its encoding in its first lines (HTML, XML).

    Returns:
        The text and the encoding's name.

    Raises:
        DocumentError: the bytes are no text.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _strictly(data, encoding, name), encoding.removesuffix("-sig")
    _refuse_signature(data, name)
    if wide := _wide_encoding(data):
        text, encoding = _strictly(data, wide, name), wide
    elif b"\x00" in data[:SAMPLE_BYTES]:
        raise _binary(name)
    else:
        text, encoding = _narrow(data, declares)
    sample = text[:SAMPLE_BYTES]
    if len(CONTROL.findall(sample)) > max(2, MOST_CONTROL * len(sample)):
        raise _binary(name)
    return text, encoding


def _binary(name: str, what: str = "", mend: str = "") -> DocumentError:
    said = f"it begins like {what}" if what else "it holds binary data"
    return DocumentError(f"'{name}' is not a text file: {said}.", mend or "Give a text file, or the right suffix.")


def _refuse_signature(data: bytes, name: str) -> None:
    for start, what, mend in SIGNATURES:
        if data.startswith(start):
            raise _binary(name, what, mend)


def _strictly(data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"'{name}' says that it is {encoding} but breaks off or is damaged at byte {error.start:,}.",
            "Save it again, as UTF-8.",
        ) from None


def _wide_encoding(data: bytes) -> str:
    """UTF-16 without a mark: the upper byte is the same, or zero, in nearly every character of an alphabet."""
    sample = data[: SAMPLE_BYTES // 2 * 2]
    if len(data) % 2 or b"\x00" not in sample:
        return ""
    for upper, lower, encoding in ((1, 0, "utf-16-le"), (0, 1, "utf-16-be")):
        uppers, zeros = Counter(sample[upper::2]), sample[lower::2].count(0)
        alphabet = uppers.pop(0, 0) + max(uppers.values(), default=0)
        if alphabet >= 0.9 * (len(sample) // 2) and zeros < 0.02 * len(sample):
            return encoding
    return ""


def _narrow(data: bytes, declares: bool) -> tuple[str, str]:
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    if declares and (found := DECLARED.search(data[:2000])):
        try:
            # HTML means Windows-1252 where it says Latin-1 (the WHATWG rule).
            declared = codecs.lookup(found[1].decode("ascii")).name
            declared = "cp1252" if declared in ("iso8859-1", "ascii") else declared
            return data.decode(declared), declared
        except (LookupError, UnicodeDecodeError):
            pass
    if mostly := _mostly_utf8(data):
        return mostly, "utf-8 (damaged)"
    return _eight_bit(data)


def _mostly_utf8(data: bytes) -> str:
    """UTF-8 with a few broken bytes, as files cut off or pasted together have."""
    text = data.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    good = sum(1 for character in text[:SAMPLE_BYTES] if character > "\x7f" and character != "\ufffd")
    return text if good and broken <= 0.1 * good else ""


def _eight_bit(data: bytes) -> tuple[str, str]:
    western = data.decode("cp1252", errors="replace")
    if _is_western(western[:SAMPLE_BYTES]):
        return western, "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(data[:SAMPLE_BYTES], cp_isolation=list(CODE_PAGES)).best()
    if best is None:
        return western, "cp1252"
    return data.decode(best.encoding, errors="replace"), best.encoding


def _is_western(text: str) -> bool:
    """Whether a text read as Windows-1252 makes sense in it.

    The detector often takes French for Hungarian, both in 8-bit pages that differ in a few letters. Texts
    with few accents are taken for western at once; others if half their accented words are in a dictionary.
    """
    if ODD_IN_WORDS.search(text):
        return False
    letters = sum(map(str.isalpha, text))
    accented = sum(1 for character in text if character > "\x7f" and character.isalpha())
    if accented <= WESTERN_MOST * letters:
        return True
    from wordfreq import zipf_frequency

    words = {word.casefold() for word in re.findall(r"[^\W\d_]{3,}", text) if not word.isascii()}
    words = set(sorted(words)[:WORDS_LOOKED_UP])
    return any(
        sum(zipf_frequency(word, language, wordlist="small") > 0 for word in words) >= 0.5 * len(words)
        for language in WESTERN_LANGUAGES
    )
