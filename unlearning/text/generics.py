"""Everyday words to stand in the place of a text's own: for a name a name, for a creature a creature.

The words are in `assets/generics.json`, our own lists. A class is a set of words that may stand for each
other without spoiling a sentence. A word gets one replacement for the whole text, so that "Elizabeth
Bennet", "Elizabeth" and "Miss Bennet" stay one family.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from unlearning.text.word_forms import article, plural, plurals

FILE = Path(__file__).parents[2] / "assets" / "generics.json"
# Classes so small, or so common, that a word of the text may serve again: then its rarest.
REUSABLE = frozenset(("colour", "number", "adjective", "month", "weekday", "building", "heading", "town", "estate",
                      "nature", "school", "office"))  # fmt: skip
KIND = {
    **dict.fromkeys(("given_male", "given_female", "surname"), "person"),
    **dict.fromkeys(("role_male", "role_female", "rank_male", "rank_female"), "person"),
    **dict.fromkeys(("place", "region", "heading", "building", "estate", "town", "nature", "school"), "place"),
    **dict.fromkeys(("mammal", "bird", "swimmer", "crawler", "mythical"), "creature"),
}
NAMES = frozenset(("given_male", "given_female", "surname", "place", "coined", "region"))


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return data


def _titles() -> dict[str, str]:
    return {word: gender for gender, words in _data()["titles"].items() for word in words}


TITLES: dict[str, str] = _titles()  # "mrs" → "female"; "dr" → "any"
NEVER = frozenset(_data()["never"])  # the names of everybody's world: London, Monday, God


@lru_cache(maxsize=1)
def classes() -> Mapping[str, tuple[str, ...]]:
    """Word in small letters → the classes that it belongs to, the more particular first."""
    found: dict[str, list[str]] = {}
    for source in ("recognised", "replacements"):
        for name, words in _data()[source].items():
            if name in ("surname", "place", "coined"):
                continue  # any word may be one of these; only its surroundings tell
            for word in words:
                found.setdefault(word.lower(), []).append(name)
    return {word: tuple(names) for word, names in found.items()}


def class_of(word: str, but: Iterable[str] = ()) -> tuple[str, bool]:
    """The first class of a word that is not in `but`, and whether the word is a plural. ("", False) if none."""
    excluded = frozenset(but)
    for singular, is_plural in ((word, False), *((each, True) for each in singulars(word))):
        for name in classes().get(singular, ()):
            if name not in excluded:
                return name, is_plural
    return "", False


def singulars(word: str) -> list[str]:
    """What a word may be the plural of: ladies → ladie, ladi, lady."""
    if len(word) < 4 or not word.endswith(("s", "men", "mice", "geese")) or word.endswith("ss"):
        return []
    ends = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"), ("mice", "mouse"), ("geese", "goose"))
    found = [word.removesuffix(end) + new for end, new in ends if word.endswith(end)]
    return found + ([word[:-1]] if word.endswith("s") else []) + ([word[:-2]] if word.endswith("es") else [])


@dataclass
class Replacements:
    """The replacement of each word of one text, chosen once and then kept.

    Args:
        used: Every word of the text in small letters, with its count.
    """

    used: Mapping[str, int]
    chosen: dict[str, str] = field(default_factory=dict)  # in small letters
    taken: set[str] = field(default_factory=set)
    avoided: set[str] = field(default_factory=set)  # words that are (parts of) anchors

    def choose(self, word: str, name: str, is_plural: bool = False) -> str | None:
        """The replacement of `word` (small letters) by a word of class `name`, or None when none is left."""
        if word not in self.chosen:
            pool = [each for each in _data()["replacements"].get(name, ()) if self._free(each)]
            unread = [each for each in pool if not self._count(each)]
            if not unread and name in REUSABLE and pool:
                unread = [min(pool, key=self._count)]
            if not unread:
                return None
            self._take(word, _pick(word, name, unread), is_plural)
        return self.chosen[word]

    def _free(self, word: str) -> bool:
        return word.lower() not in self.taken and word.lower() not in self.avoided

    def _count(self, word: str) -> int:
        forms = (word.lower(), *(form.lower() for form in plurals(word)))
        return sum(self.used.get(form, 0) for form in forms)

    def _take(self, word: str, replacement: str, is_plural: bool) -> None:
        self.taken |= {replacement.lower(), plural(replacement).lower()}
        self.chosen[word] = plural(replacement) if is_plural else replacement


def _pick(word: str, name: str, pool: list[str]) -> str:
    """A word of the pool, always the same for the same word, that keeps "a" or "an" right if one does.

    A name begins with another letter than the original where that can be.
    """
    if name in NAMES:
        pool = [each for each in pool if each[0].lower() != word[0]] or pool
    fits = [each for each in pool if article(each) == article(word)] or pool
    return fits[zlib.crc32(word.encode()) % len(fits)]
