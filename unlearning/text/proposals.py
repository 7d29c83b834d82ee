"""Anchors proposed without a language model: a text's own expressions, and generic ones in their place.

    words → names, told from mere beginnings → candidates, ranked by how much they are the text's own
    → one replacement for each word, for the whole text → translations, put together word by word

The paper asked GPT-4 for its dictionary (WHP, section 2.2); `proposals_llm` does so too. This module needs
neither network nor model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.candidates import STAYS, Candidate, compounds, read, single_names
from unlearning.text.expressions import WORD
from unlearning.text.generics import Replacements
from unlearning.text.small_words import small_phrases, small_words
from unlearning.text.word_forms import plurals


def propose_offline(text: str, *, limit: int = 80, scores: Mapping[str, float] | None = None) -> Dictionary:
    """The expressions that are a text's own, each with one generic translation, the most telling first.

    Translations are of the same kind and of as many words, no two are alike, and no name or creature in
    them occurs in the text. A text without capitals, or in another script than Latin, gives few or none.

    Args:
        text: Any text.
        limit: Most anchors.
        scores: Word or expression → how much likelier the model finds it after reinforcement (natural log of
            the ratio). Raises likely expressions, lowers unlikely ones, lets common words in.
    """
    candidates = _without_covered(_candidates(text, scores or {}))[: max(0, limit)]
    used = Counter(part.lower() for word in WORD.findall(text) for part in {word, *word.split("-")})
    return Dictionary(tuple(_translate(candidates, used)))


def _candidates(text: str, scores: Mapping[str, float]) -> list[Candidate]:
    """All candidates of a text, the surest first."""
    reading = read(text, scores)
    found = [*single_names(reading), *compounds(reading)]
    if reading.language == "en":
        known = {key for each in found for key in each.keys}
        found += [*small_words(reading, known), *small_phrases(reading)]
    return sorted(found, key=lambda each: (-each.score, each.term))


def _without_covered(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Without compounds whose every word is an anchor itself (WHP's clean-up), which say nothing new."""
    single = {each.keys[0] for each in candidates if len(each.words) == 1}
    return [each for each in candidates if len(each.words) == 1 or not single.issuperset(each.keys)]


def _translate(candidates: Sequence[Candidate], used: Mapping[str, int]) -> Iterable[Anchor]:
    keys = {key for each in candidates for key in each.keys}
    replacements = Replacements(used, avoided=keys | {form for key in keys for form in plurals(key)})
    # Words that are anchors by themselves choose first: "Hatter" decides for "Mad Hatter".
    translations: dict[str, str] = {}
    for each in sorted(candidates, key=lambda each: len(each.words)):
        translation = _translation(each, replacements)
        if translation and translation not in translations.values():
            translations[each.term] = translation
    for each in candidates:
        if each.term in translations:
            yield Anchor(each.term, (translations[each.term],), each.kind)


def _translation(candidate: Candidate, replacements: Replacements) -> str:
    """A candidate with each word replaced, or "" where the pools have nothing left for one."""
    new, place = "", 0
    for word, word_class in zip(candidate.words, candidate.classes, strict=True):
        replacement: str | None = word
        if word_class != STAYS:
            replacement = replacements.choose(word.lower(), *word_class)
        if replacement is None:
            return ""
        start = candidate.term.index(word, place)
        new += candidate.term[place:start] + _like(word, replacement)
        place = start + len(word)
    return new + candidate.term[place:]


def _like(word: str, replacement: str) -> str:
    if word.isupper() and len(word) > 1:
        return replacement.upper()
    return replacement[:1].upper() + replacement[1:] if word[:1].isupper() else replacement.lower()
