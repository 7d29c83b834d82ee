"""Names in a text that may become anchors, with how much each is the text's own.

Names of one word ("Alice", "the Hatter"), and compounds, whose words say nothing by themselves ("March Hare",
"Queen of Hearts"). Words written small are in `small_words`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from unlearning.text.expressions import (
    Evidence,
    Word,
    find_runs,
    follow_names,
    gather,
    is_name,
    read_words,
    split_titles,
)
from unlearning.text.generics import KIND, NEVER, TITLES, class_of, singulars
from unlearning.text.grammar import BEFORE_PLACE, FIXED, INTERJECTIONS
from unlearning.text.kinds import GIVEN, GIVEN_CLASSES, class_of_name, is_person
from unlearning.text.rarity import COMMON, language_of, zipf
from unlearning.text.word_forms import plurals

PLACE_HEADS = frozenset(("heading", "building", "estate", "town", "nature", "school"))
STANDING = frozenset(("heading", "building", "estate", "school"))  # of these, those that are nobody's surname
CAPITAL_NOUNS = ("de",)  # languages that write every noun with a capital
LEAST = {"place": 2, "creature": 2, "coined": 4}  # occurrences of a name, by kind or class; else three

WordClass = tuple[str, bool]  # class of generic words, whether plural; ("", False): the word stays as it is
STAYS: WordClass = ("", False)


@dataclass(frozen=True)
class Candidate:
    """An expression that may become an anchor.

    Attributes:
        term: As it is written most often.
        words: Its words, small ones between included; the parts of a hyphenated word count as words.
        classes: For each word the class of words that may replace it.
        kind: One of the kinds of an anchor.
        score: How much it is this text's own.
    """

    term: str
    words: tuple[str, ...]
    classes: tuple[WordClass, ...]
    kind: str
    score: float

    @property
    def keys(self) -> tuple[str, ...]:
        """The words that are replaced, in small letters."""
        return tuple(word.lower() for word, each in zip(self.words, self.classes, strict=True) if each != STAYS)


@dataclass(frozen=True)
class Reading:
    """A text as its words, with what is known of each."""

    words: Sequence[Word]
    evidence: dict[str, Evidence]
    names: frozenset[str]
    compounds: Counter[tuple[str, ...]]  # words in small letters
    in_compounds: Counter[str]
    language: str
    scores: Mapping[str, float]

    def score(self, keys: Sequence[str], count: int) -> float:
        """How much more often an expression stands here than in its language, weighted by how often."""
        here = math.log10(count / len(self.words)) + 9
        rarest = min(zipf(key, self.language) for key in keys) - 0.5 * (len(keys) - 1)
        return count * max(0.3, here - rarest) * self._by_model(keys)

    def _by_model(self, keys: Sequence[str]) -> float:
        found = [self.scores[key] for key in (" ".join(keys), *keys) if key in self.scores]
        return 0.5 + min(max(found), 3.0) if found and max(found) > 0 else 0.5 if found else 1.0


def read(text: str, scores: Mapping[str, float]) -> Reading:
    """Read a text once, for all kinds of candidates.

    Args:
        text: Any text.
        scores: Word or expression → log-ratio of its probability after and before reinforcement.
    """
    words = read_words(text)
    language = language_of([word.key for word in words])
    evidence = gather(words, language)
    names = frozenset(key for key, each in evidence.items() if is_name(each) and _may_name(key, each, language))
    runs = list(find_runs(words, names))
    follow_names(words, runs, evidence, GIVEN, lambda key: _is_common(key, language))
    found: Counter[tuple[str, ...]] = Counter()
    for run in runs:
        _, parts = split_titles(words, run)
        keys = tuple(word.key for word in parts)
        if _is_compound(keys, evidence, language):
            found[keys] += 1
    inside: Counter[str] = Counter()
    for keys, count in found.items():
        inside.update(dict.fromkeys(keys, count))
    lower = {key.lower(): score for key, score in scores.items()}
    return Reading(words, evidence, names, found, inside, language, lower)


def is_worn(key: str) -> bool:
    """A word that is nobody's name, whatever its capitals."""
    return key in FIXED or len(key) < 2 or key in INTERJECTIONS or not key[0].isalpha()


def _may_name(key: str, evidence: Evidence, language: str) -> bool:
    """Whether a word with capitals is rare enough to be a name where its capitals alone do not prove it."""
    if is_worn(key) or key in GIVEN:
        return key in GIVEN
    if evidence.cases["inside"] == 0:  # only ever at a beginning
        return zipf(key, language) < COMMON
    if language in CAPITAL_NOUNS:
        bare = evidence.after_determiner < 0.2 * evidence.capital
        return zipf(key, language) < (4.6 if bare and evidence.capital >= 3 else 2.5)
    return True


# --- names ---------------------------------------------------------------------------------------


def single_names(reading: Reading) -> Iterator[Candidate]:
    """Names of one word that stand by themselves often enough."""
    counts = {key: reading.evidence[key].capital for key in reading.names}
    for key, count in counts.items():
        alone = count - reading.in_compounds[key]
        if key in NEVER or not _stands_alone(key, reading) or _is_plural_of(key, counts):
            continue
        if key in TITLES and reading.evidence[key].after_the < 0.3 * count and not reading.evidence[key].surname:
            continue
        candidate = _name(key, reading)
        name, _ = candidate.classes[-1]
        surely_person = key in GIVEN or reading.evidence[key].titled
        if alone >= (2 if surely_person else LEAST.get(name, LEAST.get(candidate.kind, 3))):
            yield candidate


