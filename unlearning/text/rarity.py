"""How rare a word is in its language (Robyn Speer's wordfreq lists), and which language a text is in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

# Languages in Latin letters for which wordfreq has a list; the pools of replacements are Latin names too.
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl", "cs", "ro", "hu", "tr", "ca", "id")
COMMON = 4.2  # Zipf value from which everybody knows a word
UNSEEN = 0.0  # Zipf value of a word that no list has
SAMPLE = 20_000  # words that are enough to tell a language


@lru_cache(maxsize=4)
def _frequencies(language: str, wordlist: str) -> dict[str, float]:
    from wordfreq import get_frequency_dict

    frequencies: dict[str, float] = get_frequency_dict(language, wordlist)
    return frequencies


def zipf(word: str, language: str) -> float:
    """log10 of a word's occurrences in a thousand million words: "the" 7.7, "alice" 4.3, "dormouse" 2.0.

    Of a word with hyphens, the value of its rarest part: the lists know parts only.
    """
    if not language:
        return UNSEEN
    frequencies = _frequencies(language, "best")
    parts = word.lower().replace("’", "'").split("-")
    rarest = min(frequencies.get(part, 0.0) for part in parts)
    return math.log10(rarest) + 9 if rarest else UNSEEN


def language_of(words: Sequence[str]) -> str:
    """The language whose commonest words the text uses most, as a code such as "en"; "" if none fits.

    Args:
        words: The words of the text in small letters.
    """
    counts = Counter(words[:SAMPLE])
    total = sum(counts.values())
    shares = {"en": _share(counts, "en")}
    if shares["en"] < 0.3 * total:
        shares |= {language: _share(counts, language) for language in LANGUAGES}
    best = max(shares, key=lambda language: shares[language])
    return best if shares[best] > 0.15 * total else ""


def _share(counts: Counter[str], language: str) -> int:
    from wordfreq import top_n_list

    return sum(counts[word] for word in top_n_list(language, 60, wordlist="small"))
