"""Verbatim memory of passages: the model gets the start of one, and its true continuation is compared with its own.

The measures themselves are in `memory`; here they are taken of a model, with the passages to look at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearning.evaluation.familiarity import bootstrap
from unlearning.evaluation.memory import (
    after,
    continuation_probability,
    extraction_strength,
    longest_common_run,
    min_k_probability,
    rouge_l,
)
from unlearning.evaluation.scoring import score_texts
from unlearning.models.generation import generate
from unlearning.models.loading import encode, leading_specials

NAMES = {  # field of a row → name in METRICS
    "rouge_l": "rouge_l", "longest_run": "longest_run", "extraction": "extraction_strength",
    "p": "continuation_probability", "min_k": "min_k",
}  # fmt: skip


@dataclass(frozen=True)
class Passage:
    """A passage cut in two: what is given, and what truly follows."""

    prompt: str
    answer: str


def cut_passage(text: str, tokenizer: Any, tokens: int) -> Passage | None:
    """The first `tokens` tokens of a block and the `tokens` after them, cut between words.

    None where the block is too short for a quarter of that.
    """
    offsets = encode(tokenizer, text)[1][len(leading_specials(tokenizer)) :]
    if len(offsets) < tokens + tokens // 4:
        return None
    middle = _word_end(text, offsets[tokens - 1][1])
    end = _word_end(text, offsets[min(2 * tokens, len(offsets)) - 1][1])
    answer = text[middle:end]
    return Passage(text[:middle], answer) if text[:middle].strip() and answer.strip() else None


def measure_passages(model: Any, tokenizer: Any, passages: Sequence[Passage], tokens: int) -> list[dict[str, Any]]:
    """What a model still has of each passage.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        passages: What to ask for.
        tokens: Most that it writes of each.

    Returns:
        One row a passage: prompt, answer, text (the model's greedy continuation), and the measures of NAMES, of which
        p, extraction and min_k look at the true continuation alone.
    """
    texts = generate(model, tokenizer, [passage.prompt for passage in passages], tokens)
    scored = score_texts(model, tokenizer, [passage.prompt + passage.answer for passage in passages])
    rows = []
    for passage, text, scores in zip(passages, texts, scored, strict=True):
        own = after(scores, len(passage.prompt))
        log_probs = [-score.nll for score in own if score.nll is not None]
        truth, written = (tokenizer(each, add_special_tokens=False)["input_ids"] for each in (passage.answer, text))
        rows.append(
            {
                "prompt": passage.prompt,
                "answer": passage.answer,
                "text": text,
                "rouge_l": rouge_l(passage.answer, text).f1,
                "longest_run": longest_common_run(truth, written),
                "extraction": extraction_strength([score.likeliest for score in own]),
                "p": continuation_probability(log_probs),
                "min_k": min_k_probability(log_probs),
            }
        )
    return rows


def passage_figures(measured: Mapping[str, Any], never: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Means over passages, with their intervals."""
    rows = measured.get("passages") or []
    return {metric: bootstrap([row[name] for row in rows]).as_dict() for name, metric in NAMES.items() if rows}


def _word_end(text: str, place: int) -> int:
    """The end of the word that holds the character before `place`."""
    while place < len(text) and not text[place].isspace():
        place += 1
    return place
