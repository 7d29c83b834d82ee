"""Whether the model still has the text itself: verbatim continuation, and the likelihood of its passages.

The measures take tokens or log-probabilities and know nothing of models; `scoring.score_texts` gives what
they need. For the never-read model each is the value that perfect forgetting would have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from unlearning.errors import InputError
from unlearning.evaluation.scoring import TokenScore

Token = TypeVar("Token")
FEWEST_SAMPLES = 4  # of each model, below which no Kolmogorov–Smirnov test can fall under 0.05


@dataclass(frozen=True)
class Overlap:
    """ROUGE-L: how much of the reference's word order a text keeps."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class TwoSamples:
    """Two-sample Kolmogorov–Smirnov test: largest distance of the distribution functions, and its p-value."""

    distance: float
    p_value: float


def rouge_l(reference: str, text: str) -> Overlap:
    """ROUGE-L (Lin 2004): with ℓ the longest common subsequence of words, recall ℓ/|reference|, precision ℓ/|text|.

    Words are runs of letters and digits in lower case, without stemming. 0 where either has none.
    """
    wanted, found = (re.findall(r"[^\W_]+", each.lower()) for each in (reference, text))
    common = _common_subsequence(wanted, found)
    if not common:
        return Overlap(0.0, 0.0, 0.0)
    precision, recall = common / len(found), common / len(wanted)
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall))


def longest_common_run(reference: Sequence[Token], text: Sequence[Token]) -> int:
    """Length of the longest run of tokens that both contain (the longest common substring)."""
    longest, before = 0, [0] * (len(text) + 1)
    for token in reference:
        row = [0] * (len(text) + 1)
        for j, other in enumerate(text, start=1):
            if token == other:
                row[j] = before[j - 1] + 1
                longest = max(longest, row[j])
        before = row
    return longest


def extraction_strength(likeliest: Sequence[bool]) -> float:
    """1 − k/n, with k the fewest first tokens of a text that must be given for greedy decoding to write all the rest.

    From 0 (the end is never written by itself) to 1 (nothing need be given). A token is greedily written
    after the true text before it or not, so the flags of one forward pass tell k: it ends after the last
    token that was not the likeliest. (Carlini et al. 2021; the formula as in Wang et al. 2025,
    "Towards effective evaluations and comparisons for LLM unlearning methods"; there of whole passages, in
    `passages` of a continuation whose start is given as well.)

    Args:
        likeliest: For each of the n tokens whether it was the model's first choice; at least one.
    """
    missed = [i for i, hit in enumerate(likeliest) if not hit]
    return 1 - (missed[-1] + 1 if missed else 0) / len(likeliest)


def min_k_probability(log_probs: Sequence[float], share: float = 0.2) -> float:
    """Min-k% Prob (Shi et al. 2023): mean log-probability of the least likely share of a text's tokens.

    Nearer to 0 means that even its rarest words were expected: the text was probably trained on.

    Args:
        log_probs: Of the tokens of a passage, or of its continuation given its start, in nats; at least one.
        share: k as a share of 1.
    """
    least = sorted(log_probs)[: max(1, math.floor(len(log_probs) * share))]
    return math.fsum(least) / len(least)


def continuation_probability(log_probs: Sequence[float]) -> float:
    """P(continuation | start)^(1/n): the geometric mean of its tokens' probabilities; lengths compare (TOFU)."""
    return math.exp(math.fsum(log_probs) / len(log_probs))


def forget_quality(model: Sequence[float], never_read: Sequence[float]) -> TwoSamples:
    """TOFU's forget quality: could the model's per-sequence statistics be those of one that never read the text?

    A p-value below 0.05 says that they can be told apart; a high one that this many sequences do not tell
    them apart.

    Args:
        model: One figure a sequence, under the unlearned model.
        never_read: The same under the model that never read the text.

    Raises:
        InputError: if either is empty or holds a figure that is none.
    """
    from scipy.stats import ks_2samp  # type: ignore[import-untyped]

    if not model or not never_read or not all(map(math.isfinite, [*model, *never_read])):
        raise InputError("The test needs finite figures of both models.", "Measure at least one sequence with each.")
    found = ks_2samp(list(model), list(never_read))
    return TwoSamples(float(found.statistic), float(found.pvalue))


def after(scores: Sequence[TokenScore], start: int) -> list[TokenScore]:
    """The scored tokens that begin at or after a character: those of a continuation, in a passage scored whole."""
    return [score for score in scores if score.start >= start and score.nll is not None]


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    before = [0] * (len(second) + 1)
    for word in first:
        row = [0]
        for j, other in enumerate(second):
            row.append(before[j] + 1 if word == other else max(before[j + 1], row[j]))
        before = row
    return before[-1]
