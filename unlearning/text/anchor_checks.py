"""What is wrong, or doubtful, with an anchor dictionary, said row by row; and the paper's clean-up.

An error makes an anchor useless or the translated text contradictory. A warning is worth a look.
Rows count from 1, as in `anchors`. Anchors that are switched off are checked for themselves alone.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from unlearning.text.anchors import KINDS, Anchor, Dictionary
from unlearning.text.occurrences import Occurrence, find_occurrences, normal, spellings
from unlearning.text.word_forms import article


@dataclass(frozen=True)
class Finding:
    """One remark on one row (counted from 1) of a dictionary."""

    row: int
    field: str
    severity: Literal["error", "warning"]
    message: str
    hint: str

    def __str__(self) -> str:
        return f"Anchor row {self.row}: {self.message} {self.hint}"


def check_dictionary(dictionary: Dictionary, text: str | None = None) -> list[Finding]:
    """Everything worth saying about a dictionary, in the order of its rows.

    Args:
        dictionary: May hold anything; nothing is raised.
        text: The forget set. With it, terms that it lacks and articles that will not fit are reported too.
    """
    checks = (_single_rows, _duplicates, _anchors_in_translations, _shared_translations, _rules, _parts)
    findings = [finding for check in checks for finding in check(dictionary)]
    if text is not None:
        occurrences = find_occurrences(text, dictionary)
        flat = normal(text)
        findings += _absent(dictionary, occurrences, flat)
        findings += _articles(dictionary, occurrences, text)
        findings += _chains(dictionary, flat)
    return sorted(findings, key=lambda finding: (finding.row, finding.severity))


def count_occurrences(text: str, dictionary: Dictionary) -> list[int]:
    """How often each anchor stands in a text; 0 for those that are switched off. `[anchors]`."""
    found = Counter(occurrence.anchor for occurrence in find_occurrences(text, dictionary))
    return [found[index] for index in range(len(dictionary.anchors))]


def clean_up(dictionary: Dictionary) -> tuple[Dictionary, list[str]]:
    """Drop what the paper drops, so that an expression and its parts are not translated inconsistently.

    Dropped are a multi-word term whose every word is a term itself, and "X's" where X is a term
    (WHP, section 2.2).

    Returns:
        The smaller dictionary, and one sentence for each anchor that went.
    """
    reasons = _dropped(dictionary)
    kept = tuple(anchor for row, anchor in enumerate(dictionary.anchors, start=1) if row not in reasons)
    said = [f"Dropped {_named(dictionary, row)}: {reason}" for row, reason in reasons.items()]
    return replace(dictionary, anchors=kept), said


def _rows(dictionary: Dictionary) -> list[tuple[int, Anchor]]:
    return [(row, anchor) for row, anchor in enumerate(dictionary.anchors, start=1) if anchor.enabled]


def _named(dictionary: Dictionary, row: int) -> str:
    return f"'{dictionary.anchors[row - 1].term}' (row {row})"


# --- the dictionary by itself ------------------------------------------------------------------


def _single_rows(dictionary: Dictionary) -> Iterator[Finding]:
    for row, anchor in enumerate(dictionary.anchors, start=1):
        if not anchor.term.strip():
            yield Finding(row, "term", "error", "the term is empty.", "Write a term or delete the row.")
        elif not any(letter.isalnum() for letter in anchor.term):
            message = f"the term '{anchor.term}' has no letter or digit and is never found."
            yield Finding(row, "term", "error", message, "Write a word or delete the row.")
        if anchor.kind not in KINDS:
            yield Finding(row, "kind", "error", f"unknown kind '{anchor.kind}'.", f"Use one of {', '.join(KINDS)}.")
        yield from _single_translations(row, anchor)


def _single_translations(row: int, anchor: Anchor) -> Iterator[Finding]:
    if not anchor.translations:
        yield Finding(
            row, "translations", "error", f"'{anchor.term}' has no translation.", "Write one or delete the row."
        )
    seen = [normal(translation) for translation in anchor.translations]
    for place, translation in enumerate(seen):
        if not translation:
            message = f"a translation of '{anchor.term}' is empty."
            yield Finding(row, "translations", "error", message, "Fill it in or remove it.")
        elif translation.casefold() == normal(anchor.term).casefold():
            message = f"'{anchor.term}' is translated by itself."
            yield Finding(row, "translations", "error", message, "Choose a generic expression in its place.")
        elif translation in seen[:place]:
            message = f"'{anchor.term}' has the translation '{translation}' twice."
            yield Finding(row, "translations", "warning", message, "Keep one.")


def _duplicates(dictionary: Dictionary) -> Iterator[Finding]:
    exact: dict[str, int] = {}
    folded: dict[str, int] = {}
    for row, anchor in _rows(dictionary):
        term = normal(anchor.term)
        if not term:
            continue
        if term in exact:
            message = f"'{anchor.term}' is an anchor already: {_named(dictionary, exact[term])}."
            yield Finding(row, "term", "error", message, "Keep one row and put all translations there.")
        elif term.casefold() in folded:
            message = f"'{anchor.term}' differs from {_named(dictionary, folded[term.casefold()])} in capitals only."
            yield Finding(row, "term", "warning", message, "Keep one, unless they are two different things.")
        exact.setdefault(term, row)
        folded.setdefault(term.casefold(), row)


def _anchors_in_translations(dictionary: Dictionary) -> Iterator[Finding]:
    """A translated text with anchors in it still speaks of what is to be forgotten."""
    for row, anchor in _rows(dictionary):
        for translation in anchor.translations:
            for found in find_occurrences(translation, dictionary):
                owner = _named(dictionary, found.anchor + 1)
                if normal(found.text) != normal(translation):
                    message = f"the translation '{translation}' contains the anchor {owner}."
                    yield Finding(row, "translations", "warning", message, "Choose an expression without it.")
                elif normal(translation).casefold() != normal(anchor.term).casefold():
                    message = f"the translation '{translation}' is itself an anchor: {owner}."
                    yield Finding(row, "translations", "error", message, "Choose a generic expression in its place.")


def _shared_translations(dictionary: Dictionary) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for row, anchor in _rows(dictionary):
        for translation in dict.fromkeys(normal(each).casefold() for each in anchor.translations):
            if translation and first.setdefault(translation, row) != row:
                message = f"'{anchor.term}' and {_named(dictionary, first[translation])} share '{translation}'."
                hint = "Give each its own, or two different things become one."
                yield Finding(row, "translations", "warning", message, hint)


def _rules(dictionary: Dictionary) -> Iterator[Finding]:
    for row, reason in _dropped(dictionary).items():
        message = f"'{dictionary.anchors[row - 1].term}' is one that the clean-up drops: {reason}"
        yield Finding(row, "term", "warning", message, "Clean up, or keep it if its translation agrees with theirs.")


def _dropped(dictionary: Dictionary) -> dict[int, str]:
    """Rows that the paper's rules drop, each with the reason."""
    known = spellings(dictionary)
    reasons: dict[int, str] = {}
    for row, anchor in _rows(dictionary):
        term = normal(anchor.term)
        words = [_without_possessive(word) for word in term.split()]
        if (stem := _without_possessive(term)) != term and stem in known:
            reasons[row] = f"{_named(dictionary, known[stem] + 1)} covers it."
        elif len(words) > 1 and all(word in known for word in words):
            owners = dict.fromkeys(_named(dictionary, known[word] + 1) for word in words)
            reasons[row] = f"each of its words is an anchor: {', '.join(owners)}."
    return reasons


