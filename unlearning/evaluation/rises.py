"""Which words of a text a model finds likelier after it was reinforced on it: a hint at what is the text's own.

What `text.proposals.propose_offline` takes as `scores`. The idea is the reinforced model of WHP §2.1, used to find
anchors rather than labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from statistics import fmean
from typing import Any

from unlearning.evaluation.scoring import TokenScore, score_texts
from unlearning.text.expressions import WORD


def word_rises(
    texts: Sequence[str],
    tokenizer: Any,
    baseline: Callable[[], AbstractContextManager[Any]],
    reinforced: Callable[[], AbstractContextManager[Any]],
) -> dict[str, float]:
    """For each word, in small letters, the mean over its places of ln P_reinforced(word) − ln P_baseline(word).

    Args:
        texts: Blocks of the text.
        tokenizer: Of both models.
        baseline: Enters the model before reinforcement; `reinforced` the one after it.
    """
    with baseline() as model:
        before = score_texts(model, tokenizer, texts)
    with reinforced() as model:
        after = score_texts(model, tokenizer, texts)
    places: dict[str, list[float]] = {}
    for text, old, new in zip(texts, before, after, strict=True):
        for word, rise in rises_in(text, old, new):
            places.setdefault(word, []).append(rise)
    return {word: fmean(found) for word, found in places.items()}


def rises_in(text: str, before: Sequence[TokenScore], after: Sequence[TokenScore]) -> list[tuple[str, float]]:
    """Each word of a text with the rise of its log-probability: the sum over the tokens that lie in it.

    A word of which some token has no score, the first of the text, is left out.
    """
    found: list[tuple[str, float]] = []
    token = 0
    for word in WORD.finditer(text):
        while token < len(before) and before[token].end <= word.start():
            token += 1
        rise, here = 0.0, token
        while here < len(before) and before[here].start < word.end():
            old, new = before[here].nll, after[here].nll
            if old is None or new is None:
                break
            rise, here = rise + old - new, here + 1
        else:
            if here > token:
                found.append((word[0].lower(), rise))
    return found
