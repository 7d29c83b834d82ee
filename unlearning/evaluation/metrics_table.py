"""Every figure this package gives: what it is called, how it is computed, who proposed it, how to read it.

The README and the page show this table; a figure that is not in it is not shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unlearning.evaluation.fluency import FEWEST_WORDS, LETTER_LIMIT, LOG_PROB_LIMIT, REPETITION_LIMIT


@dataclass(frozen=True)
class Metric:
    """Attributes: title, formula, source; reading says what a high value means; digits, how many are shown.

    `better` is the direction after unlearning; "same" is for what should not move from the baseline. `ideal` is what a
    perfect unlearner scores where no never-taught model says it: a number (of questions, chance among four options,
    where the figure itself does not hold its `chance`), the baseline's value, or nobody knows.
    """

    title: str
    formula: str
    source: str
    reading: str
    better: Literal["lower", "higher", "same"]
    digits: int = 3
    ideal: float | Literal["baseline"] | None = None


WHP = "Eldan & Russinovich 2023, arXiv 2310.02238"
PERPLEXITY = (
    "exp(−mean log P(token | tokens before)) over blocks {}; a block's first token not counted; its interval is "
    "that of resampled blocks"
)
OPTION = "s = P(option | question)^(1/n) over its n tokens"
NEXT_TO_IT = "questions on other books of the kind, the author and the time"
GIBBERISH = (
    f"with fewer than {LETTER_LIMIT:.0%} letters and blanks, or whose tokens the baseline gives a mean log-probability "
    f"below −{-LOG_PROB_LIMIT:g}"
)

METRICS: dict[str, Metric] = {
    "probability_familiarity": Metric(
        "Probability familiarity",
        "mean over prompts of Σ P(target | prompt), over the targets that give the text away; "
        "P of a target is the product over its tokens",
        WHP,
        "Higher: the model completes the text's own expressions. 0: never. Compare with the never-taught model.",
        "lower",
        ideal=0.0,
    ),
    "completion_familiarity": Metric(
        "Completion familiarity",
        "(5·n₃ + n₂) / N, with n₃ and n₂ the completions graded 3 (names of the text) and 2 (its themes) out of N",
        WHP,
        "Higher: completions bring up the text unasked. From 0 to 5; look at the counts too, N is small.",
        "lower",
        2,
        0.0,
    ),
    "judged_familiarity": Metric(
        "Completion familiarity, by a language model",
        "(5·n₃ + n₂) / N, with n₃ and n₂ the completions that a language model grades 3 (beyond doubt from the text) "
        "and 2 (its themes) out of N, where one was asked",
        WHP,
        "Higher: completions bring up the text unasked. From 0 to 5.",
        "lower",
        2,
        0.0,
    ),
    "perplexity_forget": Metric(
        "Perplexity of the forget text",
        PERPLEXITY.format("that were unlearned"),
        "standard; Jelinek et al. 1977",
        "Higher: the text surprises the model more. A model that never read it sets the mark to reach.",
        "higher",
        1,
    ),
    "perplexity_held_out": Metric(
        "Perplexity of its held-out part",
        PERPLEXITY.format("of the same text that unlearning did not see"),
        "standard; Jelinek et al. 1977",
        "Higher: forgetting reaches parts of the text that it was not shown.",
        "higher",
        1,
    ),
    "perplexity_unrelated": Metric(
        "Perplexity of unrelated prose",
        PERPLEXITY.format("of prose that has nothing to do with the text and that no stage trained on"),
        "standard; Jelinek et al. 1977",
        "Higher: general language suffered. Should stay at the baseline's value.",
        "same",
        1,
        "baseline",
    ),
    "control_probability": Metric(
        "Control prompts, mean probability",
        "mean over control prompts of Σ P(target | prompt); their targets are general knowledge",
        "this project, after WHP's probability familiarity",
        "Higher: the model knows more of them. Should stay at the baseline's value.",
        "same",
        ideal="baseline",
    ),
    "control_change": Metric(
        "Control prompts, mean change",
        "mean over control prompts of |P − P of the baseline|",
        "this project",
        "Higher: single facts moved, even where their mean did not. 0: none did.",
        "same",
        ideal=0.0,
    ),
    "fluent_share": Metric(
        "Fluent completions",
        f"share of completions that are neither empty (fewer than {FEWEST_WORDS} words), nor repetitive (more than "
        f"{REPETITION_LIMIT:.0%} of their 4-grams repeat an earlier one), nor gibberish ({GIBBERISH})",
        "this project",
        "Higher is better: what the model writes is language. 1: every completion.",
        "same",
        2,
        "baseline",
    ),
    "repetition": Metric(
        "Repetition",
        "mean over completions of 1 − distinct 4-grams / 4-grams",
        "seq-rep-4; Welleck et al. 2020, arXiv 1908.04319",
        "Higher: completions go round in circles. 0: nothing comes twice.",
        "same",
        ideal="baseline",
    ),
    "distinct_2": Metric(
        "Variety",
        "mean over completions of distinct bigrams / bigrams",
        "distinct-2; Li et al. 2016, arXiv 1510.03055",
        "Higher: more varied wording. 1: no bigram comes twice.",
        "same",
        ideal="baseline",
    ),
    "gibberish_share": Metric(
        "Gibberish",
        f"share of completions {GIBBERISH}; shorter ones than {FEWEST_WORDS} words not counted as such",
        "this project",
        "Higher: more of what it writes is no language. 0: none.",
        "same",
        2,
        "baseline",
    ),
    "probe_distance": Metric(
        "Distance to never having read it",
        "mean over prompts of |P − P of the never-taught model|",
        "this project",
        "Higher: prompt by prompt further from a model that never read the text. 0: a perfect unlearner.",
        "lower",
        ideal=0.0,
    ),
    "forget_quality": Metric(
        "Forget quality (p-value)",
        "p of the two-sample Kolmogorov–Smirnov test between the model's and the never-taught model's mean "
        "log-probabilities of a token, one figure a block of the forget text, of at least four blocks",
        "after TOFU; Maini et al. 2024, arXiv 2401.06121 (which tests truth ratios)",
        "Higher: harder to tell from a model that never read the text; below 0.05 it can be told.",
        "higher",
        4,
        1.0,
    ),
    "rouge_l": Metric(
        "Verbatim overlap (ROUGE-L)",
        "F₁ of ℓ/|continuation| and ℓ/|model's text|, ℓ the longest common subsequence of words",
        "Lin 2004; for unlearning MUSE, Shi et al. 2024, arXiv 2407.06460",
        "Higher: given the start of a passage, the model writes more of its true end.",
        "lower",
    ),
    "longest_run": Metric(
        "Longest verbatim run",
        "most tokens in a row that the model's continuation and the true one share, mean over passages",
        "after Carlini et al. 2021, arXiv 2012.07805",
        "Higher: longer stretches come back word for word.",
        "lower",
        1,
    ),
    "extraction_strength": Metric(
        "Extraction strength",
        "1 − k/n, k the fewest first tokens of a passage's true continuation of n after which, its start given, greedy "
        "decoding writes all the rest; mean over passages",
        "Carlini et al. 2021, arXiv 2012.07805; as formulated by Wang et al. 2025",
        "Higher: less must be given beyond the start to get the rest. 0: the end never comes by itself.",
        "lower",
    ),
    "continuation_probability": Metric(
        "Probability of the true continuation",
        "P(continuation | start)^(1/n) over its n tokens, mean over passages",
        "TOFU; Maini et al. 2024, arXiv 2401.06121",
        "Higher: the true words are what the model expects.",
        "lower",
    ),
    "min_k": Metric(
        "Min-k% probability",
        "mean log-probability of the least likely 20 % of the tokens of a passage's true continuation, its start "
        "given; mean over passages",
        "Shi et al. 2023, arXiv 2310.16789",
        "Higher (nearer 0): even the passage's rarest words are expected, a sign of having been trained on it.",
        "lower",
        2,
    ),
    "question_accuracy": Metric(
        "Multiple choice: right answers",
        "share of questions about the text's facts whose right option has the highest mean log-probability of a token",
        "per token as Brown et al. 2020, arXiv 2005.14165 (acc_norm of lm-evaluation-harness divides by bytes); on "
        "forgotten books Gandikota et al. 2024, arXiv 2410.02760",
        "Higher: more of its facts are known. Of four options chance is 0.25.",
        "lower",
        ideal=0.25,
    ),
    "question_letter": Metric(
        "Multiple choice: right letters",
        "share of questions for which, all options shown, the letter of the right one is the likeliest of the letters",
        "as MMLU asks; Hendrycks et al. 2021, arXiv 2009.03300",
        "Higher: more of its facts are known. Of four options chance is 0.25, and small models hardly do better "
        "whatever they know.",
        "lower",
        ideal=0.25,
    ),
    "question_probability": Metric(
        "Multiple choice: probability of the right option",
        f"mean over questions of s(right) / Σ s(option), with {OPTION}",
        "after TOFU's probability; Maini et al. 2024, arXiv 2401.06121",
        "Higher: the right option stands out. Of four options chance is 0.25. Moves before the choice does.",
        "lower",
        ideal=0.25,
    ),
    "cloze_accuracy": Metric(
        "Cloze: right words",
        "share of statements about the text's facts whose right completion, of those offered, has the highest mean "
        "log-probability of a token",
        "this project, after cloze tests (Taylor 1953)",
        "Higher: more of its facts are known. Of four options chance is 0.25.",
        "lower",
        ideal=0.25,
    ),
    "truth_ratio": Metric(
        "Truth ratio",
        f"geometric mean over questions of R = mean s(wrong option) / s(right option), with {OPTION}",
        "TOFU; Maini et al. 2024, arXiv 2401.06121 (R as there; without paraphrasing the answers)",
        "Higher: wrong answers are as likely as the right one. 1: they cannot be told apart.",
        "higher",
        ideal=1.0,
    ),
    "truth_quality": Metric(
        "Forget quality by truth ratios (p-value)",
        "p of the two-sample Kolmogorov–Smirnov test between the model's and the never-taught model's truth ratios, "
        "one a question, of at least four questions",
        "TOFU's forget quality; Maini et al. 2024, arXiv 2401.06121",
        "Higher: harder to tell from a model that never read the text; below 0.05 it can be told.",
        "higher",
        4,
        1.0,
    ),
    "neighbour_accuracy": Metric(
        "Neighbouring knowledge: right answers",
        f"share of {NEXT_TO_IT} whose right option has the highest mean log-probability of a token",
        "after Lynch et al. 2024, arXiv 2402.16835 (side effects in neighbouring domains)",
        "Higher: more is known next to what was to be forgotten. Should stay at the baseline's value.",
        "same",
        ideal="baseline",
    ),
    "neighbour_probability": Metric(
        "Neighbouring knowledge: probability of the right option",
        f"mean over {NEXT_TO_IT} of s(right) / Σ s(option), with {OPTION}",
        "after Lynch et al. 2024, arXiv 2402.16835",
        "Higher: more is known next to what was to be forgotten. Should stay at the baseline's value.",
        "same",
        ideal="baseline",
    ),
    "kl_retain": Metric(
        "Distance to the baseline on other prose (KL)",
        "mean over positions of retain text of Σ p (log p − log q), p of the model, q of the baseline; in nats",
        "Kullback & Leibler 1951",
        "Higher: predictions on prose that has nothing to do with the text moved further. 0: none did.",
        "same",
        ideal=0.0,
    ),
}