def _without_possessive(expression: str) -> str:
    return re.sub(r"'s?\Z", "", expression, flags=re.IGNORECASE)


def _parts(dictionary: Dictionary) -> Iterator[Finding]:
    """A term within a longer one is fine if the translations nest too: Hatter → Tailor, Mad Hatter → Crazy Tailor."""
    known, dropped = spellings(dictionary), _dropped(dictionary)
    for row, anchor in _rows(dictionary):
        inside = dict.fromkeys(known[part] + 1 for part in _subphrases(normal(anchor.term)) if part in known)
        for part in inside:
            if row in dropped or part == row or _nested(anchor, dictionary.anchors[part - 1]):
                continue
            message = f"'{anchor.term}' contains the anchor {_named(dictionary, part)}, its translation does not."
            hint = "Build the longer translation from the shorter, or the two read as two different things."
            yield Finding(row, "translations", "warning", message, hint)


def _subphrases(term: str) -> Iterator[str]:
    """Every shorter run of the words of a term, with and without a possessive ending."""
    words = term.split()
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            if end - start < len(words):
                yield " ".join(words[start:end])
                yield _without_possessive(" ".join(words[start:end]))


def _nested(longer: Anchor, shorter: Anchor) -> bool:
    outer = [normal(translation).casefold() for translation in longer.translations]
    return any(normal(inner).casefold() in each for inner in shorter.translations for each in outer)


# --- the dictionary and the text ---------------------------------------------------------------


def _absent(dictionary: Dictionary, occurrences: list[Occurrence], flat: str) -> Iterator[Finding]:
    present = {occurrence.anchor + 1 for occurrence in occurrences}
    folded = flat.casefold()
    for row, anchor in _rows(dictionary):
        term = normal(anchor.term)
        if row in present or not any(letter.isalnum() for letter in term):
            continue
        if term.casefold() in folded:
            message = f"'{anchor.term}' stands in the text only within longer anchors or words, or in other capitals."
        else:
            message = f"'{anchor.term}' never occurs in the text."
        yield Finding(row, "term", "warning", message, "Check its spelling, or switch it off.")


def _articles(dictionary: Dictionary, occurrences: list[Occurrence], text: str) -> Iterator[Finding]:
    """ "a Muggle" becomes "a ordinary person": nothing outside an anchor is changed, so another word must do."""
    clashes: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for found in occurrences:
        before = re.search(r"(?<![^\W_])(an?)\s\Z", text[max(0, found.start - 4) : found.start], re.IGNORECASE)
        if before:
            for translation in dictionary.anchors[found.anchor].translations:
                if article(translation) != before[1].lower():
                    clashes[found.anchor + 1, translation].append(f"{before[1]} {normal(found.text)}")
    for (row, translation), sources in clashes.items():
        often = "once" if len(sources) == 1 else f"{len(sources)} times"
        message = (
            f"the text has '{sources[0]}' ({often}), but '{translation}' wants '{article(translation)}' before it."
        )
        hint = "A translation that begins with the same kind of sound reads better."
        yield Finding(row, "translations", "warning", message, hint)


def _chains(dictionary: Dictionary, flat: str) -> Iterator[Finding]:
    """One term ends as another begins, and the text has them run together: "White Rabbit Hole"."""
    begins: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for row, anchor in _rows(dictionary):
        words = normal(anchor.term).split()
        for cut in range(1, len(words)):
            begins[" ".join(words[:cut])].append((row, " ".join(words[cut:])))
    for row, anchor in _rows(dictionary):
        words = normal(anchor.term).split()
        for cut in range(1, len(words)):
            for other, rest in begins.get(" ".join(words[cut:]), []):
                if other != row and f"{normal(anchor.term)} {rest}" in flat:
                    message = f"'{anchor.term}' overlaps {_named(dictionary, other)} in '{normal(anchor.term)} {rest}'."
                    yield Finding(row, "term", "warning", message, "Make that one anchor of its own.")
