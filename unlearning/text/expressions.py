"""The words of a text with what surrounds each, and the expressions that it writes like names.

Capitals are the strongest sign of a name, once those are set aside that only mark a beginning: of a
sentence, a quotation, a line of verse, a heading. A word that is mostly written small elsewhere is a
common word ("The"), one that keeps its capital inside sentences is a name ("the Hatter").
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from unlearning.text.generics import TITLES
from unlearning.text.grammar import (
    ABBREVIATIONS,
    ARTICLES,
    BEFORE_AT,
    BEFORE_EITHER,
    BEFORE_GIVEN,
    CLOSED,
    CONNECTORS,
    DETERMINERS,
    FOLLOWED_BY_PERSON,
    HE,
    PARTICLES,
    PERSON_VERBS,
    PLACE_PREPOSITIONS,
    SHE,
)

WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
BEGINS = re.compile(r"[.!?:;…\n\"“”„«»‘’`'(\[*—–]|--")  # in the gap before a word: its capital may mean nothing
HEADING = re.compile(r"(?:\A|\n[ \t]*\n)([^\n]{2,90}(?:\n[^\n]{2,90})?)(?=\n[ \t]*\n|\n?\Z)")
ENDING = re.compile(r"['’](?:s|ll|d|ve|re|m)\Z")  # Alice's, Dinah'll
HE_OR_SHE = frozenset(title for title, gender in TITLES.items() if gender != "any")
LOOK_AHEAD = 14  # words after a name in which a pronoun is taken to mean it

Case = Literal["lower", "inside", "opening", "capitals"]


class Word(NamedTuple):
    """One word; `gap` is what stands between it and the word before, `case` how it is written."""

    text: str  # without an ending such as 's
    key: str  # the same in small letters
    gap: str
    case: Case
    ended: bool  # whether it had such an ending


@dataclass
class Evidence:
    """How often a word stands in each of the ways that tell its kind."""

    cases: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)  # its spellings with a capital
    after_the: int = 0
    after_determiner: int = 0
    noun: int = 0  # after a determiner and before a mark or a small word: used as a noun
    place: int = 0  # after "in", "at", "near", …
    way: int = 0  # after "to", "from", "of"
    person: int = 0  # beside a verb of speaking or doing, or with a possessive
    given: int = 0  # in the place of a first name
    surname: int = 0  # in the place of a last name
    titled: int = 0  # after "Mr", "Dr", …
    first_names: set[str] = field(default_factory=set)  # that stand before it
    broken: int = 0  # before a dash without a blank: part of a word drawn out, "Beau--ootiful"
    he: int = 0
    she: int = 0

    @property
    def capital(self) -> int:
        return self.cases["inside"] + self.cases["opening"]


class Run(NamedTuple):
    """Capitalised words in a row, with the small words between them: words[first:last]."""

    first: int
    last: int


def read_words(text: str) -> list[Word]:
    """All words of a text, in order."""
    headings = _headings(text)
    words: list[Word] = []
    end, before, heading = 0, "", 0
    for match in WORD.finditer(text):
        found, gap, start = match[0], text[end : match.start()], match.start()
        bare = ENDING.sub("", found) if "'" in found or "’" in found else found
        while heading < len(headings) and headings[heading][1] <= start:
            heading += 1
        in_heading = heading < len(headings) and headings[heading][0] <= start
        case = _case(bare, gap, before, in_heading)
        words.append(Word(bare, bare.lower(), gap, case, bare != found))
        end, before = match.end(), bare
    return words


def _case(word: str, gap: str, before: str, in_heading: bool) -> Case:
    first = word[0]
    if first == first.lower():
        return "lower"
    if len(word) > 1 and word.isupper():
        return "capitals"
    abbreviated = gap[:1] == "." and gap[1:].isspace() and (before.lower() in ABBREVIATIONS or len(before) == 1)
    opening = in_heading or not before or (BEGINS.search(gap) is not None and not abbreviated)
    return "opening" if opening else "inside"


def _headings(text: str) -> list[tuple[int, int]]:
    """Spans of the short paragraphs in which most words have a capital."""
    spans = []
    for match in HEADING.finditer(text):
        long_words = [word for word in WORD.findall(match[1]) if len(word) > 3]
        capitals = sum(word[0].isupper() for word in long_words)
        if long_words and capitals > 0.6 * len(long_words) and not match[1].rstrip().endswith((".", "!", "?", ",")):
            spans.append(match.span(1))
    return spans


def gather(words: Sequence[Word], language: str = "en") -> dict[str, Evidence]:
    """What the surroundings of each word say about it, over the whole text."""
    found: dict[str, Evidence] = defaultdict(Evidence)
    places = frozenset(PLACE_PREPOSITIONS.get(language, "").split())
    determiners = frozenset(DETERMINERS.get(language, "").split())
    for index, word in enumerate(words):
        evidence = found[word.key]
        evidence.cases[word.case] += 1
        before = words[index - 1].key if index and word.gap.isspace() else ""
        after = words[index + 1] if index + 1 < len(words) else None
        if before in determiners:
            evidence.after_determiner += 1
            evidence.after_the += before in ARTICLES
            evidence.noun += after is None or after.gap[0] in ".;:!?)" or after.key in CLOSED or word.ended
        if word.case == "lower":
            continue
        evidence.written[word.text] += word.case != "capitals"
        looked = before == "at" and index > 1 and words[index - 2].key in BEFORE_AT
        evidence.place += before in places and not looked
        evidence.way += before in ("to", "from", "of")
        evidence.broken += after is not None and after.gap in ("-", "--", "—", "–")
        acts = after is not None and after.gap == " " and after.key in PERSON_VERBS
        evidence.person += acts or word.ended or before in FOLLOWED_BY_PERSON
    return found


def is_name(evidence: Evidence) -> bool:
    """Whether a word is mostly written with a capital where no rule of writing asks for one."""
    inside, lower = evidence.cases["inside"], evidence.cases["lower"]
    if evidence.broken > 0.5 * evidence.capital:
        return False
    if inside == 0:
        return evidence.cases["opening"] >= 3 and lower == 0
    return inside >= 0.6 * (inside + lower) or (inside >= 5 and inside > 0.45 * (inside + lower))


def find_runs(words: Sequence[Word], names: frozenset[str]) -> Iterator[Run]:
    """Runs of capitalised words; at a beginning, common words ("Poor Alice") are left out."""
    index = 0
    while index < len(words):
        if not _starts_run(words[index], names):
            index += 1
            continue
        last = index + 1
        while not words[last - 1].ended and (step := _next_in_run(words, last, names)):
            last += step
        yield Run(index, last)
        index = last


def _starts_run(word: Word, names: frozenset[str]) -> bool:
    return word.case == "inside" or (word.case in ("opening", "capitals") and word.key in names)


def _next_in_run(words: Sequence[Word], at: int, names: frozenset[str]) -> int:
    """How many words from `at` on belong to the run before: 0 at its end."""
    for small in range(3):  # that many connecting words, then one with a capital
        if at + small >= len(words):
            return 0
        word = words[at + small]
        abbreviated = word.gap == ". " and words[at + small - 1].key in ABBREVIATIONS
        if not (word.gap in (" ", "\n") or abbreviated):
            return 0
        if word.case != "lower":
            between = " ".join(each.key for each in words[at : at + small])
            fits = not between or between in CONNECTORS or between in PARTICLES
            return small + 1 if fits and (word.case == "inside" or word.key in names) else 0
    return 0


def split_titles(words: Sequence[Word], run: Run) -> tuple[str, list[Word]]:
    """The title that opens a run ("mr", or ""), and the capitalised words after it."""
    inside = list(words[run.first : run.last])
    title = ""
    while len(inside) > 1 and inside[0].key in TITLES and inside[1].case != "lower":
        title = title if title in HE_OR_SHE else inside[0].key
        inside = inside[1:]
    return title, inside


def follow_names(
    words: Sequence[Word],
    runs: Sequence[Run],
    found: dict[str, Evidence],
    given: frozenset[str],
    is_common: Callable[[str], bool],
) -> None:
    """Add to the evidence what titles, places in a run and the next pronoun say of a name.

    Args:
        words: The words of the text.
        runs: The runs of names in it.
        found: The evidence so far; changed.
        given: Known first names.
        is_common: Whether a word has a meaning of its own, so that it is no last name after an unknown first one.
    """
    starts = {run.first for run in runs}
    for run in runs:
        title, parts = split_titles(words, run)
        names = [word for word in parts if word.case != "lower"]
        key = names[-1].key
        if len(names) > 1 and (names[0].key in given or not any(is_common(name.key) for name in names)):
            found[names[0].key].given += 1
            found[key].surname += 1
            found[key].first_names.add(names[0].key)
        elif title in BEFORE_GIVEN:
            found[names[0].key].given += 1
        elif title and len(names) == 1 and not (title in BEFORE_EITHER and key in given):
            found[key].surname += 1
            found[key].titled += 1
        gender = TITLES[title] if title in HE_OR_SHE else _next_pronoun(words, run.last, starts)
        the = run.first > 0 and words[run.first - 1].key in ARTICLES
        for word in names[1:]:
            found[word.key].after_the += the  # the March Hare; `gather` has counted the first word
        for word in names:
            found[word.key].he += gender == "male"
            found[word.key].she += gender == "female"
            found[word.key].person += bool(title)


def _next_pronoun(words: Sequence[Word], start: int, starts: set[int]) -> str:
    """Whether "he" or "she" comes first after a name, before any other name."""
    for index in range(start, min(start + LOOK_AHEAD, len(words))):
        key = words[index].key
        if index in starts or "\n\n" in words[index].gap:
            return ""
        if key in HE:
            return "male"
        if key in SHE:
            return "female"
    return ""
