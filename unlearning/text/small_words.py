"""Words that a text writes small and that are its own all the same: hookah, rabbit-hole, golden key.

For English only: a replacement must fit in grammar, so the word must be a noun, and that is told by the
articles before it and the small words after it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache

from unlearning.text.candidates import Candidate, Reading, is_worn, part_classes, parts_of
from unlearning.text.expressions import Word
from unlearning.text.generics import KIND, class_of, singulars
from unlearning.text.grammar import FIXED
from unlearning.text.kinds import GIVEN_CLASSES
from unlearning.text.rarity import COMMON, UNSEEN, zipf
from unlearning.text.word_forms import plurals

WEIGHT = 0.5  # words written small are less surely the text's own than names
LIKELIER = 1.0  # log-ratio of reinforced to baseline from which a common noun counts as the text's own
# Endings of words that are no nouns, or name nothing that another thing could stand for.
ABSTRACT = re.compile(
    r"(?:ness|ity|ties|tion|tions|sion|ment|ments|ance|ence|ship|hood|ism|ly|ing|ings|ed|ous|ful|able|ible|ive|acy|"
    r"tude|age|dom|month|ure|th|ial|al|ic|ish|some|ies)\Z"
)
# log10 of how much more often than in English a noun must stand here: of a kind that the lists know, a role
# (many novels have a housekeeper), any other.
SURPRISE = {"known": 2.0, "role": 2.4, "other": 2.5}


def small_words(reading: Reading, known: set[str]) -> Iterator[Candidate]:
    """Nouns, with their plurals, that the text uses far more than its language does.

    Args:
        reading: The text.
        known: Words that are candidates already; neither they nor their plurals are proposed again.
    """
    for key in reading.evidence:
        forms = _forms(key, reading)
        if forms[0] != key or is_worn(key) or not known.isdisjoint((*forms, *singulars(key))):
            continue
        counts = [reading.evidence[form] for form in forms]
        small = sum(each.cases["lower"] for each in counts)
        if (
            small >= 3
            and small >= 0.8 * (small + sum(each.cases["inside"] for each in counts))
            and _is_own(forms, small, reading)
        ):
            words = parts_of(key)
            classes = part_classes(words, reading)
            kind = KIND.get(classes[-1][0], "thing")
            yield Candidate(key, words, classes, kind, WEIGHT * reading.score([key], small))


def _forms(key: str, reading: Reading) -> list[str]:
    """The singular and the plural of a word, as far as the text has them written small, singular first."""
    singular = next((each for each in singulars(key) if _is_written_small(each, reading)), key)
    return [singular, *(form for form in plurals(singular) if _is_written_small(form, reading))]


def _is_written_small(key: str, reading: Reading) -> bool:
    return key in reading.evidence and reading.evidence[key].cases["lower"] > 0


def _is_own(forms: Sequence[str], count: int, reading: Reading) -> bool:
    """Whether a noun written small, in its forms, is this text's rather than the language's."""
    key, counts = forms[0], [reading.evidence[form] for form in forms]
    after_determiner = sum(each.after_determiner for each in counts)
    if reading.scores.get(key, 0.0) >= LIKELIER:
        return after_determiner >= 0.4 * count
    if zipf(key, "en") >= COMMON:
        return False
    surprise = math.log10(count / len(reading.words)) + 9 - max(zipf(form, "en") for form in forms)
    if "-" in key:
        abstract = any(part in FIXED or ABSTRACT.search(part) for part in key.split("-"))
        return not abstract and after_determiner >= 0.5 * count
    name, _ = class_of(key, GIVEN_CLASSES)
    least = SURPRISE["role" if KIND.get(name) == "person" else "known" if name else "other"]
    if name:
        return count >= 4 and after_determiner >= 0.5 * count and surprise > least
    if zipf(key, "en") == UNSEEN:
        return count >= 3 and after_determiner >= 0.4 * count and ABSTRACT.search(key) is None
    surely_noun = sum(each.noun for each in counts) >= 0.7 * count
    return count >= 4 and surprise > least and surely_noun and ABSTRACT.search(key) is None


def small_phrases(reading: Reading) -> Iterator[Candidate]:
    """Adjective and noun, noun and noun, that keep together: golden key, mock turtle soup."""
    phrases = {keys: count for keys, count in _phrases(reading.words).items() if count >= 4}
    for keys, count in phrases.items():
        longer = sum(other for more, other in phrases.items() if len(more) > len(keys) and set(keys) <= set(more))
        rarest = min(reading.evidence[key].cases["lower"] for key in keys)
        if count - longer >= 3 and count >= 0.25 * rarest:
            classes = part_classes(keys, reading)
            yield Candidate(" ".join(keys), keys, classes, "phrase", WEIGHT * reading.score(keys, count))


def _phrases(words: Sequence[Word]) -> Counter[tuple[str, ...]]:
    """Two or three words in a row, all of classes that can be replaced, the last of them a noun."""
    fits = [word.case == "lower" and _replaceable(word.key) for word in words]
    found: Counter[tuple[str, ...]] = Counter()
    for start in range(len(words) - 1):
        for end in (start + 2, start + 3):
            if end > len(words) or not all(fits[start:end]) or words[end - 1].gap != " ":
                break
            if class_of(words[end - 1].key, (*GIVEN_CLASSES, "adjective", "colour", "number"))[0]:
                found[tuple(word.key for word in words[start:end])] += 1
    return found


@lru_cache(maxsize=100_000)
def _replaceable(key: str) -> bool:
    return bool(class_of(key, (*GIVEN_CLASSES, "number"))[0])
