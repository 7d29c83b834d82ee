"""Anchors in what a language model wrote, however it wrote them.

Models put fences and prose around their JSON, leave commas at its end, stop in the middle, or choose another
shape than asked for. Whatever can be read without guessing is taken; the rest of a reply is left.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from unlearning.text.anchors import KINDS, Anchor

TERM_FIELDS = ("term", "expression", "original", "name", "anchor", "key", "source")
TRANSLATION_FIELDS = ("translations", "translation", "generic", "replacement", "replacements", "target", "value")
KIND_FIELDS = ("kind", "type", "category")
FIELDS = frozenset((*TERM_FIELDS, *TRANSLATION_FIELDS, *KIND_FIELDS))
THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
STRING = r'"(?:[^"\\]|\\.)*"'
PAIR = re.compile(rf"({STRING})\s*:\s*({STRING}|\[\s*{STRING}(?:\s*,\s*{STRING})*\s*\])")
SURROUNDINGS = " \t\r\n\"'“”‘’`*_"


def read_reply(reply: str) -> list[Anchor]:
    """The anchors in a reply, in its order; none where it holds nothing that can be read as anchors.

    Understood are a list of objects, an object that holds one, and an object of term → translation(s).
    """
    text = THINKING.sub("", reply)
    for value in _values(text):
        found = list(_anchors(value))
        if found:
            return found
    return []


def _values(text: str) -> Iterator[Any]:
    """What the text may mean as data, the fullest reading first."""
    for piece in _pieces(text):
        for written in (piece, TRAILING_COMMA.sub("", piece)):
            yield from _parsed(written)
    yield list(objects(text))
    yield dict(_pairs(text))


def _pieces(text: str) -> Iterator[str]:
    """The whole, what stands between fences, and what stands between the outermost brackets."""
    yield text
    yield from re.findall(r"```[a-zA-Z]*\s*\n?(.*?)```", text, re.DOTALL)
    for opening, closing in ("[]", "{}"):
        start, end = text.find(opening), text.rfind(closing)
        if 0 <= start < end:
            yield text[start : end + 1]


def _parsed(text: str) -> Iterator[Any]:
    try:
        yield json.loads(text)
    except (ValueError, RecursionError):
        try:
            yield ast.literal_eval(text.strip())  # {'term': 'Alice'}: data as Python writes it, never run
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return


def objects(text: str) -> Iterator[Any]:
    """Each object without objects inside: what is whole of a list that breaks off, or has one bad entry."""
    for match in re.finditer(r"\{[^{}]*\}", text):
        yield from _parsed(TRAILING_COMMA.sub("", match[0]))


def _pairs(text: str) -> Iterator[tuple[str, Any]]:
    """Each whole "term": "translation" of an object that breaks off."""
    for match in PAIR.finditer(text):
        try:
            term, translations = json.loads(match[1]), json.loads(match[2])
        except ValueError:
            continue
        if term.strip().lower() not in FIELDS:  # else an object of the form asked for, broken off
            yield term, translations


def _anchors(value: Any) -> Iterator[Anchor]:
    if isinstance(value, Mapping):
        term, translations = _field(value, TERM_FIELDS), _field(value, TRANSLATION_FIELDS)
        if term is not None and translations is not None:
            yield from _anchor(term, translations, _field(value, KIND_FIELDS))
        elif lists := [inner for inner in value.values() if isinstance(inner, list) and _has_objects(inner)]:
            for inner in lists:
                yield from _anchors(inner)
        elif len(value) == 1 and isinstance(next(iter(value.values())), Mapping):
            yield from _anchors(next(iter(value.values())))
        else:
            for key, inner in value.items():
                if str(key).strip().lower() not in FIELDS:
                    yield from _anchor(key, inner, None)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, (list, tuple)) and len(inner) in (2, 3):
                yield from _anchor(inner[0], inner[1], inner[2] if len(inner) == 3 else None)
            elif isinstance(inner, Mapping):
                yield from _anchors(inner)


def _has_objects(values: Iterable[Any]) -> bool:
    return any(isinstance(value, (Mapping, list, tuple)) for value in values)


def _field(fields: Mapping[Any, Any], names: Iterable[str]) -> Any:
    folded = {str(name).strip().lower(): value for name, value in fields.items()}
    return next((folded[name] for name in names if name in folded), None)


def _anchor(term: Any, translations: Any, kind: Any) -> Iterator[Anchor]:
    if isinstance(translations, str):
        translations = [translations]
    if not isinstance(term, str) or not isinstance(translations, (list, tuple)):
        return
    texts = [_plain(each) for each in translations if isinstance(each, str)]
    texts = [each for each in dict.fromkeys(texts) if each]
    if _plain(term) and texts:
        known = str(kind).strip().lower() if kind is not None else ""
        yield Anchor(_plain(term), tuple(texts), known if known in KINDS else "phrase")


def _plain(text: str) -> str:
    """Without the quotation marks and the asterisks that models like to put around words."""
    return " ".join(text.encode("utf-8", "ignore").decode("utf-8").strip(SURROUNDINGS).split())
