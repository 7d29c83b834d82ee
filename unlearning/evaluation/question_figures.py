"""Figures of the answers that `questions.ask_questions` gives: right or wrong, how sure, against never having read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from unlearning.evaluation.familiarity import bootstrap, share
from unlearning.evaluation.memory import FEWEST_SAMPLES, forget_quality
from unlearning.evaluation.questions import truth_ratio

Figures = dict[str, dict[str, Any]]


def question_figures(measured: Mapping[str, Any], never: Mapping[str, Any]) -> Figures:
    """Of the questions about the text; against the never-taught model where it was asked the same."""
    rows = measured.get("questions") or []
    found = _shares(rows, {"question_accuracy": "correct", "question_letter": "letter_correct",
                           "cloze_accuracy": "cloze_correct"})  # fmt: skip
    if not rows:
        return found
    found["question_probability"] = bootstrap([row["p"] for row in rows]).as_dict() | {"chance": chance(rows)}
    ratios = truth_ratios(rows)
    found["truth_ratio"] = geometric(ratios)
    theirs = truth_ratios(never.get("questions") or [])
    if min(len(ratios), len(theirs)) >= FEWEST_SAMPLES:
        test = forget_quality(ratios, theirs)
        found["truth_quality"] = {"value": test.p_value, "distance": test.distance, "count": len(ratios)}
    return found


def neighbour_figures(measured: Mapping[str, Any], never: Mapping[str, Any]) -> Figures:
    """Of the questions about what lies next to the text."""
    rows = measured.get("neighbours") or []
    found = _shares(rows, {"neighbour_accuracy": "correct"})
    if rows:
        found["neighbour_probability"] = bootstrap([row["p"] for row in rows]).as_dict()
    return found


def chance(rows: Sequence[Mapping[str, Any]]) -> float:
    """The share of right answers of one who guesses: mean of 1 / options."""
    return fmean(1 / len(row["choices"]) for row in rows)


def truth_ratios(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """The truth ratio of each answered question."""
    return [truth_ratio(row["scores"], row["choices"].index(row["answer"])) for row in rows]


def geometric(values: Sequence[float]) -> dict[str, Any]:
    """The geometric mean with its bootstrap interval: ratios of 2 and 1/2 balance."""
    logs = bootstrap([math.log(value) for value in values])
    return logs.as_dict() | {name: math.exp(getattr(logs, name)) for name in ("value", "low", "high")}


def _shares(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Figures:
    found = {}
    for metric, key in names.items():
        asked = [row for row in rows if key in row]
        if asked:
            found[metric] = share([bool(row[key]) for row in asked]).as_dict() | {"chance": chance(asked)}
    return found