def _is_plural_of(key: str, counts: Mapping[str, int]) -> bool:
    """Bennets, where there is a Bennet: an anchor covers its plural."""
    return any(counts.get(base, 0) >= counts[key] and key in plurals(base) for base in singulars(key))


def _name(key: str, reading: Reading) -> Candidate:
    evidence = reading.evidence[key]
    word_class = class_of_name(key, evidence)
    if word_class[0] == "coined" and reading.language != "en":
        word_class = ("surname", False)  # the verbs that tell a person are known for English only
    kind = KIND.get(word_class[0], "thing")
    term = max(evidence.written, key=lambda text: (evidence.written[text], text))
    words = parts_of(term)
    classes = (word_class,) if len(words) == 1 else part_classes(words, reading, word_class)
    return Candidate(term, words, classes, kind, reading.score([key], evidence.capital))


def parts_of(word: str) -> tuple[str, ...]:
    """The parts of a word with hyphens, or the word itself where the lists know it: guinea-pig."""
    return (word,) if class_of(word.lower())[0] else tuple(word.split("-"))


# --- compounds -----------------------------------------------------------------------------------


def _is_compound(keys: Sequence[str], evidence: Mapping[str, Evidence], language: str) -> bool:
    """Whether a run means one thing as a whole, unlike first and last names: March Hare, Queen of Hearts."""
    names = [key for key in keys if key not in FIXED]
    if len(names) < 2 or len(keys) > 6 or any(is_worn(key) for key in names):
        return False
    if all(key in NEVER for key in names):
        return False
    if keys[0] in BEFORE_PLACE and len(keys) == 2:
        return True
    if class_of(names[-1], GIVEN_CLASSES)[0] in STANDING and keys[-1] == names[-1]:
        return True  # Lucas Lodge
    if any(key in GIVEN and evidence[key].surname <= evidence[key].given for key in names):
        return False
    return any(_is_common(key, language) for key in names)


def _is_common(key: str, language: str) -> bool:
    """Whether a word means something by itself, besides being a name."""
    return bool(class_of(key, GIVEN_CLASSES)[0]) or zipf(key, language) >= COMMON


def compounds(reading: Reading) -> Iterator[Candidate]:
    """Names of several words, of which some word has another meaning by itself."""
    for keys, count in reading.compounds.items():
        if count < (1 if "of" in keys and keys[0] in reading.names else 2):
            continue
        if _is_place_of_a_name(keys, reading):
            continue
        words = tuple(_in_compound(key, reading) for key in keys)
        classes = part_classes(words, reading)
        head = classes[-1 if classes[0] == STAYS else _head(keys)][0]
        names = [key for key in keys if key not in FIXED]
        yield Candidate(" ".join(words), words, classes, KIND.get(head, "phrase"), reading.score(names, count))


def _in_compound(key: str, reading: Reading) -> str:
    written = reading.evidence[key].written
    if key in FIXED or not written:
        return key
    return max(written, key=lambda text: (written[text], text))


def _is_place_of_a_name(keys: Sequence[str], reading: Reading) -> bool:
    """Rosings Park, where Rosings is a name by itself: that anchor is enough."""
    others = [key for key in keys if key not in FIXED and class_of(key)[0] not in PLACE_HEADS]
    return 0 < len(others) < len(keys) and all(key in reading.names and _stands_alone(key, reading) for key in others)


def _stands_alone(key: str, reading: Reading) -> bool:
    """Whether a name occurs by itself often enough to be one, not merely within a compound (March, Hare)."""
    count = reading.evidence[key].capital
    return count - reading.in_compounds[key] >= max(2, 0.15 * count)


def _head(keys: Sequence[str]) -> int:
    """The place of the word that says what the thing is: the last, or the one before "of"."""
    return next((place - 1 for place, key in enumerate(keys) if key == "of" and place), len(keys) - 1)


def part_classes(words: Sequence[str], reading: Reading, whole: WordClass = STAYS) -> tuple[WordClass, ...]:
    """The class of each word of an expression; that of its head is `whole` where that is known."""
    keys = [word.lower() for word in words]
    if keys[0] in BEFORE_PLACE and len(keys) == 2:
        return STAYS, ("place", False)
    head = _head(keys)
    classes = [STAYS if key in FIXED or key.isdigit() else _noun(key) for key in keys]
    if whole != STAYS:
        classes[head] = whole
    for place, key in enumerate(keys):
        if classes[place] != STAYS and place < head:
            classes[place] = _modifier(key, classes[head][0], reading)
    return tuple(classes)


def _noun(key: str) -> WordClass:
    name, is_plural = class_of(key, but=(*GIVEN_CLASSES, "adjective", "month", "colour"))
    if not name and class_of(key.rpartition("-")[2])[0] == "number":
        return "number", False  # Rule Forty-Two
    if name:
        return name, is_plural
    is_plural = key.endswith(("s", "men")) and not key.endswith("ss")
    return ("role_male" if is_person(key) else "thing"), is_plural


def _modifier(key: str, head: str, reading: Reading) -> WordClass:
    name, is_plural = class_of(key, but=GIVEN_CLASSES)
    if name:
        return name, is_plural
    evidence = reading.evidence.get(key)
    if evidence is None or evidence.cases["lower"] or zipf(key, reading.language) >= COMMON:
        return "adjective", False
    return ("place" if head in PLACE_HEADS else "region" if KIND.get(head) == "creature" else "coined"), False
