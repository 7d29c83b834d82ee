"""Whether what a model writes is still language: repetition, variety, and a flag for gibberish.

The thresholds were set on a small model (SmolLM2-135M), whose mean log-probability of a token was −0.9 to
−1.5 for its own greedy text, −2.5 to −5.1 for text it drew at temperature 1, −3.2 to −4.7 for printed
prose, −6.6 to −7.9 for the drawn text with its words shuffled, and below −7.6 for draws at temperature 1.5.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

FEWEST_WORDS = 3  # fewer is called empty
REPETITION_LIMIT = 0.3  # share of repeated 4-grams from which a text is called repetitive
LOG_PROB_LIMIT = -6.0  # mean log-probability of a token under the baseline below which a text is gibberish
LETTER_LIMIT = 0.7  # share of letters and blanks below which it is, whatever the baseline says


@dataclass(frozen=True)
class Fluency:
    """One completion judged.

    Args:
        verdict: fluent, repetitive, gibberish or empty.
        reason: What the verdict rests on, in words; empty for a fluent text.
        repetition: Share of 4-grams that repeat an earlier one; 0 is best.
        distinct: Distinct bigrams divided by all; 1 is most varied.
        log_prob: Mean log-probability of a token under the baseline, in nats, where known.
    """

    verdict: str
    reason: str
    repetition: float
    distinct: float
    log_prob: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge_fluency(text: str, log_prob: float | None = None) -> Fluency:
    """The verdict on one completion.

    Args:
        text: What the model wrote, without its prompt.
        log_prob: Mean log-probability of its tokens under the baseline (what a sound model thinks of it).
    """
    repeated, varied = repetition(text), distinct_n(text)
    verdict, reason = _verdict(text, repeated, log_prob)
    return Fluency(verdict, reason, repeated, varied, log_prob)


def repetition(text: str, n: int = 4) -> float:
    """seq-rep-n = 1 − distinct n-grams / n-grams, over words and punctuation marks (Welleck et al. 2020).

    0 when nothing comes twice, and for a text shorter than n.
    """
    grams = _grams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct_n(text: str, n: int = 2) -> float:
    """distinct-n = distinct n-grams / n-grams (Li et al. 2016); 1 for a text shorter than n."""
    grams = _grams(text, n)
    return len(set(grams)) / len(grams) if grams else 1.0


def _verdict(text: str, repeated: float, log_prob: float | None) -> tuple[str, str]:
    words = len(re.findall(r"\w+", text))
    if words < FEWEST_WORDS:
        return "empty", f"{words} words"
    if (letters := _letters(text)) < LETTER_LIMIT:
        return "gibberish", f"only {letters:.0%} letters"
    if log_prob is not None and log_prob < LOG_PROB_LIMIT:
        return "gibberish", f"the baseline gives its tokens a mean log-probability of {log_prob:.1f}"
    if repeated > REPETITION_LIMIT:
        return "repetitive", f"{repeated:.0%} of its 4-word sequences repeat an earlier one"
    return "fluent", ""


def _letters(text: str) -> float:
    return sum(c.isalpha() or c.isspace() for c in text) / len(text)


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
