"""How much of the text a model still shows: the paper's two familiarity scores (WHP §6).

Probability familiarity asks for the next words after a prompt, completion familiarity for whole
continuations, graded 0 to 3 by a rubric. The grader here needs no language model: it looks for anchors
and theme words. (An LLM judge with the same rubric is in `judge`.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from statistics import fmean
from typing import Any

from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.occurrences import find_occurrences
from unlearning.text.rarity import zipf

RESAMPLES = 2000
Z95 = 1.959964  # the normal distribution's 97.5 % quantile
COMMON_WORD = 4.0  # Zipf value above which a single word says nothing about where it comes from
TITLES = frozenset(
    "king queen prince princess duke duchess lord lady sir madam count countess baron captain doctor professor "
    "mister miss mrs mr judge bishop emperor general colonel major minister president knight".split()
)


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval: where means of resampled prompts lie, or of shares Wilson's."""

    value: float
    low: float
    high: float
    count: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CompletionFamiliarity:
    """The paper's score (5·n₃ + n₂) / N, its interval, and how many completions got each grade 0, 1, 2, 3."""

    score: Estimate
    counts: tuple[int, int, int, int]


def probability_familiarity(probabilities: Sequence[Sequence[float]]) -> Estimate:
    """Mean over prompts of the total probability of a prompt's idiosyncratic continuations.

    Args:
        probabilities: For each prompt the probabilities of its targets, none of which contains another
            (see `disjoint`); at least one prompt.
    """
    return bootstrap([sum(row) for row in probabilities])


def completion_familiarity(grades: Sequence[int], prompts: Sequence[str] | None = None) -> CompletionFamiliarity:
    """Score and counts of graded completions; at least one. From 0 (no trace) to 5 (every one a give-away).

    Args:
        grades: 0 to 3, one a completion.
        prompts: Of each completion, where some have the same: what one prompt gives away twice is no second prompt,
            so that prompts are resampled and not completions. None: all differ.
    """
    counts = (grades.count(0), grades.count(1), grades.count(2), grades.count(3))
    scores = [{3: 5.0, 2: 1.0}.get(grade, 0.0) for grade in grades]
    of_prompt: dict[str, list[float]] = {}
    for prompt, score in zip(prompts or map(str, range(len(grades))), scores, strict=True):
        of_prompt.setdefault(prompt, []).append(score)
    spread = bootstrap([fmean(each) for each in of_prompt.values()])
    return CompletionFamiliarity(replace(spread, value=fmean(scores), count=len(scores)), counts)


def bootstrap(
    values: Sequence[float], resamples: int = RESAMPLES, seed: int = 0, weights: Sequence[float] | None = None
) -> Estimate:
    """The mean with its 95 % percentile bootstrap interval over prompts (Efron 1979).

    Says how much the figure depends on which prompts were asked; a model's own chance is not in it. `weights`: of each
    value in the mean, and drawn with it; None: all alike.
    """
    import numpy as np

    data = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(seed).integers(len(data), size=(resamples, len(data)))
    weighed = None if weights is None else np.asarray(weights, dtype=float)[drawn]
    low, high = np.quantile(np.average(data[drawn], axis=1, weights=weighed), [0.025, 0.975])
    return Estimate(fmean(values, weights), float(low), float(high), len(values))


def share(values: Sequence[float]) -> Estimate:
    """The mean of yes and no, or of anything from 0 to 1, with its 95 % Wilson interval (Wilson 1927).

    Unlike resampling it does not take none of a few for never. Values between 0 and 1 vary less than yes and no of
    the same mean, so that for them it is too wide rather than too narrow.
    """
    p, n = fmean(values), len(values)
    middle, half = p + Z95**2 / (2 * n), Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n))
    low, high = ((middle + side) / (1 + Z95**2 / n) for side in (-half, half))
    return Estimate(p, max(0.0, low), min(1.0, high), n)


def disjoint(continuations: Sequence[Sequence[int]]) -> list[int]:
    """Which of several token sequences to add up: those that do not go on from another, for P(a b) is part of P(a)."""
    rows = [tuple(row) for row in continuations]
    return [
        i
        for i, row in enumerate(rows)
        if not any(
            row[: len(other)] == other and (len(other) < len(row) or j < i) for j, other in enumerate(rows) if j != i
        )
    ]


def grade_completion(
    prompt: str, completion: str, anchors: Dictionary, themes: Sequence[str] = ()
) -> tuple[int, list[str]]:
    """Grade a completion by the paper's rubric, from what stands in it and not in its prompt.

    3: a name of the text. An enabled anchor that is a proper name and of which the completion brings at
    least one word of its own ("The March" + " Hare" does; "the Cat" after "the Cheshire Cat" does not).
    2: at least two words or one expression typical of the text: theme words, and the anchors that are no
    proper names (`mushroom`; `pool of tears` counts as two words).
    1: one such word; it may be chance.
    0: none.

    Args:
        prompt: What the model was given.
        completion: What it went on with.
        anchors: The dictionary; anchors that are switched off do not count.
        themes: Words and expressions typical of the text's themes.

    Returns:
        The grade, and the words that it rests on.
    """
    hints, text = _words(prompt), prompt + completion
    names: dict[str, None] = {}
    typical: dict[str, int] = {}  # expression, stemmed → words that it counts as
    shown: dict[str, str] = {}
    for found in find_occurrences(text, anchors):
        own = _words(text[max(found.start, len(prompt)) : found.end])
        if found.end <= len(prompt) or own <= hints:
            continue
        if is_name(anchors.anchors[found.anchor]):
            names.setdefault(found.text)
        else:
            typical[_key(found.text)] = min(2, len(found.text.split()))
            shown.setdefault(_key(found.text), found.text)
    for match in _theme_pattern(tuple(themes)).finditer(completion) if themes else ():
        if not _words(match[0]) <= hints:
            typical.setdefault(_key(match[0]), 1)
            shown.setdefault(_key(match[0]), match[0])
    if names:
        return 3, [" ".join(name.split()) for name in names]
    return min(2, sum(typical.values())), [" ".join(shown[key].split()) for key in typical]


def is_name(anchor: Anchor) -> bool:
    """Whether an anchor gives the text away by itself: a proper name, neither a title nor an everyday word."""
    words = anchor.term.split()
    if not any(letter.isupper() for letter in anchor.term):
        return False
    if len(words) > 1:
        return True
    if anchor.kind in ("person", "place"):
        return anchor.term.lower() not in TITLES
    return zipf(anchor.term, "en") < COMMON_WORD


def _words(text: str) -> set[str]:
    return {_stem(word) for word in re.findall(r"[^\W_]+", text.lower())}


def _stem(word: str) -> str:
    """One form for singular, plural and possessive; crude, and the same on both sides of every comparison."""
    return re.sub(r"(?<=\w\w)(e?s|e)\Z", "", word)


def _key(expression: str) -> str:
    return " ".join(map(_stem, expression.lower().split()))


@lru_cache(maxsize=16)
def _theme_pattern(themes: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the themes as whole words, longest first, singular or plural, any white space between words."""
    terms = sorted({r"\s+".join(map(re.escape, theme.split())) for theme in themes if theme.strip()}, key=len)
    return re.compile(rf"(?<!\w)(?:{'|'.join(reversed(terms))})(?:e?s)?(?!\w)", re.IGNORECASE)
